//! Meta-learners and linear final stages: ours, EconML's and CausalML's with LightGBM, every
//! boosted model with equal trees and leaves, two folds, one thread.

use anyhow::Result;
use serde_json::Value;

use super::contest::{Contest, Job, Peer};
use super::options::{Known, Options};
use super::peers::Environment;
use super::record::number;
use super::table::{Goal, decimals, digits, judge, print, row, thousands};

/// What the bench can be asked.
pub const KNOWN: Known =
    Known { numbers: &[("trees", 100), ("leaves", 31), ("largest", 1_000_000)], words: &[], flags: &["again"] };

const ECONML: Peer = Peer { environment: Environment::Main, package: "econml", script: "econml_learners.py" };
const CAUSALML: Peer = Peer { environment: Environment::Causalml, package: "causalml", script: "causalml_learners.py" };

/// A learner, its names with the peers and what of their cost ours may take.
struct Row {
    ours: &'static str,
    econml: Option<&'static str>,
    causalml: Option<&'static str>,
    most: f64,
}

const ROWS: [Row; 8] = [
    Row { ours: "s", econml: Some("s"), causalml: Some("s"), most: 0.8 },
    Row { ours: "t", econml: Some("t"), causalml: Some("t"), most: 0.8 },
    Row { ours: "x", econml: Some("x"), causalml: Some("x"), most: 0.5 },
    Row { ours: "dr", econml: Some("dr"), causalml: Some("dr"), most: 0.5 },
    Row { ours: "r", econml: None, causalml: Some("r"), most: 0.5 },
    Row { ours: "linear_dml", econml: Some("linear_dml"), causalml: None, most: 0.5 },
    Row { ours: "linear_dr", econml: Some("linear_dr"), causalml: None, most: 0.5 },
    Row { ours: "nonparam_dml", econml: Some("nonparam_dml"), causalml: None, most: 0.5 },
];

/// The learners that read the same nuisances, for what several of them cost together.
const TOGETHER: [&str; 5] = ["x", "dr", "r", "linear_dml", "nonparam_dml"];

const SIZES: [u64; 2] = [100_000, 1_000_000];

/// CausalML's default propensity, cross-validated, takes minutes: it is measured with one learner
/// and up to so many rows.
const DEFAULT_PROPENSITY: (&str, u64) = ("x", 100_000);

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let mut contest = Contest::open("learners", "impactiq-causal", options.flag("again"))?;
    for n in SIZES.into_iter().filter(|&n| n <= options.number("largest")) {
        let size = Size { rows: n, trees: options.number("trees"), leaves: options.number("leaves") };
        of_size(&mut contest, &size)?;
    }
    println!("\nEvery cell stands in docs/measured/learners.jsonl.");
    Ok(())
}

struct Size {
    rows: u64,
    trees: u64,
    leaves: u64,
}

impl Size {
    fn repeats(&self) -> u64 {
        if self.rows > 100_000 { 1 } else { 3 }
    }

    fn settings(&self) -> [(&'static str, u64); 3] {
        [("rows", self.rows), ("trees", self.trees), ("leaves", self.leaves)]
    }

    fn ours(&self, contest: &mut Contest, learner: &str, declared: bool) -> Option<Value> {
        let settings = [self.settings().as_slice(), &[("declared", u64::from(declared)), ("threads", 1)]].concat();
        // A learner that is not there yet is a gap in the table, not the end of the bench.
        contest.ours("learner_bench", job(learner, &settings, self.repeats())).map_err(|e| eprintln!("{e:#}")).ok()
    }

    /// Once: a peer's imports alone take longer than most of its fits.
    fn theirs(&self, contest: &mut Contest, peer: &Peer, learner: &str) -> Result<Value> {
        contest.theirs(peer, job(learner, &self.settings(), 1))
    }
}

fn job<'a>(learner: &'a str, settings: &'a [(&'a str, u64)], repeats: u64) -> Job<'a> {
    Job { part: "learners", word: Some(("learner", learner)), settings, repeats, figure: "cpu_s" }
}

fn of_size(contest: &mut Contest, size: &Size) -> Result<()> {
    let header = ["learner", "library", "CPU s", "RMSE", "corr.", "top 10 %"];
    let (mut rows, mut goals) = (vec![row(header)], Vec::new());
    let mut shared = Vec::new();
    for learner in &ROWS {
        let label = learner.ours;
        let learned = size.ours(contest, label, false);
        if let Some(ours) = &learned {
            rows.push(line(label, "ImpactIQ, probability learned", ours));
            if TOGETHER.contains(&label) {
                shared.push(ours.clone());
            }
        }
        if let Some(name) = learner.econml {
            let theirs = size.theirs(contest, &ECONML, name)?;
            rows.push(line(label, "EconML", &theirs));
            goals.extend(learned.as_ref().map(|ours| share(label, "EconML's", ours, &theirs, learner.most)));
        }
        if let Some(name) = learner.causalml {
            of_causalml(contest, size, (learner, name), &mut rows, &mut goals)?;
        }
    }
    goals.extend(together(&shared));
    let title = format!(
        "{} rows, {} trees of {} leaves per boosted model, two folds, one thread",
        thousands(size.rows as f64),
        size.trees,
        size.leaves
    );
    print(&title, &rows);
    judge(&goals);
    Ok(())
}

/// CausalML with the probability given and, where it can be waited for, with its own default.
fn of_causalml(
    contest: &mut Contest,
    size: &Size,
    (learner, name): (&Row, &str),
    rows: &mut Vec<Vec<String>>,
    goals: &mut Vec<Goal>,
) -> Result<()> {
    let label = learner.ours;
    let needs_probability = !matches!(name, "s" | "t");
    let ours = size.ours(contest, label, true);
    if let Some(ours) = ours.as_ref().filter(|_| needs_probability) {
        rows.push(line(label, "ImpactIQ, probability declared", ours));
    }
    let given = if needs_probability { format!("{name}_given") } else { name.to_owned() };
    let theirs = size.theirs(contest, &CAUSALML, &given)?;
    let who = if needs_probability { "CausalML, probability given" } else { "CausalML" };
    rows.push(line(label, who, &theirs));
    goals.extend(ours.as_ref().map(|ours| share(label, "CausalML's", ours, &theirs, learner.most)));
    let (learner, largest) = DEFAULT_PROPENSITY;
    if name == learner && size.rows <= largest {
        let theirs = size.theirs(contest, &CAUSALML, name)?;
        rows.push(line(label, "CausalML at its defaults", &theirs));
    }
    Ok(())
}

fn line(label: &str, who: &str, figures: &Value) -> Vec<String> {
    let [rmse, correlation, top] =
        [("rmse", 4), ("correlation", 2), ("top_10_percent", 2)].map(|(name, places)| digits(figures, name, places));
    row([label, who, &decimals(number(figures, "cpu_s")), &rmse, &correlation, &top])
}

fn share(label: &str, whose: &str, ours: &Value, theirs: &Value, most: f64) -> Goal {
    let found = number(ours, "cpu_s") / number(theirs, "cpu_s");
    Goal { what: format!("{label}: our share of {whose} CPU"), found, wanted: most, at_least: false }
}

/// Several learners on one set of nuisances against the dearest one alone; `None` until all
/// are there.
fn together(learners: &[Value]) -> Option<Goal> {
    if learners.len() < TOGETHER.len() {
        return None;
    }
    let most = |name: &str| learners.iter().map(|figures| number(figures, name)).fold(0.0, f64::max);
    let shared = most("binning_cpu_s") + most("nuisance_cpu_s");
    let finals: f64 = learners.iter().map(|figures| number(figures, "learner_cpu_s")).sum();
    Some(Goal {
        what: format!("{} on one set of nuisances, over the dearest alone", TOGETHER.join(", ")),
        found: (shared + finals) / most("cpu_s"),
        wanted: 2.0,
        at_least: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn learners_together_share_the_nuisances_of_the_dearest() {
        let one = |nuisance: f64, own: f64| json!({ "binning_cpu_s": 1.0, "nuisance_cpu_s": nuisance, "learner_cpu_s": own, "cpu_s": 1.0 + nuisance + own });
        let all = [one(8.0, 1.0), one(8.0, 2.0), one(8.0, 1.0), one(9.0, 0.0), one(9.0, 2.0)];
        let goal = together(&all).unwrap();
        // Binning and nuisances once, five final stages, against 12 for the dearest.
        assert!((goal.found - 16.0 / 12.0).abs() < 1e-12 && goal.met(), "{}", goal.line());
        assert!(together(&all[..4]).is_none());
    }

    #[test]
    fn a_share_is_ours_over_theirs() {
        let goal = share("x", "EconML's", &json!({ "cpu_s": 1.0 }), &json!({ "cpu_s": 4.0 }), 0.5);
        assert!((goal.found - 0.25).abs() < 1e-12 && goal.met());
        assert!(!share("x", "EconML's", &json!({}), &json!({ "cpu_s": 4.0 }), 0.5).met());
    }
}
