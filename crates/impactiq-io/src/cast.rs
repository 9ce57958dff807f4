//! Typed casting: any Arrow column to the raw type a model was trained with, and batches
//! to tables.
//!
//! The manifest keeps each raw column's type; files, JSON rows, Arrow batches and streams
//! are all cast here (cell by cell with the rules of `value`), so that the same row has the
//! same bits whichever door it came through. A cell that does not fit is a [`RowError`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBuilder, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field as ArrowField, Float32Type, Float64Type, Int64Type,
    Schema as ArrowSchema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt64Type,
};
use impactiq_data::{Column, DataError, Field, MISSING_LEVEL, RawType, Schema, Table};

use crate::error::{IoError, RowError};
use crate::value::{Cell, INFINITE, Misfit};

/// The Arrow type in which a raw type is held: features and filters see these and no others.
pub fn arrow_type(raw: RawType) -> DataType {
    match raw {
        RawType::Boolean => DataType::Boolean,
        RawType::Integer => DataType::Int64,
        RawType::Float32 => DataType::Float32,
        RawType::Float64 => DataType::Float64,
        RawType::Text => DataType::Utf8,
        RawType::Date => DataType::Date32,
        RawType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// The raw type of an Arrow type; `None` for lists, structs, bytes, times of day and spans.
pub fn raw_type(arrow: &DataType) -> Option<RawType> {
    Some(match arrow {
        DataType::Boolean => RawType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => RawType::Integer,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => RawType::Integer,
        DataType::Float16 | DataType::Float32 => RawType::Float32,
        DataType::Float64 | DataType::Null => RawType::Float64,
        DataType::Decimal32(..) | DataType::Decimal64(..) => RawType::Float64,
        DataType::Decimal128(..) | DataType::Decimal256(..) => RawType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => RawType::Text,
        DataType::Date32 | DataType::Date64 => RawType::Date,
        DataType::Timestamp(..) => RawType::Timestamp,
        DataType::Dictionary(_, values) => return raw_type(values),
        DataType::RunEndEncoded(_, values) => return raw_type(values.data_type()),
        _ => return None,
    })
}

/// The Arrow schema of a schema; every column may be missing.
pub fn arrow_schema(schema: &Schema) -> ArrowSchema {
    ArrowSchema::new(schema.fields().iter().map(arrow_field).collect::<Vec<_>>())
}

pub(crate) fn arrow_field(field: &Field) -> ArrowField {
    ArrowField::new(&field.name, arrow_type(field.raw_type), true)
}

/// A cell that did not fit; its place in the array is null.
#[derive(Debug)]
pub(crate) struct BadCell {
    pub row: usize,
    pub value: String,
    pub reason: Misfit,
}

/// An array of a raw type's Arrow type, and what did not fit.
#[derive(Debug)]
pub(crate) struct Built {
    pub array: ArrayRef,
    pub bad: Vec<BadCell>,
}

impl Built {
    fn whole(array: ArrayRef) -> Self {
        Built { array, bad: Vec::new() }
    }
}

/// Builds a column of a raw type from cells.
pub(crate) fn build<'a>(to: RawType, n: usize, cells: impl Iterator<Item = Cell<'a>>) -> Built {
    match to {
        RawType::Boolean => build_boolean(n, cells),
        RawType::Integer => build_primitive::<Int64Type>(n, cells, Cell::to_integer),
        RawType::Float32 => build_primitive::<Float32Type>(n, cells, Cell::to_number32),
        RawType::Float64 => build_primitive::<Float64Type>(n, cells, Cell::to_number),
        RawType::Date => build_primitive::<Date32Type>(n, cells, Cell::to_date),
        RawType::Timestamp => build_primitive::<TimestampMicrosecondType>(n, cells, Cell::to_timestamp),
        RawType::Text => build_text(n, cells),
    }
}

fn build_primitive<'a, T: ArrowPrimitiveType>(
    n: usize,
    cells: impl Iterator<Item = Cell<'a>>,
    convert: impl Fn(Cell<'a>) -> Result<Option<T::Native>, Misfit>,
) -> Built {
    let mut values: Vec<T::Native> = Vec::with_capacity(n);
    let mut valid: Vec<bool> = Vec::new();
    let mut bad = Vec::new();
    for (row, cell) in cells.enumerate() {
        let value = convert(cell).unwrap_or_else(|reason| {
            bad.push(BadCell { row, value: cell.shown(), reason });
            None
        });
        if value.is_none() && valid.is_empty() {
            valid.reserve(n);
            valid.resize(row, true);
        }
        if value.is_none() || !valid.is_empty() {
            valid.push(value.is_some());
        }
        values.push(value.unwrap_or_default());
    }
    let nulls = (!valid.is_empty()).then(|| valid.into());
    Built { array: Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)), bad }
}

fn build_boolean<'a>(n: usize, cells: impl Iterator<Item = Cell<'a>>) -> Built {
    let mut builder = BooleanBuilder::with_capacity(n);
    let mut bad = Vec::new();
    for (row, cell) in cells.enumerate() {
        builder.append_option(cell.to_boolean().unwrap_or_else(|reason| {
            bad.push(BadCell { row, value: cell.shown(), reason });
            None
        }));
    }
    Built { array: Arc::new(builder.finish()), bad }
}

fn build_text<'a>(n: usize, cells: impl Iterator<Item = Cell<'a>>) -> Built {
    let mut builder = StringBuilder::with_capacity(n, n * 8);
    let mut bad = Vec::new();
    for (row, cell) in cells.enumerate() {
        match cell.to_text() {
            Ok(text) => builder.append_option(text),
            Err(reason) => {
                bad.push(BadCell { row, value: cell.shown(), reason });
                builder.append_null();
            }
        }
    }
    Built { array: Arc::new(builder.finish()), bad }
}

/// Casts an Arrow column; `None` when its type is neither number, text nor time.
///
/// NaN and empty text become null; infinite values stay, for whoever knows whether the
/// row is kept at all.
pub(crate) fn cast_array(array: &ArrayRef, to: RawType) -> Option<Built> {
    raw_type(array.data_type())?;
    if let Some(same) = unchanged(array, to) {
        return Some(Built::whole(same));
    }
    let n = array.len();
    let plain = |target: &DataType| compute::cast(array, target).ok();
    // One instance of the builders for all of these: they are off the hot paths.
    let build = |cells: &mut dyn Iterator<Item = Cell<'_>>| build(to, n, cells);
    Some(match array.data_type() {
        DataType::Null => Built::whole(new_null_array(&arrow_type(to), n)),
        DataType::Boolean => build(&mut array.as_boolean().iter().map(|v| v.map_or(Cell::Missing, Cell::Boolean))),
        DataType::Int64 => build(&mut cells(array.as_primitive::<Int64Type>(), Cell::Integer)),
        DataType::UInt64 => build(&mut cells(array.as_primitive::<UInt64Type>(), |v| {
            i64::try_from(v).map_or(Cell::Large(v), Cell::Integer)
        })),
        DataType::Float32 => build(&mut cells(array.as_primitive::<Float32Type>(), Cell::Float32)),
        DataType::Float64 => build(&mut cells(array.as_primitive::<Float64Type>(), Cell::Float64)),
        DataType::Utf8 => build(&mut texts(array, |text| Cell::String(text))),
        DataType::Date32 => build(&mut cells(array.as_primitive::<Date32Type>(), Cell::Date)),
        DataType::Timestamp(unit, _) => build_from_moments(array, *unit, &build),
        DataType::Decimal128(_, scale) => build(&mut decimals(array, *scale)),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
            return cast_array(&plain(&DataType::Decimal128(38, *scale))?, to);
        }
        // 256-bit decimals go through their text, which rounds once.
        DataType::Decimal256(..) => build(&mut texts(&plain(&DataType::Utf8)?, |text| Cell::Text(text))),
        DataType::Dictionary(_, values) => return cast_array(&plain(values)?, to),
        DataType::RunEndEncoded(_, values) => return cast_array(&plain(values.data_type())?, to),
        DataType::LargeUtf8 | DataType::Utf8View => return cast_array(&plain(&DataType::Utf8)?, to),
        DataType::Float16 => return cast_array(&plain(&DataType::Float32)?, to),
        DataType::Date64 => return cast_array(&plain(&DataType::Date32)?, to),
        _ => return cast_array(&plain(&DataType::Int64)?, to),
    })
}

/// The array itself where nothing needs to change.
fn unchanged(array: &ArrayRef, to: RawType) -> Option<ArrayRef> {
    if *array.data_type() != arrow_type(to) {
        return None;
    }
    let clean = match to {
        RawType::Float32 => !array.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
        RawType::Float64 => !array.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
        RawType::Text => {
            let text = array.as_string::<i32>();
            !(0..text.len()).any(|row| text.is_valid(row) && text.value_length(row) == 0)
        }
        _ => true,
    };
    clean.then(|| Arc::clone(array))
}

fn cells<'a, T: ArrowPrimitiveType>(
    array: &'a PrimitiveArray<T>,
    cell: impl Fn(T::Native) -> Cell<'static> + 'a,
) -> impl Iterator<Item = Cell<'a>> + 'a {
    array.iter().map(move |value| value.map_or(Cell::Missing, &cell))
}

fn texts(array: &ArrayRef, cell: fn(&str) -> Cell<'_>) -> impl Iterator<Item = Cell<'_>> {
    array.as_string::<i32>().iter().map(move |value| value.map_or(Cell::Missing, cell))
}

fn build_from_moments(
    array: &ArrayRef,
    unit: TimeUnit,
    build: &dyn Fn(&mut dyn Iterator<Item = Cell<'_>>) -> Built,
) -> Built {
    // A second count too large for microseconds is no moment we can hold: it is told as a number.
    let scaled = |factor: i64| {
        move |v: i64| v.checked_mul(factor).map_or(Cell::Float64(v as f64 * factor as f64), Cell::Timestamp)
    };
    match unit {
        TimeUnit::Second => build(&mut cells(array.as_primitive::<TimestampSecondType>(), scaled(1_000_000))),
        TimeUnit::Millisecond => build(&mut cells(array.as_primitive::<TimestampMillisecondType>(), scaled(1_000))),
        TimeUnit::Microsecond => build(&mut cells(array.as_primitive::<TimestampMicrosecondType>(), Cell::Timestamp)),
        TimeUnit::Nanosecond => {
            build(&mut cells(array.as_primitive::<TimestampNanosecondType>(), |v| Cell::Timestamp(v.div_euclid(1_000))))
        }
    }
}

/// Decimals as correctly rounded floats: up to 2^53 and 22 places one division rounds once,
/// the rest goes through text.
fn decimals(array: &ArrayRef, scale: i8) -> impl Iterator<Item = Cell<'_>> {
    let power = (0..=22).contains(&scale).then(|| 10f64.powi(i32::from(scale)));
    array.as_primitive::<Decimal128Type>().iter().map(move |value| match (value, power) {
        (None, _) => Cell::Missing,
        (Some(value), Some(power)) if value.unsigned_abs() <= 1 << 53 => Cell::Float64(value as f64 / power),
        (Some(value), _) => Cell::Float64(format!("{value}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)),
    })
}

/// Casts the columns of a schema out of a batch; other columns are left out.
///
/// Cells that do not fit, and infinite ones, are null in the result and told as
/// [`RowError`]s in order of row.
///
/// # Errors
/// [`DataError::MissingColumn`] with the closest name, [`DataError::TypeMismatch`] where a
/// whole column is of an unusable type.
pub fn cast(batch: &RecordBatch, schema: &Schema) -> Result<(RecordBatch, Vec<RowError>), IoError> {
    let mut errors = Vec::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(array) = batch.column_by_name(&field.name) else {
            return Err(missing_column(&field.name, batch).into());
        };
        let built = castable(array.data_type(), field.raw_type)
            .then(|| cast_array(array, field.raw_type))
            .flatten()
            .ok_or_else(|| type_mismatch(field, array.data_type()))?;
        columns.push(finite(field, built, &mut errors));
    }
    errors.sort_by_key(|error| error.row);
    Ok((batch_of(arrow_schema(schema), columns, batch.num_rows()), errors))
}

/// Takes infinite values out of a column and adds what did not fit to the errors.
pub(crate) fn finite(field: &Field, built: Built, errors: &mut Vec<RowError>) -> ArrayRef {
    errors.extend(built.bad.into_iter().map(|bad| RowError {
        row: bad.row as u64,
        column: field.name.clone(),
        value: bad.value,
        reason: bad.reason.to_owned(),
    }));
    let infinite = infinite_rows(&built.array);
    if infinite.is_empty() {
        return built.array;
    }
    errors.extend(infinite.iter().map(|&row| RowError {
        row: row as u64,
        column: field.name.clone(),
        value: float_at(&built.array, row).to_string(),
        reason: INFINITE.to_owned(),
    }));
    let mut keep = vec![false; built.array.len()];
    infinite.iter().for_each(|&row| keep[row] = true);
    let mask = BooleanArray::from(keep);
    compute::nullif(&built.array, &mask).unwrap_or(built.array)
}

/// Rows with an infinite value.
pub(crate) fn infinite_rows(array: &ArrayRef) -> Vec<usize> {
    fn rows<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, infinite: impl Fn(T::Native) -> bool) -> Vec<usize> {
        if !array.values().iter().any(|&value| infinite(value)) {
            return Vec::new();
        }
        (0..array.len()).filter(|&row| array.is_valid(row) && infinite(array.value(row))).collect()
    }
    match array.data_type() {
        DataType::Float32 => rows(array.as_primitive::<Float32Type>(), f32::is_infinite),
        DataType::Float64 => rows(array.as_primitive::<Float64Type>(), f64::is_infinite),
        _ => Vec::new(),
    }
}

pub(crate) fn float_at(array: &ArrayRef, row: usize) -> f64 {
    match array.data_type() {
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
        _ => f64::NAN,
    }
}

/// Times are never numbers by accident, nor numbers times.
pub(crate) fn castable(from: &DataType, to: RawType) -> bool {
    let is_time = |raw: RawType| matches!(raw, RawType::Date | RawType::Timestamp);
    match raw_type(from) {
        None => false,
        Some(RawType::Text) => true,
        Some(_) if *from == DataType::Null => true,
        Some(raw) => to == RawType::Text || is_time(raw) == is_time(to),
    }
}

pub(crate) fn missing_column(name: &str, batch: &RecordBatch) -> DataError {
    let names: Vec<String> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    DataError::missing_column(name, &names)
}

pub(crate) fn type_mismatch(field: &Field, found: &DataType) -> DataError {
    DataError::TypeMismatch {
        column: field.name.clone(),
        expected: type_name(field.raw_type).to_owned(),
        found: raw_type(found).map_or_else(|| found.to_string(), |raw| type_name(raw).to_owned()),
    }
}

/// A raw type in words.
pub(crate) fn type_name(raw: RawType) -> &'static str {
    match raw {
        RawType::Boolean => "true/false",
        RawType::Integer => "whole numbers",
        RawType::Float32 => "32-bit numbers",
        RawType::Float64 => "numbers",
        RawType::Text => "text",
        RawType::Date => "dates",
        RawType::Timestamp => "moments",
    }
}

/// A batch of arrays that are known to fit the schema.
pub(crate) fn batch_of(schema: ArrowSchema, columns: Vec<ArrayRef>, n_rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).expect("columns were built for this schema")
}

/// Some columns of a batch as a table, in the order asked for.
///
/// Truth values become 1 and 0, dates days, moments microseconds; text becomes categories
/// with levels in order of first appearance.
///
/// # Errors
/// [`DataError::MissingColumn`], [`DataError::TypeMismatch`], [`RowError`] for an infinite value.
pub fn to_table(batch: &RecordBatch, names: &[String]) -> Result<Table, IoError> {
    let mut table = Table::new();
    for name in names {
        let array = batch.column_by_name(name).ok_or_else(|| missing_column(name, batch))?;
        let raw = raw_type(array.data_type()).unwrap_or(RawType::Float64);
        let field = Field { name: name.clone(), raw_type: raw };
        let built = cast_array(array, raw).ok_or_else(|| type_mismatch(&field, array.data_type()))?;
        let mut errors = Vec::new();
        let array = finite(&field, built, &mut errors);
        if let Some(error) = errors.into_iter().next() {
            return Err(error.into());
        }
        table.push(name.clone(), column_of(&array))?;
    }
    Ok(table)
}

/// Whole numbers up to here are `f64`s without loss, so different ones stay different.
const EXACT: u64 = 1 << 53;

/// A column whose values only tell things apart: as [`column_of`], but whole numbers that would
/// be rounded become categories by their decimal text.
pub(crate) fn key_column_of(array: &ArrayRef) -> Column {
    if let Some(numbers) = array.as_primitive_opt::<Int64Type>()
        && numbers.iter().flatten().any(|value| value.unsigned_abs() > EXACT)
    {
        let texts: StringArray = numbers.iter().map(|value| value.map(|value| value.to_string())).collect();
        return categories(&texts);
    }
    column_of(array)
}

/// A column of one of the types of [`arrow_type`] as numbers or categories.
pub(crate) fn column_of(array: &ArrayRef) -> Column {
    fn numbers<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, number: impl Fn(T::Native) -> f64) -> Column {
        if array.null_count() == 0 {
            return Column::Number(array.values().iter().map(|&value| number(value)).collect());
        }
        Column::Number(array.iter().map(|value| value.map_or(f64::NAN, &number)).collect())
    }
    match array.data_type() {
        DataType::Boolean => Column::Number(
            array.as_boolean().iter().map(|value| value.map_or(f64::NAN, |v| f64::from(u8::from(v)))).collect(),
        ),
        DataType::Int64 => numbers(array.as_primitive::<Int64Type>(), |v| v as f64),
        DataType::Float32 => numbers(array.as_primitive::<Float32Type>(), f64::from),
        DataType::Float64 => numbers(array.as_primitive::<Float64Type>(), |v| v),
        DataType::Date32 => numbers(array.as_primitive::<Date32Type>(), f64::from),
        DataType::Timestamp(..) => numbers(array.as_primitive::<TimestampMicrosecondType>(), |v| v as f64),
        _ => categories(array.as_string::<i32>()),
    }
}

fn categories(array: &StringArray) -> Column {
    let mut levels: Vec<String> = Vec::new();
    let mut index: HashMap<&str, u32> = HashMap::new();
    let mut last: Option<(&str, u32)> = None;
    let codes = array
        .iter()
        .map(|value| {
            let Some(text) = value else { return MISSING_LEVEL };
            if let Some((_, code)) = last.filter(|&(before, _)| before == text) {
                return code;
            }
            let code = *index.entry(text).or_insert_with(|| {
                levels.push(text.to_owned());
                levels.len() as u32 - 1
            });
            last = Some((text, code));
            code
        })
        .collect();
    Column::Category { codes, levels }
}
