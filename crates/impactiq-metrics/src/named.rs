//! Estimates by name, in a fixed order.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::estimate::Estimate;

/// Estimates by name, in the order in which they were put in; a map in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    entries: Vec<(String, Estimate)>,
}

impl Metrics {
    /// Adds an estimate.
    pub fn push(&mut self, name: impl Into<String>, estimate: Estimate) {
        self.entries.push((name.into(), estimate));
    }

    /// The estimate of a name.
    pub fn get(&self, name: &str) -> Option<&Estimate> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, estimate)| estimate)
    }

    /// Names and estimates in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Estimate)> {
        self.entries.iter().map(|(name, estimate)| (name.as_str(), estimate))
    }

    /// Names in order.
    pub fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Number of estimates.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without estimates.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A name that ends in K as a percentage: 0.1 gives 10, 0.125 gives 12.5.
///
/// ```
/// assert_eq!(impactiq_metrics::named::k_name("uplift_at_", 0.07), "uplift_at_7");
/// ```
pub fn k_name(prefix: &str, k: f64) -> String {
    // Rounded to a billionth of a per cent: 0.07 · 100 is 7.000000000000001.
    let percent = (k * 1e11).round() / 1e9;
    format!("{prefix}{percent}")
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, estimate) in &self.entries {
            map.serialize_entry(name, estimate)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metrics;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a map of estimates")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
                let mut metrics = Metrics::default();
                while let Some((name, estimate)) = map.next_entry::<String, Estimate>()? {
                    metrics.push(name, estimate);
                }
                Ok(metrics)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
