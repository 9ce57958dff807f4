//! Conditions of `--fail-if`: `[outcome/arm:] metric[.field] operator number`.

use impactiq_data::error::{closest_name, shorten};
use impactiq_metrics::Estimate;

use crate::exit::{Failure, Outcome};
use crate::output::number::plain;

/// A contrast's metrics by name, as conditions see them.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The outcome's column.
    pub outcome: &'a str,
    /// The arm that is compared with control.
    pub arm: &'a str,
    /// Metrics in order.
    pub metrics: Vec<(&'a str, &'a Estimate)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Value,
    Lower,
    Upper,
    StdError,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A condition under which a run counts as failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    contrast: Option<(String, String)>,
    metric: String,
    field: Field,
    operator: Operator,
    number: f64,
}

/// What a condition said about a contrast.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The condition as written.
    pub condition: String,
    /// The outcome and arm it was tested on.
    pub contrast: String,
    /// True when the run fails by it.
    pub failed: bool,
    /// The value compared, or why there is none.
    pub found: String,
}

const SYNTAX: &str = "write e.g. --fail-if \"rate_autoc.lower <= 0\" or --fail-if \"visit/1: uplift_at_10 < 0.02\"";

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// A [`Failure`] that shows the form a condition has.
    pub fn parse(text: &str) -> Outcome<Self> {
        let wrong = |why: &str| Failure::new(format!("'{text}' is not a condition: {why}"), SYNTAX).at("--fail-if");
        let (contrast, rest) = match text.split_once(':') {
            None => (None, text),
            Some((contrast, rest)) => {
                let (outcome, arm) = contrast.split_once('/').ok_or_else(|| wrong("before ':' stands outcome/arm"))?;
                (Some((outcome.trim().to_owned(), arm.trim().to_owned())), rest)
            }
        };
        let start = rest.find(['<', '>', '=', '!']).ok_or_else(|| wrong("it has no <, <=, >, >=, == or !="))?;
        let (name, comparison) = rest.split_at(start);
        let length = comparison.chars().take_while(|c| matches!(c, '<' | '>' | '=' | '!')).count();
        let (operator, number) = comparison.split_at(length);
        let operator = match operator {
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "=" | "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            _ => return Err(wrong("it has no <, <=, >, >=, == or !=")),
        };
        let number = number.trim();
        let number = match number.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            _ => return Err(wrong(&format!("'{number}' is not a number"))),
        };
        let name = name.trim();
        let (metric, field) = match name.rsplit_once('.') {
            None => (name, Field::Value),
            Some((metric, field)) => (
                metric,
                match field {
                    "value" => Field::Value,
                    "lower" => Field::Lower,
                    "upper" => Field::Upper,
                    "std_error" => Field::StdError,
                    _ => return Err(wrong(&format!("'.{field}' is none of .value, .lower, .upper, .std_error"))),
                },
            ),
        };
        if metric.is_empty() {
            return Err(wrong("it names no metric"));
        }
        let metric = metric.to_owned();
        Ok(Condition { text: text.trim().to_owned(), contrast, metric, field, operator, number })
    }

    /// Tests every contrast the condition speaks of. A value that is undefined fails: a gate
    /// that cannot be read is not open.
    ///
    /// # Errors
    /// A [`Failure`] for a contrast or metric that does not exist.
    pub fn test(&self, measured: &[Measured<'_>]) -> Outcome<Vec<Verdict>> {
        let meant: Vec<&Measured<'_>> = measured
            .iter()
            .filter(|m| self.contrast.as_ref().is_none_or(|(outcome, arm)| m.outcome == outcome && m.arm == arm))
            .collect();
        if meant.is_empty() {
            let names: Vec<String> = measured.iter().map(|m| format!("{}/{}", m.outcome, m.arm)).collect();
            return Err(Failure::new(
                format!("'{}' speaks of a contrast that was not evaluated", self.text),
                format!("the contrasts are: {}", shorten(&names, 20)),
            )
            .at("--fail-if"));
        }
        meant.into_iter().map(|m| self.verdict(m)).collect()
    }

    fn verdict(&self, measured: &Measured<'_>) -> Outcome<Verdict> {
        let estimate = measured.metrics.iter().find(|(name, _)| *name == self.metric).map(|(_, estimate)| *estimate);
        let Some(estimate) = estimate else {
            let names: Vec<String> = measured.metrics.iter().map(|(name, _)| (*name).to_owned()).collect();
            let hint = match closest_name(&self.metric, &names) {
                Some(name) => format!("did you mean '{name}'?"),
                None => format!("the metrics are: {}", shorten(&names, 40)),
            };
            return Err(Failure::new(format!("there is no metric '{}'", self.metric), hint).at("--fail-if"));
        };
        let value = match self.field {
            Field::Value => estimate.value(),
            Field::Lower => estimate.lower(),
            Field::Upper => estimate.upper(),
            Field::StdError => estimate.std_error(),
        };
        let failed = value.is_none_or(|value| match self.operator {
            Operator::Less => value < self.number,
            Operator::LessOrEqual => value <= self.number,
            Operator::Greater => value > self.number,
            Operator::GreaterOrEqual => value >= self.number,
            Operator::Equal => value == self.number,
            Operator::NotEqual => value != self.number,
        });
        let found = match value {
            Some(value) => plain(value),
            None => format!("undefined ({})", estimate.reason().unwrap_or("it has no interval")),
        };
        let contrast = format!("{}/{}", measured.outcome, measured.arm);
        Ok(Verdict { condition: self.text.clone(), contrast, failed, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(text: &str, estimate: &Estimate) -> Outcome<Vec<bool>> {
        let measured = |outcome, arm| Measured { outcome, arm, metrics: vec![("rate_autoc", estimate)] };
        let verdicts = Condition::parse(text)?.test(&[measured("visit", "1"), measured("visit", "2")])?;
        Ok(verdicts.into_iter().map(|verdict| verdict.failed).collect())
    }

    #[test]
    fn conditions_compare_the_field_they_name() {
        let estimate = Estimate::new(0.5, 0.1, 10);
        assert_eq!(test("rate_autoc.lower <= 0", &estimate).unwrap(), [false, false]);
        assert_eq!(test("rate_autoc<0.6", &estimate).unwrap(), [true, true]);
        assert_eq!(test("visit/2: rate_autoc.upper > 0.6", &estimate).unwrap(), [true]);
        assert_eq!(test("rate_autoc.std_error != 1e-1", &estimate).unwrap(), [false, false]);
    }

    #[test]
    fn what_is_undefined_fails() {
        assert_eq!(test("rate_autoc > 5", &Estimate::undefined("no rows")).unwrap(), [true, true]);
        assert_eq!(test("rate_autoc.lower > 5", &Estimate::point(1.0, 3)).unwrap(), [true, true]);
    }

    #[test]
    fn slips_are_answered() {
        let estimate = Estimate::point(1.0, 1);
        for text in ["rate_autoc", "rate_autoc < x", "rate_autoc.mean < 1", "< 1", "visit: a < 1", "a <> 1"] {
            assert!(Condition::parse(text).unwrap_err().hint.unwrap().contains("--fail-if"), "{text}");
        }
        assert_eq!(test("rate_autc < 1", &estimate).unwrap_err().hint.unwrap(), "did you mean 'rate_autoc'?");
        assert!(test("spend/1: rate_autoc < 1", &estimate).unwrap_err().hint.unwrap().contains("visit/1, visit/2"));
    }
}
