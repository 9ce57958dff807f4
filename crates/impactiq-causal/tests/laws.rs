//! The table of laws × learners: what must not change an answer, or must change it in a known
//! way, to 1e-9, with sampling off and folds given.
//!
//! Cells that make no sense are listed in [`applies`] with their reason.

use impactiq_causal::config::Names;
use impactiq_causal::{CheckedConfig, Config, codec, train};
use impactiq_data::dataset::number_table;
use impactiq_data::{Column, Dataset, Seed, Silent, Table};

const N: usize = 240;
const FEATURES: [&str; 4] = ["x1", "x2", "x3", "x4"];

/// Sampling is off. Leaves are large enough that two features never cut a node into the same
/// parts: which of them is taken then depends on their order, and no law can hold.
const BOOSTED: &str = "n_trees: 20, learning_rate: 0.2, n_leaves: 4, min_leaf_rows: 12, l2: 1, feature_fraction: 1, early_stopping: false";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Law {
    RowOrder,
    FeatureOrder,
    MonotoneTransform,
    OutcomeShiftAndScale,
    ArmSwap,
    DuplicateIsWeightTwo,
    Threads,
}

const LAWS: [Law; 7] = [
    Law::RowOrder,
    Law::FeatureOrder,
    Law::MonotoneTransform,
    Law::OutcomeShiftAndScale,
    Law::ArmSwap,
    Law::DuplicateIsWeightTwo,
    Law::Threads,
];

#[derive(Clone, Copy, Debug)]
struct Learner {
    name: &'static str,
    kind: &'static str,
    base: &'static str,
    binary: bool,
}

/// Bags are drawn by row number and every feature is looked at in every node.
const FOREST: &str = "n_trees: 20, min_arm_rows: 10, alpha: 0";
const FOREST_OF_SCORES: &str = "n_trees: 20, min_leaf_rows: 10, alpha: 0";

/// One tree of all rows and features: another row order or a repeated row draws nothing else.
const UPLIFT_TREE: &str = "min_arm_rows: 12, min_leaf_rows: 1, max_depth: 3, honest: false, shrinkage: 0";

/// A forest draws its rows by row number.
const UPLIFT_FOREST: &str = "n_trees: 20, min_arm_rows: 8, min_leaf_rows: 1, max_depth: 3";

const LEARNERS: &[Learner] = &[
    Learner { name: "t boosted", kind: "t", base: "boosted", binary: false },
    Learner { name: "t boosted binary", kind: "t", base: "boosted", binary: true },
    Learner { name: "s boosted", kind: "s", base: "boosted", binary: false },
    Learner { name: "s boosted binary", kind: "s", base: "boosted", binary: true },
    Learner { name: "t least squares", kind: "t", base: "least_squares", binary: false },
    Learner { name: "s least squares", kind: "s", base: "least_squares", binary: false },
    Learner { name: "t ridge", kind: "t", base: "ridge", binary: false },
    Learner { name: "s ridge", kind: "s", base: "ridge", binary: false },
    Learner { name: "t logistic", kind: "t", base: "logistic", binary: true },
    Learner { name: "s logistic", kind: "s", base: "logistic", binary: true },
    Learner { name: "forest dr", kind: "forest_dr", base: "boosted", binary: false },
    Learner { name: "causal forest", kind: "causal_forest", base: "boosted", binary: false },
    Learner { name: "causal forest binary", kind: "causal_forest", base: "boosted", binary: true },
    Learner { name: "instrumental forest", kind: "instrumental_forest", base: "boosted", binary: false },
    Learner { name: "linear dml", kind: "linear_dml", base: "least_squares", binary: false },
    Learner { name: "linear dr", kind: "linear_dr", base: "least_squares", binary: false },
    Learner { name: "linear dr binary", kind: "linear_dr", base: "logistic", binary: true },
    Learner { name: "intent-to-treat driv", kind: "intent_to_treat_driv", base: "least_squares", binary: false },
    Learner { name: "x boosted", kind: "x", base: "boosted", binary: false },
    Learner { name: "x boosted binary", kind: "x", base: "boosted", binary: true },
    Learner { name: "x least squares", kind: "x", base: "least_squares", binary: false },
    Learner { name: "r boosted", kind: "r", base: "boosted", binary: false },
    Learner { name: "r boosted binary", kind: "r", base: "boosted", binary: true },
    Learner { name: "r ridge", kind: "r", base: "ridge", binary: false },
    Learner { name: "dr boosted", kind: "dr", base: "boosted", binary: false },
    Learner { name: "dr boosted binary", kind: "dr", base: "boosted", binary: true },
    Learner { name: "dr least squares", kind: "dr", base: "least_squares", binary: false },
    Learner { name: "nonparam dml boosted", kind: "nonparam_dml", base: "boosted", binary: false },
    Learner { name: "nonparam dml least squares", kind: "nonparam_dml", base: "least_squares", binary: false },
    Learner { name: "transformed outcome boosted", kind: "transformed_outcome", base: "boosted", binary: false },
    Learner {
        name: "transformed outcome least squares",
        kind: "transformed_outcome",
        base: "least_squares",
        binary: false,
    },
    Learner { name: "class transformation boosted", kind: "class_transformation", base: "boosted", binary: true },
    Learner { name: "recalibrated r", kind: "r, recalibrate: linear", base: "boosted", binary: false },
    Learner { name: "class transformation logistic", kind: "class_transformation", base: "logistic", binary: true },
    Learner { name: "uplift tree kl", kind: "uplift_tree", base: "kl", binary: true },
    Learner { name: "uplift tree euclidean binary", kind: "uplift_tree", base: "euclidean", binary: true },
    Learner { name: "uplift tree chi-square", kind: "uplift_tree", base: "chi_square", binary: true },
    Learner { name: "uplift tree euclidean", kind: "uplift_tree", base: "euclidean", binary: false },
    Learner { name: "uplift tree ddp", kind: "uplift_tree", base: "ddp", binary: false },
    Learner { name: "uplift tree interaction", kind: "uplift_tree", base: "interaction", binary: false },
    Learner { name: "uplift tree cts", kind: "uplift_tree", base: "cts", binary: false },
    Learner { name: "uplift forest kl", kind: "uplift_forest", base: "kl", binary: true },
    Learner { name: "uplift forest interaction", kind: "uplift_forest", base: "interaction", binary: false },
];

/// Whether a law holds for a learner, with the reason where it does not.
fn applies(law: Law, learner: Learner) -> bool {
    match law {
        // A line through exp(x) is not a line through x.
        Law::MonotoneTransform => learner.is_uplift() || learner.base == "boosted",
        // A probability has no other unit; and a shift is what inverse probabilities are
        // sensitive to when nothing is taken away first: the transformed outcome of a constant
        // is noise. cts takes the larger outcome for the better one.
        Law::OutcomeShiftAndScale => !learner.binary && learner.kind != "transformed_outcome" && learner.base != "cts",
        // Another row of the same values is drawn by a number of its own.
        Law::DuplicateIsWeightTwo => !learner.forest() && learner.kind != "uplift_forest",
        // The divergence of p from q is not that of q from p.
        Law::ArmSwap => !["kl", "chi_square"].contains(&learner.base),
        _ => true,
    }
}

impl Learner {
    fn forest(self) -> bool {
        matches!(self.kind, "causal_forest" | "forest_dr" | "instrumental_forest")
    }

    fn by_instrument(self) -> bool {
        matches!(self.kind, "instrumental_forest" | "intent_to_treat_driv")
    }

    fn is_linear(self) -> bool {
        matches!(self.kind, "linear_dml" | "linear_dr" | "intent_to_treat_driv")
    }

    /// A forest's leaves hold f32 moments, and cells of a histogram are f32 sums: the last bits
    /// of an effect are their rounding.
    fn is_uplift(self) -> bool {
        self.kind.starts_with("uplift")
    }

    fn tolerance(self, what: &str) -> f64 {
        match self.kind {
            // Take-up is learned by a logistic regression, which stops short of its last digits.
            "intent_to_treat_driv" => 1e-6,
            _ if self.forest() && what == "effect" => 1e-5,
            _ => 1e-9,
        }
    }

    fn config(self) -> Config {
        let settings = if self.base == "boosted" { format!(", {BOOSTED}") } else { String::new() };
        let outcome = if self.binary { "b" } else { "y" };
        let own = match self.kind {
            "causal_forest" | "instrumental_forest" => format!(", {FOREST}"),
            _ if self.is_linear() => String::new(),
            "uplift_tree" if self.base == "interaction" => {
                format!(", criterion: interaction, {}", UPLIFT_TREE.replace(", shrinkage: 0", ""))
            }
            "uplift_tree" => format!(", criterion: {}, {UPLIFT_TREE}", self.base),
            "uplift_forest" => format!(", criterion: {}, {UPLIFT_FOREST}", self.base),
            "forest_dr" => format!(", {FOREST_OF_SCORES}"),
            _ => format!(", base: {}{settings}", self.base),
        };
        // Uplift trees stand on no nuisances; the averages beside them do.
        let nuisance = if self.is_uplift() { "least_squares" } else { self.base };
        let yaml = format!(
            "data: {{path: x}}\n\
             roles: {{{treatment}, control: 0, outcome: {outcome}, features: ['x*'], fold: fold, weight: w}}\n\
             assignment: {{probability: 0.5}}\nsplit: {{holdout: 0}}\n\
             nuisance: {{kind: {nuisance}{settings}}}\nlearner: {{kind: {kind}{own}}}\n",
            kind = self.kind,
            treatment = if self.by_instrument() { "treatment: d, instrument: z" } else { "treatment: t" },
        );
        Config::from_yaml(&yaml, "laws.yaml", &[]).unwrap()
    }
}

fn uniform(stream: u64) -> Vec<f64> {
    (0..N as u64).map(|row| Seed::new(stream).uniform(row)).collect()
}

/// 240 rows: every value of a feature keeps a bin of its own, so duplicates don't move bins.
fn rows() -> Vec<(String, Vec<f64>)> {
    let x: Vec<Vec<f64>> = (1..=4).map(uniform).collect();
    let t: Vec<f64> = uniform(5).iter().map(|u| f64::from(u8::from(*u < 0.5))).collect();
    let (noise, u) = (uniform(6), uniform(7));
    let y: Vec<f64> =
        (0..N).map(|i| 1.0 + 2.0 * x[0][i] + t[i] * (0.5 + x[1][i]) + x[2][i] * x[3][i] + noise[i]).collect();
    let b: Vec<f64> = (0..N).map(|i| f64::from(u8::from(u[i] < 0.2 + 0.3 * x[0][i] + 0.3 * t[i] * x[1][i]))).collect();
    let mut columns: Vec<(String, Vec<f64>)> = FEATURES.iter().map(|f| (*f).to_owned()).zip(x).collect();
    // Weights of many values: equal ones would leave 0/1 outcomes with exact ties between features.
    let w = uniform(8).iter().map(|u| 0.5 + u).collect();
    let fold = (0..N).map(|i| (i % 3) as f64).collect();
    // An offer, and who takes it.
    let z: Vec<f64> = uniform(9).iter().map(|u| f64::from(u8::from(*u < 0.5))).collect();
    let d = uniform(10).iter().zip(&z).map(|(u, z)| f64::from(u8::from(*u < 0.2 + 0.6 * z))).collect();
    for (name, values) in [("t", t), ("y", y), ("b", b), ("fold", fold), ("w", w), ("z", z), ("d", d)] {
        columns.push((name.to_owned(), values));
    }
    columns
}

/// Effects of rows 0, 1, … and the point values of all averages.
#[derive(Debug)]
struct Answer {
    cate: Vec<f64>,
    averages: Vec<f64>,
}

fn dataset(config: &Config, columns: Vec<(String, Vec<f64>)>, ids: Vec<u64>) -> (CheckedConfig, Dataset) {
    let table = number_table(columns).unwrap();
    let config = config.check(table.names()).unwrap();
    let data = config.dataset(table, ids).unwrap();
    (config, data)
}

/// Trains on rows with these numbers; effects are asked for the rows of `probe`.
fn answer(config: &Config, columns: Vec<(String, Vec<f64>)>, ids: Vec<u64>, probe: &[(String, Vec<f64>)]) -> Answer {
    let (config, data) = dataset(config, columns, ids);
    let trained = train(&config, &data, &Silent).unwrap();
    let mut table = Table::new();
    probe.iter().for_each(|(name, values)| table.push(name.clone(), Column::Number(values.clone())).unwrap());
    let mut predictions = trained.model.predict(&trained.model.encode(&table).unwrap(), &table).unwrap();
    let averages = trained
        .report
        .contrasts
        .iter()
        .flat_map(|c| [&c.estimators.difference_in_means, &c.estimators.lin, &c.estimators.aipw, &c.ate])
        .filter_map(|estimate| estimate.value())
        .collect();
    Answer { cate: predictions.remove(0).cate.remove(0), averages }
}

fn assert_close(law: Law, learner: Learner, found: &Answer, wanted: impl Fn(f64) -> f64, base: &Answer) {
    for (what, found, base) in [("effect", &found.cate, &base.cate), ("average", &found.averages, &base.averages)] {
        assert_eq!(found.len(), base.len());
        for (i, (found, base)) in found.iter().zip(base.iter()).enumerate() {
            let wanted = wanted(*base);
            let close = (found - wanted).abs() <= learner.tolerance(what) * (1.0 + wanted.abs());
            assert!(close, "{law:?} × {}: {what} {i} is {found}, not {wanted}", learner.name);
        }
    }
}

fn ids() -> Vec<u64> {
    (0..N as u64).collect()
}

fn check(law: Law, learner: Learner) {
    let config = learner.config();
    let rows = rows();
    let base = answer(&config, rows.clone(), ids(), &rows);
    let spread = base.cate.iter().fold(0.0f64, |m, c| m.max((c - base.cate[0]).abs()));
    let constant = learner.kind == "s" && learner.base.ends_with(['s', 'e']) && learner.base != "boosted";
    assert!(constant || spread > 1e-3, "{}: an effect that never varies proves nothing", learner.name);
    let same = |effect: f64| effect;
    match law {
        Law::RowOrder => {
            let mut order: Vec<usize> = (0..N).collect();
            order.sort_by_key(|&row| Seed::new(99).hash(row as u64));
            let moved: Vec<(String, Vec<f64>)> =
                rows.iter().map(|(name, v)| (name.clone(), order.iter().map(|&i| v[i]).collect())).collect();
            let moved_ids = order.iter().map(|&i| i as u64).collect();
            assert_close(law, learner, &answer(&config, moved, moved_ids, &rows), same, &base);
        }
        Law::FeatureOrder => {
            let mut moved = rows.clone();
            moved[..4].reverse();
            assert_close(law, learner, &answer(&config, moved.clone(), ids(), &moved), same, &base);
        }
        Law::MonotoneTransform => {
            let mut moved = rows.clone();
            moved[..4].iter_mut().flat_map(|(_, v)| v).for_each(|x| *x = (3.0 * *x).exp());
            // Lin is linear in features: only the learner and AIPW keep the law, and AIPW only with
            // nuisances that do.
            let mut found = answer(&config, moved.clone(), ids(), &moved);
            if !learner.by_instrument() {
                found.averages[1] = base.averages[1];
            }
            if learner.is_uplift() {
                found.averages[2..].copy_from_slice(&base.averages[2..]);
            }
            assert_close(law, learner, &found, same, &base);
        }
        Law::OutcomeShiftAndScale => {
            let mut moved = rows.clone();
            let y = moved.iter_mut().find(|(name, _)| name == "y").unwrap();
            y.1.iter_mut().for_each(|y| *y = 100.0 - 4.0 * *y);
            assert_close(law, learner, &answer(&config, moved, ids(), &rows), |effect| -4.0 * effect, &base);
        }
        Law::ArmSwap => {
            let swapped = config.with("roles.control", "1").unwrap();
            assert_close(law, learner, &answer(&swapped, rows.clone(), ids(), &rows), |effect| -effect, &base);
        }
        Law::DuplicateIsWeightTwo => {
            let twice: Vec<usize> = (0..N).filter(|row| row % 5 == 0).collect();
            let repeated: Vec<(String, Vec<f64>)> = rows
                .iter()
                .map(|(name, v)| (name.clone(), v.iter().copied().chain(twice.iter().map(|&i| v[i])).collect()))
                .collect();
            let repeated_ids = (0..(N + twice.len()) as u64).collect();
            let mut weighted = rows.clone();
            let w = weighted.iter_mut().find(|(name, _)| name == "w").unwrap();
            twice.iter().for_each(|&row| w.1[row] *= 2.0);
            // Rows per leaf are counted, not weighed: the law is stated without a minimum.
            let config = match learner.base {
                _ if learner.is_uplift() => config.with("learner.min_arm_rows", "1").unwrap(),
                "boosted" => config
                    .with("learner.min_leaf_rows", "1")
                    .and_then(|config| config.with("nuisance.min_leaf_rows", "1"))
                    .unwrap(),
                _ => config,
            };
            let base = answer(&config, weighted, ids(), &rows);
            assert_close(law, learner, &answer(&config, repeated, repeated_ids, &rows), same, &base);
        }
        Law::Threads => {
            let run = |n_threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                pool.install(|| {
                    let (config, data) = dataset(&config, rows.clone(), ids());
                    let trained = train(&config, &data, &Silent).unwrap();
                    let report = serde_json::to_string(&trained.report).unwrap();
                    (codec::encode(&trained.model).unwrap(), report)
                })
            };
            assert_eq!(run(1), run(4), "{law:?} × {}", learner.name);
        }
    }
}

#[test]
fn every_law_holds_for_every_learner_it_is_stated_for() {
    for law in LAWS {
        for &learner in LEARNERS {
            if applies(law, learner) {
                check(law, learner);
            }
        }
    }
}

/// The table as docs/methods/laws.md shows it.
fn table() -> String {
    let mut text = String::from("| learner | outcome |");
    LAWS.iter().for_each(|law| text.push_str(&format!(" {} |", title(*law))));
    text.push_str(&format!("\n|---|---|{}\n", ":-:|".repeat(LAWS.len())));
    for &learner in LEARNERS {
        let outcome = if learner.binary { "0/1" } else { "any" };
        text.push_str(&format!("| {} | {outcome} |", learner.name.trim_end_matches(" binary")));
        LAWS.iter().for_each(|&law| text.push_str(if applies(law, learner) { " ✓ |" } else { " n/a |" }));
        text.push('\n');
    }
    text
}

fn title(law: Law) -> &'static str {
    match law {
        Law::RowOrder => "row order",
        Law::FeatureOrder => "feature order",
        Law::MonotoneTransform => "monotone transform",
        Law::OutcomeShiftAndScale => "shift and scale",
        Law::ArmSwap => "arm swap",
        Law::DuplicateIsWeightTwo => "duplicate = weight 2",
        Law::Threads => "threads",
    }
}

/// `IMPACTIQ_WRITE_LAWS=1` writes it again.
#[test]
fn the_table_in_the_docs_is_the_one_that_is_tested() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/methods/laws.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("| learner |").unwrap();
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let wanted = format!("{before}{}\n{after}", table());
    if std::env::var_os("IMPACTIQ_WRITE_LAWS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), wanted, "write it again: IMPACTIQ_WRITE_LAWS=1");
}

/// Sampling on: still the same bytes for any number of threads, and other bytes for another seed.
#[test]
fn subsamples_and_early_stopping_do_not_depend_on_threads_but_on_the_seed() {
    let yaml = "data: {path: x}\nroles: {treatment: t, control: 0, outcome: [y, b], features: ['x*']}\n\
                learner: {row_fraction: 0.7, l2: 1, min_leaf_rows: 3}\nnuisance: {n_trees: 10}\n";
    let run = |seed: &str, n_threads: usize| {
        let config = Config::from_yaml(yaml, "c.yaml", &[("split.seed".into(), seed.into())]).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let (config, data) = dataset(&config, rows(), ids());
            let trained = train(&config, &data, &Silent).unwrap();
            assert_eq!(trained.report.n_holdout, config.holdout(&data).unwrap().iter().filter(|h| **h).count() as u64);
            (codec::encode(&trained.model).unwrap(), serde_json::to_string(&trained.report).unwrap())
        })
    };
    let one = run("3", 1);
    assert_eq!(one, run("3", 3));
    assert_ne!(one.0, run("4", 1).0);
}

#[test]
fn controls_serve_nuisances_and_never_the_model() {
    let mut config = LEARNERS[0].config();
    config.roles.features = Some(Names(vec!["x1".into(), "x2".into()]));
    config.roles.controls = Names(vec!["x3".into(), "x4".into()]);
    let (checked, data) = dataset(&config, rows(), ids());
    let trained = train(&checked, &data, &Silent).unwrap();
    assert_eq!(trained.model.features(), ["x1", "x2"]);
    let mut probe = Table::new();
    rows()[..2].iter().for_each(|(name, v)| probe.push(name.clone(), Column::Number(v.clone())).unwrap());
    assert!(trained.model.predict(&trained.model.encode(&probe).unwrap(), &probe).is_ok());
    // AIPW sees the controls: without them it is another number.
    config.roles.controls = Names::default();
    let (checked, data) = dataset(&config, rows(), ids());
    let without = train(&checked, &data, &Silent).unwrap();
    assert_ne!(trained.report.contrasts[0].ate, without.report.contrasts[0].ate);
    assert_eq!(codec::encode(&trained.model).unwrap(), codec::encode(&without.model).unwrap());
}
