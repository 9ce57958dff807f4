//! From parsed SQL to a typed expression over one row.
//!
//! Only what makes sense for a single row has a translation: operators, conditions, casts,
//! literals and scalar functions. Doing this here instead of with a general SQL planner
//! keeps the planner, its aggregates and its lists out of the build, and lets every error
//! say what stands where.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like, ScalarFunction};
use datafusion_expr::sqlparser::ast::{
    self, BinaryOperator, CastKind, CeilFloorKind, DataType as SqlType, ExactNumberInfo, Expr as SqlExpr, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, TimezoneInfo, TrimWhereField, UnaryOperator, Value,
};
use datafusion_expr::{Expr, Operator, binary_expr, cast, lit, try_cast};
use impactiq_data::error::closest_name;

use super::functions::Functions;
use crate::error::{IoError, Refused};

/// Expressions nested deeper than this are refused, long before a stack could overflow.
const MAX_DEPTH: usize = 200;

/// Translates one expression.
pub(super) struct Lower<'a> {
    /// "where" or the feature's name.
    pub what: &'a str,
    pub sql: &'a str,
    pub columns: &'a [Field],
    pub functions: &'a Functions,
}

impl Lower<'_> {
    pub fn expression(&self, parsed: &SqlExpr) -> Result<Expr, IoError> {
        self.at(parsed, 0)
    }

    fn fail<T>(&self, detail: String) -> Result<T, IoError> {
        Err(IoError::Sql { what: self.what.to_owned(), sql: self.sql.to_owned(), detail })
    }

    fn refuse<T>(&self, part: String, refused: Refused) -> Result<T, IoError> {
        Err(IoError::SqlRefused { what: self.what.to_owned(), part: format!("`{part}`"), refused })
    }

    fn unsupported<T>(&self, part: &dyn std::fmt::Display) -> Result<T, IoError> {
        self.fail(format!("`{part}` is nothing that a single row can answer"))
    }

    fn at(&self, parsed: &SqlExpr, depth: usize) -> Result<Expr, IoError> {
        if depth > MAX_DEPTH {
            return self.fail("it is nested too deeply".into());
        }
        let of = |inner: &SqlExpr| self.at(inner, depth + 1);
        let boxed = |inner: &SqlExpr| of(inner).map(Box::new);
        Ok(match parsed {
            SqlExpr::Identifier(name) => self.column(&name.value, name.quote_style.is_some())?,
            // There are no tables here, so a dotted name can only be a column with a dot.
            SqlExpr::CompoundIdentifier(parts) => {
                let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
                self.column(&name, false)?
            }
            SqlExpr::Nested(inner) => of(inner)?,
            SqlExpr::Value(value) => self.literal(&value.value)?,
            SqlExpr::UnaryOp { op, expr } => self.unary(*op, expr, depth)?,
            // A quotient is a quotient: whether a file's counts were read as whole numbers or as
            // floats must not decide whether `clicks / views` is 0.25 or 0.
            SqlExpr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
                binary_expr(cast(of(left)?, DataType::Float64), Operator::Divide, of(right)?)
            }
            SqlExpr::BinaryOp { left, op, right } => match operator(op) {
                Some(operator) => binary_expr(of(left)?, operator, of(right)?),
                None => return self.unsupported(parsed),
            },
            SqlExpr::IsDistinctFrom(left, right) => binary_expr(of(left)?, Operator::IsDistinctFrom, of(right)?),
            SqlExpr::IsNotDistinctFrom(left, right) => binary_expr(of(left)?, Operator::IsNotDistinctFrom, of(right)?),
            SqlExpr::IsNull(inner) => Expr::IsNull(boxed(inner)?),
            SqlExpr::IsNotNull(inner) => Expr::IsNotNull(boxed(inner)?),
            SqlExpr::IsTrue(inner) => Expr::IsTrue(boxed(inner)?),
            SqlExpr::IsNotTrue(inner) => Expr::IsNotTrue(boxed(inner)?),
            SqlExpr::IsFalse(inner) => Expr::IsFalse(boxed(inner)?),
            SqlExpr::IsNotFalse(inner) => Expr::IsNotFalse(boxed(inner)?),
            SqlExpr::IsUnknown(inner) => Expr::IsUnknown(boxed(inner)?),
            SqlExpr::IsNotUnknown(inner) => Expr::IsNotUnknown(boxed(inner)?),
            SqlExpr::Between { expr, negated, low, high } => {
                Expr::Between(Between::new(boxed(expr)?, *negated, boxed(low)?, boxed(high)?))
            }
            SqlExpr::InList { expr, list, negated } => {
                let list = list.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                Expr::InList(InList::new(boxed(expr)?, list, *negated))
            }
            SqlExpr::Case { .. } => self.case(parsed, depth)?,
            SqlExpr::Function(call) => self.call(call, depth)?,
            SqlExpr::Exists { subquery: query, .. }
            | SqlExpr::Subquery(query)
            | SqlExpr::InSubquery { subquery: query, .. } => {
                return self.refuse(query.to_string(), Refused::Subquery);
            }
            _ => self.text_or_type(parsed, depth)?,
        })
    }

    /// Patterns, casts, times and the functions that SQL writes in words.
    fn text_or_type(&self, parsed: &SqlExpr, depth: usize) -> Result<Expr, IoError> {
        let of = |inner: &SqlExpr| self.at(inner, depth + 1);
        Ok(match parsed {
            SqlExpr::Like { negated, any: false, expr, pattern, escape_char } => {
                Expr::Like(self.like(*negated, of(expr)?, of(pattern)?, escape_char.as_ref(), false)?)
            }
            SqlExpr::ILike { negated, any: false, expr, pattern, escape_char } => {
                Expr::Like(self.like(*negated, of(expr)?, of(pattern)?, escape_char.as_ref(), true)?)
            }
            SqlExpr::SimilarTo { negated, expr, pattern, escape_char } => {
                Expr::SimilarTo(self.like(*negated, of(expr)?, of(pattern)?, escape_char.as_ref(), false)?)
            }
            SqlExpr::Cast { kind, expr, data_type, array: false, format: None } => {
                let to = self.data_type(data_type)?;
                match kind {
                    CastKind::Cast | CastKind::DoubleColon => cast(of(expr)?, to),
                    CastKind::TryCast | CastKind::SafeCast => try_cast(of(expr)?, to),
                }
            }
            SqlExpr::TypedString(typed) => cast(self.literal(&typed.value.value)?, self.data_type(&typed.data_type)?),
            SqlExpr::Interval(interval) => self.interval(interval)?,
            SqlExpr::Extract { field, expr, .. } => {
                self.named("date_part", vec![lit(field.to_string().to_lowercase()), of(expr)?], parsed)?
            }
            SqlExpr::Ceil { expr, field } => self.rounded("ceil", of(expr)?, field, parsed)?,
            SqlExpr::Floor { expr, field } => self.rounded("floor", of(expr)?, field, parsed)?,
            SqlExpr::Position { expr, r#in } => self.named("strpos", vec![of(r#in)?, of(expr)?], parsed)?,
            SqlExpr::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![of(expr)?];
                arguments.push(substring_from.as_deref().map_or_else(|| Ok(lit(1i64)), of)?);
                arguments.extend(substring_for.as_deref().map(of).transpose()?);
                self.named("substr", arguments, parsed)?
            }
            SqlExpr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let mut arguments = vec![of(expr)?];
                arguments.extend(trim_what.as_deref().map(of).transpose()?);
                arguments.extend(trim_characters.iter().flatten().map(of).collect::<Result<Vec<_>, _>>()?);
                self.named(name, arguments, parsed)?
            }
            _ => return self.unsupported(parsed),
        })
    }

    fn column(&self, name: &str, quoted: bool) -> Result<Expr, IoError> {
        if self.columns.iter().any(|field| field.name() == name) {
            return Ok(Expr::Column(Column::new_unqualified(name)));
        }
        let available: Vec<String> = self.columns.iter().map(|field| field.name().clone()).collect();
        Err(IoError::SqlColumn {
            what: self.what.to_owned(),
            column: name.to_owned(),
            closest: closest_name(name, &available).map(str::to_owned),
            available,
            quoted,
        })
    }

    fn literal(&self, value: &Value) -> Result<Expr, IoError> {
        Ok(match value {
            Value::Number(text, _) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => lit(whole),
                (_, Ok(number)) => lit(number),
                _ => return self.fail(format!("'{text}' is not a number")),
            },
            Value::Boolean(value) => lit(*value),
            Value::Null => Expr::Literal(ScalarValue::Null, None),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => lit(text.as_str()),
            other => return self.unsupported(other),
        })
    }

    fn unary(&self, op: UnaryOperator, inner: &SqlExpr, depth: usize) -> Result<Expr, IoError> {
        // The smallest whole number has no positive twin.
        if let (UnaryOperator::Minus, SqlExpr::Value(value)) = (op, inner)
            && let Value::Number(text, long) = &value.value
        {
            return self.literal(&Value::Number(format!("-{text}"), *long));
        }
        let expr = self.at(inner, depth + 1)?;
        Ok(match op {
            UnaryOperator::Not => Expr::Not(Box::new(expr)),
            UnaryOperator::Minus => Expr::Negative(Box::new(expr)),
            UnaryOperator::Plus => expr,
            other => return self.unsupported(&other),
        })
    }

    fn case(&self, parsed: &SqlExpr, depth: usize) -> Result<Expr, IoError> {
        let SqlExpr::Case { operand, conditions, else_result, .. } = parsed else {
            return self.unsupported(parsed);
        };
        let boxed = |inner: &SqlExpr| self.at(inner, depth + 1).map(Box::new);
        let operand = operand.as_deref().map(boxed).transpose()?;
        let mut branches = Vec::with_capacity(conditions.len());
        for branch in conditions {
            branches.push((boxed(&branch.condition)?, boxed(&branch.result)?));
        }
        let otherwise = else_result.as_deref().map(boxed).transpose()?;
        Ok(Expr::Case(Case::new(operand, branches, otherwise)))
    }

    fn call(&self, call: &Function, depth: usize) -> Result<Expr, IoError> {
        if call.over.is_some() {
            return self.refuse(call.to_string(), Refused::Window);
        }
        let name = call.name.to_string();
        let function = self.functions.find(self.what, name.trim_matches('"'), &call.to_string())?;
        let plain = call.filter.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
        let mut arguments = Vec::new();
        match &call.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => return self.refuse(query.to_string(), Refused::Subquery),
            FunctionArguments::List(list) => {
                if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
                    return self.unsupported(call);
                }
                for argument in &list.args {
                    let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                        return self.unsupported(call);
                    };
                    arguments.push(self.at(argument, depth + 1)?);
                }
            }
        }
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments)))
    }

    /// A function that SQL writes in words of its own.
    fn named(&self, name: &str, arguments: Vec<Expr>, parsed: &SqlExpr) -> Result<Expr, IoError> {
        let function = self.functions.find(self.what, name, &parsed.to_string())?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments)))
    }

    fn rounded(&self, name: &str, inner: Expr, kind: &CeilFloorKind, parsed: &SqlExpr) -> Result<Expr, IoError> {
        match kind {
            CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => self.named(name, vec![inner], parsed),
            _ => self.unsupported(parsed),
        }
    }

    fn like(
        &self,
        negated: bool,
        expr: Expr,
        pattern: Expr,
        escape: Option<&ast::ValueWithSpan>,
        case_insensitive: bool,
    ) -> Result<Like, IoError> {
        let escape = match escape.map(|escape| &escape.value) {
            None => None,
            Some(Value::SingleQuotedString(text)) if text.chars().count() == 1 => text.chars().next(),
            Some(_) => return self.fail("an escape is one character in single quotes".into()),
        };
        Ok(Like::new(negated, Box::new(expr), Box::new(pattern), escape, case_insensitive))
    }

    /// `INTERVAL '3 days'` or `INTERVAL '3' DAY`.
    fn interval(&self, interval: &ast::Interval) -> Result<Expr, IoError> {
        let text = match interval.value.as_ref() {
            SqlExpr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
                _ => return self.unsupported(interval),
            },
            _ => return self.unsupported(interval),
        };
        let unit = interval.leading_field.as_ref().map_or(String::new(), |field| format!(" {field}"));
        match parse_interval_month_day_nano(&format!("{text}{unit}")) {
            Ok(value) => Ok(lit(ScalarValue::IntervalMonthDayNano(Some(value)))),
            Err(_) => self.fail(format!("'{text}{unit}' is not an interval")),
        }
    }

    fn data_type(&self, sql: &SqlType) -> Result<DataType, IoError> {
        Ok(match sql {
            SqlType::Boolean | SqlType::Bool => DataType::Boolean,
            SqlType::TinyInt(_) => DataType::Int8,
            SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
            SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
            SqlType::BigInt(_) | SqlType::Int8(_) | SqlType::Int64 => DataType::Int64,
            SqlType::Real | SqlType::Float4 | SqlType::Float32 => DataType::Float32,
            SqlType::Float(ExactNumberInfo::None) => DataType::Float32,
            SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float64 => DataType::Float64,
            SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => match *info {
                ExactNumberInfo::None => DataType::Decimal128(38, 10),
                ExactNumberInfo::Precision(precision @ 1..=38) => DataType::Decimal128(precision as u8, 0),
                ExactNumberInfo::PrecisionAndScale(precision @ 1..=38, scale @ 0..=38) => {
                    DataType::Decimal128(precision as u8, scale as i8)
                }
                _ => return self.fail(format!("`{sql}` has more than 38 digits")),
            },
            SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) | SqlType::Char(_) | SqlType::Character(_) => {
                DataType::Utf8
            }
            SqlType::Date | SqlType::Date32 => DataType::Date32,
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | SqlType::Datetime(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            other => return self.fail(format!("`{other}` is no type of a number, text or time")),
        })
    }
}

fn operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Modulo => Operator::Modulo,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::StringConcat => Operator::StringConcat,
        BinaryOperator::BitwiseAnd => Operator::BitwiseAnd,
        BinaryOperator::BitwiseOr => Operator::BitwiseOr,
        BinaryOperator::BitwiseXor | BinaryOperator::PGBitwiseXor => Operator::BitwiseXor,
        BinaryOperator::PGBitwiseShiftLeft => Operator::BitwiseShiftLeft,
        BinaryOperator::PGBitwiseShiftRight => Operator::BitwiseShiftRight,
        BinaryOperator::PGRegexMatch => Operator::RegexMatch,
        BinaryOperator::PGRegexIMatch => Operator::RegexIMatch,
        BinaryOperator::PGRegexNotMatch => Operator::RegexNotMatch,
        BinaryOperator::PGRegexNotIMatch => Operator::RegexNotIMatch,
        _ => return None,
    })
}
