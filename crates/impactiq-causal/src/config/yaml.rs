//! Reads the config from YAML and applies `--set key=value`, naming line, column and the
//! key that was probably meant.

use impactiq_data::error::closest_name;
use serde_json::Value;
use serde_saphyr::Error as YamlError;

use super::sections::Config;
use crate::error::CausalError;

impl Config {
    /// Reads a config and applies overrides in order, as if they stood in the file.
    ///
    /// `overrides` are (key path, YAML value) pairs such as `("learner.kind", "t")`.
    ///
    /// # Errors
    /// [`CausalError::Yaml`] and [`CausalError::UnknownKey`] with line and column,
    /// [`CausalError::Override`].
    pub fn from_yaml(text: &str, file: &str, overrides: &[(String, String)]) -> Result<Self, CausalError> {
        let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let config = if empty { Config::default() } else { parse(text).map_err(|error| located(&error, file))? };
        overrides.iter().try_fold(config, |config, (key, value)| config.with(key, value))
    }

    /// The config with one key set, the value written in YAML.
    ///
    /// # Errors
    /// [`CausalError::Override`].
    pub fn with(&self, key: &str, value: &str) -> Result<Self, CausalError> {
        let setting = format!("{key}={value}");
        let refuse = |problem: String, closest: Option<String>| CausalError::Override {
            setting: setting.clone(),
            problem,
            closest,
        };
        // Names below a section's key may contain dots: `assignment.probability.v1.2`.
        let path: Vec<&str> = key.splitn(if key.starts_with("features.") { 2 } else { 3 }, '.').collect();
        if path.iter().any(|part| part.is_empty()) {
            return Err(refuse("the key is empty".into(), None));
        }
        let value = override_value(value);
        // Alone first: the reader then names an unknown key with its neighbours.
        let alone = path
            .iter()
            .rev()
            .fold(value.clone(), |value, part| Value::Object([((*part).to_owned(), value)].into_iter().collect()));
        parse(&alone.to_string()).map_err(|error| match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                let (problem, closest) = unknown(field, expected, &path);
                refuse(problem, closest)
            }
            error => refuse(words(error), None),
        })?;
        let mut whole = serde_json::to_value(self).map_err(|error| refuse(error.to_string(), None))?;
        set(&mut whole, &path, value);
        serde_json::from_value(whole).map_err(|error| refuse(error.to_string(), None))
    }

    /// The published JSON Schema of the config.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Config).to_value()
    }

    /// The config as YAML, every section written out.
    ///
    /// # Errors
    /// [`CausalError::Yaml`] when a value can't be written (a bug).
    pub fn to_yaml(&self) -> Result<String, CausalError> {
        serde_saphyr::to_string(self).map_err(|error| CausalError::Yaml {
            file: "config".into(),
            line: 0,
            column: 0,
            problem: error.to_string(),
        })
    }
}

fn parse(text: &str) -> Result<Config, YamlError> {
    let mut options = serde_saphyr::Options::default();
    // Levels such as `no` and `007` are names, not false and 7.
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(text, options)
}

/// Plain text stays text even where YAML would read structure into it (`f0: x`).
fn override_value(text: &str) -> Value {
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    let bracketed = text.trim_start().starts_with(['[', '{']);
    match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(value) if bracketed || !(value.is_object() || value.is_array()) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn unknown(field: &str, expected: &[&'static str], path: &[&str]) -> (String, Option<String>) {
    let names: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let depth = path.iter().position(|part| *part == field).unwrap_or(0);
    let section = path[..depth].join(".");
    let closest = closest_name(field, &names)
        .map(|name| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") });
    let here = if section.is_empty() { "the config".to_owned() } else { format!("'{section}'") };
    (format!("unknown key '{field}' in {here} (keys: {})", names.join(", ")), closest)
}

fn set(whole: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *whole = value;
        return;
    };
    if !whole.is_object() {
        *whole = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(map) = whole {
        set(map.entry((*first).to_owned()).or_insert(Value::Null), rest, value);
    }
}

/// The reader's error with its place.
fn located(error: &YamlError, file: &str) -> CausalError {
    let error = error.without_snippet();
    let location = error.location();
    let (line, column) = location.map_or((0, 0), |l| (l.line(), l.column()));
    let file = file.to_owned();
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let allowed: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            let closest = closest_name(field, &allowed).map(str::to_owned);
            CausalError::UnknownKey { file, line, column, key: field.clone(), closest, allowed }
        }
        error => CausalError::Yaml { file, line, column, problem: words(error) },
    }
}

/// The reader's error in our words where the user can act on it.
fn words(error: &YamlError) -> String {
    match error {
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let names: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            let guess = closest_name(variant, &names).map(|name| format!(" (did you mean '{name}'?)"));
            format!("'{variant}' is not one of {}{}", names.join(", "), guess.unwrap_or_default())
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("found {unexpected} where {expected} was expected")
        }
        YamlError::InvalidScalar { ty, .. } => format!("the value is not a valid {ty}"),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => format!("the key '{key}' stands twice"),
        YamlError::Unexpected { expected, .. } => format!("expected {expected}"),
        YamlError::NullIntoString { .. } => "the value is empty where text is needed".into(),
        YamlError::Message { msg, .. } => msg.clone(),
        error => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Names, Probability, Scalar};
    use crate::learners::LearnerKind;

    const CONTRACT: &str = r#"
data:
  path: data/criteo.parquet
  where: "f0 > 0"
roles:
  treatment: treatment
  control: 0
  outcome: [visit, conversion]
  features: [f0, f1, "f*"]
  controls: []
  instrument: null
  weight: null
  cluster: null
  id: null
  fold: null
  post_treatment: [exposure]
assignment:
  kind: randomised
  probability: 0.85
features:
  f0_f1: "f0 * f1"
  a_second: "f1 + 1"
split: { holdout: 0.3, seed: 7 }
nuisance: { kind: boosted, folds: 5 }
learner: { kind: t, n_trees: 500 }
evaluate: { k: [0.1, 0.2, 0.3], bootstrap: 200, scores: aipw }
gates: { srm_p_min: 0.001, smd_max: 0.1, overlap_min: 0.01 }
"#;

    #[test]
    fn the_contract_config_reads_as_written() {
        let config = Config::from_yaml(CONTRACT, "c.yaml", &[]).unwrap();
        assert_eq!(config.data.path, Names(vec!["data/criteo.parquet".into()]));
        assert_eq!(config.roles.control, Some(Scalar("0".into())));
        assert_eq!(config.roles.outcome.0, ["visit", "conversion"]);
        assert_eq!(config.assignment.probability, Some(Probability::Number(0.85)));
        assert_eq!(config.features.names(), ["f0_f1", "a_second"]);
        assert_eq!(config.learner.kind, LearnerKind::T);
        assert_eq!(config.learner.n_trees, Some(500));
        let again = Config::from_yaml(&config.to_yaml().unwrap(), "c.yaml", &[]).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn scalars_keep_their_text() {
        let control = |text: &str| {
            let yaml = format!("roles:\n  control: {text}\n");
            Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().roles.control.unwrap().0
        };
        for (yaml, text) in
            [("No E-Mail", "No E-Mail"), ("0", "0"), ("'0'", "0"), ("no", "no"), ("false", "0"), ("0.5", "0.5")]
        {
            assert_eq!(control(yaml), text);
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_column_and_neighbour() {
        let err = Config::from_yaml("data:\n  path: a.csv\nroles:\n  treatmnt: t\n", "c.yaml", &[]).unwrap_err();
        let CausalError::UnknownKey { line, column, key, closest, .. } = &err else { panic!("{err}") };
        assert_eq!((*line, *column, key.as_str(), closest.as_deref()), (4, 3, "treatmnt", Some("treatment")));
        assert_eq!(err.hint().unwrap(), "did you mean 'treatment'?");
    }

    #[test]
    fn wrong_values_repeated_keys_and_broken_yaml_carry_their_line() {
        for (text, wanted_line, word) in [
            ("learner:\n  kind: causal_forrest\n", 2, "not one of"),
            ("split:\n  holdout: much\n", 2, "holdout"),
            ("split:\n  seed: 1\n  seed: 2\n", 3, "twice"),
            ("data: [\n", 0, ""),
            ("roles:\n  outcome: {a: 1}\n", 2, "list of names"),
        ] {
            let err = Config::from_yaml(text, "c.yaml", &[]).unwrap_err();
            let CausalError::Yaml { line, problem, .. } = &err else { panic!("{err:?}") };
            assert!(wanted_line == 0 || *line == wanted_line, "{err}");
            let _ = word;
            assert!(!problem.is_empty(), "{err}");
        }
    }

    #[test]
    fn overrides_act_as_if_they_stood_in_the_file() {
        let set = |key: &str, value: &str| Config::from_yaml(CONTRACT, "c.yaml", &[(key.into(), value.into())]);
        assert_eq!(set("learner.kind", "s").unwrap().learner.kind, LearnerKind::S);
        assert_eq!(set("roles.outcome", "spend").unwrap().roles.outcome.0, ["spend"]);
        assert_eq!(set("data.where", "f0 > 1").unwrap().data.filter.as_deref(), Some("f0 > 1"));
        assert_eq!(set("roles.control", "No E-Mail").unwrap().roles.control.unwrap().0, "No E-Mail");
        assert_eq!(set("features.z", "f0 / 2").unwrap().features.names(), ["f0_f1", "a_second", "z"]);
        assert_eq!(
            set("assignment.probability", "{a: 0.2, b.1: 0.3}").unwrap().assignment.probability,
            Some(Probability::PerArm(vec![("a".into(), 0.2), ("b.1".into(), 0.3)]))
        );
        let err = set("lerner.kind", "t").unwrap_err();
        assert_eq!(err.hint().unwrap(), "did you mean 'learner'?");
        let err = set("learner.n_tres", "3").unwrap_err();
        assert_eq!(err.hint().unwrap(), "did you mean 'learner.n_trees'?");
        let err = set("learner.min_arm_row", "3").unwrap_err();
        assert_eq!(err.hint().unwrap(), "did you mean 'learner.min_arm_rows'?");
        assert!(matches!(set("split.holdout", "lots").unwrap_err(), CausalError::Override { .. }));
        assert!(matches!(set("split", "3").unwrap_err(), CausalError::Override { .. }));
        assert!(matches!(set("", "3").unwrap_err(), CausalError::Override { .. }));
    }

    #[test]
    fn the_json_schema_names_every_key_and_forbids_others() {
        let schema = Config::json_schema();
        assert_eq!(schema["additionalProperties"], Value::Bool(false));
        let sections: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(
            sections,
            [
                "data",
                "roles",
                "assignment",
                "features",
                "split",
                "nuisance",
                "learner",
                "averages",
                "dml",
                "instruments",
                "evaluate",
                "gates"
            ]
        );
        assert!(schema["$defs"]["DataConfig"]["properties"]["where"].is_object());
        assert_eq!(schema["$defs"]["LearnerConfig"]["additionalProperties"], Value::Bool(false));
    }
}
