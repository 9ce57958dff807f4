//! The key `tune`: whether settings are to be chosen, and what that may cost. How they are chosen is the
//! business of `tune`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CausalError;

/// Candidates tried when no number is given.
const TRIALS: u32 = 8;

/// Candidates at most.
const MAX_TRIALS: u32 = 200;

/// How much may be spent on choosing settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Candidates tried at most, the defaults among them.
    pub trials: u32,
    /// No candidate is begun after so many seconds of trying, where the watch has a clock.
    pub seconds: Option<f64>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { trials: TRIALS, seconds: None }
    }
}

/// The key `tune`: `true`, or `{trials: 20, seconds: 60}`, or `false`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tune(pub Option<Budget>);

impl Tune {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], with `section` before the key.
    pub fn check(self, section: &str) -> Result<(), CausalError> {
        let Some(budget) = self.0 else { return Ok(()) };
        if !(1..=MAX_TRIALS).contains(&budget.trials) {
            let allowed = format!("it must be between 1 and {MAX_TRIALS}");
            return Err(CausalError::setting(format!("{section}.tune.trials"), budget.trials, allowed));
        }
        match budget.seconds.filter(|seconds| !(*seconds > 0.0 && seconds.is_finite())) {
            Some(s) => Err(CausalError::setting(format!("{section}.tune.seconds"), s, "it must be a positive number")),
            None => Ok(()),
        }
    }
}

impl Serialize for Tune {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(budget) = self.0 else { return serializer.serialize_bool(false) };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trials", &budget.trials)?;
        if let Some(seconds) = budget.seconds {
            map.serialize_entry("seconds", &seconds)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tune {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TuneVisitor;
        impl<'de> Visitor<'de> for TuneVisitor {
            type Value = Tune;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table {trials: number, seconds: number}")
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Tune, E> {
                Ok(Tune(v.then(Budget::default)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tune, A::Error> {
                let mut budget = Budget::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "trials" => budget.trials = map.next_value()?,
                        "seconds" => budget.seconds = Some(map.next_value()?),
                        other => return Err(de::Error::unknown_field(other, &["trials", "seconds"])),
                    }
                }
                Ok(Tune(Some(budget)))
            }
        }
        deserializer.deserialize_any(TuneVisitor)
    }
}

impl JsonSchema for Tune {
    fn schema_name() -> Cow<'static, str> {
        "Tune".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, {
            "type": "object",
            "properties": {
                "trials": { "type": "integer", "minimum": 1, "maximum": MAX_TRIALS },
                "seconds": { "type": "number", "exclusiveMinimum": 0 },
            },
            "additionalProperties": false,
        }] })
    }
}
