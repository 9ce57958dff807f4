//! The `windows:` section of a stream's configuration, as it is written.

use std::fmt;
use std::path::Path;

use impactiq_data::error::closest_name;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_saphyr::Error as YamlError;

use super::span::Span;
use crate::error::StreamError;

/// Features over windows of a user's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowsConfig {
    /// Column that tells users apart.
    pub user: String,
    /// Column with the event's time.
    pub time: String,
    /// Column with the kind of action.
    #[serde(default = "kind_column")]
    pub kind: String,
    /// Set where the time is a number since 1970; left out, it is a moment like 2026-01-31T12:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
    /// How far behind a user's newest event another may come and still be counted.
    #[serde(default = "one_hour")]
    pub late: Span,
    /// Events kept per user and kind at most; windows that would need more are missing.
    #[serde(default = "ten_thousand")]
    pub max_events: u32,
    /// Features by name, in order.
    #[serde(serialize_with = "as_map", deserialize_with = "in_order")]
    pub features: Vec<(String, FeatureConfig)>,
}

/// The unit of a time that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
}

impl TimeUnit {
    /// Microseconds of one.
    pub const fn micros(self) -> f64 {
        match self {
            TimeUnit::Seconds => 1e6,
            TimeUnit::Milliseconds => 1e3,
            TimeUnit::Microseconds => 1.0,
        }
    }
}

/// One feature: exactly one of `count`, `sum`, `distinct` and `recency`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureConfig {
    /// Number of events of this kind (`"*"`: of any).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// Sum of this column; events without a value add nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<String>,
    /// Number of distinct values of this column; missing is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    /// Seconds since the last event of this kind (`"*"`: of any), missing if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recency: Option<String>,
    /// The kind of event that `sum` and `distinct` look at; left out, any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Length of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Span>,
}

fn kind_column() -> String {
    "kind".into()
}

const fn one_hour() -> Span {
    Span::seconds(3_600)
}

const fn ten_thousand() -> u32 {
    10_000
}

/// A file with the section, whatever else stands in it.
#[derive(Deserialize)]
struct Sections {
    windows: Option<WindowsConfig>,
}

impl WindowsConfig {
    /// Reads the section `windows:` of a configuration; other sections are left alone.
    ///
    /// # Errors
    /// [`StreamError::Yaml`] and [`StreamError::UnknownKey`] with line and column,
    /// [`StreamError::NoSection`].
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, StreamError> {
        let mut options = serde_saphyr::Options::default();
        // A kind called `no` is a name, not false.
        options.strict_booleans = true;
        options.with_snippet = false;
        let sections: Sections =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| located(&error, file))?;
        sections.windows.ok_or_else(|| StreamError::NoSection { file: file.into(), section: "windows" })
    }

    /// Reads the section from a file.
    ///
    /// # Errors
    /// [`StreamError::Read`], and as [`WindowsConfig::from_yaml`].
    pub fn read(path: &Path) -> Result<Self, StreamError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| StreamError::Read { path: path.to_owned(), source })?;
        Self::from_yaml(&text, &path.display().to_string())
    }
}

/// An error of the reader with its place.
pub(crate) fn located(error: &YamlError, file: &str) -> StreamError {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    let file = file.to_owned();
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let allowed: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            let closest = closest_name(field, &allowed).map(str::to_owned);
            StreamError::UnknownKey { file, line, column, key: field.clone(), closest, allowed }
        }
        YamlError::Message { msg, .. } => StreamError::Yaml { file, line, column, problem: msg.clone() },
        error => {
            let text = error.to_string();
            let problem = text.lines().next().unwrap_or_default().to_owned();
            StreamError::Yaml { file, line, column, problem }
        }
    }
}

fn as_map<S: Serializer>(features: &[(String, FeatureConfig)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(features.iter().map(|(name, feature)| (name, feature)))
}

fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, FeatureConfig)>, D::Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, FeatureConfig)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("features by name")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut features = Vec::new();
            while let Some(entry) = map.next_entry()? {
                features.push(entry);
            }
            Ok(features)
        }
    }

    deserializer.deserialize_map(InOrder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &str = "
brokers: elsewhere
windows:
  user: user_id
  time: time
  features:
    purchases_7d: {count: purchase, over: 7d}
    spend_7d: {sum: amount, of: purchase, over: 7d}
    products_1d: {distinct: product, of: view, over: 1d}
    since_visit: {recency: visit}
";

    #[test]
    fn the_section_reads_as_written_with_its_defaults() {
        let config = WindowsConfig::from_yaml(SECTION, "stream.yaml").unwrap();
        assert_eq!((config.kind.as_str(), config.late, config.max_events), ("kind", Span::seconds(3_600), 10_000));
        let names: Vec<&str> = config.features.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["purchases_7d", "spend_7d", "products_1d", "since_visit"]);
        assert_eq!(config.features[1].1.of.as_deref(), Some("purchase"));
        let again: WindowsConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn slips_are_named_with_line_and_neighbour() {
        let error = |text: &str| WindowsConfig::from_yaml(text, "s.yaml").unwrap_err();
        let found = error(&SECTION.replace("over: 1d", "ovr: 1d"));
        assert!(
            matches!(&found, StreamError::UnknownKey { line: 9, closest: Some(name), .. } if name == "over"),
            "{found}"
        );
        let found = error(&SECTION.replace("over: 1d", "over: one day"));
        assert!(found.to_string().contains("length of time"), "{found}");
        assert!(matches!(error("a: 1"), StreamError::NoSection { .. }));
        assert!(error("windows: {user: u}").to_string().contains("time"));
    }
}
