//! The multi-arm trial, a small model of it and its directory, for the tests of this crate and of those above it, which
//! take this file by its path. Nothing is asserted here.

use std::path::Path;

use impactiq_causal::{CheckedConfig, Config, Trained, train};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, generate};
use impactiq_data::{Dataset, Seed, Silent};
use impactiq_io::Derived;
use impactiq_score::{Manifest, NewModel, Profile, SavedData};

/// Rows of the trial.
pub const N_ROWS: u64 = 3000;

/// A trial that was learned from.
pub struct Trial {
    pub made: Synth,
    pub checked: CheckedConfig,
    #[allow(dead_code, reason = "only some tests evaluate")]
    pub dataset: Dataset,
    pub trained: Trained,
}

impl Trial {
    /// Trains on features x1, x2 and region; another outcome, or a list of them, makes another model.
    pub fn learn(outcome: &str) -> Self {
        let made = generate(SynthKind::MultiArm, &SynthOptions::default(), N_ROWS as usize, Seed::new(4)).unwrap();
        let text = format!(
            "data: {{path: arms.csv}}\nroles: {{treatment: treatment, control: control, outcome: {outcome}, \
             features: [x1, x2, region], post_treatment: [y, converted]}}\n\
             nuisance: {{kind: least_squares, folds: 2}}\nlearner: {{kind: t, n_trees: 5}}\nevaluate: {{bootstrap: 40}}\n"
        );
        let config = Config::from_yaml(&text, "c.yaml", &[]).unwrap();
        let checked = config.check(made.table.names()).unwrap();
        let dataset = checked.dataset(made.table.clone(), (0..N_ROWS).collect()).unwrap();
        let trained = train(&checked, &dataset, &Silent).unwrap();
        Trial { made, checked, dataset, trained }
    }

    /// Writes the model's directory.
    pub fn write(&self, path: &Path, profile: Option<Profile>, overwrite: bool) -> Manifest {
        let data = SavedData {
            paths: vec!["arms.csv".into()],
            filter: None,
            fingerprint: "f".into(),
            n_rows_read: N_ROWS,
            n_rows: N_ROWS,
            n_holdout: self.trained.report.n_holdout,
        };
        let model = NewModel {
            model: &self.trained.model,
            schema: &self.made.schema,
            derived_inputs: Vec::new(),
            derived: Vec::<Derived>::new(),
            roles: self.checked.roles(),
            config: self.checked.config(),
            data,
            training: serde_json::to_value(&self.trained.report).unwrap(),
            profile,
        };
        model.write(path, overwrite).unwrap()
    }
}
