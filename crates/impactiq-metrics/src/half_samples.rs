//! Half-sample bootstrap of everything that depends on the ranking.
//!
//! A draw takes half of the rows, or of the clusters, without replacement; the spread of a
//! metric over the draws is its standard error, as grf and CausalML do it (Yadlowsky et al.
//! 2021, section 3). Membership is a counter hash of (seed, draw, cluster or row number), so
//! the sorted rows are walked once for all draws, nothing is sorted again, and two rankings of
//! the same rows see the same halves. Few units are halved exactly, many by a coin each.
//!
//! Approximation: above [`MAX_BLOCKS`] distinct scores, neighbouring ones are merged into
//! blocks and curves run straight within a block. This touches standard errors only, by less
//! than one part in a thousand.

use impactiq_data::{Seed, Stream};
use rayon::prelude::*;

use crate::curve::Blocks;
use crate::robust::DenseClusters;
use crate::scored::{Sorted, Sums};

/// At most about this many blocks of neighbouring scores.
pub const MAX_BLOCKS: usize = 10_000;
/// Up to this many units are halved exactly.
const MAX_EXACT_UNITS: usize = 20_000;
/// Draws that are walked together: the bits of a word.
const LANES: usize = 64;

/// Eight bits as eight masks of 64 bits.
static MASKS: [[u64; 8]; 256] = masks();

const fn masks() -> [[u64; 8]; 256] {
    let mut table = [[0u64; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte][bit] = if (byte >> bit) & 1 == 1 { u64::MAX } else { 0 };
            bit += 1;
        }
        byte += 1;
    }
    table
}

/// A place in the ranking where every draw's sums are kept: after `block` whole blocks and a
/// share of the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) block: usize,
    pub(crate) share: f64,
}

impl Mark {
    /// The place above which a fraction of some weight stands.
    pub(crate) fn at(cumulative: &[Sums], fraction: f64, weight: impl Fn(&Sums) -> f64) -> Self {
        let target = fraction * cumulative.last().map_or(0.0, &weight);
        let block = cumulative.partition_point(|above| weight(above) <= target * (1.0 - 1e-12));
        if block >= cumulative.len() {
            return Mark { block, share: 0.0 };
        }
        let before = if block == 0 { 0.0 } else { weight(&cumulative[block - 1]) };
        Mark { block, share: ((target - before) / (weight(&cumulative[block]) - before)).clamp(0.0, 1.0) }
    }

    /// The place right after a block.
    pub(crate) fn after(block: usize) -> Self {
        Mark { block: block + 1, share: 0.0 }
    }
}

/// One draw: the areas under its curves and its sums at the marks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draw {
    /// Area of Y_t − Y_c · N_t/N_c over weight.
    pub(crate) radcliffe: f64,
    /// Area of the cumulative gain over weight.
    pub(crate) gain: f64,
    /// Area of the mean doubly robust score over weight.
    pub(crate) mean_gamma: f64,
    /// Area of the sum of doubly robust scores over weight.
    pub(crate) sum_gamma: f64,
    /// Sums of all rows of the draw.
    pub(crate) total: Sums,
    /// Sums above each mark.
    pub(crate) marks: Vec<Sums>,
}

/// All draws, and what their spread must be multiplied by.
#[derive(Clone, Debug)]
pub(crate) struct HalfSamples {
    pub(crate) draws: Vec<Draw>,
    /// √(m / (G − m)): 1 but for an odd number G of units of which m are drawn.
    pub(crate) correction: f64,
    /// Rows or clusters.
    pub(crate) n_units: usize,
}

impl HalfSamples {
    /// Draws `n_draws` half-samples of a ranking merged into blocks.
    pub(crate) fn draw(sorted: &Sorted<'_>, blocks: &Blocks, marks: &[Mark], n_draws: usize, seed: Seed) -> Self {
        let membership = Membership::new(sorted, seed.stream(Stream::Bootstrap), n_draws);
        let mut order: Vec<usize> = (0..marks.len()).collect();
        order.sort_by_key(|&mark| marks[mark].block);
        let words: Vec<Vec<Draw>> = (0..n_draws.div_ceil(LANES))
            .into_par_iter()
            .map(|word| Walk::new(sorted, blocks, marks, &order).run(&membership, word))
            .collect();
        let draws: Vec<Draw> = words.into_iter().flatten().take(n_draws).collect();
        HalfSamples { draws, correction: membership.correction, n_units: membership.n_units }
    }

    /// The standard error of a metric: the corrected spread of its defined draws; NaN where
    /// fewer than half of the draws are defined.
    pub(crate) fn std_error(&self, metric: impl Fn(&Draw) -> f64) -> f64 {
        let values: Vec<f64> = self.draws.iter().map(metric).collect();
        self.spread(&values)
    }

    /// The corrected standard deviation of one value per draw.
    pub(crate) fn spread(&self, values: &[f64]) -> f64 {
        let good: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        if good.len() < 2 || 2 * good.len() < values.len() {
            return f64::NAN;
        }
        let n = good.len() as f64;
        let mean = good.iter().sum::<f64>() / n;
        let squares: f64 = good.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / (n - 1.0)).sqrt() * self.correction
    }
}

/// Which draws a row is in, 64 draws to a word.
struct Membership<'a> {
    /// Exact halves: words per unit, unit by unit; empty where coins are thrown.
    table: Vec<u64>,
    n_words: usize,
    /// Unit of each row, by row number, where rows aren't their own units.
    units: Option<Vec<u32>>,
    keys: Keys<'a>,
    seeds: Vec<Seed>,
    correction: f64,
    n_units: usize,
}

enum Keys<'a> {
    Position,
    RowIds(&'a [u64]),
    Clusters(&'a [u32]),
}

impl<'a> Membership<'a> {
    fn new(sorted: &Sorted<'a>, seed: Seed, n_draws: usize) -> Self {
        let rows = sorted.rows();
        let n_words = n_draws.div_ceil(LANES);
        let (keys, units, n_units) = match (rows.clusters, rows.row_ids) {
            (Some(clusters), _) => {
                let dense = DenseClusters::new(clusters);
                (Keys::Clusters(clusters), Some(dense.of_row), dense.n)
            }
            (None, Some(ids)) => (Keys::RowIds(ids), None, sorted.n()),
            (None, None) => (Keys::Position, None, sorted.n()),
        };
        let mut membership = Membership {
            table: Vec::new(),
            n_words,
            units,
            keys,
            seeds: (0..n_words as u64).map(|word| seed.child(word)).collect(),
            correction: 1.0,
            n_units,
        };
        if n_units <= MAX_EXACT_UNITS {
            membership.halve_exactly(seed.child(u64::MAX), n_draws);
        }
        membership
    }

    fn halve_exactly(&mut self, seed: Seed, n_draws: usize) {
        let half = self.n_units / 2;
        let keys: Vec<u64> = self.unit_keys();
        self.table = vec![0; self.n_units * self.n_words];
        for draw in 0..n_draws {
            let seed = seed.child(draw as u64);
            let mut hashes: Vec<(u64, u32)> =
                keys.iter().enumerate().map(|(unit, &key)| (seed.hash(key), unit as u32)).collect();
            if half > 0 {
                hashes.select_nth_unstable(half - 1);
            }
            for (_, unit) in &hashes[..half] {
                self.table[*unit as usize * self.n_words + draw / LANES] |= 1 << (draw % LANES);
            }
        }
        self.correction = (half as f64 / (self.n_units - half) as f64).sqrt();
    }

    /// The hash key of each unit: equal for equal units of any order of rows.
    fn unit_keys(&self) -> Vec<u64> {
        match self.keys {
            Keys::Position => (0..self.n_units as u64).collect(),
            Keys::RowIds(ids) => ids.to_vec(),
            Keys::Clusters(clusters) => {
                let mut codes: Vec<u64> = clusters.iter().map(|&c| u64::from(c)).collect();
                codes.sort_unstable();
                codes.dedup();
                codes
            }
        }
    }

    #[inline]
    fn word(&self, row: usize, word: usize) -> u64 {
        if !self.table.is_empty() {
            let unit = self.units.as_ref().map_or(row, |u| u[row] as usize);
            return self.table[unit * self.n_words + word];
        }
        let key = match self.keys {
            Keys::Position => row as u64,
            Keys::RowIds(ids) => ids[row],
            Keys::Clusters(clusters) => u64::from(clusters[row]),
        };
        self.seeds[word].hash(key)
    }
}

type Lane = [f64; LANES];

/// The sums of 64 draws side by side.
#[derive(Clone)]
struct Lanes {
    treated: Lane,
    outcome_treated: Lane,
    control: Lane,
    outcome_control: Lane,
    gamma: Lane,
}

impl Lanes {
    const ZERO: Lanes = Lanes {
        treated: [0.0; LANES],
        outcome_treated: [0.0; LANES],
        control: [0.0; LANES],
        outcome_control: [0.0; LANES],
        gamma: [0.0; LANES],
    };

    fn sums(&self, lane: usize) -> Sums {
        Sums {
            treated: self.treated[lane],
            outcome_treated: self.outcome_treated[lane],
            control: self.control[lane],
            outcome_control: self.outcome_control[lane],
            gamma: self.gamma[lane],
        }
    }

    fn add(&mut self, other: &Lanes) {
        let add = |a: &mut Lane, b: &Lane| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.treated, &other.treated);
        add(&mut self.outcome_treated, &other.outcome_treated);
        add(&mut self.control, &other.control);
        add(&mut self.outcome_control, &other.outcome_control);
        add(&mut self.gamma, &other.gamma);
    }
}

/// Adds `value` to the lanes whose bit is set.
#[inline]
fn add_where(lane: &mut Lane, word: u64, value: f64) {
    let bits = value.to_bits();
    for (byte, part) in word.to_le_bytes().into_iter().zip(lane.chunks_exact_mut(8)) {
        let masks = &MASKS[byte as usize];
        for (sum, mask) in part.iter_mut().zip(masks) {
            *sum += f64::from_bits(bits & mask);
        }
    }
}

/// One pass over the sorted rows for 64 draws.
struct Walk<'w, 'a> {
    sorted: &'w Sorted<'a>,
    blocks: &'w Blocks,
    marks: &'w [Mark],
    mark_order: &'w [usize],
    above: Lanes,
    areas: [Lane; 4],
    at_marks: Vec<Vec<Sums>>,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(sorted: &'w Sorted<'a>, blocks: &'w Blocks, marks: &'w [Mark], mark_order: &'w [usize]) -> Self {
        let areas = [[0.0; LANES]; 4];
        let at_marks = vec![vec![Sums::default(); marks.len()]; LANES];
        Walk { sorted, blocks, marks, mark_order, above: Lanes::ZERO, areas, at_marks }
    }

    fn run(mut self, membership: &Membership<'_>, word: usize) -> Vec<Draw> {
        let (mut start, mut next_mark) = (0, 0);
        for (block, &end) in self.blocks.ends.iter().enumerate() {
            let mut here = Lanes::ZERO;
            for place in start..end {
                self.observe(place, membership.word(self.sorted.order()[place] as usize, word), &mut here);
            }
            start = end;
            while next_mark < self.mark_order.len() && self.marks[self.mark_order[next_mark]].block == block {
                self.keep(self.mark_order[next_mark], &here);
                next_mark += 1;
            }
            self.advance(&here);
        }
        while next_mark < self.mark_order.len() {
            self.keep(self.mark_order[next_mark], &Lanes::ZERO);
            next_mark += 1;
        }
        let Walk { above, areas, at_marks, .. } = self;
        let draw = |(lane, marks)| Draw {
            radcliffe: areas[0][lane],
            gain: areas[1][lane],
            mean_gamma: areas[2][lane],
            sum_gamma: areas[3][lane],
            total: above.sums(lane),
            marks,
        };
        at_marks.into_iter().enumerate().map(draw).collect()
    }

    #[inline]
    fn observe(&self, place: usize, word: u64, here: &mut Lanes) {
        let (weight, outcome) = (self.sorted.weight(place), self.sorted.outcome(place));
        let (count, sum) = if self.sorted.treated(place) {
            (&mut here.treated, &mut here.outcome_treated)
        } else {
            (&mut here.control, &mut here.outcome_control)
        };
        add_where(count, word, weight);
        if outcome != 0.0 {
            add_where(sum, word, weight * outcome);
        }
        if self.sorted.has_gamma() {
            add_where(&mut here.gamma, word, weight * self.sorted.gamma(place));
        }
    }

    fn keep(&mut self, mark: usize, here: &Lanes) {
        let share = self.marks[mark].share;
        for (lane, marks) in self.at_marks.iter_mut().enumerate() {
            marks[mark] = self.above.sums(lane);
            if share > 0.0 {
                marks[mark].add_scaled(&here.sums(lane), share);
            }
        }
    }

    /// Moves past a block: trapezoids under three curves, and ∫ S(w)/w dw for the fourth,
    /// S being straight within the block.
    fn advance(&mut self, here: &Lanes) {
        for lane in 0..LANES {
            let (before, step) = (self.above.sums(lane), here.sums(lane));
            let width = step.weight();
            if width <= 0.0 {
                continue;
            }
            let mut after = before;
            after.add(&step);
            self.areas[0][lane] += width * 0.5 * (before.radcliffe() + after.radcliffe());
            self.areas[1][lane] += width * 0.5 * (before.gain() + after.gain());
            self.areas[3][lane] += width * 0.5 * (before.gamma + after.gamma);
            let from = before.weight();
            self.areas[2][lane] += if from > 0.0 {
                step.gamma + (before.gamma - step.gamma / width * from) * (width / from).ln_1p()
            } else {
                step.gamma
            };
        }
        self.above.add(here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    fn spread_of_mean(n: usize, clusters: Option<&[u32]>, gamma: &[f64]) -> (f64, HalfSamples) {
        let score: Vec<f64> = (0..n as u64).map(|i| Seed::new(9).uniform(i)).collect();
        let treated: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
        let scored = Scored { gamma: Some(gamma), clusters, ..Scored::new(&score, &treated, gamma) };
        let sorted = scored.sort().unwrap();
        let blocks = Blocks::new(&sorted, MAX_BLOCKS);
        let halves = HalfSamples::draw(&sorted, &blocks, &[], 2_000, Seed::new(4));
        (halves.std_error(|d| d.total.gamma / d.total.weight()), halves)
    }

    #[test]
    fn the_spread_of_a_mean_is_its_textbook_standard_error() {
        for n in [41, 1_000, 30_000] {
            let gamma: Vec<f64> = (0..n as u64).map(|i| Seed::new(3).uniform(i)).collect();
            let mean = gamma.iter().sum::<f64>() / n as f64;
            let textbook = (gamma.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0) / n as f64).sqrt();
            let (ours, _) = spread_of_mean(n, None, &gamma);
            assert!((ours / textbook - 1.0).abs() < 0.06, "n = {n}: {ours} against {textbook}");
        }
    }

    #[test]
    fn clusters_are_drawn_whole_and_halved_exactly() {
        let clusters: Vec<u32> = (0..400).map(|i| i / 8 * 7).collect();
        let gamma: Vec<f64> = clusters.iter().map(|&c| Seed::new(3).uniform(u64::from(c))).collect();
        let (ours, halves) = spread_of_mean(400, Some(&clusters), &gamma);
        assert!(halves.draws.iter().all(|d| d.total.weight() == 200.0));
        let mean = gamma.iter().sum::<f64>() / 400.0;
        let textbook = (gamma.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 8.0 / 49.0 / 50.0).sqrt();
        assert!((ours / textbook - 1.0).abs() < 0.06, "{ours} against {textbook}");
    }

    #[test]
    fn areas_of_a_draw_match_a_direct_computation() {
        let n = 200;
        let score: Vec<f64> = (0..n).map(|i| f64::from(i * 7 % 31)).collect();
        let treated: Vec<u8> = (0..n).map(|i| u8::from(i * 3 % 5 < 2)).collect();
        let outcome: Vec<f64> = (0..n).map(|i| f64::from(i % 4)).collect();
        let scored = Scored { gamma: Some(&outcome), ..Scored::new(&score, &treated, &outcome) };
        let sorted = scored.sort().unwrap();
        let halves = HalfSamples::draw(&sorted, &Blocks::new(&sorted, MAX_BLOCKS), &[], 3, Seed::new(1));
        let member = Membership::new(&sorted, Seed::new(1).stream(Stream::Bootstrap), 3);
        for draw in 0..3 {
            let rows: Vec<usize> = (0..n as usize).filter(|&r| member.word(r, 0) >> draw & 1 == 1).collect();
            assert_eq!(rows.len(), 100);
            let pick = |v: &[f64]| rows.iter().map(|&r| v[r]).collect::<Vec<f64>>();
            let (s, y) = (pick(&score), pick(&outcome));
            let t: Vec<u8> = rows.iter().map(|&r| treated[r]).collect();
            let sub = Scored::new(&s, &t, &y);
            let sub = sub.sort().unwrap();
            let ours = &halves.draws[draw as usize];
            let (radcliffe, _) = crate::area::area_and_end(&sub, Sums::radcliffe);
            let (gain, _) = crate::area::area_and_end(&sub, Sums::gain);
            assert!((ours.radcliffe - radcliffe).abs() < 1e-9 && (ours.gain - gain).abs() < 1e-9);
        }
    }
}
