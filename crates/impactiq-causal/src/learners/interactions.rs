//! The key `interactions`: how many products of features a linear effect may take up. How they are chosen is the
//! business of the final stage.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CausalError;

/// Products at most when the word is `auto`.
const AUTO: u32 = 5;

/// Products at most, whatever is asked for.
const MOST: u32 = 20;

/// `auto`, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interactions {
    /// Five at most.
    Auto,
    /// At most so many.
    Most(u32),
}

impl Interactions {
    /// Products at most.
    pub fn most(self) -> usize {
        match self {
            Interactions::Auto => AUTO as usize,
            Interactions::Most(n) => n as usize,
        }
    }

    /// Checks the range.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`].
    pub(super) fn check(self) -> Result<(), CausalError> {
        match self {
            Interactions::Most(n) if !(1..=MOST).contains(&n) => {
                let allowed = format!("it must be auto or between 1 and {MOST}");
                Err(CausalError::setting("learner.interactions", n, allowed))
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Interactions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Interactions::Auto => serializer.serialize_str("auto"),
            Interactions::Most(n) => serializer.serialize_u32(*n),
        }
    }
}

impl<'de> Deserialize<'de> for Interactions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Interactions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "auto or a number of interactions between 1 and {MOST}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Interactions, E> {
                match text {
                    "auto" => Ok(Interactions::Auto),
                    _ => text
                        .parse()
                        .map(Interactions::Most)
                        .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Interactions, E> {
                Ok(Interactions::Most(u32::try_from(n).unwrap_or(u32::MAX)))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Interactions, E> {
                u64::try_from(n)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
                    .and_then(|n| self.visit_u64(n))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

impl JsonSchema for Interactions {
    fn schema_name() -> Cow<'static, str> {
        "Interactions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": "auto" },
            { "type": "integer", "minimum": 1, "maximum": MOST },
        ] })
    }
}
