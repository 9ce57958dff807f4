//! The linear part of an effect: what a straight line through the features explains.
//!
//! A forest answers with averages over neighbours; along a slope these are biased at the edges
//! and need many small leaves. So an effect may begin with the best linear one (the R-learner
//! of Nie & Wager 2021 with a linear model: ỹ regressed on t̃ and t̃ × features), and the trees
//! learn what it leaves. Rows that learn see the line of the other folds only. Whether there is
//! one is decided in `choose`; what must not live here: trees.

use impactiq_data::{DataError, Seed, Stream};
use rayon::prelude::*;

use super::centre::Centred;
use crate::base::Inputs;
use crate::learners::task::LearnerTask;
use crate::linear::{Design, MAX_INDICATORS, Source};

/// Folds of the lines that learning rows see.
const N_FOLDS: usize = 5;
/// Numbers of the design at most: time grows with the square of it.
const MAX_WIDTH: usize = 100;
/// Rows of the smallest arm per number of the design at least.
const MIN_ROWS_PER_NUMBER: usize = 10;
/// Rows whose design numbers are held at once.
const BLOCK: usize = 1024;
/// Share of the intercept's weight that is added to the diagonal, so that collinear columns
/// share their slope instead of having none.
const RIDGE: f64 = 1e-6;

/// A linear effect with the covariance of its coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearPart {
    /// From raw columns to standardised numbers.
    pub design: Design,
    /// One per number of the design, the intercept first.
    pub coefficients: Vec<f64>,
    /// Lower triangle of their covariance (sandwich, by cluster), row after row.
    pub covariance: Vec<f64>,
    /// The smallest and largest effect among the rows it was learned from: answers stay inside.
    pub range: [f64; 2],
}

/// The linear parts of a forest's contrasts, and what they say of the rows that learn.
pub(super) struct Line {
    pub parts: Vec<LinearPart>,
    /// Per contrast and row of the inputs: the effect by the other folds' line.
    pub effects: Vec<Vec<f64>>,
    /// The centred outcome less what the line explains.
    pub outcome: Vec<f64>,
}

impl Line {
    /// The linear effects of all contrasts of `centred`; `pairs` holds, per contrast, the rows of
    /// its arm and the control. `None` where rows are too few or features too many.
    pub fn fit(
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        centred: &Centred,
        pairs: &[Centred],
        seed: Seed,
    ) -> Result<Option<Line>, DataError> {
        let source = Source::new(inputs.raw);
        let design = Design::learn(&source, inputs.names, &centred.rows, task.weights, MAX_INDICATORS)?;
        let width = design.width();
        let few = pairs.iter().any(|pair| pair.smallest_arm() < width * MIN_ROWS_PER_NUMBER);
        if few || !(2..=MAX_WIDTH).contains(&width) {
            return Ok(None);
        }
        let seed = seed.stream(Stream::Folds);
        let fold = |row: u32| (seed.hash(task.row_ids[row as usize]) % N_FOLDS as u64) as usize;
        let mut line = Line { parts: Vec::new(), effects: Vec::new(), outcome: centred.outcome.clone() };
        for (contrast, pair) in pairs.iter().enumerate() {
            let ground = Fitting { task, pair, design: &design, source: &source };
            let Some((part, by_fold)) = ground.fit(&fold, &centred.rows)? else { return Ok(None) };
            let mut effects = vec![0.0; task.codes.len()];
            each_row(&design, &source, &centred.rows, |row, x| {
                effects[row as usize] = part.cut(dot(&by_fold[fold(row)], x));
            })?;
            for &row in &centred.rows {
                let row = row as usize;
                line.outcome[row] -= centred.treatments[contrast][row] * effects[row];
            }
            line.parts.push(part);
            line.effects.push(effects);
        }
        Ok(Some(line))
    }
}

impl LinearPart {
    /// A line between this one and another of the same design.
    pub(super) fn mix(&self, other: &LinearPart, share: f64) -> LinearPart {
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect();
        LinearPart {
            design: self.design.clone(),
            coefficients: mix(&self.coefficients, &other.coefficients),
            covariance: mix(&self.covariance, &other.covariance),
            range: [self.range[0].min(other.range[0]), self.range[1].max(other.range[1])],
        }
    }

    fn cut(&self, effect: f64) -> f64 {
        effect.clamp(self.range[0], self.range[1])
    }

    /// The effect of every row of the inputs and, when asked for, its sampling variance.
    pub fn predict(&self, inputs: &Inputs<'_>, variances: bool) -> Result<(Vec<f64>, Vec<f64>), DataError> {
        let source = Source::new(inputs.raw);
        let bound = self.design.bind(&source)?;
        let (n, width) = (inputs.n_rows(), bound.width());
        let mut effects = vec![0.0; n];
        let mut spread = vec![0.0; if variances { n } else { 0 }];
        let block = |(index, (effects, spread)): (usize, (&mut [f64], &mut [f64]))| {
            let first = index * BLOCK;
            let rows: Vec<u32> = (first..first + effects.len()).map(|row| row as u32).collect();
            let mut columns = vec![0.0; width * rows.len()];
            bound.fill(&rows, &mut columns);
            let mut x = vec![0.0; width];
            for i in 0..rows.len() {
                (0..width).for_each(|j| x[j] = columns[j * rows.len() + i]);
                effects[i] = self.cut(dot(&self.coefficients, &x));
                if let Some(variance) = spread.get_mut(i) {
                    *variance = quadratic(&self.covariance, &x).max(0.0);
                }
            }
        };
        if variances {
            let parts = effects.par_chunks_mut(BLOCK).zip(spread.par_chunks_mut(BLOCK));
            parts.enumerate().for_each(block);
        } else {
            effects.par_chunks_mut(BLOCK).enumerate().for_each(|(i, effects)| block((i, (effects, &mut []))));
        }
        Ok((effects, spread))
    }
}

/// A line, and by fold the coefficients of the rows outside it.
type Fitted = (LinearPart, Vec<Vec<f64>>);

/// One contrast's rows on the way to its line.
struct Fitting<'a> {
    task: &'a LearnerTask<'a>,
    pair: &'a Centred,
    design: &'a Design,
    source: &'a Source<'a>,
}

impl Fitting<'_> {
    /// The line of all rows, and per fold the coefficients of the rows outside it.
    fn fit(&self, fold: &impl Fn(u32) -> usize, all_rows: &[u32]) -> Result<Option<Fitted>, DataError> {
        let width = self.design.width();
        let mut by_fold = vec![Sums::new(width); N_FOLDS];
        let (outcome, treatment) = (&self.pair.outcome, &self.pair.treatments[0]);
        let weight = |row: usize| self.task.weights.map_or(1.0, |weights| weights[row]);
        each_row(self.design, self.source, &self.pair.rows, |row, x| {
            let i = row as usize;
            by_fold[fold(row)].add(x, weight(i) * treatment[i] * treatment[i], weight(i) * treatment[i] * outcome[i]);
        })?;
        let mut total = Sums::new(width);
        by_fold.iter().for_each(|sums| total.combine(sums, 1.0));
        let Some((coefficients, inverse)) = total.solve() else { return Ok(None) };
        let mut others = Vec::with_capacity(N_FOLDS);
        for sums in &by_fold {
            let mut outside = total.clone();
            outside.combine(sums, -1.0);
            let Some((coefficients, _)) = outside.solve() else { return Ok(None) };
            others.push(coefficients);
        }
        let covariance = self.covariance(&coefficients, &inverse)?;
        let mut range = [f64::INFINITY, f64::NEG_INFINITY];
        each_row(self.design, self.source, all_rows, |_, x| {
            let effect = dot(&coefficients, x);
            range = [range[0].min(effect), range[1].max(effect)];
        })?;
        let design = self.design.clone();
        let good = range.iter().chain(&covariance).all(|value| value.is_finite());
        Ok(good.then_some((LinearPart { design, coefficients, covariance, range }, others)))
    }

    /// The sandwich of White (1980), rows of a cluster summed first.
    fn covariance(&self, coefficients: &[f64], inverse: &[f64]) -> Result<Vec<f64>, DataError> {
        let width = coefficients.len();
        let keys = self.task.row_ids;
        let mut rows = self.pair.rows.clone();
        if self.task.clusters.is_some() {
            rows.sort_by_key(|&row| (keys[row as usize], row));
        }
        let (outcome, treatment) = (&self.pair.outcome, &self.pair.treatments[0]);
        let (mut meat, mut score) = (vec![0.0; width * width], vec![0.0; width]);
        let mut open: Option<u64> = None;
        let close = |score: &mut [f64], meat: &mut [f64]| {
            for i in 0..width {
                (0..width).for_each(|j| meat[i * width + j] += score[i] * score[j]);
            }
            score.fill(0.0);
        };
        each_row(self.design, self.source, &rows, |row, x| {
            let i = row as usize;
            if open.is_some_and(|key| key != keys[i]) {
                close(&mut score, &mut meat);
            }
            open = Some(keys[i]);
            let weight = self.task.weights.map_or(1.0, |weights| weights[i]);
            let residual = weight * treatment[i] * (outcome[i] - treatment[i] * dot(coefficients, x));
            score.iter_mut().zip(x).for_each(|(score, x)| *score += residual * x);
        })?;
        close(&mut score, &mut meat);
        let half = product(inverse, &meat, width);
        let full = product(&half, inverse, width);
        Ok((0..width).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| full[i * width + j]).collect())
    }
}

/// Calls `f` with every row's numbers, in the order of `rows`.
fn each_row(
    design: &Design,
    source: &Source<'_>,
    rows: &[u32],
    mut f: impl FnMut(u32, &[f64]),
) -> Result<(), DataError> {
    let bound = design.bind(source)?;
    let width = bound.width();
    let (mut columns, mut x) = (vec![0.0; width * BLOCK], vec![0.0; width]);
    for block in rows.chunks(BLOCK) {
        let n = block.len();
        bound.fill(block, &mut columns[..width * n]);
        for (i, &row) in block.iter().enumerate() {
            (0..width).for_each(|j| x[j] = columns[j * n + i]);
            f(row, &x);
        }
    }
    Ok(())
}

/// X'WX (lower triangle, row after row) and X'Wz.
#[derive(Clone)]
struct Sums {
    gram: Vec<f64>,
    moment: Vec<f64>,
}

impl Sums {
    fn new(width: usize) -> Self {
        Sums { gram: vec![0.0; width * (width + 1) / 2], moment: vec![0.0; width] }
    }

    fn add(&mut self, x: &[f64], square: f64, product: f64) {
        let mut at = 0;
        for (i, &value) in x.iter().enumerate() {
            self.moment[i] += product * value;
            let scaled = square * value;
            for &other in &x[..=i] {
                self.gram[at] += scaled * other;
                at += 1;
            }
        }
    }

    fn combine(&mut self, other: &Sums, sign: f64) {
        self.gram.iter_mut().zip(&other.gram).for_each(|(a, b)| *a += sign * b);
        self.moment.iter_mut().zip(&other.moment).for_each(|(a, b)| *a += sign * b);
    }

    /// Coefficients and the inverse of the Gram matrix; `None` without variation.
    fn solve(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let width = self.moment.len();
        let inverse = invert(&self.gram, width, RIDGE * self.gram[0])?;
        let coefficients: Vec<f64> = inverse.chunks_exact(width).map(|row| dot(row, &self.moment)).collect();
        coefficients.iter().all(|value| value.is_finite()).then_some((coefficients, inverse))
    }
}

/// The inverse (full, row after row) of a symmetric matrix given by its lower triangle, with
/// `ridge` on the diagonal, by Cholesky's factor.
fn invert(lower: &[f64], width: usize, ridge: f64) -> Option<Vec<f64>> {
    let at = |i: usize, j: usize| i * (i + 1) / 2 + j;
    let mut factor = lower.to_vec();
    (0..width).for_each(|i| factor[at(i, i)] += ridge);
    for i in 0..width {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[at(i, k)] * factor[at(j, k)]).sum();
            let rest = factor[at(i, j)] - sum;
            if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                factor[at(i, i)] = rest.sqrt();
            } else {
                factor[at(i, j)] = rest / factor[at(j, j)];
            }
        }
    }
    let mut inverse = vec![0.0; width * width];
    for column in 0..width {
        let mut x = vec![0.0; width];
        for i in column..width {
            let unit = f64::from(u8::from(i == column));
            let sum: f64 = (column..i).map(|k| factor[at(i, k)] * x[k]).sum();
            x[i] = (unit - sum) / factor[at(i, i)];
        }
        for i in (0..width).rev() {
            let sum: f64 = (i + 1..width).map(|k| factor[at(k, i)] * x[k]).sum();
            x[i] = (x[i] - sum) / factor[at(i, i)];
        }
        (0..width).for_each(|i| inverse[i * width + column] = x[i]);
    }
    Some(inverse)
}

fn product(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width * width];
    for i in 0..width {
        for k in 0..width {
            let value = a[i * width + k];
            (0..width).for_each(|j| out[i * width + j] += value * b[k * width + j]);
        }
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// x' V x, V given by its lower triangle.
fn quadratic(lower: &[f64], x: &[f64]) -> f64 {
    let (mut sum, mut at) = (0.0, 0);
    for i in 0..x.len() {
        for j in 0..i {
            sum += 2.0 * x[i] * x[j] * lower[at + j];
        }
        sum += x[i] * x[i] * lower[at + i];
        at += i + 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_times_its_matrix_is_the_identity() {
        // Lower triangle of [[4, 2, 1], [2, 5, 3], [1, 3, 6]].
        let lower = [4.0, 2.0, 5.0, 1.0, 3.0, 6.0];
        let inverse = invert(&lower, 3, 0.0).unwrap();
        let full = [4.0, 2.0, 1.0, 2.0, 5.0, 3.0, 1.0, 3.0, 6.0];
        for (i, value) in product(&inverse, &full, 3).into_iter().enumerate() {
            assert!((value - f64::from(u8::from(i % 4 == 0))).abs() < 1e-12);
        }
        assert_eq!(invert(&[0.0], 1, 0.0), None);
        // (1, 2, 3) on that matrix: 4 + 20 + 54 + 2·(2·2 + 3·1 + 6·3) = 128.
        assert!((quadratic(&lower, &[1.0, 2.0, 3.0]) - 128.0).abs() < 1e-12);
    }
}
