//! Least squares, ridge and logistic regression from normal equations.
//!
//! The Gram matrix is summed over fixed blocks of rows, in parallel by chunk and then in
//! order, so 14 M rows need no design matrix in memory and any number of threads gives
//! the same bits. Columns are standardised, so normal equations are well conditioned;
//! columns that are linear combinations of earlier ones get the coefficient 0.

use impactiq_data::DataError;
use rayon::prelude::*;

use super::design::{BLOCK, BoundDesign, Design, Source};

/// Chunks per fit at most; fixed, so that sums don't depend on threads.
const MAX_CHUNKS: usize = 128;
/// A pivot below this share of its diagonal means a collinear column.
const COLLINEAR: f64 = 1e-10;
/// Newton steps at most; separated data still ends with a usable boundary.
const MAX_STEPS: usize = 60;
/// Linear predictors of a logistic model are cut here: probabilities of 1e-13.
const MAX_LOGIT: f64 = 30.0;

/// From the linear predictor to the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The mean is the linear predictor.
    Identity,
    /// The mean is a probability.
    Logit,
}

/// A design and its coefficients (intercept first).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel {
    /// The recipe.
    pub design: Design,
    /// One coefficient per number of the design.
    pub coefficients: Vec<f64>,
    /// How predictors become means.
    pub link: Link,
}

/// What a fit sees: rows of a table and, indexed by row of the table, targets and weights.
#[derive(Clone, Copy)]
pub struct FitRows<'a> {
    /// Rows used.
    pub rows: &'a [u32],
    /// Target per row of the table.
    pub target: &'a [f64],
    /// Weight per row of the table.
    pub weights: Option<&'a [f64]>,
}

/// Sums over rows: the lower triangle of X'WX, X'Wz, and a loss.
pub(super) struct Sums {
    gram: Vec<f64>,
    moment: Vec<f64>,
    loss: f64,
}

impl Sums {
    /// Sums of all parts.
    pub(super) fn total(parts: &[Sums]) -> Sums {
        Sums::total_of(&parts.iter().collect::<Vec<_>>())
    }

    /// Sums of some parts.
    pub(super) fn total_of(parts: &[&Sums]) -> Sums {
        let p = parts.first().map_or(0, |part| part.width());
        let mut total = Sums { gram: vec![0.0; p * p], moment: vec![0.0; p], loss: 0.0 };
        parts.iter().for_each(|part| total.add(part));
        total
    }

    fn add(&mut self, part: &Sums) {
        self.gram.iter_mut().zip(&part.gram).for_each(|(a, b)| *a += b);
        self.moment.iter_mut().zip(&part.moment).for_each(|(a, b)| *a += b);
        self.loss += part.loss;
    }

    /// Number of columns, the intercept's included.
    pub(super) fn width(&self) -> usize {
        self.moment.len()
    }

    /// Sum of weights: the intercept's own product.
    pub(super) fn weight(&self) -> f64 {
        self.gram[0]
    }

    /// An entry of X'WX.
    pub(super) fn gram(&self, i: usize, j: usize) -> f64 {
        self.gram[i.max(j) * self.width() + i.min(j)]
    }

    /// An entry of X'Wz.
    pub(super) fn moment(&self, j: usize) -> f64 {
        self.moment[j]
    }

    /// Column j of X'W(z − Xb).
    pub(super) fn gradient(&self, b: &[f64], j: usize) -> f64 {
        self.moment[j] - b.iter().enumerate().map(|(k, b)| self.gram(j, k) * b).sum::<f64>()
    }

    /// Σ w (z − xb)², where the loss is Σ w z².
    pub(super) fn squared_error(&self, b: &[f64]) -> f64 {
        // y'y − b'X'y − b'(X'y − X'Xb).
        let cross: f64 = b.iter().enumerate().map(|(j, own)| own * (self.moment[j] + self.gradient(b, j))).sum();
        self.loss - cross
    }

    /// Σ w (z − mean z)², where the loss is Σ w z².
    pub(super) fn spread(&self) -> f64 {
        self.loss - self.moment[0] * self.moment[0] / self.gram[0].max(f64::MIN_POSITIVE)
    }
}

/// X'WX, X'Wy and y'Wy of least squares.
pub(super) fn least_squares_sums(bound: &BoundDesign<'_>, fit: FitRows<'_>) -> Sums {
    accumulate(bound, fit.rows, |rows, _, w, z| {
        let mut squares = 0.0;
        for (i, &row) in rows.iter().enumerate() {
            let y = fit.target[row as usize];
            w[i] = fit.weights.map_or(1.0, |weights| weights[row as usize]);
            z[i] = w[i] * y;
            squares += z[i] * y;
        }
        squares
    })
}

impl LinearModel {
    /// Mean predictions for all rows of a source (`out.len()` of them), or for those at `rows`.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn predict(&self, source: &Source<'_>, rows: Option<&[u32]>, out: &mut [f64]) -> Result<(), DataError> {
        self.design.bind(source)?.answer(rows, out, |x, out| {
            predictor(x, &self.coefficients, out);
            if self.link == Link::Logit {
                out.iter_mut().for_each(|value| *value = logistic(*value));
            }
        });
        Ok(())
    }
}

/// `1 / (1 + e^-z)` with z cut to ±30.
fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z.clamp(-MAX_LOGIT, MAX_LOGIT)).exp())
}

fn predictor(x: &[f64], coefficients: &[f64], out: &mut [f64]) {
    let n = out.len();
    out.fill(0.0);
    for (column, &b) in x.chunks_exact(n).zip(coefficients) {
        if b != 0.0 {
            out.iter_mut().zip(column).for_each(|(out, x)| *out += b * x);
        }
    }
}

/// Weighted least squares; `penalty` λ adds λ/2·Σ b² (standardised columns, no intercept)
/// to half the weighted sum of squares. λ = 0 is ordinary least squares.
///
/// # Errors
/// [`DataError::MissingColumn`].
pub fn fit_least_squares(
    design: Design,
    source: &Source<'_>,
    fit: FitRows<'_>,
    penalty: f64,
) -> Result<LinearModel, DataError> {
    let bound = design.bind(source)?;
    let sums = least_squares_sums(&bound, fit);
    let coefficients = solve(sums.gram, sums.moment, penalty);
    Ok(LinearModel { design, coefficients, link: Link::Identity })
}

/// Weighted logistic regression by Newton's method (iteratively reweighted least squares);
/// `penalty` as in [`fit_least_squares`], on the weighted log-loss. Targets lie in [0, 1].
///
/// # Errors
/// [`DataError::MissingColumn`].
pub fn fit_logistic(
    design: Design,
    source: &Source<'_>,
    fit: FitRows<'_>,
    penalty: f64,
) -> Result<LinearModel, DataError> {
    let bound = design.bind(source)?;
    let mut coefficients = start(&bound, fit);
    let mut sums = newton_sums(&bound, fit, &coefficients);
    for _ in 0..MAX_STEPS {
        let objective = sums.loss + ridge(&coefficients, penalty);
        let mut gradient = sums.moment;
        gradient.iter_mut().zip(&coefficients).skip(1).for_each(|(g, b)| *g -= penalty * b);
        let step = solve(sums.gram, gradient.clone(), penalty);
        let decrement: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        if !decrement.is_finite() || decrement <= 1e-14 * (1.0 + objective.abs()) {
            break;
        }
        // Halve the step until the objective falls: Newton may overshoot far from the optimum.
        let mut shrink = 1.0;
        loop {
            let next: Vec<f64> = coefficients.iter().zip(&step).map(|(b, s)| b + shrink * s).collect();
            sums = newton_sums(&bound, fit, &next);
            if sums.loss + ridge(&next, penalty) <= objective || shrink < 1e-4 {
                coefficients = next;
                break;
            }
            shrink *= 0.5;
        }
    }
    Ok(LinearModel { design, coefficients, link: Link::Logit })
}

fn ridge(coefficients: &[f64], penalty: f64) -> f64 {
    0.5 * penalty * coefficients.iter().skip(1).map(|b| b * b).sum::<f64>()
}

/// Only an intercept: the logit of the mean.
fn start(bound: &BoundDesign<'_>, fit: FitRows<'_>) -> Vec<f64> {
    let (mut total, mut sum) = (0.0, 0.0);
    for &row in fit.rows {
        let w = fit.weights.map_or(1.0, |weights| weights[row as usize]);
        total += w;
        sum += w * fit.target[row as usize];
    }
    let mean = (sum / total).clamp(1e-9, 1.0 - 1e-9);
    let mut coefficients = vec![0.0; bound.width()];
    coefficients[0] = (mean / (1.0 - mean)).ln();
    coefficients
}

/// X'WX with W = w·p(1−p), the gradient X'w(y − p) and the log-loss.
fn newton_sums(bound: &BoundDesign<'_>, fit: FitRows<'_>, coefficients: &[f64]) -> Sums {
    accumulate(bound, fit.rows, |rows, x, w, z| {
        predictor(x, coefficients, z);
        let mut loss = 0.0;
        for (i, &row) in rows.iter().enumerate() {
            let weight = fit.weights.map_or(1.0, |weights| weights[row as usize]);
            let (eta, y) = (z[i].clamp(-MAX_LOGIT, MAX_LOGIT), fit.target[row as usize]);
            let p = logistic(eta);
            loss += weight * (softplus(eta) - y * eta);
            w[i] = (weight * p * (1.0 - p)).max(1e-12 * weight);
            z[i] = weight * (y - p);
        }
        loss
    })
}

/// ln(1 + eᶻ) without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Sums over all rows; `row_terms(rows, x, w, z)` writes the Gram weight `w` and the
/// moment term `z` of each row of a block and returns the block's loss.
fn accumulate(
    bound: &BoundDesign<'_>,
    rows: &[u32],
    row_terms: impl Fn(&[u32], &[f64], &mut [f64], &mut [f64]) -> f64 + Sync,
) -> Sums {
    let p = bound.width();
    let chunk = rows.len().div_ceil(MAX_CHUNKS).max(8 * BLOCK);
    let parts: Vec<Sums> = rows
        .par_chunks(chunk)
        .map(|rows| {
            let mut sums = Sums { gram: vec![0.0; p * p], moment: vec![0.0; p], loss: 0.0 };
            let mut x = vec![0.0; p * BLOCK];
            let (mut w, mut z, mut wx) = (vec![0.0; BLOCK], vec![0.0; BLOCK], vec![0.0; BLOCK]);
            for rows in rows.chunks(BLOCK) {
                let n = rows.len();
                bound.fill(rows, &mut x);
                let x = &x[..p * n];
                sums.loss += row_terms(rows, x, &mut w[..n], &mut z[..n]);
                for j in 0..p {
                    let column = &x[j * n..(j + 1) * n];
                    wx[..n].iter_mut().zip(column).zip(&w).for_each(|((out, x), w)| *out = x * w);
                    sums.moment[j] += dot(column, &z[..n]);
                    for k in 0..=j {
                        sums.gram[j * p + k] += dot(&wx[..n], &x[k * n..(k + 1) * n]);
                    }
                }
            }
            sums
        })
        .collect();
    let mut total = Sums { gram: vec![0.0; p * p], moment: vec![0.0; p], loss: 0.0 };
    parts.iter().for_each(|part| total.add(part));
    total
}

/// A dot product in eight lanes, so that it can be vectorised without reordering per run.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f64>() + tail
}

/// Solves (G + λI) b = m by Cholesky (lower triangle of G given; the intercept is not
/// penalised), leaving out columns without a pivot of their own.
fn solve(mut gram: Vec<f64>, mut moment: Vec<f64>, penalty: f64) -> Vec<f64> {
    let p = moment.len();
    for j in 1..p {
        gram[j * p + j] += penalty;
    }
    let mut dropped = vec![false; p];
    for j in 0..p {
        let diagonal = gram[j * p + j];
        let pivot = diagonal - (0..j).map(|k| gram[j * p + k] * gram[j * p + k]).sum::<f64>();
        if pivot.is_nan() || pivot <= COLLINEAR * diagonal {
            dropped[j] = true;
            (0..=j).for_each(|k| gram[j * p + k] = 0.0);
            (j + 1..p).for_each(|i| gram[i * p + j] = 0.0);
            continue;
        }
        let root = pivot.sqrt();
        gram[j * p + j] = root;
        for i in j + 1..p {
            let sum: f64 = (0..j).map(|k| gram[i * p + k] * gram[j * p + k]).sum();
            gram[i * p + j] = (gram[i * p + j] - sum) / root;
        }
    }
    for j in 0..p {
        if dropped[j] {
            moment[j] = 0.0;
            continue;
        }
        let sum: f64 = (0..j).map(|k| gram[j * p + k] * moment[k]).sum();
        moment[j] = (moment[j] - sum) / gram[j * p + j];
    }
    for j in (0..p).rev() {
        if dropped[j] {
            continue;
        }
        let sum: f64 = (j + 1..p).map(|i| gram[i * p + j] * moment[i]).sum();
        moment[j] = (moment[j] - sum) / gram[j * p + j];
    }
    moment
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::{Column, Seed, Table};

    fn table(columns: Vec<(&str, Vec<f64>)>) -> Table {
        let mut table = Table::new();
        columns.into_iter().for_each(|(name, values)| table.push(name, Column::Number(values)).unwrap());
        table
    }

    fn uniform(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64).map(|i| Seed::new(seed).uniform(i)).collect()
    }

    fn predictions(model: &LinearModel, table: &Table) -> Vec<f64> {
        let mut out = vec![0.0; table.n_rows()];
        model.predict(&Source::new(table), None, &mut out).unwrap();
        out
    }

    #[test]
    fn least_squares_recovers_an_exact_plane_and_skips_a_copied_column() {
        let n = 5000;
        let (x, z) = (uniform(n, 1), uniform(n, 2));
        let y: Vec<f64> = x.iter().zip(&z).map(|(x, z)| 3.0 - 2.0 * x + 0.5 * z).collect();
        let copy: Vec<f64> = x.iter().map(|x| 7.0 * x - 1.0).collect();
        let table = table(vec![("x", x), ("copy", copy), ("z", z)]);
        let rows: Vec<u32> = (0..n as u32).collect();
        let design = Design::learn(&Source::new(&table), table.names(), &rows, None, 8).unwrap();
        let fit = FitRows { rows: &rows, target: &y, weights: None };
        let model = fit_least_squares(design, &Source::new(&table), fit, 0.0).unwrap();
        assert_eq!(model.coefficients[2], 0.0);
        for (p, y) in predictions(&model, &table).iter().zip(&y) {
            assert!((p - y).abs() < 1e-10);
        }
    }

    #[test]
    fn ridge_shrinks_by_the_hand_computed_amount() {
        // One standardised column with Σx² = n: b = n·cov / (n + λ).
        let x: Vec<f64> = vec![-1.0, 1.0, -1.0, 1.0];
        let y = vec![0.0, 2.0, 0.0, 2.0];
        let table = table(vec![("x", x)]);
        let rows = [0, 1, 2, 3];
        let design = Design::learn(&Source::new(&table), table.names(), &rows, None, 8).unwrap();
        let fit = FitRows { rows: &rows, target: &y, weights: None };
        let model = fit_least_squares(design, &Source::new(&table), fit, 4.0).unwrap();
        assert!((model.coefficients[0] - 1.0).abs() < 1e-12);
        assert!((model.coefficients[1] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn logistic_without_penalty_solves_the_score_equations() {
        let n = 20_000;
        let (x, u) = (uniform(n, 3), uniform(n, 4));
        let y: Vec<f64> = x.iter().zip(&u).map(|(x, u)| f64::from(u8::from(*u < logistic(-2.0 + 3.0 * x)))).collect();
        let weights: Vec<f64> = (0..n).map(|i| 1.0 + (i % 3) as f64).collect();
        let table = table(vec![("x", x.clone())]);
        let rows: Vec<u32> = (0..n as u32).collect();
        let design = Design::learn(&Source::new(&table), table.names(), &rows, Some(&weights), 8).unwrap();
        let fit = FitRows { rows: &rows, target: &y, weights: Some(&weights) };
        let model = fit_logistic(design, &Source::new(&table), fit, 0.0).unwrap();
        let p = predictions(&model, &table);
        let score = |f: &dyn Fn(usize) -> f64| (0..n).map(|i| weights[i] * f(i) * (y[i] - p[i])).sum::<f64>();
        assert!(score(&|_| 1.0).abs() < 1e-6 && score(&|i| x[i]).abs() < 1e-6);
        let DesignSlope { intercept, slope } = raw_scale(&model);
        assert!((intercept + 2.0).abs() < 0.15 && (slope - 3.0).abs() < 0.2, "{intercept} {slope}");
    }

    struct DesignSlope {
        intercept: f64,
        slope: f64,
    }

    fn raw_scale(model: &LinearModel) -> DesignSlope {
        let super::super::DesignColumn::Number { mean, scale, .. } = &model.design.columns()[0] else { unreachable!() };
        let slope = model.coefficients[1] / scale;
        DesignSlope { intercept: model.coefficients[0] - slope * mean, slope }
    }

    #[test]
    fn separated_classes_end_in_finite_coefficients() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i >= 20))).collect();
        let table = table(vec![("x", x)]);
        let rows: Vec<u32> = (0..40).collect();
        for penalty in [0.0, 1.0] {
            let design = Design::learn(&Source::new(&table), table.names(), &rows, None, 8).unwrap();
            let fit = FitRows { rows: &rows, target: &y, weights: None };
            let p = predictions(&fit_logistic(design, &Source::new(&table), fit, penalty).unwrap(), &table);
            assert!(p.iter().all(|p| p.is_finite()) && p[0] < 0.1 && p[39] > 0.9, "{p:?}");
        }
    }
}
