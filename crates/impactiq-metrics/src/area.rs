//! Areas under the curves: the Qini coefficients that average ties.
//!
//! A curve is its values at distinct scores joined by straight lines from the origin, so the
//! area is a trapezoid sum, exact for the joined curve, in one pass over the sorted rows. A
//! term whose arm is still empty is 0.

use crate::scored::{Sorted, Sums};

/// The area under straight lines joining the points (x, y); 0 for fewer than two points.
pub fn trapezoid(x: &[f64], y: &[f64]) -> f64 {
    x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) * 0.5).sum()
}

/// The area between a curve over fractions of the rows and the straight line to its end.
///
/// ```
/// let area = impactiq_metrics::area::qini_coefficient(&[0.0, 0.5, 1.0], &[0.0, 1.0, 1.0]);
/// assert_eq!(area, 0.25);
/// ```
pub fn qini_coefficient(fraction: &[f64], value: &[f64]) -> f64 {
    let width = fraction.last().copied().unwrap_or(0.0) - fraction.first().copied().unwrap_or(0.0);
    trapezoid(fraction, value) - 0.5 * width * value.last().copied().unwrap_or(0.0)
}

/// The area under `value` of the rows so far, over their weight; and the end value.
pub(crate) fn area_and_end(sorted: &Sorted<'_>, value: impl Fn(&Sums) -> f64) -> (f64, f64) {
    let (mut above, mut area, mut last) = (Sums::default(), 0.0, 0.0);
    sorted.for_each_group(|group, _| {
        above.add(group);
        let here = value(&above);
        area += group.weight() * (last + here) * 0.5;
        last = here;
    });
    (area, last)
}

/// ∫₀¹ [Y_t(q) − Y_c(q) · N_t(q)/N_c(q)] dq − ½ · the end value: incremental outcomes
/// (Radcliffe 2007), which grow with the number of rows.
pub fn qini_counts(sorted: &Sorted<'_>) -> f64 {
    let (area, end) = area_and_end(sorted, Sums::radcliffe);
    area / sorted.total().weight() - 0.5 * end
}

/// ∫₀¹ q · (ȳ_t − ȳ_c)(q) dq − ½ · the overall difference in means: per row, whatever n.
pub fn qini_per_capita(sorted: &Sorted<'_>) -> f64 {
    let weight = sorted.total().weight();
    let (area, end) = area_and_end(sorted, Sums::gain);
    (area / weight - 0.5 * end) / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    #[test]
    fn four_rows_by_hand() {
        // Sorted: (t, 1), (c, 0), (t, 0), (c, 1); gain per row: .25, .5, .375, 0.
        let sorted = Scored::new(&[4.0, 3.0, 2.0, 1.0], &[1, 0, 1, 0], &[1.0, 0.0, 0.0, 1.0]).sort().unwrap();
        assert!((qini_per_capita(&sorted) - 0.28125).abs() < 1e-12);
        // Radcliffe: 1, 1, 1, 0 over quarters.
        assert!((qini_counts(&sorted) - 0.25 * (0.5 + 1.0 + 1.0 + 0.5)).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_have_no_area() {
        let sorted = Scored::new(&[1.0; 4], &[1, 0, 1, 0], &[1.0, 0.0, 0.0, 1.0]).sort().unwrap();
        assert_eq!((qini_per_capita(&sorted), qini_counts(&sorted)), (0.0, 0.0));
    }
}
