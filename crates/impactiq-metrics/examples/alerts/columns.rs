//! Ten columns of the kinds that advertising data have, and a score made of them; faults planted
//! into one of them.

use impactiq_data::Seed;
use impactiq_metrics::drift::{Cell, DriftConfig, DriftMonitor, Reference};

/// Rows of the training file.
const TRAINING_ROWS: u64 = 50_000;
/// Training files; runs take turns among them.
const N_FILES: u64 = 20;
/// No alarm within this many windows counts as none.
const MOST_WINDOWS: u64 = 20;
const CITIES: [&str; 6] = ["north", "south", "east", "west", "centre", "abroad"];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// A normal column moves by this share of its standard deviation.
    Shift(f64),
    /// Missing values of a column go from 10 % to 20 %.
    Missing,
    /// A category's share goes from 30 % to 40 %.
    Category,
    /// A column is filled in with zero.
    Dead,
}

pub const FAULTS: [Fault; 5] = [Fault::Shift(0.25), Fault::Shift(0.5), Fault::Missing, Fault::Category, Fault::Dead];

impl Fault {
    pub fn name(self) -> String {
        match self {
            Fault::None => "nothing".into(),
            Fault::Shift(by) => format!("a normal column + {by} SD"),
            Fault::Missing => "missing 10 % → 20 %".into(),
            Fault::Category => "a category 30 % → 40 %".into(),
            Fault::Dead => "a column becomes 0".into(),
        }
    }
}

/// What one window showed.
pub struct Window {
    pub alarm: bool,
    /// PSI tests with p < 1 %, PSI tests; the same of KS.
    pub small: [u64; 4],
}

struct Row {
    numbers: [f64; 10],
    city: &'static str,
}

fn row(seed: Seed, number: u64, fault: Fault) -> Row {
    let u = |what: u64| seed.child(what).uniform(number);
    let normal = |what: u64| (-2.0 * (1.0 - u(what)).ln()).sqrt() * (std::f64::consts::TAU * u(what + 100)).cos();
    let shift = if let Fault::Shift(by) = fault { by } else { 0.0 };
    let missing = if fault == Fault::Missing { 0.2 } else { 0.1 };
    let first = normal(1) + shift;
    let mut numbers = [
        first,
        (0.8 * normal(2)).exp(),
        // Visits: six in ten have none.
        (-(1.0 - u(3)).ln() * 1.2 - 0.6).max(0.0).floor(),
        f64::from(u8::from(u(4) < 0.03)),
        if u(5) < missing { f64::NAN } else { u(6) },
        (u(7) * 5.0).floor(),
        0.7 * first + 0.7 * normal(8),
        u(9).powi(6) * 1_000.0,
        if fault == Fault::Dead { 0.0 } else { u(10) },
        0.0,
    ];
    // A score of a few hundred distinct values, as forests give.
    numbers[9] = ((0.02 * numbers[0] + 0.01 * numbers[2] + 0.02 * numbers[7] / 1_000.0) * 1_000.0).round() / 1_000.0;
    let draw = u(11);
    let city = if fault == Fault::Category && u(12) < 1.0 / 7.0 {
        CITIES[0]
    } else {
        CITIES[[0.3, 0.55, 0.75, 0.9, 0.99].iter().filter(|limit| draw >= **limit).count()]
    };
    Row { numbers, city }
}

/// Empty monitors beside `N_FILES` training files.
pub fn monitors(n: u64) -> Vec<DriftMonitor> {
    (0..N_FILES).map(|file| monitor(file, n)).collect()
}

fn monitor(file: u64, n: u64) -> DriftMonitor {
    let seed = Seed::new(file).child(1);
    let training: Vec<Row> = (0..TRAINING_ROWS).map(|number| row(seed, number, Fault::None)).collect();
    let mut references: Vec<Reference> = (0..10)
        .map(|place| {
            let values: Vec<f64> = training.iter().map(|row| row.numbers[place]).collect();
            Reference::of_values(format!("x{place}"), &values).expect("training rows")
        })
        .collect();
    let share = |city: &str| training.iter().filter(|row| row.city == city).count() as f64 / TRAINING_ROWS as f64;
    let levels: Vec<(String, f64)> = CITIES.map(|city| (city.to_owned(), share(city))).to_vec();
    references.push(Reference::categories("city", &levels, 0.0, 0.0, TRAINING_ROWS).expect("training rows"));
    DriftMonitor::new(DriftConfig { window_rows: n, ..DriftConfig::default() }, references).expect("good settings")
}

fn fill(monitor: &mut DriftMonitor, seed: Seed, n: u64, fault: Fault) {
    for number in 0..n {
        let row = row(seed, number, fault);
        let mut cells: Vec<Cell<'_>> = row.numbers.iter().map(|value| Cell::Number(*value)).collect();
        cells.push(Cell::Level(Some(row.city)));
        monitor.observe(&cells).expect("as many cells as columns");
    }
}

/// A window without faults.
pub fn clean(monitors: &[DriftMonitor], run: u64, n: u64) -> Window {
    let mut monitor = monitors[run as usize % monitors.len()].clone();
    fill(&mut monitor, Seed::new(run).child(2), n, Fault::None);
    let report = monitor.last().expect("a complete window");
    let small = report.columns.iter().fold([0; 4], |sum, column| {
        let below = |p: f64| u64::from(p < 0.01);
        let by_distance = column.ks_p.map_or([0, 0], |p| [below(p), 1]);
        [sum[0] + below(column.psi_p), sum[1] + 1, sum[2] + by_distance[0], sum[3] + by_distance[1]]
    });
    Window { alarm: report.alarm(), small }
}

/// Rows until the end of the first window with an alarm.
pub fn rows_to_alarm(monitors: &[DriftMonitor], run: u64, n: u64, fault: Fault) -> Option<u64> {
    let mut monitor = monitors[run as usize % monitors.len()].clone();
    for window in 0..MOST_WINDOWS {
        fill(&mut monitor, Seed::new(run).child(1_000 + window), n, fault);
        if monitor.last().is_some_and(impactiq_metrics::drift::DriftReport::alarm) {
            return Some((window + 1) * n);
        }
    }
    None
}
