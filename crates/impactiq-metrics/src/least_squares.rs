//! Weighted least squares, with or without a ridge penalty, on borrowed columns.
//!
//! Columns are centred and scaled, the Gram matrix is summed over fixed row chunks (so the
//! bytes don't depend on threads), factored by a Cholesky that drops, in column order, every
//! column which is a linear combination of earlier ones, and the solution is refined against
//! the exact residuals. Covariances of the coefficients live in `robust`.

use faer::Mat;
use faer::linalg::matmul::matmul;
use faer::{Accum, Par};
use rayon::prelude::*;

use crate::error::{MetricsError, all_finite, good_weights, same_length};

/// Rows per dense block.
const BLOCK_ROWS: usize = 512;
/// At most this many row chunks are summed side by side.
const MAX_CHUNKS: usize = 16;
/// A column is collinear when the earlier ones leave less than this share of its variance.
const COLLINEAR_SHARE: f64 = 1e-10;

/// A regression: rows stand side by side in borrowed columns of n values each.
#[derive(Clone, Copy, Debug)]
pub struct Regression<'a> {
    /// Regressors, p columns of n finite values.
    pub columns: &'a [&'a [f64]],
    /// Outcome, n finite values.
    pub outcome: &'a [f64],
    /// Weights, n values from 0 up; rows of weight 0 count as absent.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row, for cluster-robust covariances.
    pub clusters: Option<&'a [u32]>,
    /// Whether a constant is estimated.
    pub intercept: bool,
}

/// Shrinkage of the coefficients, never of the intercept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Penalty {
    /// Ordinary (weighted) least squares.
    #[default]
    None,
    /// Adds λ · Σ bⱼ² to the weighted sum of squares, in the columns' own units.
    Raw(f64),
    /// Adds λ · Σ (sⱼ bⱼ)², sⱼ the column's standard deviation: free of units.
    Standardized(f64),
}

/// A fitted regression.
#[derive(Clone, Debug)]
pub struct LeastSquaresModel {
    /// Constant, 0 without an intercept.
    pub intercept: f64,
    /// One coefficient per given column; 0 for a dropped one.
    pub coefficients: Vec<f64>,
    /// Indices of the columns dropped because they are constant or collinear.
    pub dropped: Vec<usize>,
    /// Rows of positive weight.
    pub n_rows: usize,
    /// Estimated coefficients, intercept included.
    pub rank: usize,
    /// Weighted residual sum of squares.
    pub residual_sum_of_squares: f64,
    pub(crate) scaling: Scaling,
    /// Estimated positions among (intercept, columns).
    pub(crate) kept: Vec<usize>,
    /// Inverse of the Cholesky factor of the (penalised) Gram matrix, rank × rank, lower.
    pub(crate) inverse_factor: Mat<f64>,
    /// Unpenalised Gram matrix of the kept columns, scaled units.
    pub(crate) gram: Mat<f64>,
}

/// How a column is brought to comparable units: z = (x − mean) / scale.
#[derive(Clone, Debug)]
pub(crate) struct Scaling {
    pub(crate) intercept: bool,
    pub(crate) means: Vec<f64>,
    /// 0 marks a column that is constant (or all zero without intercept).
    pub(crate) scales: Vec<f64>,
}

impl Regression<'_> {
    /// Number of rows n.
    pub fn n(&self) -> usize {
        self.outcome.len()
    }

    #[inline]
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    /// Fits the regression.
    ///
    /// # Errors
    /// [`MetricsError::Length`], [`MetricsError::BadValue`] for a value that isn't finite or
    /// a negative weight, [`MetricsError::BadSetting`] for a negative penalty,
    /// [`MetricsError::TooFewRows`] where fewer rows than coefficients have weight.
    ///
    /// ```
    /// use impactiq_metrics::least_squares::{Penalty, Regression};
    /// let x = [0.0, 1.0, 2.0, 3.0];
    /// let y = [1.0, 3.0, 5.0, 7.0];
    /// let columns: [&[f64]; 1] = [&x];
    /// let regression = Regression { columns: &columns, outcome: &y, weights: None, clusters: None, intercept: true };
    /// let model = regression.fit(Penalty::None).unwrap();
    /// assert!((model.intercept - 1.0).abs() < 1e-12 && (model.coefficients[0] - 2.0).abs() < 1e-12);
    /// ```
    pub fn fit(&self, penalty: Penalty) -> Result<LeastSquaresModel, MetricsError> {
        self.check(penalty)?;
        let n_rows = (0..self.n()).filter(|&row| self.weight(row) > 0.0).count();
        let scaling = self.scaling();
        let moments = self.moments(&scaling);
        let width = moments.gram.nrows();
        let ridge: Vec<f64> = (0..width).map(|j| scaling.ridge(j, penalty)).collect();
        let (kept, inverse_factor) = factor(&moments.gram, &ridge);
        if n_rows < kept.len() || n_rows == 0 {
            return Err(MetricsError::TooFewRows { what: "regression", found: n_rows, needed: kept.len().max(1) });
        }
        let mut beta = vec![0.0; width];
        let mut gradient = moments.cross;
        let mut rss = moments.total;
        // Two rounds of refinement with exact residuals repay what the Gram matrix lost.
        for round in 0..3 {
            if round > 0 {
                (gradient, rss) = self.gradient(&scaling, &beta);
            }
            let pull: Vec<f64> = kept.iter().map(|&j| gradient[j] - ridge[j] * beta[j]).collect();
            let step = solve(&inverse_factor, &pull);
            kept.iter().zip(step).for_each(|(&j, step)| beta[j] += step);
        }
        let gram = Mat::from_fn(kept.len(), kept.len(), |i, j| moments.gram[(kept[i], kept[j])]);
        let (intercept, coefficients) = scaling.to_raw(&beta);
        let offset = usize::from(self.intercept);
        let dropped = (0..self.columns.len()).filter(|j| !kept.contains(&(j + offset))).collect();
        Ok(LeastSquaresModel {
            intercept,
            coefficients,
            dropped,
            n_rows,
            rank: kept.len(),
            residual_sum_of_squares: rss,
            scaling,
            kept,
            inverse_factor,
            gram,
        })
    }

    fn check(&self, penalty: Penalty) -> Result<(), MetricsError> {
        if self.n() == 0 {
            return Err(MetricsError::NoRows { what: "regression" });
        }
        all_finite("outcome", self.outcome)?;
        for column in self.columns {
            same_length("regressor", self.n(), column.len())?;
            all_finite("regressor", column)?;
        }
        if let Some(weights) = self.weights {
            good_weights(weights, self.n())?;
        }
        if let Some(clusters) = self.clusters {
            same_length("cluster", self.n(), clusters.len())?;
        }
        match penalty {
            Penalty::Raw(lambda) | Penalty::Standardized(lambda) if !(lambda >= 0.0 && lambda.is_finite()) => {
                Err(MetricsError::BadSetting {
                    what: "penalty",
                    value: lambda.to_string(),
                    allowed: "it must be finite and not negative",
                })
            }
            _ => Ok(()),
        }
    }

    fn scaling(&self) -> Scaling {
        let total: f64 = (0..self.n()).map(|row| self.weight(row)).sum();
        let (means, scales) = self
            .columns
            .par_iter()
            .map(|column| {
                let mean_of = |f: &dyn Fn(f64) -> f64| {
                    (0..self.n()).map(|row| self.weight(row) * f(column[row])).sum::<f64>() / total
                };
                let mean = if self.intercept { mean_of(&|x| x) } else { 0.0 };
                let mean = if mean.is_finite() { mean } else { 0.0 };
                let scale = mean_of(&|x| (x - mean) * (x - mean)).sqrt();
                // Rounding leaves a constant column with a spread near 1e-16 of its level.
                let good = scale.is_finite() && scale > 1e-13 * mean.abs() && scale > 0.0;
                (mean, if good { scale } else { 0.0 })
            })
            .unzip();
        Scaling { intercept: self.intercept, means, scales }
    }

    fn chunks(&self) -> Vec<std::ops::Range<usize>> {
        let n_chunks = self.n().div_ceil(1 << 15).clamp(1, MAX_CHUNKS);
        let size = self.n().div_ceil(n_chunks).max(1);
        (0..n_chunks).map(|c| (c * size).min(self.n())..((c + 1) * size).min(self.n())).collect()
    }

    /// Runs `visit` over the scaled design in blocks: first row, number of rows, block.
    pub(crate) fn blocks(
        &self,
        scaling: &Scaling,
        rows: std::ops::Range<usize>,
        mut visit: impl FnMut(usize, usize, &Mat<f64>),
    ) {
        let mut block = Mat::<f64>::zeros(BLOCK_ROWS, scaling.width());
        let mut start = rows.start;
        while start < rows.end {
            let len = BLOCK_ROWS.min(rows.end - start);
            scaling.fill(self.columns, start, len, &mut block);
            visit(start, len, &block);
            start += len;
        }
    }

    fn moments(&self, scaling: &Scaling) -> Moments {
        let width = scaling.width();
        let parts: Vec<Moments> = self
            .chunks()
            .into_par_iter()
            .map(|rows| {
                let mut sum = Moments::zero(width);
                let mut weighted = Mat::<f64>::zeros(BLOCK_ROWS, width);
                self.blocks(scaling, rows, |start, len, block| {
                    for j in 0..width {
                        let (from, to) = (block.col_as_slice(j), weighted.col_as_slice_mut(j));
                        let mut cross = 0.0;
                        for i in 0..len {
                            to[i] = self.weight(start + i) * from[i];
                            cross += to[i] * self.outcome[start + i];
                        }
                        sum.cross[j] += cross;
                    }
                    sum.total += (start..start + len).map(|r| self.weight(r) * self.outcome[r].powi(2)).sum::<f64>();
                    let (a, b) = (weighted.subrows(0, len), block.subrows(0, len));
                    matmul(sum.gram.as_mut(), Accum::Add, a.transpose(), b, 1.0, Par::Seq);
                });
                sum
            })
            .collect();
        let mut sum = Moments::zero(width);
        for part in parts {
            sum.gram += part.gram;
            sum.cross.iter_mut().zip(part.cross).for_each(|(s, p)| *s += p);
            sum.total += part.total;
        }
        sum
    }

    /// Zᵀ W (y − Zβ) and the weighted residual sum of squares.
    fn gradient(&self, scaling: &Scaling, beta: &[f64]) -> (Vec<f64>, f64) {
        let parts: Vec<(Vec<f64>, f64)> = self
            .chunks()
            .into_par_iter()
            .map(|rows| {
                let (mut gradient, mut rss) = (vec![0.0; beta.len()], 0.0);
                let mut residual = [0.0; BLOCK_ROWS];
                self.blocks(scaling, rows, |start, len, block| {
                    residual[..len].copy_from_slice(&self.outcome[start..start + len]);
                    for (j, &b) in beta.iter().enumerate() {
                        residual[..len].iter_mut().zip(block.col_as_slice(j)).for_each(|(r, z)| *r -= z * b);
                    }
                    for (i, r) in residual[..len].iter_mut().enumerate() {
                        let weighted = *r * self.weight(start + i);
                        rss += weighted * *r;
                        *r = weighted;
                    }
                    for (j, g) in gradient.iter_mut().enumerate() {
                        *g += residual[..len].iter().zip(block.col_as_slice(j)).map(|(r, z)| r * z).sum::<f64>();
                    }
                });
                (gradient, rss)
            })
            .collect();
        parts.into_iter().fold((vec![0.0; beta.len()], 0.0), |(mut sum, rss), (part, part_rss)| {
            sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            (sum, rss + part_rss)
        })
    }
}

impl LeastSquaresModel {
    /// Predicted outcomes of rows given as p columns, written to `out`.
    ///
    /// # Errors
    /// [`MetricsError::Length`] for another number of columns or rows.
    pub fn predict(&self, columns: &[&[f64]], out: &mut [f64]) -> Result<(), MetricsError> {
        same_length("columns", self.coefficients.len(), columns.len())?;
        out.fill(self.intercept);
        for (column, &b) in columns.iter().zip(&self.coefficients) {
            same_length("regressor", out.len(), column.len())?;
            if b != 0.0 {
                out.iter_mut().zip(*column).for_each(|(o, x)| *o += b * x);
            }
        }
        Ok(())
    }

    /// The value of intercept · c₀ + Σ bⱼ cⱼ for c = (c₀, c₁ … c_p), in raw units.
    pub fn combination(&self, contrast: &[f64]) -> f64 {
        let tail: f64 = self.coefficients.iter().zip(&contrast[1..]).map(|(b, c)| b * c).sum();
        contrast[0] * self.intercept + tail
    }
}

struct Moments {
    gram: Mat<f64>,
    cross: Vec<f64>,
    total: f64,
}

impl Moments {
    fn zero(width: usize) -> Self {
        Moments { gram: Mat::zeros(width, width), cross: vec![0.0; width], total: 0.0 }
    }
}

impl Scaling {
    pub(crate) fn width(&self) -> usize {
        self.means.len() + usize::from(self.intercept)
    }

    fn fill(&self, columns: &[&[f64]], start: usize, len: usize, block: &mut Mat<f64>) {
        let offset = usize::from(self.intercept);
        if self.intercept {
            block.col_as_slice_mut(0)[..len].fill(1.0);
        }
        for (j, column) in columns.iter().enumerate() {
            let to = &mut block.col_as_slice_mut(j + offset)[..len];
            if self.scales[j] == 0.0 {
                to.fill(0.0);
                continue;
            }
            let (mean, inverse) = (self.means[j], 1.0 / self.scales[j]);
            to.iter_mut().zip(&column[start..start + len]).for_each(|(z, x)| *z = (x - mean) * inverse);
        }
    }

    /// What the penalty adds to the diagonal of the scaled Gram matrix.
    fn ridge(&self, position: usize, penalty: Penalty) -> f64 {
        let offset = usize::from(self.intercept);
        if position < offset || self.scales[position - offset] == 0.0 {
            return 0.0;
        }
        match penalty {
            Penalty::None => 0.0,
            Penalty::Standardized(lambda) => lambda,
            Penalty::Raw(lambda) => lambda / self.scales[position - offset].powi(2),
        }
    }

    fn to_raw(&self, beta: &[f64]) -> (f64, Vec<f64>) {
        let offset = usize::from(self.intercept);
        let raw = |j: usize| if self.scales[j] == 0.0 { 0.0 } else { beta[j + offset] / self.scales[j] };
        let coefficients: Vec<f64> = (0..self.means.len()).map(raw).collect();
        if !self.intercept {
            return (0.0, coefficients);
        }
        let shift: f64 = coefficients.iter().zip(&self.means).map(|(b, m)| b * m).sum();
        (beta[0] - shift, coefficients)
    }

    /// A contrast (c₀, c₁ … c_p) of raw coefficients as one of scaled coefficients.
    pub(crate) fn contrast(&self, raw: &[f64]) -> Vec<f64> {
        let constant = if self.intercept { raw[0] } else { 0.0 };
        let tail = (0..self.means.len()).map(|j| match self.scales[j] {
            0.0 => 0.0,
            scale => (raw[j + 1] - self.means[j] * constant) / scale,
        });
        self.intercept.then_some(constant).into_iter().chain(tail).collect()
    }
}

/// Cholesky in column order; a column without variance of its own is left out. Gives the kept
/// columns and the inverse of their lower factor.
pub(crate) fn factor(gram: &Mat<f64>, ridge: &[f64]) -> (Vec<usize>, Mat<f64>) {
    let mut kept: Vec<usize> = Vec::new();
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for j in 0..gram.nrows() {
        let mut row: Vec<f64> = Vec::with_capacity(kept.len() + 1);
        for (i, &k) in kept.iter().enumerate() {
            let dot: f64 = row.iter().zip(&rows[i]).map(|(a, b)| a * b).sum();
            row.push((gram[(j, k)] - dot) / rows[i][i]);
        }
        let full = gram[(j, j)] + ridge[j];
        let left = full - row.iter().map(|l| l * l).sum::<f64>();
        if full > 0.0 && left > COLLINEAR_SHARE * full {
            row.push(left.sqrt());
            rows.push(row);
            kept.push(j);
        }
    }
    let mut inverse = Mat::<f64>::zeros(kept.len(), kept.len());
    for j in 0..kept.len() {
        inverse[(j, j)] = 1.0 / rows[j][j];
        for i in j + 1..kept.len() {
            let dot: f64 = (j..i).map(|k| rows[i][k] * inverse[(k, j)]).sum();
            inverse[(i, j)] = -dot / rows[i][i];
        }
    }
    (kept, inverse)
}

/// Applies the inverse of the Gram matrix, given the inverse of its lower factor.
pub(crate) fn solve(inverse_factor: &Mat<f64>, right: &[f64]) -> Vec<f64> {
    let k = right.len();
    let half: Vec<f64> = (0..k).map(|i| (0..=i).map(|j| inverse_factor[(i, j)] * right[j]).sum()).collect();
    (0..k).map(|j| (j..k).map(|i| inverse_factor[(i, j)] * half[i]).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regression<'a>(columns: &'a [&'a [f64]], outcome: &'a [f64]) -> Regression<'a> {
        Regression { columns, outcome, weights: None, clusters: None, intercept: true }
    }

    #[test]
    fn an_exact_plane_is_found_whatever_the_units() {
        let a: Vec<f64> = (0..200).map(|i| 1e6 + f64::from(i)).collect();
        let b: Vec<f64> = (0..200).map(|i| 1e-6 * f64::from(i * i % 37)).collect();
        let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 + 2.0 * a - 5e5 * b).collect();
        let columns: [&[f64]; 2] = [&a, &b];
        let model = regression(&columns, &y).fit(Penalty::None).unwrap();
        assert!((model.coefficients[0] - 2.0).abs() < 1e-9, "{model:?}");
        assert!((model.coefficients[1] / -5e5 - 1.0).abs() < 1e-9);
        assert!((model.intercept - 3.0).abs() < 1e-3);
    }

    #[test]
    fn constant_and_collinear_columns_are_reported_by_index() {
        let a: Vec<f64> = (0..50).map(f64::from).collect();
        let b = vec![7.3; 50];
        let c: Vec<f64> = a.iter().map(|a| 2.0 * a - 1.0).collect();
        let d: Vec<f64> = a.iter().map(|a| (a * 1.7).sin()).collect();
        let y: Vec<f64> = a.iter().zip(&d).map(|(a, d)| a + 4.0 * d).collect();
        let columns: [&[f64]; 4] = [&a, &b, &c, &d];
        let model = regression(&columns, &y).fit(Penalty::None).unwrap();
        assert_eq!(model.dropped, vec![1, 2]);
        assert_eq!(model.rank, 3);
        assert!((model.coefficients[0] - 1.0).abs() < 1e-10 && (model.coefficients[3] - 4.0).abs() < 1e-10);
    }

    #[test]
    fn a_row_of_weight_two_is_a_row_written_twice() {
        let x = [1.0, 2.0, 4.0, 3.0];
        let y = [1.0, 0.5, 3.0, 2.5];
        let w = [1.0, 2.0, 1.0, 0.0];
        let columns: [&[f64]; 1] = [&x];
        let weighted = Regression { weights: Some(&w), ..regression(&columns, &y) }.fit(Penalty::Raw(0.3)).unwrap();
        let (x2, y2) = ([1.0, 2.0, 2.0, 4.0], [1.0, 0.5, 0.5, 3.0]);
        let columns: [&[f64]; 1] = [&x2];
        let twice = regression(&columns, &y2).fit(Penalty::Raw(0.3)).unwrap();
        assert!((weighted.coefficients[0] - twice.coefficients[0]).abs() < 1e-12);
        assert!((weighted.intercept - twice.intercept).abs() < 1e-12);
        assert_eq!(weighted.n_rows, 3);
    }

    #[test]
    fn ridge_matches_its_closed_form_in_one_dimension() {
        let x = [-1.0, 0.0, 1.0, 2.0, 3.0];
        let y = [0.0, 1.0, 1.0, 3.0, 5.0];
        let columns: [&[f64]; 1] = [&x];
        let (mx, my) = (1.0, 2.0);
        let sxy: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let sxx: f64 = x.iter().map(|x| (x - mx) * (x - mx)).sum();
        let raw = regression(&columns, &y).fit(Penalty::Raw(2.0)).unwrap();
        assert!((raw.coefficients[0] - sxy / (sxx + 2.0)).abs() < 1e-13);
        let scaled = regression(&columns, &y).fit(Penalty::Standardized(2.0)).unwrap();
        assert!((scaled.coefficients[0] - sxy / (sxx + 2.0 * sxx / 5.0)).abs() < 1e-13);
        assert!((scaled.intercept - (my - scaled.coefficients[0] * mx)).abs() < 1e-13);
    }

    #[test]
    fn bad_input_is_an_error_with_its_row() {
        let x = [1.0, f64::NAN];
        let columns: [&[f64]; 1] = [&x];
        let error = regression(&columns, &[1.0, 2.0]).fit(Penalty::None).unwrap_err();
        assert!(matches!(error, MetricsError::BadValue { row: 1, .. }));
        let x = [1.0, 2.0];
        let columns: [&[f64]; 1] = [&x];
        assert!(regression(&columns, &[1.0, 2.0]).fit(Penalty::Raw(-1.0)).is_err());
        let none = Regression { weights: Some(&[0.0, 0.0]), ..regression(&columns, &[1.0, 2.0]) };
        assert!(none.fit(Penalty::None).is_err());
    }
}
