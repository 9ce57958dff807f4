//! Texts for people and other tools inside a model directory: the model card and MLflow's
//! descriptor.

use impactiq_data::OutcomeKind;
use serde_json::Value;

use crate::manifest::Manifest;

/// The model card in Markdown.
pub fn model_card(manifest: &Manifest) -> String {
    let outcomes: Vec<String> = manifest
        .outcomes
        .iter()
        .map(|o| {
            let kind = match o.kind {
                OutcomeKind::Binary => "0/1",
                OutcomeKind::Count => "count",
                OutcomeKind::Continuous => "continuous",
            };
            format!("`{}` ({kind})", o.name)
        })
        .collect();
    let arms: Vec<String> = manifest.arms.iter().map(|arm| format!("`{arm}`")).collect();
    let features: Vec<String> = manifest.features.iter().map(|name| format!("`{name}`")).collect();
    let data = &manifest.data;
    let (question, treatment) = match &manifest.roles.dose {
        Some(dose) => (
            format!("how much one unit more of `{dose}` changes an outcome of a person with given features"),
            format!("Dose: `{dose}`; effects are per unit of it"),
        ),
        None => (
            "how much an arm changes an outcome of a person with given features, compared with control".to_owned(),
            format!("Arms, control first: {}", arms.join(", ")),
        ),
    };
    let mut text = format!(
        "# Uplift model {}\n\n\
         What it answers: {question}. It does not predict who buys, but who buys *because of* the treatment.\n\n\
         - Outcomes: {}\n- {treatment}\n- Learner: `{}`\n- Features ({}): {}\n\
         - Trained on {} of {} rows ({} held out), fingerprint `{}`\n- Seed: {}\n\n",
        manifest.id,
        outcomes.join(", "),
        manifest.config.learner.kind.name(),
        features.len(),
        features.join(", "),
        data.n_rows - data.n_holdout,
        data.n_rows_read,
        data.n_holdout,
        data.fingerprint,
        manifest.config.split.seed,
    );
    if !manifest.derived.is_empty() {
        text.push_str("Derived features:\n\n");
        for derived in &manifest.derived {
            text.push_str(&format!("- `{}` = `{}`\n", derived.name, derived.sql));
        }
        text.push('\n');
    }
    text.push_str(&averages(manifest));
    text.push_str(
        "\n## Limits\n\n\
         - Effects hold for people like those of the trial, treated as they were treated there.\n\
         - A score of one person is uncertain; decisions are for groups. `impactiq evaluate` measures how well the \
         scores rank people the model has not seen.\n",
    );
    text
}

/// The average effects as a Markdown table.
fn averages(manifest: &Manifest) -> String {
    let mut text = String::from("## Average effects on all kept rows\n\n");
    text.push_str("| outcome | arm | effect | 95 % interval |\n|---|---|---:|---|\n");
    for contrast in manifest.training.get("contrasts").and_then(Value::as_array).into_iter().flatten() {
        let number = |key: &str| contrast.pointer(&format!("/ate/{key}")).and_then(Value::as_f64);
        let cell = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.6}"));
        let word = |key: &str| contrast.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        text.push_str(&format!(
            "| {} | {} | {} | {} … {} |\n",
            word("outcome"),
            word("arm"),
            cell(number("value")),
            cell(number("lower")),
            cell(number("upper"))
        ));
    }
    text
}

/// MLflow's descriptor: what flavour this is and how it is called.
pub fn mlflow(manifest: &Manifest) -> String {
    format!(
        "flavors:\n  impactiq:\n    impactiq_version: {}\n    model_id: {}\nmodel_uuid: {}\n",
        manifest.impactiq_version, manifest.id, manifest.id
    )
}
