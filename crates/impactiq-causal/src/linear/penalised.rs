//! Lasso and elastic net by coordinate descent, and penalties chosen by cross-validation.
//!
//! Everything is done on sums: one pass gives each inner fold's X'WX, X'Wy and y'Wy, and from
//! these come every fit of the path, in every fold, and its error on the fold (Friedman, Hastie
//! & Tibshirani 2010, "covariance updates"). Columns are standardised by the design.

use impactiq_data::{DataError, Seed};

use super::design::{Design, Source};
use super::solve::{FitRows, LinearModel, Link, Sums, fit_logistic, least_squares_sums};

/// Inner folds.
const FOLDS: usize = 5;
/// Penalties on the path, from the smallest that leaves nothing down to a thousandth of it.
const PATH: usize = 50;
/// Sweeps over all columns at most.
const MAX_SWEEPS: usize = 2_000;
/// Rows of the cross-validation of logistic penalties at most; all rows are used for the fit.
const CV_ROWS: usize = 50_000;
/// Logistic penalties tried, per row.
const LOGISTIC_PENALTIES: [f64; 6] = [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// How coefficients are shrunk: λ·(α Σ|b| + (1 − α)/2 Σb²), added to half the weighted sum of
/// squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrinkage {
    /// α: 1 is the lasso.
    pub l1_share: f64,
    /// λ; left out: the smallest error over five inner folds.
    pub penalty: Option<f64>,
}

/// Fits a lasso or elastic net.
///
/// # Errors
/// [`DataError::MissingColumn`].
pub fn fit_shrunken(
    design: Design,
    source: &Source<'_>,
    fit: FitRows<'_>,
    shrinkage: Shrinkage,
    (row_ids, seed): (&[u64], Seed),
) -> Result<LinearModel, DataError> {
    let bound = design.bind(source)?;
    let n_folds = if shrinkage.penalty.is_some() { 1 } else { FOLDS };
    let parts: Vec<Sums> = deal(fit.rows, row_ids, n_folds, seed)
        .iter()
        .map(|rows| least_squares_sums(&bound, FitRows { rows, ..fit }))
        .collect();
    let all = Sums::total(&parts);
    let alpha = shrinkage.l1_share;
    let penalty = match shrinkage.penalty {
        Some(penalty) => penalty,
        None => choose(&parts, &all, alpha),
    };
    let mut coefficients = intercept_only(&all);
    descend(&all, penalty, alpha, &mut coefficients);
    Ok(LinearModel { design, coefficients, link: Link::Identity })
}

/// Fits a logistic regression whose penalty has the smallest log-loss over five inner folds.
///
/// # Errors
/// [`DataError::MissingColumn`].
pub fn fit_logistic_chosen(
    design: Design,
    source: &Source<'_>,
    fit: FitRows<'_>,
    (row_ids, seed): (&[u64], Seed),
) -> Result<LinearModel, DataError> {
    let mut sample: Vec<u32> = fit.rows.to_vec();
    if sample.len() > CV_ROWS {
        let share = CV_ROWS as f64 / sample.len() as f64;
        sample.retain(|&row| seed.child(1).uniform(row_ids[row as usize]) < share);
    }
    let folds = deal(&sample, row_ids, FOLDS, seed);
    let weight = |row: u32| fit.weights.map_or(1.0, |w| w[row as usize]);
    let mut best = (f64::INFINITY, 0.0);
    for penalty in LOGISTIC_PENALTIES {
        let mut loss = 0.0;
        for held in &folds {
            let training: Vec<u32> = folds.iter().filter(|f| *f != held).flatten().copied().collect();
            if held.is_empty() || training.is_empty() {
                continue;
            }
            let total: f64 = training.iter().map(|&row| weight(row)).sum();
            let model = fit_logistic(design.clone(), source, FitRows { rows: &training, ..fit }, penalty * total)?;
            let mut p = vec![0.0; held.len()];
            model.predict(source, Some(held), &mut p)?;
            for (&row, p) in held.iter().zip(&p) {
                let (y, p) = (fit.target[row as usize], p.clamp(1e-12, 1.0 - 1e-12));
                loss -= weight(row) * (y * p.ln() + (1.0 - y) * (1.0 - p).ln());
            }
        }
        if loss < best.0 {
            best = (loss, penalty);
        }
    }
    let total: f64 = fit.rows.iter().map(|&row| weight(row)).sum();
    fit_logistic(design, source, fit, best.1 * total)
}

/// Rows by inner fold; rows of one id (a cluster) stay together.
fn deal(rows: &[u32], row_ids: &[u64], n_folds: usize, seed: Seed) -> Vec<Vec<u32>> {
    let mut folds = vec![Vec::with_capacity(rows.len() / n_folds + 1); n_folds];
    for &row in rows {
        folds[seed.below(row_ids[row as usize], n_folds as u64) as usize].push(row);
    }
    folds
}

/// The penalty of the path with the smallest error over the inner folds, on the scale of all rows.
fn choose(parts: &[Sums], all: &Sums, alpha: f64) -> f64 {
    let total = all.weight();
    let largest = {
        let start = intercept_only(all);
        let pull = (1..start.len()).map(|j| all.gradient(&start, j).abs()).fold(0.0, f64::max);
        pull / alpha.max(1e-3) / total
    };
    if largest.is_nan() || largest <= 0.0 {
        return 0.0;
    }
    let path: Vec<f64> = (0..PATH).map(|i| largest * 1e-3f64.powf(i as f64 / (PATH - 1) as f64)).collect();
    let mut errors = vec![0.0; PATH];
    for (held, part) in parts.iter().enumerate() {
        let others: Vec<&Sums> = parts.iter().enumerate().filter(|(f, _)| *f != held).map(|(_, s)| s).collect();
        let training = Sums::total_of(&others);
        if training.weight() <= 0.0 {
            continue;
        }
        let mut coefficients = intercept_only(&training);
        for (error, penalty) in errors.iter_mut().zip(&path) {
            descend(&training, penalty * training.weight(), alpha, &mut coefficients);
            *error += part.squared_error(&coefficients);
        }
    }
    let best = (0..PATH).min_by(|&a, &b| errors[a].total_cmp(&errors[b])).unwrap_or(0);
    path[best] * total
}

fn intercept_only(sums: &Sums) -> Vec<f64> {
    let mut coefficients = vec![0.0; sums.width()];
    coefficients[0] = if sums.weight() > 0.0 { sums.moment(0) / sums.weight() } else { 0.0 };
    coefficients
}

/// Cyclic coordinate descent from where `b` stands; the intercept, column 0, is free.
fn descend(sums: &Sums, penalty: f64, alpha: f64, b: &mut [f64]) {
    let p = b.len();
    let mut gradient: Vec<f64> = (0..p).map(|j| sums.gradient(b, j)).collect();
    let scale = sums.spread().max(f64::MIN_POSITIVE);
    for _ in 0..MAX_SWEEPS {
        let mut largest = 0.0f64;
        for j in 0..p {
            let own = sums.gram(j, j);
            if own <= 0.0 {
                continue;
            }
            let pull = gradient[j] + own * b[j];
            let next = match j {
                0 => pull / own,
                _ => pull.signum() * (pull.abs() - penalty * alpha).max(0.0) / (own + penalty * (1.0 - alpha)),
            };
            let step = next - b[j];
            if step != 0.0 {
                b[j] = next;
                (0..p).for_each(|k| gradient[k] -= sums.gram(j, k) * step);
                largest = largest.max(step * step * own);
            }
        }
        if largest <= 1e-16 * scale {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::dataset::number_table;

    fn draw(n: usize, p: usize) -> (impactiq_data::Table, Vec<f64>) {
        let uniform = |stream: u64, i: usize| Seed::new(3).child(stream).uniform(i as u64) - 0.5;
        let columns = (0..p).map(|j| {
            let shared = |i: usize| 0.5 * uniform(99, i);
            (format!("x{j}"), (0..n).map(|i| uniform(j as u64, i) + shared(i)).collect::<Vec<f64>>())
        });
        let columns: Vec<(String, Vec<f64>)> = columns.collect();
        let y = (0..n).map(|i| 2.0 + 3.0 * columns[0].1[i] - 2.0 * columns[1].1[i] + uniform(100, i)).collect();
        (number_table(columns).unwrap(), y)
    }

    fn fitted(n: usize, p: usize, shrinkage: Shrinkage) -> (LinearModel, Vec<f64>, impactiq_data::Table) {
        let (table, y) = draw(n, p);
        let rows: Vec<u32> = (0..n as u32).collect();
        let ids: Vec<u64> = (0..n as u64).collect();
        let source = Source::new(&table);
        let design = Design::learn(&source, table.names(), &rows, None, 8).unwrap();
        let fit = FitRows { rows: &rows, target: &y, weights: None };
        let model = fit_shrunken(design, &source, fit, shrinkage, (&ids, Seed::new(5))).unwrap();
        let mut predictions = vec![0.0; n];
        model.predict(&source, None, &mut predictions).unwrap();
        let residuals = y.iter().zip(predictions).map(|(y, f)| y - f).collect();
        (model, residuals, table)
    }

    #[test]
    fn every_coefficient_meets_its_optimality_condition() {
        for (l1_share, penalty) in [(1.0, 40.0), (0.5, 40.0), (1.0, 5.0)] {
            let (model, residuals, table) = fitted(300, 12, Shrinkage { l1_share, penalty: Some(penalty) });
            let source = Source::new(&table);
            let rows: Vec<u32> = (0..300).collect();
            let mut x = vec![0.0; 13 * 300];
            model.design.bind(&source).unwrap().fill(&rows, &mut x);
            let mut n_zero = 0;
            for (j, column) in x.chunks_exact(300).enumerate() {
                let b = model.coefficients[j];
                let score: f64 = column.iter().zip(&residuals).map(|(x, r)| x * r).sum();
                if j == 0 {
                    assert!(score.abs() < 1e-5, "{score}");
                } else if b == 0.0 {
                    n_zero += 1;
                    assert!(score.abs() <= penalty * l1_share + 1e-5, "{score}");
                } else {
                    let wanted = penalty * (l1_share * b.signum() + (1.0 - l1_share) * b);
                    assert!((score - wanted).abs() < 1e-5, "{j}: {score} {wanted}");
                }
            }
            assert!(penalty < 10.0 || n_zero > 0, "nothing was set to 0");
        }
    }

    #[test]
    fn the_chosen_penalty_drops_noise_and_keeps_what_matters() {
        let (model, residuals, _) = fitted(200, 60, Shrinkage { l1_share: 1.0, penalty: None });
        let n_kept = model.coefficients[1..].iter().filter(|b| **b != 0.0).count();
        assert!(model.coefficients[1] > 0.5 && model.coefficients[2] < -0.3, "{:?}", &model.coefficients[..4]);
        assert!((2..40).contains(&n_kept), "{n_kept}");
        let mean_square = residuals.iter().map(|r| r * r).sum::<f64>() / 200.0;
        assert!(mean_square < 0.12, "{mean_square}");
    }

    #[test]
    fn a_logistic_penalty_is_large_where_features_say_nothing() {
        let (n, p) = (300, 20);
        let (table, _) = draw(n, p);
        let rows: Vec<u32> = (0..n as u32).collect();
        let ids: Vec<u64> = (0..n as u64).collect();
        let y: Vec<f64> = (0..n as u64).map(|i| f64::from(u8::from(Seed::new(77).uniform(i) < 0.3))).collect();
        let source = Source::new(&table);
        let design = Design::learn(&source, table.names(), &rows, None, 8).unwrap();
        let fit = FitRows { rows: &rows, target: &y, weights: None };
        let model = fit_logistic_chosen(design.clone(), &source, fit, (&ids, Seed::new(5))).unwrap();
        let free = fit_logistic(design, &source, fit, 0.0).unwrap();
        let size = |model: &LinearModel| model.coefficients[1..].iter().map(|b| b.abs()).sum::<f64>();
        assert!(size(&model) < 0.3 * size(&free), "{} {}", size(&model), size(&free));
    }
}
