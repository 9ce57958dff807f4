//! From held-out effects of some learners to one answer: an intercept and non-negative weights by
//! least R-loss (Nie & Wager 2021, section 4.2: R-stacking), or a rising curve.
//!
//! One learner and an intercept is a linear recalibration; no learner is one effect for
//! everybody. What must not live here: fitting learners.

use super::held_out::Residuals;

/// Sweeps of coordinate descent at most; a handful of members needs far fewer.
const MAX_SWEEPS: usize = 20_000;

/// Points of a curve at most, and rows behind each at least.
const MAX_POINTS: usize = 50;
const POINT_ROWS: usize = 200;

/// How the answers of members become the effect of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// Added to the weighted sum.
    pub intercept: f64,
    /// One per member, none negative.
    pub weights: Vec<f64>,
    /// What the sum goes through, if anything.
    pub curve: Option<Curve>,
}

/// A line through points, flat beyond the first and the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Rising places.
    pub at: Vec<f64>,
    /// The value at each, not falling.
    pub value: Vec<f64>,
}

impl Blend {
    /// One effect for everybody.
    pub fn constant(effect: f64, n_members: usize) -> Self {
        Blend { intercept: effect, weights: vec![0.0; n_members], curve: None }
    }

    /// Whether no member has a say.
    pub fn is_constant(&self) -> bool {
        self.weights.iter().all(|weight| *weight == 0.0)
    }

    /// The answer to the members' answers for one row.
    pub fn answer(&self, member: impl Fn(usize) -> f64) -> f64 {
        let parts = self.weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0);
        let sum = self.intercept + parts.map(|(j, weight)| weight * member(j)).sum::<f64>();
        self.curve.as_ref().map_or(sum, |curve| curve.answer(sum))
    }
}

impl Curve {
    fn answer(&self, x: f64) -> f64 {
        let next = self.at.partition_point(|at| *at <= x);
        if next == 0 || next == self.at.len() {
            return self.value[next.saturating_sub(1)];
        }
        let (a, b) = (self.at[next - 1], self.at[next]);
        let (u, v) = (self.value[next - 1], self.value[next]);
        u + (v - u) * (x - a) / (b - a)
    }
}

/// Sums of squares and products by fold, of residuals and members less their means.
pub(super) struct Moments {
    n_members: usize,
    /// Mean of each member, weighted like the R-loss.
    means: Vec<f64>,
    /// By fold: the square of the treatment (1, members), row by row, then products with y.
    by_fold: Vec<Vec<f64>>,
}

impl Moments {
    /// `members[j]` has one effect for each row of the residuals.
    pub fn new(residuals: &Residuals, members: &[Vec<f64>], n_folds: usize) -> Self {
        let (n, size) = (residuals.len(), members.len() + 1);
        let weight = |i: usize| residuals.w[i] * residuals.t[i] * residuals.t[i];
        let total: f64 = (0..n).map(weight).sum();
        let mean = |member: &Vec<f64>| (0..n).map(|i| weight(i) * member[i]).sum::<f64>() / total;
        let means: Vec<f64> = members.iter().map(mean).collect();
        let mut by_fold = vec![vec![0.0; size * (size + 1)]; n_folds];
        let mut x = vec![1.0; size];
        for i in 0..n {
            members.iter().zip(&means).enumerate().for_each(|(j, (member, mean))| x[j + 1] = member[i] - mean);
            let (sums, square) = (&mut by_fold[usize::from(residuals.fold[i])], weight(i));
            let product = residuals.w[i] * residuals.t[i] * residuals.y[i];
            for a in 0..size {
                for b in 0..size {
                    sums[a * size + b] += square * x[a] * x[b];
                }
                sums[size * size + a] += product * x[a];
            }
        }
        Moments { n_members: members.len(), means, by_fold }
    }

    /// The blend of least R-loss, from all folds but one. `prior` is the weight of the plain
    /// average of the members, in units of their squares; 0 leaves it to the data.
    pub fn blend(&self, without: Option<usize>, prior: f64) -> Blend {
        let size = self.n_members + 1;
        let mut sums = vec![0.0; size * (size + 1)];
        for (_, part) in self.by_fold.iter().enumerate().filter(|(fold, _)| Some(*fold) != without) {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        for j in 1..size {
            sums[j * size + j] += prior;
            sums[size * size + j] += prior / self.n_members as f64;
        }
        let (gram, products) = sums.split_at(size * size);
        let b = non_negative(gram, products);
        let centre: f64 = b[1..].iter().zip(&self.means).map(|(b, mean)| b * mean).sum();
        Blend { intercept: b[0] - centre, weights: b[1..].to_vec(), curve: None }
    }

    /// The effect for everybody of least R-loss, from all folds but one.
    pub fn constant(&self, without: Option<usize>) -> f64 {
        let size = self.n_members + 1;
        let taken = || self.by_fold.iter().enumerate().filter(|(fold, _)| Some(*fold) != without).map(|(_, s)| s);
        taken().map(|sums| sums[size * size]).sum::<f64>() / taken().map(|sums| sums[0]).sum::<f64>()
    }
}

/// Minimises ½ bᵀGb − cᵀb with b₀ free and the others not negative, by coordinate descent.
fn non_negative(gram: &[f64], products: &[f64]) -> Vec<f64> {
    let size = products.len();
    let mut b = vec![0.0; size];
    // Members that never vary have nothing to add to the intercept.
    let least = 1e-12 * (0..size).map(|j| gram[j * size + j]).fold(0.0, f64::max);
    for _ in 0..MAX_SWEEPS {
        let (mut moved, mut largest) = (0.0f64, 0.0f64);
        for j in 0..size {
            let square = gram[j * size + j];
            if square <= least {
                continue;
            }
            let others: f64 = (0..size).filter(|&k| k != j).map(|k| gram[j * size + k] * b[k]).sum();
            let next = (products[j] - others) / square;
            let next = if j == 0 { next } else { next.max(0.0) };
            moved = moved.max((next - b[j]).abs() * square.sqrt());
            largest = largest.max(next.abs() * square.sqrt());
            b[j] = next;
        }
        if moved <= 1e-13 * largest {
            break;
        }
    }
    b
}

/// Non-decreasing effects by pooling adjacent violators (Barlow et al. 1972) over groups of rows with similar
/// predictions: the curve of least R-loss among rising ones, up to the grouping.
pub(super) fn isotonic(residuals: &Residuals, predicted: &[f64], without: Option<usize>) -> Option<Curve> {
    let taken = |row: &u32| without != Some(usize::from(residuals.fold[*row as usize]));
    let mut order: Vec<u32> = (0..residuals.len() as u32).filter(taken).collect();
    order.sort_by(|&a, &b| predicted[a as usize].total_cmp(&predicted[b as usize]));
    let n_points = (order.len() / POINT_ROWS).clamp(1, MAX_POINTS);
    // A block: weight, place, value (both sums).
    let mut blocks: Vec<[f64; 3]> = Vec::new();
    let mut group = [0.0; 3];
    for (i, &row) in order.iter().enumerate() {
        let row = row as usize;
        let weight = residuals.w[row] * residuals.t[row] * residuals.t[row];
        group[0] += weight;
        group[1] += weight * predicted[row];
        group[2] += residuals.w[row] * residuals.t[row] * residuals.y[row];
        let full = (i + 1) * n_points / order.len() > i * n_points / order.len();
        // Equal predictions are never divided.
        let tied = order.get(i + 1).is_some_and(|&next| predicted[next as usize] == predicted[row]);
        if (full && !tied) || i + 1 == order.len() {
            blocks.push(std::mem::take(&mut group));
            pool(&mut blocks);
        }
    }
    let valid: Vec<&[f64; 3]> = blocks.iter().filter(|block| block[0] > 0.0).collect();
    if valid.is_empty() {
        return None;
    }
    let at: Vec<f64> = valid.iter().map(|block| block[1] / block[0]).collect();
    let value = valid.iter().map(|block| block[2] / block[0]).collect();
    at.windows(2).all(|pair| pair[0] < pair[1]).then_some(Curve { at, value })
}

/// Joins the last block to those before it while it lies below.
fn pool(blocks: &mut Vec<[f64; 3]>) {
    while let [.., before, last] = blocks.as_mut_slice() {
        if last[0] > 0.0 && before[0] > 0.0 && before[2] / before[0] < last[2] / last[0] {
            return;
        }
        let last = *last;
        before.iter_mut().zip(last).for_each(|(sum, part)| *sum += part);
        blocks.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_least_squares_unless_one_would_be_negative() {
        // G = [[2, 0, 0], [0, 2, 1], [0, 1, 2]]; unconstrained b = (1, 1, 0.5).
        let gram = [2.0, 0.0, 0.0, 0.0, 2.0, 1.0, 0.0, 1.0, 2.0];
        let b = non_negative(&gram, &[2.0, 2.5, 2.0]);
        assert!(b.iter().zip([1.0, 1.0, 0.5]).all(|(b, wanted)| (b - wanted).abs() < 1e-9), "{b:?}");
        // Unconstrained (−1, 2, −1): with b₂ = 0, b₁ = 3 / 2.
        let b = non_negative(&gram, &[-2.0, 3.0, 0.0]);
        assert!(b.iter().zip([-1.0, 1.5, 0.0]).all(|(b, wanted)| (b - wanted).abs() < 1e-9), "{b:?}");
    }

    #[test]
    fn a_curve_is_a_line_between_points_and_flat_outside() {
        let curve = Curve { at: vec![0.0, 1.0, 3.0], value: vec![1.0, 2.0, 2.5] };
        for (x, wanted) in [(-1.0, 1.0), (0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (2.0, 2.25), (3.0, 2.5), (9.0, 2.5)] {
            assert_eq!(curve.answer(x), wanted);
        }
    }

    #[test]
    fn violators_are_pooled_to_their_mean() {
        let mut blocks = Vec::new();
        for block in [[1.0, 0.0, 1.0], [1.0, 1.0, 3.0], [2.0, 4.0, 4.0], [1.0, 3.0, 9.0]] {
            blocks.push(block);
            pool(&mut blocks);
        }
        // 3 and 2, 2 become 7 / 3.
        assert_eq!(blocks, [[1.0, 0.0, 1.0], [3.0, 5.0, 7.0], [1.0, 3.0, 9.0]]);
    }
}
