//! The definition made ready: which tracks of events are kept, and which features read them.
//!
//! Features of one kind of event share a track; a track keeps the columns they need, for as
//! long as the longest of them looks back.

use impactiq_data::{Field, RawType, Schema};
use sha2::{Digest, Sha256};

use super::config::{FeatureConfig, TimeUnit, WindowsConfig};
use super::span::Span;
use crate::error::StreamError;

/// The kind that stands for all of them.
const ANY: &str = "*";
const MOST_FEATURES: usize = 1_000;

/// A checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowPlan {
    config: WindowsConfig,
    schema: Schema,
    pub(super) kinds: Vec<String>,
    pub(super) number_columns: Vec<String>,
    pub(super) key_columns: Vec<String>,
    pub(super) tracks: Vec<TrackPlan>,
    pub(super) features: Vec<FeaturePlan>,
    fingerprint: u64,
}

/// Events of one kind, or of all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrackPlan {
    /// Place among the plan's kinds; `None` for all events.
    pub kind: Option<usize>,
    /// Places among the plan's columns of numbers.
    pub numbers: Vec<usize>,
    /// Places among the plan's columns of keys.
    pub keys: Vec<usize>,
    /// How far its longest window looks back, in microseconds.
    pub reach: i64,
}

/// What a feature reads from its track.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FeaturePlan {
    pub name: String,
    pub track: usize,
    pub reads: Reads,
}

/// Windows are in microseconds; columns are places in the track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reads {
    Count { over: i64 },
    Sum { column: usize, over: i64 },
    Distinct { column: usize, over: i64 },
    Recency,
}

/// One feature, checked but not yet placed.
enum Asked<'a> {
    Count(&'a str, Span),
    Sum(&'a str, &'a str, Span),
    Distinct(&'a str, &'a str, Span),
    Recency(&'a str),
}

impl WindowPlan {
    /// Checks a definition.
    ///
    /// # Errors
    /// [`StreamError::Feature`] for a feature that asks for nothing, for two things, or without a
    /// window; [`StreamError::Setting`]; [`StreamError::Data`] for a column that stands in two roles.
    pub fn new(config: &WindowsConfig) -> Result<Self, StreamError> {
        let bad = |key, value: String, allowed| Err(StreamError::Setting { key, value, allowed });
        if config.max_events == 0 {
            return bad("windows.max_events", "0".into(), "keep at least one event");
        }
        if config.features.is_empty() || config.features.len() > MOST_FEATURES {
            let n = config.features.len().to_string();
            return bad("the number of windows.features", n, "declare 1 to 1,000 features");
        }
        let mut plan = WindowPlan {
            config: config.clone(),
            schema: Schema::default(),
            kinds: Vec::new(),
            number_columns: Vec::new(),
            key_columns: Vec::new(),
            tracks: Vec::new(),
            features: Vec::new(),
            fingerprint: 0,
        };
        for (name, feature) in &config.features {
            plan.add(name, &asked(name, feature)?);
        }
        plan.schema = plan.input_schema()?;
        plan.fingerprint = plan.fingerprint_of()?;
        Ok(plan)
    }

    /// The definition it was made of.
    pub fn config(&self) -> &WindowsConfig {
        &self.config
    }

    /// Columns of an event that are read, with the types every door casts them to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Names of the features, in order.
    pub fn feature_names(&self) -> Vec<String> {
        self.features.iter().map(|feature| feature.name.clone()).collect()
    }

    /// Tells definitions apart: states of one cannot be used by another.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn add(&mut self, name: &str, asked: &Asked<'_>) {
        let (kind, over) = match asked {
            Asked::Count(kind, over) | Asked::Sum(_, kind, over) | Asked::Distinct(_, kind, over) => {
                (*kind, over.micros())
            }
            Asked::Recency(kind) => (*kind, 0),
        };
        let kind = (kind != ANY).then(|| place_of_name(&mut self.kinds, kind));
        let track = match self.tracks.iter().position(|track| track.kind == kind) {
            Some(track) => track,
            None => {
                self.tracks.push(TrackPlan { kind, numbers: Vec::new(), keys: Vec::new(), reach: 0 });
                self.tracks.len() - 1
            }
        };
        let kept = &mut self.tracks[track];
        kept.reach = kept.reach.max(over);
        let reads = match asked {
            Asked::Count(..) => Reads::Count { over },
            Asked::Sum(column, ..) => {
                let column = place_of_name(&mut self.number_columns, column);
                Reads::Sum { column: place_of(&mut kept.numbers, column), over }
            }
            Asked::Distinct(column, ..) => {
                let column = place_of_name(&mut self.key_columns, column);
                Reads::Distinct { column: place_of(&mut kept.keys, column), over }
            }
            Asked::Recency(_) => Reads::Recency,
        };
        self.features.push(FeaturePlan { name: name.to_owned(), track, reads });
    }

    fn input_schema(&self) -> Result<Schema, StreamError> {
        let time = if self.config.time_unit.is_some() { RawType::Float64 } else { RawType::Timestamp };
        let mut fields = vec![
            Field { name: self.config.user.clone(), raw_type: RawType::Text },
            Field { name: self.config.time.clone(), raw_type: time },
        ];
        let mut text = |name: &String| fields.push(Field { name: name.clone(), raw_type: RawType::Text });
        // A definition that only looks at all events needs no kind.
        if !self.kinds.is_empty() {
            text(&self.config.kind);
        }
        // The kind, or the user, may be counted as well.
        let is_new =
            |name: &&String| **name != self.config.user && (self.kinds.is_empty() || **name != self.config.kind);
        self.key_columns.iter().filter(is_new).for_each(text);
        fields.extend(self.number_columns.iter().map(|name| Field { name: name.clone(), raw_type: RawType::Float64 }));
        Ok(Schema::new(fields)?)
    }

    /// The unit of a time that is a number.
    pub(super) fn time_unit(&self) -> Option<TimeUnit> {
        self.config.time_unit
    }

    fn fingerprint_of(&self) -> Result<u64, StreamError> {
        let text = serde_json::to_vec(&self.config)
            .map_err(|error| StreamError::Damaged { what: "definition of windows", problem: error.to_string() })?;
        Ok(first_bytes(&text))
    }
}

/// The first 64 bits of the SHA-256 of some bytes: the same on every machine and in every version.
pub(super) fn first_bytes(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// The place of a name in a list, added at its end where it is new.
fn place_of_name(list: &mut Vec<String>, name: &str) -> usize {
    list.iter().position(|other| other == name).unwrap_or_else(|| {
        list.push(name.to_owned());
        list.len() - 1
    })
}

/// The same for numbers.
fn place_of(list: &mut Vec<usize>, number: usize) -> usize {
    list.iter().position(|other| *other == number).unwrap_or_else(|| {
        list.push(number);
        list.len() - 1
    })
}

fn asked<'a>(name: &str, feature: &'a FeatureConfig) -> Result<Asked<'a>, StreamError> {
    let wrong = |problem, hint| StreamError::Feature { feature: name.to_owned(), problem, hint };
    let what = [&feature.count, &feature.sum, &feature.distinct, &feature.recency];
    if what.iter().filter(|one| one.is_some()).count() != 1 {
        let hint = "write one of `count: KIND`, `sum: COLUMN`, `distinct: COLUMN`, `recency: KIND`";
        return Err(wrong("it asks for none or for several things", hint));
    }
    let of = feature.of.as_deref();
    if let Some(kind) = &feature.recency {
        return match (of, feature.over) {
            (None, None) => Ok(Asked::Recency(kind)),
            _ => Err(wrong("recency has no window", "leave out `over` and `of`; `recency` names the kind")),
        };
    }
    let over = feature
        .over
        .filter(|over| over.micros() > 0)
        .ok_or_else(|| wrong("it has no window", "add the window's length, e.g. `over: 7d`"))?;
    if let Some(kind) = &feature.count {
        return match of {
            None => Ok(Asked::Count(kind, over)),
            Some(_) => Err(wrong("`of` stands beside `count`", "`count` itself names the kind; leave out `of`")),
        };
    }
    let kind = of.unwrap_or(ANY);
    Ok(match (&feature.sum, &feature.distinct) {
        (Some(column), _) => Asked::Sum(column, kind, over),
        (_, column) => Asked::Distinct(column.as_deref().unwrap_or_default(), kind, over),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(features: &str) -> Result<WindowPlan, StreamError> {
        let text = format!("windows: {{user: u, time: t, features: {{{features}}}}}");
        WindowPlan::new(&WindowsConfig::from_yaml(&text, "s.yaml")?)
    }

    #[test]
    fn features_of_one_kind_share_a_track_that_reaches_as_far_as_the_longest() {
        let plan =
            plan("a: {count: buy, over: 7d}, b: {sum: x, of: buy, over: 1d}, c: {distinct: p, over: 1h}").unwrap();
        assert_eq!(plan.tracks.len(), 2);
        assert_eq!((plan.tracks[0].reach, plan.tracks[1].kind), (7 * 86_400_000_000, None));
        assert_eq!(plan.schema().names(), ["u", "t", "kind", "p", "x"]);
        assert_eq!(plan.feature_names(), ["a", "b", "c"]);
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        for (feature, word) in [
            ("a: {over: 1d}", "none or for several"),
            ("a: {count: x, sum: y, over: 1d}", "none or for several"),
            ("a: {count: x}", "no window"),
            ("a: {count: x, over: 0s}", "no window"),
            ("a: {recency: x, over: 1d}", "no window"),
            ("a: {count: x, of: y, over: 1d}", "beside"),
        ] {
            let error = plan(feature).unwrap_err();
            assert!(error.to_string().contains("windows.features.a") && error.to_string().contains(word), "{error}");
            assert!(error.hint().is_some());
        }
        assert!(plan("").is_err());
        assert!(plan("a: {sum: t, over: 1d}").is_err());
    }

    #[test]
    fn another_definition_has_another_fingerprint() {
        let fingerprint = |text: &str| plan(text).unwrap().fingerprint();
        assert_eq!(fingerprint("a: {count: x, over: 1d}"), fingerprint("a: {count: x, over: 24h}"));
        assert_ne!(fingerprint("a: {count: x, over: 1d}"), fingerprint("a: {count: x, over: 2d}"));
    }
}
