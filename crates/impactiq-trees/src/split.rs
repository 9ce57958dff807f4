//! The one scan: the best way to split a node, from its histogram or straight from its rows.
//!
//! Ordered features are cut at a threshold with missing values tried on either side.
//! Categories are sorted by the criterion and go through the same scan over prefixes;
//! missing is a category among them. With few categories each alone against the rest is
//! tried too, which matters for criteria whose best set need not be a prefix.
//! What must not live here: sums over rows, or what a gain means.

use impactiq_data::{FeatureKind, MISSING_CODE};

use crate::criterion::Criterion;
use crate::histogram::{Layout, Rows, Scratch, Seen, observe, observe_few};
use crate::matrix::Feature;
use crate::stats::Stats;

/// Up to this many categories present, each is also tried alone against the rest.
const ONE_AGAINST_REST: usize = 8;

/// Up to this many rows the codes that occur are noted while rows are summed.
const FEW_ROWS: usize = 256;

/// Where a row goes, by its code of one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Left: value codes up to and including `code`.
    AtMost {
        /// The last code on the left.
        code: u8,
        /// Whether missing values go left.
        missing_left: bool,
    },
    /// Left: the value codes in a set.
    In {
        /// Bit c of the 256 is code c; the bit of missing is not looked at.
        codes: [u64; 4],
        /// Whether missing values go left.
        missing_left: bool,
    },
}

impl Rule {
    /// Whether a code goes left.
    #[inline(always)]
    pub fn goes_left(&self, code: u8) -> bool {
        match self {
            Rule::AtMost { code: _, missing_left } | Rule::In { codes: _, missing_left } if code == MISSING_CODE => {
                *missing_left
            }
            Rule::AtMost { code: last, .. } => code <= *last,
            Rule::In { codes, .. } => codes[usize::from(code >> 6)] >> (code & 63) & 1 == 1,
        }
    }

    /// Whether each code goes left.
    pub fn table(&self) -> [bool; 256] {
        std::array::from_fn(|code| self.goes_left(code as u8))
    }
}

/// What every split must leave, whatever the criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows in each child, at least.
    pub min_rows: u32,
    /// Weight of each child, at least.
    pub min_weight: f64,
    /// The gain must exceed this.
    pub min_gain: f64,
}

/// A way to split a node.
#[derive(Clone, Copy, Debug)]
pub struct Split<S> {
    /// The feature.
    pub feature: u32,
    /// Where rows go.
    pub rule: Rule,
    /// How much better the children are than the node.
    pub gain: f64,
    /// Sums of the left child.
    pub left: S,
    /// Sums of the right child.
    pub right: S,
}

/// Where a split is looked for.
#[derive(Clone, Copy, Debug)]
pub struct SearchSpace<'a> {
    /// Every feature.
    pub layout: &'a Layout,
    /// Those to look at, ascending.
    pub features: &'a [u32],
    /// What the children must keep.
    pub limits: &'a Limits,
}

/// The best split of a node with sums `total`, from its histogram; `None` when there is none.
///
/// Ties go to the feature named first, then to the lowest code.
pub fn best_split<C: Criterion>(
    criterion: &C,
    total: &C::Stats,
    histogram: &[C::Stats],
    space: &SearchSpace<'_>,
) -> Option<Split<C::Stats>> {
    let mut scan = Scan::new(criterion, total, space.limits)?;
    for &feature in space.features {
        let sums = &histogram[space.layout.range(feature as usize)];
        let (values, missing) = sums.split_at(sums.len() - 1);
        let values = values.iter().enumerate().map(|(code, sums)| (code as u8, *sums));
        let values = values.filter(|(_, sums)| sums.n_rows() > 0);
        scan.feature(feature, space.layout.feature(feature as usize).kind, values, missing[0]);
    }
    scan.best
}

/// The best split of a node of at most [`crate::criterion::CELL_ROWS`] rows, from its rows.
///
/// The same scan without a histogram: cells are summed, looked at where they hold rows, and
/// emptied. Below some thousand rows the histogram of a node (hundreds of sums to clear, flush,
/// subtract and scan) costs more than its rows.
pub fn best_split_of_rows<C: Criterion>(
    criterion: &C,
    total: &C::Stats,
    rows: Rows<'_, C::Row>,
    space: &SearchSpace<'_>,
    scratch: &mut Scratch<C::Cell>,
) -> Option<Split<C::Stats>> {
    let mut scan = Scan::new(criterion, total, space.limits)?;
    let sums = |cell: &mut C::Cell| {
        let mut sums = C::Stats::ZERO;
        criterion.flush(cell, &mut sums);
        *cell = C::EMPTY;
        sums
    };
    let few = rows.selection.n_rows() <= FEW_ROWS;
    let (slots, seen) = if few {
        observe_few::<C>(rows, space.features, scratch)
    } else {
        (observe::<C>(rows, space.features, scratch), &[][..])
    };
    for (at, (slot, &feature)) in slots.iter_mut().zip(space.features).enumerate() {
        let missing = sums(&mut slot[usize::from(MISSING_CODE)]);
        let Feature { kind, n_codes } = space.layout.feature(feature as usize);
        match seen.get(at) {
            Some(seen) => {
                scan.feature(feature, kind, ones(*seen).map(|code| (code, sums(&mut slot[usize::from(code)]))), missing)
            }
            None => {
                let values = slot[..n_codes].iter_mut().enumerate().filter(|(_, cell)| !C::is_empty(cell));
                scan.feature(feature, kind, values.map(|(code, cell)| (code as u8, sums(cell))), missing);
            }
        }
    }
    scan.best
}

/// The value codes of a set, ascending.
#[inline(always)]
fn ones(mut codes: Seen) -> impl Iterator<Item = u8> {
    codes[3] &= u64::MAX >> 1;
    let mut word = 0;
    std::iter::from_fn(move || {
        while codes[word] == 0 {
            word += 1;
            if word == 4 {
                word = 3;
                return None;
            }
        }
        let bit = codes[word].trailing_zeros();
        codes[word] &= codes[word] - 1;
        Some((word as u32 * 64 + bit) as u8)
    })
}

struct Scan<'a, C: Criterion> {
    criterion: &'a C,
    node: C::Node,
    total: &'a C::Stats,
    limits: &'a Limits,
    feature: u32,
    best: Option<Split<C::Stats>>,
}

impl<'a, C: Criterion> Scan<'a, C> {
    fn new(criterion: &'a C, total: &'a C::Stats, limits: &'a Limits) -> Option<Self> {
        Some(Scan { criterion, node: criterion.node(total)?, total, limits, feature: 0, best: None })
    }

    /// Looks at a feature, given the sums of its codes that hold rows, ascending.
    #[inline(always)]
    fn feature(
        &mut self,
        feature: u32,
        kind: FeatureKind,
        values: impl Iterator<Item = (u8, C::Stats)>,
        missing: C::Stats,
    ) {
        self.feature = feature;
        match kind {
            FeatureKind::Ordered => self.ordered(values, missing),
            FeatureKind::Category => self.categories(values, missing),
        }
    }

    /// Keeps the split if it is admissible and the best so far.
    #[inline(always)]
    fn offer(&mut self, left: &C::Stats, rule: impl FnOnce(&C::Stats, &C::Stats) -> Rule) {
        let Limits { min_rows, min_weight, min_gain } = *self.limits;
        if left.n_rows() < min_rows.max(1) || left.weight() < min_weight {
            return;
        }
        let right = self.total.without(left);
        if right.n_rows() < min_rows.max(1) || right.weight() < min_weight {
            return;
        }
        let Some(gain) = self.criterion.gain(&self.node, left, &right) else { return };
        if gain > self.best.as_ref().map_or(min_gain, |best| best.gain) {
            let rule = rule(left, &right);
            self.best = Some(Split { feature: self.feature, rule, gain, left: *left, right });
        }
    }

    #[inline(always)]
    fn ordered(&mut self, values: impl Iterator<Item = (u8, C::Stats)>, missing: C::Stats) {
        let any_missing = missing.n_rows() > 0;
        let mut left = C::Stats::ZERO;
        for (code, sums) in values {
            left += sums;
            if any_missing {
                self.offer(&left, |_, _| Rule::AtMost { code, missing_left: false });
                let mut with_missing = left;
                with_missing += missing;
                self.offer(&with_missing, |_, _| Rule::AtMost { code, missing_left: true });
            } else {
                // No missing value was seen here: one met later follows the majority.
                self.offer(&left, |left, right| Rule::AtMost { code, missing_left: heavier(left, right) });
            }
        }
    }

    fn categories(&mut self, values: impl Iterator<Item = (u8, C::Stats)>, missing: C::Stats) {
        let missing = Some((MISSING_CODE, missing)).filter(|(_, sums)| sums.n_rows() > 0);
        let mut present: Vec<(f64, u8, C::Stats)> =
            values.chain(missing).map(|(code, sums)| (self.criterion.order(&self.node, &sums), code, sums)).collect();
        present.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut seen = [0u64; 4];
        present.iter().for_each(|&(_, code, _)| insert(&mut seen, code));
        let rule = |codes: [u64; 4]| {
            // Codes without rows in this node follow the majority.
            move |left: &C::Stats, right: &C::Stats| {
                let absent = if heavier(left, right) { seen.map(|word| !word) } else { [0; 4] };
                let codes: [u64; 4] = std::array::from_fn(|word| codes[word] | absent[word]);
                Rule::In { codes, missing_left: codes[3] >> 63 == 1 }
            }
        };
        let mut left = C::Stats::ZERO;
        let mut codes = [0u64; 4];
        for (_, code, sums) in &present {
            left += *sums;
            insert(&mut codes, *code);
            self.offer(&left, rule(codes));
        }
        if present.len() <= ONE_AGAINST_REST {
            for (_, code, sums) in &present {
                let mut codes = [0u64; 4];
                insert(&mut codes, *code);
                self.offer(sums, rule(codes));
            }
        }
    }
}

fn insert(codes: &mut [u64; 4], code: u8) {
    codes[usize::from(code >> 6)] |= 1 << (code & 63);
}

fn heavier<S: Stats>(left: &S, right: &S) -> bool {
    left.weight() >= right.weight()
}

#[cfg(test)]
mod tests;
