//! Rank-weighted average treatment effects on doubly robust scores, in grf's definitions
//! (Yadlowsky, Fleming, Shah, Brunskill & Wager 2021): the targeting operator characteristic
//! TOC, its area AUTOC and its q-weighted area.
//!
//! Within a group of equal scores every row takes the group's mean doubly robust score.

use crate::scored::{Sorted, Sums};
use crate::slice::Side;

/// Both areas under the TOC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Σ wᵢ TOCᵢ / Σ wᵢ: the plain area.
    pub autoc: f64,
    /// Σ qᵢ wᵢ TOCᵢ / Σ wᵢ, qᵢ the share of weight down to row i.
    pub qini: f64,
}

/// Both areas, from every row; `None` without doubly robust scores.
///
/// Equal scores of unequal weight are taken at their mean weight, so the order in which rows
/// came doesn't matter.
pub fn rate(sorted: &Sorted<'_>) -> Option<Rate> {
    if !sorted.has_gamma() {
        return None;
    }
    let total = sorted.total();
    let (weight, ate) = (total.weight(), total.gamma / total.weight());
    let (mut sum, mut above) = (0.0, 0.0);
    let (mut autoc, mut qini) = (0.0, 0.0);
    sorted.for_each_group(|group, places| {
        let n = places.len() as f64;
        let (step_weight, step_sum) = (group.weight() / n, group.gamma / n);
        if step_weight == 0.0 {
            return;
        }
        for _ in places {
            sum += step_sum;
            above += step_weight;
            let toc = sum / above - ate;
            autoc += step_weight * toc;
            qini += step_weight * (above / weight) * toc;
        }
    });
    Some(Rate { autoc: autoc / weight, qini: qini / weight })
}

/// TOC(q) = mean Γ of the top share q − mean Γ, for ascending shares in (0, 1]; `None`
/// without doubly robust scores. A share that cuts a group of equal scores takes the same
/// part of each of its rows.
pub fn toc(sorted: &Sorted<'_>, fractions: &[f64]) -> Option<Vec<f64>> {
    if !sorted.has_gamma() {
        return None;
    }
    let cuts = sorted.cuts(fractions, Side::Both);
    let total = sorted.total();
    let ate = total.gamma / total.weight();
    let (mut above, mut next) = (Sums::default(), 0);
    let mut values = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let end = sorted.starts()[cut.group] as usize;
        above.add(&sorted.sums(next..end));
        next = end;
        let mut here = above;
        if cut.share > 0.0 {
            here.add_scaled(&sorted.sums(end..sorted.starts()[cut.group + 1] as usize), cut.share);
        }
        values.push(here.gamma / here.weight() - ate);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    #[test]
    fn three_rows_by_hand() {
        let gamma = [3.0, 0.0, 0.0];
        let scored = Scored { gamma: Some(&gamma), ..Scored::new(&[3.0, 2.0, 1.0], &[1, 0, 1], &[0.0; 3]) };
        let sorted = scored.sort().unwrap();
        // TOC: 3 − 1, 1.5 − 1, 1 − 1.
        let rate = rate(&sorted).unwrap();
        assert!((rate.autoc - 2.5 / 3.0).abs() < 1e-12);
        assert!((rate.qini - (2.0 / 3.0 + 0.5 * 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(toc(&sorted, &[1.0 / 3.0, 1.0]).unwrap(), vec![2.0, 0.0]);
    }
}
