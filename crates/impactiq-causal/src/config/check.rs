//! From a config that was read to a config that trains.

use impactiq_data::table::Table;
use impactiq_data::treatment::{Arms, Treatment};
use impactiq_data::{Assignment, DataError, Dataset, DatasetBuilder, Folds, Roles, Seed, Split};

use super::identifiers::reads;
use super::sections::{AssignmentKind, Config, SplitBy};
use super::values::Probability;
use crate::effect::Asked;
use crate::error::CausalError;

/// Half-sample draws at most: errors are right to 1 % by then, and every draw keeps its sums.
const MAX_BOOTSTRAP: u32 = 10_000;

/// A config whose settings are in range and whose roles exist: the only config that trains.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedConfig {
    config: Config,
    roles: Roles,
}

impl Config {
    /// Checks every setting, and the roles against the raw columns that exist.
    ///
    /// # Errors
    /// [`CausalError::MissingKey`], [`CausalError::BadSetting`],
    /// [`CausalError::UselessSetting`], [`CausalError::LeakyFeature`], [`CausalError::Data`] for roles.
    pub fn check(&self, columns: &[String]) -> Result<CheckedConfig, CausalError> {
        self.check_settings()?;
        self.check_derived()?;
        if let Some(name) = self.data.types.keys().find(|name| !columns.contains(name)) {
            return Err(DataError::missing_column(name, columns).into());
        }
        let probability = match &self.assignment.probability {
            Some(Probability::Column(name)) => Some(name.as_str()),
            _ => None,
        };
        let roles = self.roles.spec(probability).resolve(columns, &self.features.names())?;
        if let Some(name) = self
            .averages
            .cuped
            .0
            .iter()
            .find(|name| ![&roles.features, &roles.controls].iter().any(|all| all.contains(name)))
        {
            let allowed = "it must be known before the trial: name it in roles.features or roles.controls";
            return Err(CausalError::setting("averages.cuped", name, allowed));
        }
        Ok(CheckedConfig { config: self.clone(), roles })
    }

    /// Checks what can be checked without the data's columns.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_settings(&self) -> Result<(), CausalError> {
        for (key, missing) in [
            ("data.path", self.data.path.0.is_empty()),
            ("roles.treatment", self.roles.treatment.is_empty() && self.roles.dose.is_none()),
            ("roles.control", self.roles.control.is_none() && self.roles.dose.is_none()),
            ("roles.outcome", self.roles.outcome.0.is_empty()),
        ] {
            if missing {
                return Err(CausalError::MissingKey { key });
            }
        }
        self.check_exposure()?;
        if let Some(text) = &self.data.delimiter
            && (text.len() != 1 || matches!(text.as_str(), "\"" | "\n" | "\r"))
        {
            let allowed = "it must be one ASCII character, neither a quote nor a line break";
            return Err(CausalError::setting("data.delimiter", format!("{text:?}"), allowed));
        }
        if !(0.0..1.0).contains(&self.split.holdout) {
            return Err(CausalError::setting("split.holdout", self.split.holdout, "it must be at least 0 and below 1"));
        }
        if self.split.by == Some(SplitBy::Cluster) && self.roles.cluster.is_none() {
            return Err(CausalError::MissingKey { key: "roles.cluster" });
        }
        if let Some(k) = self.evaluate.k.iter().find(|k| !(**k > 0.0 && **k < 1.0)) {
            return Err(CausalError::setting("evaluate.k", k, "each k must be above 0 and below 1"));
        }
        if self.evaluate.bootstrap == 1 {
            return Err(CausalError::setting("evaluate.bootstrap", 1, "it must be 0 or at least 2"));
        }
        if self.evaluate.bootstrap > MAX_BOOTSTRAP {
            let allowed = format!("it must be at most {MAX_BOOTSTRAP}: more draws only cost memory");
            return Err(CausalError::setting("evaluate.bootstrap", self.evaluate.bootstrap, allowed));
        }
        self.check_probability()?;
        self.check_estimators()?;
        self.nuisance.check()?;
        self.learner.check()?;
        self.gates.check()
    }

    /// No derived feature may read the treatment or what comes after it: the role that keeps
    /// such a column out of the features would be evaded by `features: {d: "visit * 1"}`.
    fn check_derived(&self) -> Result<(), CausalError> {
        let after = |names: &[String], role: &'static str| -> Vec<(String, &'static str)> {
            names.iter().map(|name| (name.clone(), role)).collect()
        };
        let mut forbidden = match &self.roles.dose {
            Some(dose) => vec![(dose.clone(), "dose")],
            None => vec![(self.roles.treatment.clone(), "treatment")],
        };
        // An instrument that may shape effects would no longer move the outcome through the
        // treatment alone.
        forbidden.extend(self.roles.instrument.iter().map(|name| (name.clone(), "instrument")));
        forbidden.extend(after(&self.roles.outcome.0, "outcome"));
        forbidden.extend(after(&self.roles.post_treatment.0, "post-treatment column"));
        for (feature, sql) in &self.features.0 {
            if let Some((column, role)) = forbidden.iter().find(|(column, _)| reads(sql, column)) {
                return Err(CausalError::LeakyFeature { feature: feature.clone(), column: column.clone(), role });
            }
        }
        Ok(())
    }
}

impl CheckedConfig {
    /// The config as it was read.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Resolved roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The run's seed.
    pub fn seed(&self) -> Seed {
        Seed::new(self.config.split.seed)
    }

    /// The probability that a 0/1 instrument is 1, where it is declared.
    pub fn offer_probability(&self) -> Option<f64> {
        match (&self.roles.instrument, &self.config.assignment.probability) {
            (Some(_), Some(Probability::Number(p))) => Some(*p),
            _ => None,
        }
    }

    /// The averages that are asked for beside the answer.
    pub fn asked(&self) -> Asked<'_> {
        let averages = &self.config.averages;
        Asked {
            trim: averages.trim,
            cuped: &averages.cuped.0,
            winsorise: averages.winsorise.map(|cut| (cut.lower, cut.upper)),
            ratio: Some(&averages.ratio),
        }
    }

    /// Raw and derived columns that [`CheckedConfig::dataset`] needs in its table, each once.
    /// Identifiers and post-treatment columns are not among them.
    pub fn columns(&self) -> Vec<String> {
        let roles = &self.roles;
        let mut names = vec![roles.dose.as_ref().unwrap_or(&roles.treatment).clone()];
        names.extend(roles.outcomes.iter().cloned());
        names.extend(roles.features.iter().chain(&roles.controls).cloned());
        let single = [&roles.instrument, &roles.weight, &roles.cluster, &roles.fold, &roles.probability];
        names.extend(single.into_iter().flatten().cloned());
        let mut seen: Vec<String> = Vec::with_capacity(names.len());
        names.into_iter().for_each(|name| {
            if !seen.contains(&name) {
                seen.push(name);
            }
        });
        seen
    }

    /// Builds the dataset: roles checked, the declared assignment tied to the arms that
    /// exist, features binned. `row_ids` number the rows in their source, before `where`.
    ///
    /// # Errors
    /// [`CausalError::Data`] for any unusable column, [`CausalError::UnknownArm`] and
    /// [`CausalError::BadSetting`] for a probability that doesn't fit the arms.
    pub fn dataset(&self, table: Table, row_ids: Vec<u64>) -> Result<Dataset, CausalError> {
        let mut builder = DatasetBuilder::new(&self.roles, row_ids, self.seed());
        builder.assignment = self.assignment(&table, &builder.row_ids)?;
        Ok(builder.build(table)?)
    }

    fn assignment(&self, table: &Table, row_ids: &[u64]) -> Result<Assignment, CausalError> {
        let declared = &self.config.assignment;
        let shares = match (declared.kind, &declared.probability) {
            (AssignmentKind::Observational, _) => Assignment::Observational,
            // What is declared is the instrument's.
            (AssignmentKind::Randomised, _) if self.roles.instrument.is_some() => Assignment::Shares,
            (AssignmentKind::Randomised, None | Some(Probability::Column(_))) => Assignment::Shares,
            (AssignmentKind::Randomised, Some(probability)) => {
                let roles = &self.roles;
                let at = |row: usize| row_ids.get(row).map_or(0, |id| id + 1);
                let column = table.column(&roles.treatment)?;
                let arms = Treatment::from_column(&roles.treatment, column, &roles.control, at)?.arms;
                Assignment::PerArm(per_arm(probability, &arms)?)
            }
        };
        Ok(shares)
    }

    /// The folds of every learned nuisance: the fold column where there is one, else by hash,
    /// stratified by arm and a rare outcome, clusters whole.
    ///
    /// # Errors
    /// [`CausalError::SplitCluster`], [`CausalError::Data`] for too few rows or clusters.
    pub fn folds(&self, data: &Dataset) -> Result<Folds, CausalError> {
        Ok(match &data.fixed_folds {
            Some(values) => {
                self.whole_clusters(data, values)?;
                Folds::fixed(values)?
            }
            None => {
                let strata = data.strata();
                let split = Split { row_ids: &data.row_ids, strata: Some(&strata), clusters: data.clusters.as_deref() };
                Folds::assign(split, self.config.nuisance.folds, self.seed())?
            }
        })
    }

    /// A nuisance that saw other rows of a row's cluster did see the row's outcome.
    fn whole_clusters(&self, data: &Dataset, folds: &[u32]) -> Result<(), CausalError> {
        let Some(clusters) = &data.clusters else { return Ok(()) };
        let n_codes = clusters.iter().max().map_or(0, |&last| last as usize + 1);
        let mut fold_of: Vec<Option<u32>> = vec![None; n_codes];
        for (row, (&cluster, &fold)) in clusters.iter().zip(folds).enumerate() {
            if *fold_of[cluster as usize].get_or_insert(fold) != fold {
                let column = self.roles.fold.clone().unwrap_or_default();
                return Err(CausalError::SplitCluster { column, row: data.row_ids[row] + 1 });
            }
        }
        Ok(())
    }

    /// Flags the rows held out for evaluation; the same rows from any layout of the same data.
    ///
    /// # Errors
    /// [`CausalError::Data`].
    pub fn holdout(&self, data: &Dataset) -> Result<Vec<bool>, CausalError> {
        let strata = data.strata();
        let by_cluster = self.config.split.by != Some(SplitBy::Row);
        let split = Split {
            row_ids: &data.row_ids,
            strata: Some(&strata),
            clusters: data.clusters.as_deref().filter(|_| by_cluster),
        };
        let fraction = self.config.split.holdout;
        let held_out = impactiq_data::folds::holdout(split, fraction, self.seed())?;
        let n_held = held_out.iter().filter(|&&held| held).count();
        if fraction > 0.0 && (n_held == 0 || n_held == held_out.len()) {
            let n_units = split.clusters.map_or(held_out.len(), distinct);
            let units = if split.clusters.is_some() { "cluster" } else { "row" };
            return Err(CausalError::RoundedHoldout { fraction, units, n_units, all: n_held > 0 });
        }
        Ok(held_out)
    }
}

fn distinct(clusters: &[u32]) -> usize {
    let mut distinct = clusters.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len()
}

/// Probabilities by arm code.
fn per_arm(probability: &Probability, arms: &Arms) -> Result<Vec<f64>, CausalError> {
    match probability {
        Probability::Number(p) if arms.len() == 2 => Ok(vec![1.0 - p, *p]),
        Probability::Number(p) => Err(CausalError::setting(
            "assignment.probability",
            p,
            format!("with {} arms it must be a table {{arm: probability}}", arms.len()),
        )),
        Probability::PerArm(table) => {
            let mut of_arm: Vec<Option<f64>> = vec![None; arms.len()];
            for (label, p) in table {
                let Some(code) = arms.code(label) else {
                    return Err(CausalError::UnknownArm { arm: label.clone(), found: arms.labels().to_vec() });
                };
                of_arm[code as usize] = Some(*p);
            }
            let rest = 1.0 - of_arm.iter().flatten().sum::<f64>();
            let missing: Vec<usize> = (0..arms.len()).filter(|&code| of_arm[code].is_none()).collect();
            match missing.as_slice() {
                [] => {}
                // One arm may be left out: it has what the others leave.
                [code] => of_arm[*code] = Some(rest),
                _ => {
                    let names: Vec<&str> = missing.iter().map(|&code| arms.labels()[code].as_str()).collect();
                    return Err(CausalError::setting(
                        "assignment.probability",
                        format!("without the arms {}", names.join(", ")),
                        "at most one arm may be left out",
                    ));
                }
            }
            Ok(of_arm.into_iter().flatten().collect())
        }
        Probability::Column(_) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Column;

    fn config(text: &str) -> Config {
        let base = "data: {path: a.csv}\nroles: {treatment: t, control: c, outcome: y}\n";
        Config::from_yaml(&format!("{base}{text}"), "c.yaml", &[]).unwrap()
    }

    fn table() -> Table {
        let mut table = Table::new();
        let levels = vec!["c".to_string(), "a".into(), "b".into()];
        table.push("t", Column::Category { codes: (0..90).map(|i| i % 3).collect(), levels }).unwrap();
        table.push("y", Column::Number((0..90).map(|i| f64::from(i % 2)).collect())).unwrap();
        table.push("x", Column::Number((0..90).map(f64::from).collect())).unwrap();
        table
    }

    fn dataset(text: &str) -> Result<Dataset, CausalError> {
        let table = table();
        config(text).check(table.names())?.dataset(table, (0..90).collect())
    }

    #[test]
    fn probabilities_are_tied_to_arms_by_name() {
        let data = dataset("assignment: {probability: {b: 0.5, a: 0.2}}").unwrap();
        let Assignment::PerArm(p) = &data.assignment else { panic!() };
        assert_eq!(data.treatment.arms.labels(), ["c", "a", "b"]);
        assert!((p[0] - 0.3).abs() < 1e-12 && p[1] == 0.2 && p[2] == 0.5);
        assert!(matches!(
            dataset("assignment: {probability: {z: 0.5, a: 0.2}}").unwrap_err(),
            CausalError::UnknownArm { .. }
        ));
        assert!(matches!(dataset("assignment: {probability: 0.5}").unwrap_err(), CausalError::BadSetting { .. }));
        assert!(matches!(dataset("assignment: {probability: {a: 0.2}}").unwrap_err(), CausalError::BadSetting { .. }));
        assert!(matches!(
            dataset("assignment: {probability: {c: 0.5, a: 0.5, b: 0.5}}").unwrap_err(),
            CausalError::Data(_)
        ));
    }

    #[test]
    fn a_holdout_that_rounds_to_nothing_or_to_everything_is_an_error() {
        let mut table = table();
        table.push("g", Column::Number((0..90).map(|i| f64::from(i / 45)).collect())).unwrap();
        let check = |holdout: f64, by: &str| {
            let text = format!(
                "data: {{path: a.csv}}\nroles: {{treatment: t, control: c, outcome: y, cluster: g}}\n\
                 split: {{holdout: {holdout}, by: {by}}}\n"
            );
            let config = Config::from_yaml(&text, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
            let data = config.dataset(table.clone(), (0..90).collect()).unwrap();
            config.holdout(&data)
        };
        let error = check(0.2, "cluster").unwrap_err();
        assert_eq!(error.to_string(), "split.holdout: 0.2 of 2 clusters rounds to none");
        assert!(error.hint().unwrap().contains("split.holdout: 0.50"), "{:?}", error.hint());
        let error = check(0.9, "cluster").unwrap_err();
        assert_eq!(error.to_string(), "split.holdout: 0.9 of 2 clusters rounds to all of them");
        assert!(check(0.5, "cluster").is_ok() && check(0.2, "row").is_ok() && check(0.0, "cluster").is_ok());
    }

    #[test]
    fn a_dose_stands_alone_and_asks_for_a_learner_that_takes_it() {
        let config = |roles: &str, rest: &str| {
            let text = format!("data: {{path: a.csv}}\nroles: {{{roles}, outcome: y}}\n{rest}\n");
            Config::from_yaml(&text, "c.yaml", &[]).unwrap()
        };
        let forest = "learner: {kind: causal_forest}";
        let checked = config("dose: x", forest).check(table().names()).unwrap();
        assert_eq!(checked.columns(), ["x", "y", "t"]);
        for (roles, rest, key) in [
            ("dose: x, treatment: t", forest.to_owned(), "roles.treatment"),
            ("dose: x, control: 0", forest.to_owned(), "roles.control"),
            ("dose: x", format!("{forest}\nassignment: {{probability: 0.5}}"), "assignment.probability"),
        ] {
            let error = config(roles, &rest).check_settings().unwrap_err();
            assert!(error.to_string().starts_with(key), "{error}");
        }
        let error = config("dose: x", "learner: {kind: t}").check_settings().unwrap_err();
        assert_eq!(
            error.hint().unwrap(),
            "set `learner: {kind: causal_forest}`; learners of doses: causal_forest, nonparam_dml, instrumental_forest"
        );
        let slip = config("dose: xx", forest).check(table().names()).unwrap_err();
        assert_eq!(slip.hint().unwrap(), "did you mean 'x'?");
        let leak = config("dose: x", &format!("{forest}\nfeatures: {{d: \"x * 2\"}}")).check(table().names());
        assert!(matches!(leak.unwrap_err(), CausalError::LeakyFeature { role: "dose", .. }));
    }

    #[test]
    fn types_are_given_by_name() {
        let text = "data: {path: a.csv, types: {x: text, t: number}}\nroles: {treatment: t, control: c, outcome: y}\n";
        let config = Config::from_yaml(text, "c.yaml", &[]).unwrap();
        assert!(config.check(table().names()).is_ok());
        let slip = config.with("data.types.xx", "text").unwrap().check(table().names()).unwrap_err();
        assert_eq!(slip.hint().unwrap(), "did you mean 'x'?");
        assert!(config.with("data.types.x", "zip").is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused_by_key() {
        for (text, wanted) in [
            ("split: {holdout: 1.0}", "split.holdout"),
            ("nuisance: {folds: 1}", "nuisance.folds"),
            ("nuisance: {learning_rate: 0}", "nuisance.learning_rate"),
            ("learner: {n_leaves: 1}", "learner.n_leaves"),
            ("learner: {kind: causal_forest, min_arm_rows: 0}", "learner.min_arm_rows"),
            ("learner: {kind: causal_forest, sample_fraction: 0.6}", "learner.sample_fraction"),
            ("learner: {kind: causal_forest, n_trees: 7}", "learner.n_trees"),
            ("learner: {kind: causal_forest, trees_per_bag: 65, n_trees: 65}", "learner.trees_per_bag"),
            ("learner: {kind: causal_forest, alpha: 0.5}", "learner.alpha"),
            ("evaluate: {k: [0]}", "evaluate.k"),
            ("evaluate: {bootstrap: 1}", "evaluate.bootstrap"),
            ("evaluate: {bootstrap: 4000000000}", "evaluate.bootstrap"),
            ("gates: {overlap_min: 0.7}", "gates.overlap_min"),
            ("assignment: {probability: 1.5}", "assignment.probability"),
            ("assignment: {kind: observational, probability: 0.5}", "assignment.kind"),
        ] {
            let err = config(text).check_settings().unwrap_err();
            let CausalError::BadSetting { key, .. } = &err else { panic!("{text}: {err:?}") };
            assert_eq!(key, wanted);
        }
        let err = config("nuisance: {kind: ridge, n_trees: 5}").check_settings().unwrap_err();
        assert!(matches!(err, CausalError::UselessSetting { .. }), "{err}");
        for (text, wanted) in [
            ("learner: {kind: causal_forest, l2: 1}", "learner.l2"),
            ("learner: {kind: causal_forest, base: ridge}", "learner.base"),
            ("learner: {kind: t, min_arm_rows: 5}", "learner.min_arm_rows"),
        ] {
            let err = config(text).check_settings().unwrap_err();
            assert!(matches!(&err, CausalError::UselessSetting { key, .. } if key == wanted), "{err}");
        }
        let err = Config::default().check_settings().unwrap_err();
        assert_eq!(err, CausalError::MissingKey { key: "data.path" });
        let err = config("split: {by: cluster}").check_settings().unwrap_err();
        assert_eq!(err, CausalError::MissingKey { key: "roles.cluster" });
    }

    #[test]
    fn a_derived_feature_reads_nothing_from_after_treatment() {
        for (sql, role) in [("y * 1.0", "outcome"), (r#""t" = 'a'"#, "treatment"), ("x + z", "post-treatment column")] {
            let mut config = config("");
            config.features.0 = vec![("ok".into(), "x + 1".into()), ("d".into(), sql.into())];
            config.roles.post_treatment = super::super::Names(vec!["z".into()]);
            let names: Vec<String> = ["t", "y", "x", "z"].map(String::from).to_vec();
            let err = config.check(&names).unwrap_err();
            assert!(
                matches!(&err, CausalError::LeakyFeature { feature, role: r, .. } if feature == "d" && *r == role),
                "{err}"
            );
        }
    }

    #[test]
    fn a_fold_column_must_not_split_a_cluster() {
        let folds_of = |fold: fn(u32) -> u32| {
            let mut table = table();
            table.push("g", Column::Number((0..90).map(|i| f64::from(i / 9)).collect())).unwrap();
            table.push("f", Column::Number((0..90).map(|i| f64::from(fold(i))).collect())).unwrap();
            let mut config = config("");
            (config.roles.cluster, config.roles.fold) = (Some("g".into()), Some("f".into()));
            let checked = config.check(table.names()).unwrap();
            checked.folds(&checked.dataset(table, (100..190).collect()).unwrap())
        };
        assert_eq!(folds_of(|row| row / 9 % 3).unwrap().n_folds(), 3);
        let err = folds_of(|row| row % 3).unwrap_err();
        assert!(matches!(err, CausalError::SplitCluster { row: 102, .. }), "{err}");
    }

    #[test]
    fn a_delimiter_that_cannot_delimit_is_refused() {
        let with = |text: &str| {
            let mut config = config("");
            config.data.delimiter = Some(text.into());
            config.check_settings()
        };
        assert!(with(";").is_ok() && with("\t").is_ok());
        for bad in ["", "ab", "\"", "\n", "\r", "é"] {
            assert!(matches!(with(bad).unwrap_err(), CausalError::BadSetting { .. }), "{bad:?}");
        }
    }

    #[test]
    fn columns_are_what_the_dataset_needs_and_nothing_else() {
        let mut config = config("features: {d: x + 1}");
        config.roles.id = Some(super::super::Names(vec!["id".into()]));
        let names: Vec<String> = ["id", "t", "y", "x"].map(String::from).to_vec();
        assert_eq!(config.check(&names).unwrap().columns(), ["t", "y", "x", "d"]);
    }
}
