//! Products of features that a linear final stage takes up beside the features themselves.
//!
//! Inside every fold's training part, products enter one after another as long as the best of them passes a
//! heteroscedasticity-robust score test at 5 % over all pairs (Bonferroni); the fold's own rows then say whether
//! the line with them is nearer to the effect. What most folds chose is taken, where the folds' rows agree. No row of
//! a fold has a hand in what is chosen for it. What must not live here: what a line is made of.

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::least_squares::{Penalty, Regression};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::model::with_products;
use super::solve::{Residuals, Solve};
use crate::error::CausalError;
use crate::linear::DesignColumn;

/// Rows of a training part that are looked at, at most and at least, and the work that one round may be
/// (rows × pairs × numbers).
const MOST_ROWS: f64 = 50_000.0;
const LEAST_ROWS: f64 = 2_000.0;
const ROUND: f64 = 2e9;

/// Chance that some product of noise enters in a training part.
const LEVEL: f64 = 0.05;

/// A product of which less than this share is new is one of the numbers that stand there already.
const NEW_SHARE: f64 = 1e-8;

/// How products were chosen for the effect of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InteractionReport {
    /// Pairs of numbers that were looked at.
    pub n_pairs: u64,
    /// Training parts.
    pub n_folds: u64,
    /// What entered in some training part, by the number of parts.
    pub found: Vec<FoundProduct>,
    /// Mean squared distance of held-out rows from the line without products.
    pub loss_without: f64,
    /// The same with those that the rest of the rows chose.
    pub loss: f64,
}

/// A product that entered in some training part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundProduct {
    /// `a × b`.
    pub name: String,
    /// Training parts in which it entered.
    pub n_folds: u64,
    /// Whether the effect has it.
    pub taken: bool,
}

/// What is chosen for one arm.
pub(super) struct Chosen {
    /// Places of the factors among the design's numbers, ascending.
    pub products: Vec<[usize; 2]>,
    pub report: InteractionReport,
}

/// Numbers of a design that may be factors, by column: not the indicators of missing values and rare levels.
fn factors(columns: &[DesignColumn]) -> Vec<Vec<usize>> {
    let mut first = 1;
    let of = |column: &DesignColumn| {
        let n = match column {
            DesignColumn::Category { levels, .. } => levels.len(),
            _ => 1,
        };
        let range = first..first + n;
        first += column.width();
        range.collect()
    };
    columns.iter().map(of).collect()
}

/// Pairs of numbers of different columns.
fn pairs(columns: &[DesignColumn]) -> Vec<[usize; 2]> {
    let factors = factors(columns);
    let mut pairs = Vec::new();
    for (place, left) in factors.iter().enumerate() {
        for right in &factors[place + 1..] {
            pairs.extend(left.iter().flat_map(|&a| right.iter().map(move |&b| [a, b])));
        }
    }
    pairs
}

/// Chooses at most `most` products for the effect whose residuals these are; `folds` and `row_ids` are indexed by row
/// of the source.
///
/// # Errors
/// What least squares find.
pub(super) fn choose(
    solve: &Solve<'_>,
    residuals: &Residuals,
    (folds, row_ids): (&[u8], &[u64]),
    most: usize,
    seed: Seed,
) -> Result<Chosen, CausalError> {
    let pairs = pairs(solve.design.columns());
    let mut present: Vec<u8> = residuals.0.iter().map(|&row| folds[row as usize]).collect();
    present.sort_unstable();
    present.dedup();
    let mut votes = vec![0u64; pairs.len()];
    let (mut without, mut with, mut total) = (0.0, 0.0, 0.0);
    let limit = (ROUND / (pairs.len().max(1) * solve.design.width()) as f64).clamp(LEAST_ROWS, MOST_ROWS);
    let share = limit / residuals.0.len().max(1) as f64;
    let drawn = |place: &usize| seed.uniform(row_ids[residuals.0[*place] as usize]) < share;
    for fold in &present {
        let outside = |place: &usize| folds[residuals.0[*place] as usize] != *fold;
        let (training, held): (Vec<usize>, Vec<usize>) = (0..residuals.0.len()).filter(drawn).partition(outside);
        let training = Rows::new(solve, residuals, &training)?;
        let entered = training.enter(&pairs, most);
        entered.iter().for_each(|&pair| votes[pair] += 1);
        let products: Vec<[usize; 2]> = entered.iter().map(|&pair| pairs[pair]).collect();
        let held = Rows::new(solve, residuals, &held)?;
        without += training.loss_on(&held, &[])?;
        with += training.loss_on(&held, &products)?;
        total += held.total_weight();
    }
    let n_folds = present.len() as u64;
    let mut found: Vec<usize> = (0..pairs.len()).filter(|&pair| votes[pair] > 0).collect();
    found.sort_by_key(|&pair| (std::cmp::Reverse(votes[pair]), pair));
    let helps = with < without;
    let takes = |pair: &&usize| helps && 2 * votes[**pair] > n_folds;
    let mut products: Vec<[usize; 2]> = found.iter().filter(takes).take(most).map(|&pair| pairs[pair]).collect();
    products.sort_unstable();
    let of = |&pair: &usize| FoundProduct {
        name: product_name(solve.names, pairs[pair]),
        n_folds: votes[pair],
        taken: products.contains(&pairs[pair]),
    };
    let report = InteractionReport {
        n_pairs: pairs.len() as u64,
        n_folds,
        found: found.iter().map(of).collect(),
        loss_without: without / total,
        loss: with / total,
    };
    Ok(Chosen { products, report })
}

/// What a table of coefficients calls a product.
pub(super) fn product_name(names: &[String], [left, right]: [usize; 2]) -> String {
    format!("{} × {}", names[left], names[right])
}

/// Some rows of a final stage: numbers times the treatment's residual and the root of the weight.
struct Rows {
    n: usize,
    k: usize,
    /// The design's numbers as they are, column by column.
    numbers: Vec<f64>,
    /// What they are multiplied by.
    factor: Vec<f64>,
    target: Vec<f64>,
    /// Root of the weight.
    root: Vec<f64>,
    clusters: Option<Vec<u32>>,
}

impl Rows {
    fn new(solve: &Solve<'_>, (rows, target, slopes): &Residuals, places: &[usize]) -> Result<Self, CausalError> {
        let (n, k) = (places.len(), solve.design.width());
        let own: Vec<u32> = places.iter().map(|&place| rows[place]).collect();
        let mut numbers = vec![0.0; n * k];
        solve.design.bind(solve.source)?.fill(&own, &mut numbers);
        let root: Vec<f64> = own.iter().map(|&row| solve.weights.map_or(1.0, |w| w[row as usize].sqrt())).collect();
        let slope = |place: usize| slopes.as_ref().map_or(1.0, |slopes| slopes[place]);
        Ok(Rows {
            n,
            k,
            numbers,
            factor: places.iter().zip(&root).map(|(&place, root)| root * slope(place)).collect(),
            target: places.iter().zip(&root).map(|(&place, root)| root * target[place]).collect(),
            clusters: solve.clusters.map(|all| own.iter().map(|&row| all[row as usize]).collect()),
            root,
        })
    }

    fn total_weight(&self) -> f64 {
        self.root.iter().map(|root| root * root).sum()
    }

    fn number(&self, place: usize) -> &[f64] {
        &self.numbers[place * self.n..(place + 1) * self.n]
    }

    fn product(&self, [left, right]: [usize; 2]) -> Vec<f64> {
        let (left, right) = (self.number(left), self.number(right));
        left.iter().zip(right).zip(&self.factor).map(|((a, b), factor)| a * b * factor).collect()
    }

    /// Places of the pairs that enter, in the order in which they do.
    fn enter(&self, pairs: &[[usize; 2]], most: usize) -> Vec<usize> {
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for place in 0..self.k {
            let column = self.number(place).iter().zip(&self.factor).map(|(x, factor)| x * factor).collect();
            basis.extend(rest(&basis, column).map(unit));
        }
        let mut left = rest(&basis, self.target.clone()).unwrap_or_default();
        let mut entered = Vec::new();
        while entered.len() < most && !left.is_empty() {
            let score = |(place, pair): (usize, &[usize; 2])| -> Option<(f64, usize)> {
                if entered.contains(&place) {
                    return None;
                }
                let new = rest(&basis, self.product(*pair))?;
                Some((self.score(&new, &left), place))
            };
            let scores: Vec<Option<(f64, usize)>> = pairs.par_iter().enumerate().map(score).collect();
            // The first of equal ones.
            let best = scores.into_iter().flatten().fold(None, |best: Option<(f64, usize)>, next| match best {
                Some(best) if best.0 >= next.0 => Some(best),
                _ => Some(next),
            });
            let Some((t, place)) = best else { break };
            let p = Estimate::new(t, 1.0, self.n as u64).p_value().unwrap_or(1.0);
            // NaN does not enter.
            let enters = p * pairs.len() as f64 <= LEVEL;
            if !enters {
                break;
            }
            let Some(new) = rest(&basis, self.product(pairs[place])).map(unit) else { break };
            take_out(&new, &mut left);
            basis.push(new);
            entered.push(place);
        }
        entered
    }

    /// |t| of a column that stands square to all others, its error from the rows' (or clusters') own scores.
    fn score(&self, new: &[f64], left: &[f64]) -> f64 {
        let scores: Vec<f64> = new.iter().zip(left).map(|(z, e)| z * e).collect();
        let sum: f64 = scores.iter().sum();
        let squares: f64 = match &self.clusters {
            None => scores.iter().map(|s| s * s).sum(),
            Some(clusters) => {
                let mut order: Vec<usize> = (0..self.n).collect();
                order.sort_by_key(|&i| clusters[i]);
                let groups = order.chunk_by(|&a, &b| clusters[a] == clusters[b]);
                groups.map(|group| group.iter().map(|&i| scores[i]).sum::<f64>().powi(2)).sum()
            }
        };
        if squares > 0.0 { sum.abs() / squares.sqrt() } else { 0.0 }
    }

    /// The sum of squared distances of other rows from the line that these rows give.
    fn loss_on(&self, held: &Rows, products: &[[usize; 2]]) -> Result<f64, CausalError> {
        let columns = |rows: &Rows| -> Vec<Vec<f64>> {
            let all = with_products(&rows.numbers, rows.n, products);
            let times = |column: &[f64]| column.iter().zip(&rows.factor).map(|(x, factor)| x * factor).collect();
            all.chunks_exact(rows.n.max(1)).map(times).collect()
        };
        let (own, others) = (columns(self), columns(held));
        let own: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
        let regression =
            Regression { columns: &own, outcome: &self.target, weights: None, clusters: None, intercept: false };
        let model = regression.fit(Penalty::None)?;
        let mut distance = held.target.clone();
        for (column, b) in others.iter().zip(&model.coefficients) {
            distance.iter_mut().zip(column).for_each(|(d, x)| *d -= b * x);
        }
        Ok(distance.iter().map(|d| d * d).sum())
    }
}

/// What of a column is square to a basis of unit vectors; `None` where next to nothing is.
fn rest(basis: &[Vec<f64>], mut column: Vec<f64>) -> Option<Vec<f64>> {
    let size = |column: &[f64]| column.iter().map(|v| v * v).sum::<f64>();
    let before = size(&column);
    basis.iter().for_each(|unit| take_out(unit, &mut column));
    (size(&column) > NEW_SHARE * before).then_some(column)
}

fn take_out(unit: &[f64], column: &mut [f64]) {
    let along: f64 = unit.iter().zip(&*column).map(|(u, v)| u * v).sum();
    column.iter_mut().zip(unit).for_each(|(v, u)| *v -= along * u);
}

fn unit(mut column: Vec<f64>) -> Vec<f64> {
    let size = column.iter().map(|v| v * v).sum::<f64>().sqrt();
    column.iter_mut().for_each(|v| *v /= size);
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_values_and_levels_but_no_indicators_of_gaps() {
        let number = |name: &str, missing| DesignColumn::Number { name: name.into(), mean: 0.0, scale: 1.0, missing };
        let category = DesignColumn::Category {
            name: "c".into(),
            reference: "r".into(),
            levels: vec!["s".into(), "t".into()],
            other: true,
            missing: true,
        };
        let columns = [number("a", true), category, number("b", false)];
        // 0 is the constant, 2 the gaps of a, 5 and 6 the rest of c.
        assert_eq!(factors(&columns), [vec![1], vec![3, 4], vec![7]]);
        assert_eq!(pairs(&columns), [[1, 3], [1, 4], [1, 7], [3, 7], [4, 7]]);
    }

    #[test]
    fn what_is_taken_out_of_a_column_stands_square_to_it() {
        let basis = vec![unit(vec![1.0, 1.0, 1.0, 1.0])];
        assert_eq!(rest(&basis, vec![2.0; 4]), None);
        assert_eq!(rest(&basis, vec![1.0, 2.0, 3.0, 4.0]).unwrap(), [-1.5, -0.5, 0.5, 1.5]);
    }
}
