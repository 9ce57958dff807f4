//! CausalML's metrics, by its own definitions (version 0.18), for comparison with numbers
//! published elsewhere.
//!
//! CausalML walks rows one by one; on untied scores the numbers here are its own. Within a
//! group of equal scores, where CausalML's answer depends on an unstable sort, each row here
//! carries the group's mean, so the answer doesn't depend on the order of rows. Where an arm
//! is still empty a curve runs straight from the origin to its first defined value.

use crate::scored::{Sorted, Sums};

/// CausalML's curves at 0 to n rows (n + 1 values each): for small data and tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// `get_cumlift`: difference in means.
    pub lift: Vec<f64>,
    /// `get_cumgain`: difference in means times rows.
    pub gain: Vec<f64>,
    /// `get_qini`: Y_t − Y_c · N_t/N_c.
    pub qini: Vec<f64>,
    /// `get_toc`: difference in means minus the overall one, 0 while an arm is empty.
    pub toc: Vec<f64>,
}

/// CausalML's summaries of its curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// `auuc_score(normalize=False)`.
    pub auuc: f64,
    /// `qini_score(normalize=False)`.
    pub qini: f64,
    /// End of the gain curve: what `auuc_score(normalize=True)` divides by (its size).
    pub gain_end: f64,
    /// End of the Qini curve: what `qini_score(normalize=True)` divides by (its size).
    pub qini_end: f64,
    /// `rate_score(weighting="autoc")` on raw outcomes.
    pub rate_autoc: f64,
    /// `rate_score(weighting="qini")` on raw outcomes.
    pub rate_qini: f64,
}

/// Why CausalML's metrics don't apply, if so.
pub fn refusal(sorted: &Sorted<'_>) -> Option<&'static str> {
    if sorted.rows().weights.is_some() {
        return Some("CausalML's metrics have no sampling weights");
    }
    let total = sorted.total();
    if total.treated == 0.0 {
        return Some("no treated rows");
    }
    (total.control == 0.0).then_some("no control rows")
}

/// Walks the rows: number of rows so far and their sums, ties at the group's mean.
fn for_each_row(sorted: &Sorted<'_>, mut visit: impl FnMut(f64, &Sums)) {
    let (mut above, mut rows) = (Sums::default(), 0.0);
    sorted.for_each_group(|group, places| {
        let n = places.len() as f64;
        for j in 1..places.len() {
            let mut here = above;
            here.add_scaled(group, j as f64 / n);
            visit(rows + j as f64, &here);
        }
        rows += n;
        above.add(group);
        visit(rows, &above);
    });
}

/// Sums over rows of a curve that starts at 0, with CausalML's way of filling undefined
/// values: straight from the origin to the first defined one.
#[derive(Default)]
struct Filled {
    sum: f64,
    last: f64,
    started: bool,
}

impl Filled {
    /// Adds the value after `rows` rows; `power` is 1 for a curve that is filled itself and 2
    /// for one that is a filled curve times rows.
    fn push(&mut self, rows: f64, value: Option<f64>, power: i32) {
        let Some(value) = value else { return };
        if !self.started {
            // Σ over k < rows of value · (k / rows)^power.
            let before = rows - 1.0;
            self.sum += match power {
                1 => value * before / 2.0,
                _ => value * before * (2.0 * rows - 1.0) / (6.0 * rows),
            };
            self.started = true;
        }
        self.sum += value;
        self.last = value;
    }
}

fn lift(sums: &Sums) -> Option<f64> {
    (sums.treated > 0.0 && sums.control > 0.0).then(|| sums.uplift())
}

fn qini(sums: &Sums) -> Option<f64> {
    (sums.control > 0.0).then(|| sums.radcliffe())
}

/// All of CausalML's scores in one pass.
pub fn scores(sorted: &Sorted<'_>) -> Scores {
    let n = sorted.n() as f64;
    let overall = sorted.total().uplift();
    let (mut gain, mut q) = (Filled::default(), Filled::default());
    let mut last_toc = 0.0;
    let (mut autoc, mut autoc_weight, mut rate_qini, mut qini_weight) = (0.0, 0.0, 0.0, 0.0);
    for_each_row(sorted, |rows, sums| {
        let here = lift(sums);
        gain.push(rows, here.map(|l| l * rows), 2);
        q.push(rows, qini(sums), 1);
        let toc = here.map_or(0.0, |l| l - overall);
        let (middle, value) = ((rows - 0.5) / n, 0.5 * (last_toc + toc));
        autoc += value / middle;
        autoc_weight += 1.0 / middle;
        rate_qini += value * middle;
        qini_weight += middle;
        last_toc = toc;
    });
    let steps = n + 1.0;
    Scores {
        auuc: gain.sum / steps,
        qini: q.sum / steps - 0.5 * q.last,
        gain_end: gain.last,
        qini_end: q.last,
        rate_autoc: autoc / autoc_weight,
        rate_qini: rate_qini / qini_weight,
    }
}

/// CausalML's curves at every number of rows.
pub fn curves(sorted: &Sorted<'_>) -> Curves {
    let overall = sorted.total().uplift();
    let (mut lifts, mut qinis, mut toc) = (vec![Some(0.0)], vec![Some(0.0)], vec![0.0]);
    for_each_row(sorted, |_, sums| {
        lifts.push(lift(sums));
        qinis.push(qini(sums));
        toc.push(lift(sums).map_or(0.0, |l| l - overall));
    });
    let lift = filled(&lifts);
    let gain = lift.iter().enumerate().map(|(rows, l)| l * rows as f64).collect();
    Curves { lift, gain, qini: filled(&qinis), toc }
}

fn filled(values: &[Option<f64>]) -> Vec<f64> {
    let first = values.iter().skip(1).position(Option::is_some).map_or(values.len(), |p| p + 1);
    let start = values.get(first).copied().flatten().unwrap_or(0.0);
    let fill = |row: usize| start * row as f64 / first as f64;
    values.iter().enumerate().map(|(row, v)| if row < first { fill(row) } else { v.unwrap_or(0.0) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    #[test]
    fn the_single_pass_agrees_with_the_curves() {
        // The first three rows are treated: both kinds of filling are exercised.
        let score: Vec<f64> = (0..40).map(|i| f64::from(40 - i)).collect();
        let treated: Vec<u8> = (0..40).map(|i| u8::from(i < 3 || i % 3 == 0)).collect();
        let outcome: Vec<f64> = (0..40).map(|i| f64::from(i * 13 % 7)).collect();
        let sorted = Scored::new(&score, &treated, &outcome).sort().unwrap();
        let (scores, curves) = (scores(&sorted), curves(&sorted));
        let steps = 41.0;
        assert!((scores.auuc - curves.gain.iter().sum::<f64>() / steps).abs() < 1e-10);
        let line = curves.qini[40] * steps / 2.0;
        assert!((scores.qini - (curves.qini.iter().sum::<f64>() - line) / steps).abs() < 1e-10);
        assert_eq!((curves.toc[1], curves.toc[3]), (0.0, 0.0));
        assert!((curves.lift[2] - curves.lift[4] * 0.5).abs() < 1e-12);
    }
}
