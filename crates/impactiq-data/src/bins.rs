//! From raw values to bin codes: sketches, cut points and encoders.
//!
//! A feature's values become one byte: up to 255 value codes (0 to 254) and
//! [`MISSING_CODE`]. Numbers are cut at quantiles of a fixed-size random sample; few
//! distinct values get a code each. Categories keep their 254 most frequent levels; the
//! rest, and levels never seen, are one code "other".

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::bin_columns::{FeatureKind, MISSING_CODE};
use crate::column::{ColumnView, MISSING_LEVEL};
use crate::seed::Seed;

/// The most value codes a feature can have.
pub const MAX_CODES: usize = 255;

/// Levels of a category that keep a code of their own.
pub const MAX_LEVELS: usize = 254;

/// A fixed-size uniform sample of a number column, built while reading.
///
/// Keeps the values of the rows with the smallest counter hashes (bottom-k sampling),
/// so the sample depends on the rows and the seed, not on how the rows were chunked.
#[derive(Clone, Debug)]
pub struct NumberSketch {
    seed: Seed,
    capacity: usize,
    sample: Vec<(u64, f64)>,
    threshold: u64,
    n_missing: u64,
    n_values: u64,
}

impl NumberSketch {
    /// Rows sampled at most by default: quantiles of 255 bins are then right to about ±0.1 %.
    pub const DEFAULT_CAPACITY: usize = 1 << 18;

    /// An empty sketch.
    pub fn new(seed: Seed, capacity: usize) -> Self {
        NumberSketch {
            seed,
            capacity: capacity.max(1),
            sample: Vec::new(),
            threshold: u64::MAX,
            n_missing: 0,
            n_values: 0,
        }
    }

    /// Adds the values of rows `first_row, first_row + 1, …`; NaN counts as missing.
    pub fn push(&mut self, first_row: u64, values: &[f64]) {
        for (offset, &value) in values.iter().enumerate() {
            if value.is_nan() {
                self.n_missing += 1;
                continue;
            }
            self.n_values += 1;
            let hash = self.seed.hash(first_row + offset as u64);
            if hash <= self.threshold {
                self.sample.push((hash, value));
                if self.sample.len() >= 2 * self.capacity {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        if self.sample.len() > self.capacity {
            self.sample.select_nth_unstable_by_key(self.capacity - 1, |&(hash, _)| hash);
            self.sample.truncate(self.capacity);
            self.threshold = self.sample[self.capacity - 1].0;
        }
    }

    /// Values seen that were not missing.
    pub fn n_values(&self) -> u64 {
        self.n_values
    }

    /// Missing values seen.
    pub fn n_missing(&self) -> u64 {
        self.n_missing
    }

    /// Cut points for at most `max_codes` codes (2 to 255), strictly increasing; code i
    /// holds the values v with cuts[i-1] < v ≤ cuts[i].
    pub fn cuts(mut self, max_codes: usize) -> Vec<f64> {
        self.shrink();
        let mut values: Vec<f64> = self.sample.into_iter().map(|(_, value)| value).collect();
        values.sort_unstable_by(f64::total_cmp);
        cut_points(&values, max_codes.clamp(2, MAX_CODES))
    }
}

/// The rows that a [`NumberSketch`] of a column without gaps keeps. They depend on their number and the
/// seed alone, so the columns of a table share them.
#[derive(Clone, Debug)]
pub struct SampledRows {
    seed: Seed,
    n_rows: usize,
    /// Ascending; `None`: all of them.
    rows: Option<Vec<u32>>,
}

impl SampledRows {
    /// The sample of rows 0 to n − 1, [`NumberSketch::DEFAULT_CAPACITY`] of them at most.
    pub fn new(seed: Seed, n_rows: usize) -> Self {
        SampledRows::of(seed, n_rows, NumberSketch::DEFAULT_CAPACITY)
    }

    fn of(seed: Seed, n_rows: usize, capacity: usize) -> Self {
        if n_rows <= capacity {
            return SampledRows { seed, n_rows, rows: None };
        }
        let hashes: Vec<u64> = (0..n_rows as u64).map(|row| seed.hash(row)).collect();
        // Hashes are uniform: few of those below a twentieth more than the share are too many.
        let likely = (u64::MAX as f64 * (1.05 * capacity as f64 / n_rows as f64).min(1.0)) as u64;
        let mut small: Vec<u64> = hashes.iter().copied().filter(|&hash| hash <= likely).collect();
        if small.len() < capacity {
            small.clone_from(&hashes);
        }
        let threshold = *small.select_nth_unstable(capacity - 1).1;
        let rows = (0..n_rows as u32).filter(|&row| hashes[row as usize] <= threshold).collect();
        SampledRows { seed, n_rows, rows: Some(rows) }
    }

    /// The sorted sample of a column's values; missing ones take no part.
    fn sorted(&self, values: &[f64]) -> Vec<f64> {
        let mut sample = match &self.rows {
            // With gaps the sample is that of the other rows.
            _ if values.len() != self.n_rows || values.iter().any(|value| value.is_nan()) => {
                let mut sketch = NumberSketch::new(self.seed, NumberSketch::DEFAULT_CAPACITY);
                sketch.push(0, values);
                sketch.shrink();
                sketch.sample.into_iter().map(|(_, value)| value).collect()
            }
            Some(rows) => rows.iter().map(|&row| values[row as usize]).collect(),
            None => values.to_vec(),
        };
        sample.sort_unstable_by(f64::total_cmp);
        sample
    }
}

/// Cut points of sorted values: every distinct value its own code when they fit, else
/// nearly equal counts, where a value with more than its share gets a code alone.
fn cut_points(sorted: &[f64], max_codes: usize) -> Vec<f64> {
    let mut distinct: Vec<(f64, usize)> = Vec::new();
    for &value in sorted {
        match distinct.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    if distinct.len() <= 1 {
        return Vec::new();
    }
    let boundary = |i: usize| midpoint(distinct[i].0, distinct[i + 1].0);
    if distinct.len() <= max_codes {
        return (0..distinct.len() - 1).map(boundary).collect();
    }
    // Values heavier than an equal share stand alone; the others share what is left.
    let mut rest_rows = sorted.len();
    let mut rest_codes = max_codes;
    let mut heavy = vec![false; distinct.len()];
    loop {
        let share = rest_rows as f64 / rest_codes.max(1) as f64;
        let before = rest_codes;
        for (i, &(_, count)) in distinct.iter().enumerate() {
            if !heavy[i] && count as f64 >= share && rest_codes > 1 {
                heavy[i] = true;
                rest_rows -= count;
                rest_codes -= 1;
            }
        }
        if rest_codes == before {
            break;
        }
    }
    let mut cuts = Vec::with_capacity(max_codes - 1);
    let mut in_code = 0usize;
    let (mut rows_left, mut codes_left) = (rest_rows, rest_codes);
    for i in 0..distinct.len() - 1 {
        let (_, count) = distinct[i];
        if !heavy[i] {
            in_code += count;
            rows_left -= count;
        }
        let share = (in_code + rows_left) as f64 / codes_left.max(1) as f64;
        let next = distinct[i + 1].1;
        let full = in_code as f64 + if heavy[i + 1] { 0.0 } else { next as f64 * 0.5 } >= share;
        if (heavy[i] || heavy[i + 1] || full) && cuts.len() < max_codes - 1 {
            if in_code > 0 {
                codes_left = codes_left.saturating_sub(1);
            }
            in_code = 0;
            cuts.push(boundary(i));
        }
    }
    cuts
}

/// A number between two neighbours, never equal to the right one.
fn midpoint(left: f64, right: f64) -> f64 {
    let middle = left * 0.5 + right * 0.5;
    if middle >= left && middle < right { middle } else { left }
}

/// How one feature's values become codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FeatureBins {
    /// Cut points of a number feature, strictly increasing, at most 254.
    Number {
        /// Upper ends (inclusive) of all codes but the last.
        cuts: Vec<f64>,
    },
    /// Levels of a category by code; `levels.len()` is the code "other".
    Category {
        /// At most 254 levels, most frequent first.
        levels: Vec<String>,
        /// True when training rows fell into "other".
        other_seen: bool,
    },
}

impl FeatureBins {
    /// Learns the bins of a column from all its rows.
    pub fn learn(column: ColumnView<'_>, seed: Seed, max_codes: usize) -> Self {
        FeatureBins::learn_sampled(column, &SampledRows::new(seed, column.len()), max_codes)
    }

    /// The same for a column of a table whose sampled rows are known.
    pub fn learn_sampled(column: ColumnView<'_>, sampled: &SampledRows, max_codes: usize) -> Self {
        match column {
            ColumnView::Number(values) => {
                FeatureBins::Number { cuts: cut_points(&sampled.sorted(values), max_codes.clamp(2, MAX_CODES)) }
            }
            ColumnView::Category { codes, levels } => {
                let mut counts = vec![0u64; levels.len()];
                for &code in codes.iter().filter(|&&code| code != MISSING_LEVEL) {
                    counts[code as usize] += 1;
                }
                let mut order: Vec<usize> = (0..levels.len()).filter(|&i| counts[i] > 0).collect();
                // Ties by name: the order of appearance depends on the file's layout.
                order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| levels[a].cmp(&levels[b])));
                let other_seen = order.len() > MAX_LEVELS;
                order.truncate(MAX_LEVELS);
                FeatureBins::Category { levels: order.into_iter().map(|i| levels[i].clone()).collect(), other_seen }
            }
        }
    }

    /// How the codes may be split.
    pub fn kind(&self) -> FeatureKind {
        match self {
            FeatureBins::Number { .. } => FeatureKind::Ordered,
            FeatureBins::Category { .. } => FeatureKind::Category,
        }
    }

    /// One more than the largest value code.
    pub fn n_codes(&self) -> usize {
        match self {
            FeatureBins::Number { cuts } => cuts.len() + 1,
            FeatureBins::Category { levels, .. } => levels.len() + 1,
        }
    }

    /// The code of a number (NaN: missing).
    #[inline]
    pub fn encode_number(cuts: &[f64], value: f64) -> u8 {
        if value.is_nan() { MISSING_CODE } else { cuts.partition_point(|&cut| cut < value) as u8 }
    }

    /// Encodes a column; returns how many rows held a level without a code of its own.
    ///
    /// A number column given to a category feature is matched by its text (and the other
    /// way round, text is parsed), so a caller that cast to the schema never gets there.
    ///
    /// # Panics
    /// When `out` and the column differ in length (a bug of the caller).
    pub fn encode(&self, column: ColumnView<'_>, out: &mut [u8]) -> u64 {
        assert_eq!(column.len(), out.len(), "encode: output length");
        match (self, column) {
            (FeatureBins::Number { cuts }, ColumnView::Number(values)) => {
                encode_numbers(cuts, values, out);
                0
            }
            (FeatureBins::Category { levels, .. }, ColumnView::Category { codes, levels: seen }) => {
                let by_name: HashMap<&str, u8> =
                    levels.iter().enumerate().map(|(code, name)| (name.as_str(), code as u8)).collect();
                let other = levels.len() as u8;
                let map: Vec<u8> = seen.iter().map(|name| *by_name.get(name.as_str()).unwrap_or(&other)).collect();
                let mut n_other = 0;
                for (out, &code) in out.iter_mut().zip(codes) {
                    *out = if code == MISSING_LEVEL { MISSING_CODE } else { map[code as usize] };
                    n_other += u64::from(code != MISSING_LEVEL && *out == other);
                }
                n_other
            }
            (FeatureBins::Number { cuts }, ColumnView::Category { codes, levels }) => {
                let map: Vec<u8> = levels
                    .iter()
                    .map(|text| Self::encode_number(cuts, text.trim().parse().unwrap_or(f64::NAN)))
                    .collect();
                for (out, &code) in out.iter_mut().zip(codes) {
                    *out = if code == MISSING_LEVEL { MISSING_CODE } else { map[code as usize] };
                }
                0
            }
            (FeatureBins::Category { levels, .. }, ColumnView::Number(values)) => {
                let other = levels.len() as u8;
                let mut n_other = 0;
                for (out, &value) in out.iter_mut().zip(values) {
                    *out = if value.is_nan() {
                        MISSING_CODE
                    } else {
                        let text = crate::column::number_text(value);
                        levels.iter().position(|level| *level == text).map_or(other, |code| code as u8)
                    };
                    n_other += u64::from(*out == other);
                }
                n_other
            }
        }
    }
}

/// Values that are searched for side by side: one search waits for its loads, eight keep the processor busy (half
/// the time of one after another; with sixteen the registers run out).
const LANES: usize = 8;

/// Encodes numbers by branch-free binary searches over padded cuts.
fn encode_numbers(cuts: &[f64], values: &[f64], out: &mut [u8]) {
    // 256 slots, padded with +inf: eight halvings find the number of cuts below a value.
    let mut padded = [f64::INFINITY; 256];
    padded[..cuts.len()].copy_from_slice(cuts);
    let whole = values.len() / LANES * LANES;
    let (values, rest) = values.split_at(whole);
    let (out, out_of_rest) = out.split_at_mut(whole);
    for (out, values) in out.chunks_exact_mut(LANES).zip(values.chunks_exact(LANES)) {
        let mut base = [0u64; LANES];
        for step in [128u64, 64, 32, 16, 8, 4, 2, 1] {
            for (base, value) in base.iter_mut().zip(values) {
                // A sum of larger powers of two: nothing is carried, and nothing reaches 256.
                let below = padded[((*base | (step - 1)) & 255) as usize] < *value;
                *base |= u64::from(below).wrapping_neg() & step;
            }
        }
        for ((out, value), base) in out.iter_mut().zip(values).zip(base) {
            *out = if value.is_nan() { MISSING_CODE } else { base as u8 };
        }
    }
    out_of_rest.iter_mut().zip(rest).for_each(|(out, &value)| *out = FeatureBins::encode_number(cuts, value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_values_get_a_code_each() {
        let bins = FeatureBins::learn(ColumnView::Number(&[3.0, 1.0, 2.0, 1.0, f64::NAN]), Seed::new(0), 255);
        let mut out = [0; 5];
        bins.encode(ColumnView::Number(&[1.0, 2.0, 3.0, f64::NAN, 9.0]), &mut out);
        assert_eq!(out, [0, 1, 2, MISSING_CODE, 2]);
        assert_eq!(bins.n_codes(), 3);
    }

    #[test]
    fn a_heavy_value_stands_alone_and_the_rest_is_even() {
        let mut values = vec![0.0; 10_000];
        values.extend((1..=10_000).map(f64::from));
        let bins = FeatureBins::learn(ColumnView::Number(&values), Seed::new(0), 255);
        let mut out = vec![0; values.len()];
        bins.encode(ColumnView::Number(&values), &mut out);
        let mut counts = [0usize; 256];
        out.iter().for_each(|&code| counts[code as usize] += 1);
        assert_eq!(counts[0], 10_000);
        assert!(bins.n_codes() > 240, "{}", bins.n_codes());
        assert!(counts[1..bins.n_codes()].iter().all(|&c| c <= 80), "{counts:?}");
    }

    #[test]
    fn sketch_does_not_depend_on_chunks() {
        let values: Vec<f64> = (0..50_000).map(|i| f64::from(i * 7919 % 50_021)).collect();
        let mut whole = NumberSketch::new(Seed::new(3), 1000);
        whole.push(0, &values);
        let mut parts = NumberSketch::new(Seed::new(3), 1000);
        for (chunk, values) in values.chunks(777).enumerate() {
            parts.push(chunk as u64 * 777, values);
        }
        assert_eq!(whole.cuts(64), parts.cuts(64));
    }

    #[test]
    fn rows_sampled_for_a_whole_table_are_those_of_a_columns_own_sketch() {
        let seed = Seed::new(9);
        for (n, capacity) in [(900usize, 1000usize), (1000, 1000), (1001, 1000), (20_000, 1000), (3_000, 1)] {
            let values: Vec<f64> = (0..n).map(|row| row as f64).collect();
            let mut sketch = NumberSketch::new(seed, capacity);
            sketch.push(0, &values);
            sketch.shrink();
            let mut own: Vec<f64> = sketch.sample.into_iter().map(|(_, value)| value).collect();
            own.sort_unstable_by(f64::total_cmp);
            assert_eq!(SampledRows::of(seed, n, capacity).sorted(&values), own, "{n} rows");
        }
        // With a gap, the bins are those of the column's own sketch too.
        let n = NumberSketch::DEFAULT_CAPACITY + 5_000;
        let mut values: Vec<f64> = (0..n).map(|row| seed.uniform(row as u64)).collect();
        values[3] = f64::NAN;
        let mut sketch = NumberSketch::new(seed, NumberSketch::DEFAULT_CAPACITY);
        sketch.push(0, &values);
        let bins = FeatureBins::learn(ColumnView::Number(&values), seed, 255);
        assert_eq!(bins, FeatureBins::Number { cuts: sketch.cuts(255) });
    }

    #[test]
    fn a_value_equal_to_a_cut_belongs_below_it_whichever_way_it_is_encoded() {
        let cuts: Vec<f64> = (0..254).map(f64::from).collect();
        let values: Vec<f64> = cuts.iter().flat_map(|&cut| [cut - 0.5, cut, cut + 0.5]).collect();
        let bins = FeatureBins::Number { cuts: cuts.clone() };
        let mut out = vec![0; values.len()];
        bins.encode(ColumnView::Number(&values), &mut out);
        for (i, (&value, &code)) in values.iter().zip(&out).enumerate() {
            // cuts[c − 1] < value ≤ cuts[c]
            assert_eq!(usize::from(code), i / 3 + usize::from(i % 3 == 2), "{value}");
            assert_eq!(code, FeatureBins::encode_number(&cuts, value), "{value}");
        }
    }

    #[test]
    fn rare_levels_and_unseen_levels_are_other() {
        let levels: Vec<String> = (0..300).map(|i| format!("level{i:03}")).collect();
        let codes: Vec<u32> = (0..300u32).flat_map(|i| std::iter::repeat_n(i, if i < 254 { 2 } else { 1 })).collect();
        let bins = FeatureBins::learn(ColumnView::Category { codes: &codes, levels: &levels }, Seed::new(0), 255);
        assert_eq!(bins.n_codes(), 255);
        let seen = ["level000".to_string(), "level299".into(), "new".into()];
        let mut out = [0; 4];
        let n_other = bins.encode(ColumnView::Category { codes: &[0, 1, 2, MISSING_LEVEL], levels: &seen }, &mut out);
        assert_eq!(out, [0, 254, 254, MISSING_CODE]);
        assert_eq!(n_other, 2);
    }

    proptest! {
        #[test]
        fn codes_follow_the_order_of_values(mut values in prop::collection::vec(-1e6f64..1e6, 1..2000), max_codes in 2usize..=255) {
            let bins = FeatureBins::learn(ColumnView::Number(&values), Seed::new(1), max_codes);
            prop_assert!(bins.n_codes() <= max_codes);
            let FeatureBins::Number { cuts } = &bins else { unreachable!() };
            prop_assert!(cuts.windows(2).all(|w| w[0] < w[1]));
            values.sort_by(f64::total_cmp);
            let mut out = vec![0; values.len()];
            bins.encode(ColumnView::Number(&values), &mut out);
            prop_assert!(out.windows(2).all(|w| w[0] <= w[1]));
            for (&value, &code) in values.iter().zip(&out) {
                prop_assert_eq!(code, FeatureBins::encode_number(cuts, value));
            }
        }
    }
}
