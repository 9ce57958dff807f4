//! Covariances of least-squares coefficients: classical, HC0–HC3, and by cluster CR1, CR2.
//!
//! Everything is said through *contributions*: one number per row (or cluster) whose squares
//! add up to the variance of a contrast, so that estimators built on a regression can add
//! their own terms (the sampling of covariate means, say) before squaring.
//! Sources: MacKinnon & White 1985 (HC1–HC3); Bell & McCaffrey 2002 and Pustejovsky & Tipton
//! 2018 (CR2, degrees of freedom), computed in the coefficients' space, so that large
//! clusters cost no more than their cross products.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::MetricsError;
use crate::estimate::Estimate;
use crate::least_squares::{LeastSquaresModel, Regression};

/// How the covariance of coefficients is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Covariance {
    /// One error variance for all rows.
    Classical,
    /// Squared residuals as they are (White 1980).
    Hc0,
    /// HC0 · n / (n − k): the default without clusters.
    Hc1,
    /// Residuals divided by √(1 − leverage): unbiased under one error variance.
    Hc2,
    /// Residuals divided by 1 − leverage: close to the jackknife.
    Hc3,
    /// Summed by cluster, times G/(G − 1) · (n − 1)/(n − k): the default with clusters.
    Cr1,
    /// Summed by cluster after a leverage correction: for few or unequal clusters.
    Cr2,
}

impl Covariance {
    /// The default: robust, by cluster where there are clusters.
    pub fn robust(clusters: Option<&[u32]>) -> Self {
        if clusters.is_some() { Covariance::Cr1 } else { Covariance::Hc1 }
    }

    /// Whether it sums by cluster.
    pub fn by_cluster(self) -> bool {
        matches!(self, Covariance::Cr1 | Covariance::Cr2)
    }

    /// The name as configs and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Covariance::Classical => "classical",
            Covariance::Hc0 => "hc0",
            Covariance::Hc1 => "hc1",
            Covariance::Hc2 => "hc2",
            Covariance::Hc3 => "hc3",
            Covariance::Cr1 => "cr1",
            Covariance::Cr2 => "cr2",
        }
    }
}

/// What rows or clusters contribute to a contrast of coefficients.
#[derive(Clone, Debug)]
pub struct Contributions {
    /// One value per row (HC) or per cluster (CR, clusters in ascending order of code); the
    /// squares add up to the variance.
    pub values: Vec<f64>,
    /// Degrees of freedom of Student's t: residual ones, G − 1 for CR1, Satterthwaite's for
    /// CR2.
    pub degrees_of_freedom: f64,
}

impl Contributions {
    /// The variance of the contrast.
    pub fn variance(&self) -> f64 {
        self.values.iter().map(|v| v * v).sum()
    }
}

/// A cluster number from 0 for each row, in ascending order of the given codes.
#[derive(Clone, Debug)]
pub(crate) struct DenseClusters {
    pub(crate) of_row: Vec<u32>,
    pub(crate) n: usize,
}

impl DenseClusters {
    pub(crate) fn new(clusters: &[u32]) -> Self {
        let mut codes: Vec<u32> = clusters.to_vec();
        codes.par_sort_unstable();
        codes.dedup();
        let of_row = clusters.par_iter().map(|c| codes.binary_search(c).unwrap_or_default() as u32).collect();
        DenseClusters { of_row, n: codes.len() }
    }

    /// Row numbers grouped by cluster, and where each cluster starts (n + 1 values).
    fn members(&self) -> (Vec<u32>, Vec<usize>) {
        let mut starts = vec![0usize; self.n + 1];
        self.of_row.iter().for_each(|&g| starts[g as usize + 1] += 1);
        for g in 0..self.n {
            starts[g + 1] += starts[g];
        }
        let (mut next, mut rows) = (starts.clone(), vec![0u32; self.of_row.len()]);
        for (row, &g) in self.of_row.iter().enumerate() {
            rows[next[g as usize]] = row as u32;
            next[g as usize] += 1;
        }
        (rows, starts)
    }
}

impl Regression<'_> {
    /// What each row or cluster contributes to contrast c = (c₀, c₁ … c_p) of the intercept
    /// and the raw coefficients. [`Covariance::Classical`] gives the same variance in one
    /// value. The regression must be the one the model was fitted on.
    ///
    /// # Errors
    /// [`MetricsError::Length`] for a contrast of another length; [`MetricsError::TooFewRows`]
    /// for fewer than two clusters; [`MetricsError::BadSetting`] for CR without clusters.
    pub fn contributions(
        &self,
        model: &LeastSquaresModel,
        contrast: &[f64],
        kind: Covariance,
    ) -> Result<Contributions, MetricsError> {
        crate::error::same_length("contrast", self.columns.len() + 1, contrast.len())?;
        let direction = model.whitened_direction(contrast);
        match kind {
            Covariance::Cr1 | Covariance::Cr2 => self.cluster_contributions(model, &direction, kind),
            Covariance::Classical => {
                let spread = model.classical_spread(&direction);
                let free = model.n_rows.saturating_sub(model.rank) as f64;
                let sigma2 = model.residual_sum_of_squares / free;
                Ok(Contributions { values: vec![(sigma2 * spread).sqrt()], degrees_of_freedom: free })
            }
            _ => Ok(self.row_contributions(model, &direction, kind)),
        }
    }

    /// The contrast as an estimate: t intervals for CR, normal ones otherwise.
    ///
    /// # Errors
    /// As [`Regression::contributions`].
    pub fn contrast(
        &self,
        model: &LeastSquaresModel,
        contrast: &[f64],
        kind: Covariance,
    ) -> Result<Estimate, MetricsError> {
        let parts = self.contributions(model, contrast, kind)?;
        let (value, std_error, n) = (model.combination(contrast), parts.variance().sqrt(), model.n_rows as u64);
        Ok(match kind {
            Covariance::Cr1 | Covariance::Cr2 => Estimate::with_t(value, std_error, parts.degrees_of_freedom, n),
            _ => Estimate::new(value, std_error, n),
        })
    }

    /// The covariance matrix of (intercept, coefficients), p + 1 square, in raw units; rows
    /// and columns of dropped coefficients are 0.
    ///
    /// # Errors
    /// As [`Regression::contributions`].
    pub fn covariance(&self, model: &LeastSquaresModel, kind: Covariance) -> Result<Vec<Vec<f64>>, MetricsError> {
        let width = self.columns.len() + 1;
        let unit = |j: usize| (0..width).map(|i| f64::from(u8::from(i == j))).collect::<Vec<f64>>();
        let parts: Vec<Vec<f64>> = match kind {
            Covariance::Classical => return Ok(self.classical_covariance(model, width)),
            _ => (0..width)
                .map(|j| self.contributions(model, &unit(j), kind).map(|parts| parts.values))
                .collect::<Result<_, _>>()?,
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        Ok((0..width).map(|i| (0..width).map(|j| dot(&parts[i], &parts[j])).collect()).collect())
    }

    fn classical_covariance(&self, model: &LeastSquaresModel, width: usize) -> Vec<Vec<f64>> {
        let free = model.n_rows.saturating_sub(model.rank) as f64;
        let sigma2 = model.residual_sum_of_squares / free;
        let directions: Vec<Vec<f64>> = (0..width)
            .map(|j| model.whitened_direction(&(0..width).map(|i| f64::from(u8::from(i == j))).collect::<Vec<_>>()))
            .collect();
        let inner = |a: &[f64], b: &[f64]| sigma2 * model.classical_product(a, b);
        (0..width).map(|i| (0..width).map(|j| inner(&directions[i], &directions[j])).collect()).collect()
    }

    /// Whitened rows: z̃ = C⁻¹ z, so that the inverse Gram matrix becomes the identity.
    fn whitened_blocks(
        &self,
        model: &LeastSquaresModel,
        rows: std::ops::Range<usize>,
        mut visit: impl FnMut(usize, usize, &Mat<f64>),
    ) {
        let k = model.rank;
        let mut picked = Mat::<f64>::zeros(0, 0);
        let mut white = Mat::<f64>::zeros(0, 0);
        self.blocks(&model.scaling, rows, |start, len, block| {
            if white.nrows() != block.nrows() {
                picked = Mat::zeros(block.nrows(), k);
                white = Mat::zeros(block.nrows(), k);
            }
            for (i, &j) in model.kept.iter().enumerate() {
                picked.col_as_slice_mut(i)[..len].copy_from_slice(&block.col_as_slice(j)[..len]);
            }
            matmul(
                white.as_mut().subrows_mut(0, len),
                Accum::Replace,
                picked.as_ref().subrows(0, len),
                model.inverse_factor.as_ref().transpose(),
                1.0,
                Par::Seq,
            );
            visit(start, len, &white);
        });
    }

    fn row_contributions(&self, model: &LeastSquaresModel, direction: &[f64], kind: Covariance) -> Contributions {
        let n = self.n();
        let free = model.n_rows.saturating_sub(model.rank) as f64;
        let mut values = vec![0.0; n];
        const PART: usize = 1 << 14;
        values.par_chunks_mut(PART).enumerate().for_each(|(part, out)| {
            let first = part * PART;
            let rows = first..first + out.len();
            self.whitened_blocks(model, rows, |start, len, white| {
                for i in 0..len {
                    let row = start + i;
                    let (mut along, mut leverage) = (0.0, 0.0);
                    for (j, u) in direction.iter().enumerate() {
                        let z = white[(i, j)];
                        along += z * u;
                        leverage += z * z;
                    }
                    let weight = self.weight(row);
                    let left = 1.0 - weight * leverage;
                    // A row that alone fixes a coefficient has residual 0: nothing to divide.
                    let divisor = match kind {
                        _ if left < 1e-10 => 1.0,
                        Covariance::Hc2 => left.sqrt(),
                        Covariance::Hc3 => left,
                        _ => 1.0,
                    };
                    out[row - first] = weight * along * self.residual(model, row) / divisor;
                }
            });
        });
        if kind == Covariance::Hc1 {
            let factor = (model.n_rows as f64 / free).sqrt();
            values.iter_mut().for_each(|v| *v *= factor);
        }
        Contributions { values, degrees_of_freedom: free }
    }

    fn residual(&self, model: &LeastSquaresModel, row: usize) -> f64 {
        let fitted: f64 = self.columns.iter().zip(&model.coefficients).map(|(column, b)| column[row] * b).sum();
        self.outcome[row] - model.intercept - fitted
    }

    fn cluster_contributions(
        &self,
        model: &LeastSquaresModel,
        direction: &[f64],
        kind: Covariance,
    ) -> Result<Contributions, MetricsError> {
        let Some(clusters) = self.clusters else {
            return Err(MetricsError::BadSetting {
                what: "covariance",
                value: format!("{kind:?}"),
                allowed: "cluster-robust covariances need a cluster per row",
            });
        };
        let dense = DenseClusters::new(clusters);
        let (rows, starts) = dense.members();
        let groups: Vec<Group> = (0..dense.n)
            .into_par_iter()
            .map(|g| self.group(model, &rows[starts[g]..starts[g + 1]], direction, kind))
            .collect();
        let present = groups.iter().filter(|g| g.present).count();
        if present < 2 {
            return Err(MetricsError::TooFewRows { what: "clusters", found: present, needed: 2 });
        }
        let (many, n, k) = (present as f64, model.n_rows as f64, model.rank as f64);
        if kind == Covariance::Cr1 {
            let factor = (many / (many - 1.0) * ((n - 1.0) / (n - k).max(1.0))).sqrt();
            let values = groups.iter().map(|g| g.contribution * factor).collect();
            return Ok(Contributions { values, degrees_of_freedom: many - 1.0 });
        }
        let degrees_of_freedom = satterthwaite(&groups, model.rank).min(many - 1.0);
        Ok(Contributions { values: groups.into_iter().map(|g| g.contribution).collect(), degrees_of_freedom })
    }

    /// One cluster: its score along the direction, leverage-corrected for CR2, and what the
    /// degrees of freedom need.
    fn group(&self, model: &LeastSquaresModel, rows: &[u32], direction: &[f64], kind: Covariance) -> Group {
        let k = model.rank;
        let (mut cross, mut score, mut present) = (Mat::<f64>::zeros(k, k), vec![0.0; k], false);
        let (mut z, mut white) = (vec![0.0; k], vec![0.0; k]);
        for &row in rows {
            let row = row as usize;
            let weight = self.weight(row);
            if weight == 0.0 {
                continue;
            }
            present = true;
            for (z, &position) in z.iter_mut().zip(&model.kept) {
                *z = model.scaled_value(self.columns, position, row);
            }
            for (i, w) in white.iter_mut().enumerate() {
                *w = (0..=i).map(|j| model.inverse_factor[(i, j)] * z[j]).sum();
            }
            let residual = weight * self.residual(model, row);
            for i in 0..k {
                score[i] += white[i] * residual;
                for j in 0..=i {
                    cross[(i, j)] += weight * white[i] * white[j];
                }
            }
        }
        if kind == Covariance::Cr1 {
            let contribution = score.iter().zip(direction).map(|(s, u)| s * u).sum();
            return Group { contribution, present, spread: 0.0, shadow: Vec::new() };
        }
        leverage_corrected(&cross, &score, direction, present)
    }
}

/// What one cluster gives to a CR2 variance and to its degrees of freedom.
pub(crate) struct Group {
    contribution: f64,
    present: bool,
    spread: f64,
    shadow: Vec<f64>,
}

impl Group {
    /// A cluster whose whitened cross products are diagonal: two means side by side.
    pub(crate) fn diagonal(share: [f64; 2], direction: [f64; 2]) -> Self {
        let mut group = Group { contribution: 0.0, present: true, spread: 0.0, shadow: vec![0.0; 2] };
        for side in 0..2 {
            let left = 1.0 - share[side];
            if left >= 1e-9 {
                group.spread += direction[side].powi(2) * share[side] / left;
                group.shadow[side] = direction[side] * share[side] / left.sqrt();
            }
        }
        group
    }
}

/// (I − N)^(−½) applied to a cluster's score, N its whitened cross products; where a cluster
/// alone fixes a direction (eigenvalue 1) that direction contributes nothing.
fn leverage_corrected(cross: &Mat<f64>, score: &[f64], direction: &[f64], present: bool) -> Group {
    let k = score.len();
    let (values, vectors): (Vec<f64>, Mat<f64>) = if k == 1 {
        (vec![cross[(0, 0)]], Mat::identity(1, 1))
    } else {
        match cross.self_adjoint_eigen(Side::Lower) {
            Ok(eigen) => ((0..k).map(|i| eigen.S()[i]).collect(), eigen.U().to_owned()),
            Err(_) => (vec![0.0; k], Mat::identity(k, k)),
        }
    };
    let along = |v: &[f64], i: usize| (0..k).map(|j| vectors[(j, i)] * v[j]).sum::<f64>();
    let (mut contribution, mut spread, mut shadow) = (0.0, 0.0, vec![0.0; k]);
    for (i, &share) in values.iter().enumerate() {
        let left = 1.0 - share.clamp(0.0, 1.0);
        if left < 1e-9 {
            continue;
        }
        let (u, s) = (along(direction, i), along(score, i));
        contribution += u * s / left.sqrt();
        spread += u * u * share / left;
        for (j, v) in shadow.iter_mut().enumerate() {
            *v += vectors[(j, i)] * u * share / left.sqrt();
        }
    }
    Group { contribution, present, spread, shadow }
}

/// (tr B)² / tr B² of Bell & McCaffrey's matrix B = diag(spread) − V Vᵀ.
pub(crate) fn satterthwaite(groups: &[Group], k: usize) -> f64 {
    let mut sum = vec![0.0; k * k];
    let (mut trace, mut square) = (0.0, 0.0);
    for group in groups {
        let norm: f64 = group.shadow.iter().map(|v| v * v).sum();
        trace += group.spread - norm;
        square += group.spread * group.spread - 2.0 * group.spread * norm;
        for (i, a) in group.shadow.iter().enumerate() {
            for (j, b) in group.shadow.iter().enumerate() {
                sum[i * k + j] += a * b;
            }
        }
    }
    square += sum.iter().map(|v| v * v).sum::<f64>();
    if square > 0.0 { (trace * trace / square).max(1.0) } else { f64::NAN }
}

impl LeastSquaresModel {
    /// A raw contrast in the whitened space: its squared length is the variance factor.
    fn whitened_direction(&self, contrast: &[f64]) -> Vec<f64> {
        let scaled = self.scaling.contrast(contrast);
        let picked: Vec<f64> = self.kept.iter().map(|&j| scaled[j]).collect();
        (0..self.rank).map(|i| (0..=i).map(|j| self.inverse_factor[(i, j)] * picked[j]).sum()).collect()
    }

    fn classical_spread(&self, direction: &[f64]) -> f64 {
        self.classical_product(direction, direction)
    }

    /// aᵀ C⁻¹ G C⁻ᵀ b: aᵀb without a penalty.
    fn classical_product(&self, a: &[f64], b: &[f64]) -> f64 {
        let back = |v: &[f64]| -> Vec<f64> {
            (0..self.rank).map(|j| (j..self.rank).map(|i| self.inverse_factor[(i, j)] * v[i]).sum()).collect()
        };
        let (a, b) = (back(a), back(b));
        (0..self.rank).map(|i| (0..self.rank).map(|j| a[i] * self.gram[(i, j)] * b[j]).sum::<f64>()).sum()
    }

    fn scaled_value(&self, columns: &[&[f64]], position: usize, row: usize) -> f64 {
        let offset = usize::from(self.scaling.intercept);
        if position < offset {
            return 1.0;
        }
        let j = position - offset;
        (columns[j][row] - self.scaling.means[j]) / self.scaling.scales[j]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::least_squares::Penalty;
    use impactiq_data::Seed;

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        (0..n as u64).map(|i| Seed::new(seed).uniform(i) * 4.0 - 2.0).collect()
    }

    /// Textbook formulas with explicit n × n matrices, for one regressor and an intercept.
    fn by_hand(x: &[f64], y: &[f64], kind: Covariance) -> f64 {
        let n = x.len() as f64;
        let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        let slope = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / sxx;
        let residuals = x.iter().zip(y).map(|(x, y)| y - my - slope * (x - mx));
        if kind == Covariance::Classical {
            return (residuals.map(|e| e * e).sum::<f64>() / (n - 2.0) / sxx).sqrt();
        }
        let mut variance = 0.0;
        for (x, y) in x.iter().zip(y) {
            let e = y - my - slope * (x - mx);
            let h = 1.0 / n + (x - mx).powi(2) / sxx;
            let e2 = match kind {
                Covariance::Hc1 => e * e * n / (n - 2.0),
                Covariance::Hc2 => e * e / (1.0 - h),
                Covariance::Hc3 => e * e / (1.0 - h).powi(2),
                _ => e * e,
            };
            variance += (x - mx).powi(2) * e2 / (sxx * sxx);
        }
        variance.sqrt()
    }

    #[test]
    fn hc_errors_match_their_textbook_formulas() {
        let (x, e) = (noise(1, 40), noise(2, 40));
        let y: Vec<f64> = x.iter().zip(&e).map(|(x, e)| 1.0 + 2.0 * x + e * (1.0 + x.abs())).collect();
        let columns: [&[f64]; 1] = [&x];
        let regression = Regression { columns: &columns, outcome: &y, weights: None, clusters: None, intercept: true };
        let model = regression.fit(Penalty::None).unwrap();
        for kind in [Covariance::Classical, Covariance::Hc0, Covariance::Hc1, Covariance::Hc2, Covariance::Hc3] {
            let ours = regression.contrast(&model, &[0.0, 1.0], kind).unwrap().std_error().unwrap();
            let matrix = regression.covariance(&model, kind).unwrap();
            let textbook = by_hand(&x, &y, kind);
            assert!((ours / textbook - 1.0).abs() < 1e-9, "{kind:?} {ours} {textbook}");
            assert!((matrix[1][1].sqrt() / textbook - 1.0).abs() < 1e-9, "{kind:?}");
            assert!((matrix[0][1] - matrix[1][0]).abs() < 1e-12);
        }
    }

    #[test]
    fn clusters_of_one_row_give_back_the_row_wise_errors() {
        let (x, y) = (noise(3, 60), noise(4, 60));
        let clusters: Vec<u32> = (0..60).map(|i| 1000 - i).collect();
        let columns: [&[f64]; 1] = [&x];
        let regression =
            Regression { columns: &columns, outcome: &y, weights: None, clusters: Some(&clusters), intercept: true };
        let model = regression.fit(Penalty::None).unwrap();
        let se = |kind| regression.contrast(&model, &[0.5, 1.0], kind).unwrap().std_error().unwrap();
        assert!((se(Covariance::Cr2) / se(Covariance::Hc2) - 1.0).abs() < 1e-9);
        let cr1 = se(Covariance::Hc0) * (60.0f64 / 59.0 * 59.0 / 58.0).sqrt();
        assert!((se(Covariance::Cr1) / cr1 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn cr2_of_a_mean_is_unbiased_by_design_and_counts_its_freedom() {
        // Equal clusters of a mean: the CR2 variance is the variance of cluster means / G.
        let y = noise(5, 40);
        let clusters: Vec<u32> = (0..40).map(|i| i / 4).collect();
        let regression =
            Regression { columns: &[], outcome: &y, weights: None, clusters: Some(&clusters), intercept: true };
        let model = regression.fit(Penalty::None).unwrap();
        let parts = regression.contributions(&model, &[1.0], Covariance::Cr2).unwrap();
        let means: Vec<f64> = y.chunks(4).map(|c| c.iter().sum::<f64>() / 4.0).collect();
        let grand = means.iter().sum::<f64>() / 10.0;
        let expected = means.iter().map(|m| (m - grand).powi(2)).sum::<f64>() / 9.0 / 10.0;
        assert!((parts.variance() / expected - 1.0).abs() < 1e-9);
        assert!((parts.degrees_of_freedom - 9.0).abs() < 1e-9, "{}", parts.degrees_of_freedom);
    }

    #[test]
    fn cr2_matches_explicit_matrices() {
        // A direct computation with n × n hat matrices, two regressors and unequal clusters.
        let n = 12;
        let (x, y) = (noise(6, n), noise(7, n));
        let clusters: Vec<u32> = [0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4].into();
        let columns: [&[f64]; 1] = [&x];
        let regression =
            Regression { columns: &columns, outcome: &y, weights: None, clusters: Some(&clusters), intercept: true };
        let model = regression.fit(Penalty::None).unwrap();
        let design = Mat::from_fn(n, 2, |i, j| if j == 0 { 1.0 } else { x[i] });
        let gram = design.transpose() * &design;
        let det = gram[(0, 0)] * gram[(1, 1)] - gram[(0, 1)] * gram[(1, 0)];
        let inverse = Mat::from_fn(2, 2, |i, j| if i == j { gram[(1 - i, 1 - i)] / det } else { -gram[(i, j)] / det });
        let hat = &design * &inverse * design.transpose();
        let mut variance = 0.0;
        for g in 0..5u32 {
            let rows: Vec<usize> = (0..n).filter(|&i| clusters[i] == g).collect();
            let m = rows.len();
            let left = Mat::from_fn(m, m, |i, j| f64::from(u8::from(i == j)) - hat[(rows[i], rows[j])]);
            let eigen = left.self_adjoint_eigen(Side::Lower).unwrap();
            let root = Mat::from_fn(m, m, |i, j| {
                (0..m).map(|l| eigen.U()[(i, l)] * eigen.U()[(j, l)] / eigen.S()[l].sqrt()).sum::<f64>()
            });
            let mut total = 0.0;
            for i in 0..m {
                let adjusted: f64 = (0..m).map(|j| root[(i, j)] * regression.residual(&model, rows[j])).sum();
                total += (inverse[(1, 0)] + inverse[(1, 1)] * x[rows[i]]) * adjusted;
            }
            variance += total * total;
        }
        let parts = regression.contributions(&model, &[0.0, 1.0], Covariance::Cr2).unwrap();
        assert!((parts.variance() / variance - 1.0).abs() < 1e-9);
        assert!(parts.degrees_of_freedom > 1.0 && parts.degrees_of_freedom < 4.0 + 1e-9);
    }
}
