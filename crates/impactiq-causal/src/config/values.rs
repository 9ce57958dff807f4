//! Values of the config that can be written in more than one way: a scalar of any type, one
//! name or a list of them, a probability as number, table or column, and ordered SQL features.

use std::borrow::Cow;
use std::fmt;

use impactiq_data::column::number_text;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value as text, whether it was written as text, a number or true/false (1/0).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a number")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Scalar, E> {
        Ok(Scalar(v.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Scalar, E> {
        Ok(Scalar(v.to_string()))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Scalar, E> {
        Ok(Scalar(v.to_string()))
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Scalar, E> {
        Ok(Scalar(number_text(v)))
    }

    // A boolean column is read as 0 and 1.
    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Scalar, E> {
        Ok(Scalar(u8::from(v).to_string()))
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// One name, or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Names, E> {
        Ok(Names(vec![v.to_owned()]))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Names, E> {
        Ok(Names(vec![v.to_string()]))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Names, E> {
        Ok(Names(vec![v.to_string()]))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(Scalar(name)) = seq.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// The declared probability of assignment.
#[derive(Clone, Debug, PartialEq)]
pub enum Probability {
    /// Of the treated arm; two arms only.
    Number(f64),
    /// Per arm label, the control included or left to be the rest.
    PerArm(Vec<(String, f64)>),
    /// Of the treated arm, in a column; two arms only.
    Column(String),
}

impl Serialize for Probability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Probability::Number(p) => serializer.serialize_f64(*p),
            Probability::Column(name) => serializer.serialize_str(name),
            Probability::PerArm(arms) => {
                let mut map = serializer.serialize_map(Some(arms.len()))?;
                for (arm, p) in arms {
                    map.serialize_entry(arm, p)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProbabilityVisitor)
    }
}

struct ProbabilityVisitor;

impl<'de> Visitor<'de> for ProbabilityVisitor {
    type Value = Probability;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probability, a table {arm: probability} or a column name")
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Probability, E> {
        Ok(Probability::Number(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Probability, E> {
        Ok(Probability::Number(v as f64))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Probability, E> {
        Ok(Probability::Number(v as f64))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Probability, E> {
        Ok(Probability::Column(v.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Probability, A::Error> {
        let mut arms: Vec<(String, f64)> = Vec::new();
        while let Some((Scalar(arm), p)) = map.next_entry::<Scalar, f64>()? {
            arms.push((arm, p));
        }
        Ok(Probability::PerArm(arms))
    }
}

impl JsonSchema for Probability {
    fn schema_name() -> Cow<'static, str> {
        "Probability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 },
            { "type": "object", "additionalProperties": { "type": "number" } },
            { "type": "string" }
        ] })
    }
}

/// Quantiles at which outcomes are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Winsorise {
    /// The lower quantile; 0: nothing is cut there.
    pub lower: f64,
    /// The upper quantile; 1: nothing is cut there.
    pub upper: f64,
}

impl Serialize for Winsorise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.lower, self.upper].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Winsorise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WinsoriseVisitor)
    }
}

struct WinsoriseVisitor;

impl<'de> Visitor<'de> for WinsoriseVisitor {
    type Value = Winsorise;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two quantiles [lower, upper], or the upper one")
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Winsorise, E> {
        Ok(Winsorise { lower: 0.0, upper: v })
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Winsorise, E> {
        self.visit_f64(v as f64)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Winsorise, E> {
        self.visit_f64(v as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Winsorise, A::Error> {
        let (lower, upper) = (seq.next_element()?, seq.next_element()?);
        match (lower, upper, seq.next_element::<f64>()?) {
            (Some(lower), Some(upper), None) => Ok(Winsorise { lower, upper }),
            _ => Err(de::Error::invalid_length(3, &self)),
        }
    }
}

impl JsonSchema for Winsorise {
    fn schema_name() -> Cow<'static, str> {
        "Winsorise".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "array", "items": { "type": "number", "minimum": 0, "maximum": 1 }, "minItems": 2, "maxItems": 2 }
        ] })
    }
}

/// Derived features in the order they were written: name and SQL expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DerivedFeatures(pub Vec<(String, String)>);

impl DerivedFeatures {
    /// Names in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Serialize for DerivedFeatures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, sql) in &self.0 {
            map.serialize_entry(name, sql)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for DerivedFeatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DerivedVisitor)
    }
}

struct DerivedVisitor;

impl<'de> Visitor<'de> for DerivedVisitor {
    type Value = DerivedFeatures;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table {name: SQL expression}")
    }

    fn visit_unit<E: de::Error>(self) -> Result<DerivedFeatures, E> {
        Ok(DerivedFeatures::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DerivedFeatures, A::Error> {
        let mut features = Vec::new();
        while let Some((name, Scalar(sql))) = map.next_entry::<String, Scalar>()? {
            features.push((name, sql));
        }
        Ok(DerivedFeatures(features))
    }
}

impl JsonSchema for DerivedFeatures {
    fn schema_name() -> Cow<'static, str> {
        "DerivedFeatures".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
