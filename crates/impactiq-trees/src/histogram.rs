//! Histograms: the sums of a node's rows by feature and code.
//!
//! The kernel walks rows, not columns: a row's cell values stay in registers while they
//! are added to one cell per feature, which hides the latency of the cells that repeat
//! (a skewed feature hits the same cell nearly always). Cells are compact and flushed into wide [`Stats`]
//! every [`CELL_ROWS`] rows. Large nodes are cut into pieces whose number depends on the
//! node's size only, summed in order: the same bytes for any number of threads.
//! What must not live here: gains and rules.

use std::ops::Range;

use rayon::prelude::*;

use crate::criterion::{CELL_ROWS, Criterion};
use crate::kernel::prefetch;
use crate::matrix::Feature;
use crate::records::{Record, Records};
use crate::stats::Stats;

/// Cells reserved per feature in the kernel: one per code and a cache line or two of
/// padding, so that the same code of different features falls into different cache sets.
/// Any `u8` is a valid index, which spares the bounds check.
pub const SLOT_CELLS: usize = 260;

/// Pieces a large node is cut into at most, and rows per piece at least.
const MAX_PIECES: usize = 16;
const PIECE_ROWS: usize = 1 << 16;

/// How many rows ahead scattered rows are asked for.
const ROWS_AHEAD: usize = 32;

/// Where each feature's sums stand in a histogram: a sum per value code, then one for
/// missing.
#[derive(Clone, Debug)]
pub struct Layout {
    features: Vec<Feature>,
    offsets: Vec<usize>,
}

impl Layout {
    /// The layout of some features.
    pub fn new(features: Vec<Feature>) -> Self {
        let mut offsets = vec![0];
        for feature in &features {
            offsets.push(offsets[offsets.len() - 1] + feature.n_codes + 1);
        }
        Layout { features, offsets }
    }

    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.features.len()
    }

    /// A feature.
    pub fn feature(&self, feature: usize) -> Feature {
        self.features[feature]
    }

    /// Sums in a histogram.
    pub fn n_cells(&self) -> usize {
        self.offsets[self.features.len()]
    }

    /// Where the sums of a feature stand; the last one is missing.
    pub fn range(&self, feature: usize) -> Range<usize> {
        self.offsets[feature]..self.offsets[feature + 1]
    }
}

/// Some rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Rows `first .. first + n`.
    Run {
        /// First row.
        first: usize,
        /// Number of rows.
        n: usize,
    },
    /// The rows at these positions.
    Positions(&'a [u32]),
}

impl<'a> Selection<'a> {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            Selection::Run { n, .. } => *n,
            Selection::Positions(positions) => positions.len(),
        }
    }

    /// Visits the rows in order; scattered rows are asked for ahead.
    #[inline(always)]
    fn for_each(&self, ahead: impl Fn(usize), mut visit: impl FnMut(usize)) {
        match *self {
            Selection::Run { first, n } => (first..first + n).for_each(visit),
            Selection::Positions(positions) => {
                for (i, &position) in positions.iter().enumerate() {
                    if let Some(&next) = positions.get(i + ROWS_AHEAD) {
                        ahead(next as usize);
                    }
                    visit(position as usize);
                }
            }
        }
    }

    fn part(&self, range: Range<usize>) -> Selection<'a> {
        match self {
            Selection::Run { first, .. } => Selection::Run { first: first + range.start, n: range.len() },
            Selection::Positions(positions) => Selection::Positions(&positions[range]),
        }
    }
}

/// Some records: what a histogram is made from.
#[derive(Debug)]
pub struct Rows<'a, R> {
    /// All of them.
    pub records: &'a Records<R>,
    /// Which of them.
    pub selection: Selection<'a>,
}

impl<R> Clone for Rows<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Rows<'_, R> {}

impl<R> Rows<'_, R> {
    fn part(&self, range: Range<usize>) -> Self {
        Rows { records: self.records, selection: self.selection.part(range) }
    }
}

/// The compact cells of a kernel run, reused from node to node.
#[derive(Debug)]
pub struct Scratch<Cell> {
    slots: Vec<[Cell; SLOT_CELLS]>,
    seen: Vec<Seen>,
}

/// Which codes of a feature some rows have: bit c of the 256 is code c.
pub type Seen = [u64; 4];

impl<Cell> Default for Scratch<Cell> {
    fn default() -> Self {
        Scratch { slots: Vec::new(), seen: Vec::new() }
    }
}

/// Sums `rows` by feature and code into `out` (overwritten); features outside `features`
/// (ascending) stay [`Stats::ZERO`].
pub fn build<C: Criterion>(
    criterion: &C,
    layout: &Layout,
    features: &[u32],
    rows: Rows<'_, C::Row>,
    scratch: &mut Scratch<C::Cell>,
    out: &mut [C::Stats],
) {
    let n = rows.selection.n_rows();
    out.fill(C::Stats::ZERO);
    let n_pieces = (n / PIECE_ROWS).clamp(1, MAX_PIECES);
    if n_pieces == 1 {
        build_piece(criterion, layout, features, rows, scratch, out);
        return;
    }
    let piece_sums = |piece: usize, scratch: &mut Scratch<C::Cell>| {
        let mut sums = vec![C::Stats::ZERO; out_len(layout)];
        let range = n * piece / n_pieces..n * (piece + 1) / n_pieces;
        build_piece(criterion, layout, features, rows.part(range), scratch, &mut sums);
        sums
    };
    let pieces: Vec<Vec<C::Stats>> =
        (0..n_pieces).into_par_iter().map_init(Scratch::default, |scratch, piece| piece_sums(piece, scratch)).collect();
    for piece in &pieces {
        for (out, sum) in out.iter_mut().zip(piece) {
            *out += *sum;
        }
    }
}

fn out_len(layout: &Layout) -> usize {
    layout.n_cells()
}

fn build_piece<C: Criterion>(
    criterion: &C,
    layout: &Layout,
    features: &[u32],
    rows: Rows<'_, C::Row>,
    scratch: &mut Scratch<C::Cell>,
    out: &mut [C::Stats],
) {
    let n = rows.selection.n_rows();
    let mut start = 0;
    while start < n {
        let end = n.min(start + CELL_ROWS);
        let slots = observe::<C>(rows.part(start..end), features, scratch);
        for (slot, &feature) in slots.iter_mut().zip(features) {
            flush_feature(criterion, slot, &mut out[layout.range(feature as usize)]);
        }
        start = end;
    }
}

/// Moves the cells of a feature into its sums and empties them. The sums are n_codes
/// values and missing, whose code is the last of the 256.
fn flush_feature<C: Criterion>(criterion: &C, slot: &mut [C::Cell; SLOT_CELLS], out: &mut [C::Stats]) {
    let n_codes = out.len() - 1;
    for (sum, cell) in out.iter_mut().zip(&mut slot[..n_codes]) {
        criterion.flush(cell, sum);
        *cell = C::EMPTY;
    }
    criterion.flush(&slot[255], &mut out[n_codes]);
    slot[255] = C::EMPTY;
}

/// Adds at most [`CELL_ROWS`] rows to empty cells, one slot per feature of `features`
/// (ascending). Whoever reads the cells empties them.
pub fn observe<'s, C: Criterion>(
    rows: Rows<'_, C::Row>,
    features: &[u32],
    scratch: &'s mut Scratch<C::Cell>,
) -> &'s mut [[C::Cell; SLOT_CELLS]] {
    debug_assert!(rows.selection.n_rows() <= CELL_ROWS, "cells overflow");
    let slots = &mut scratch.slots;
    slots.resize(features.len(), [C::EMPTY; SLOT_CELLS]);
    match rows.records {
        Records::Narrow(records) => observe_records::<C, 16>(records, rows.selection, features, slots),
        Records::Middle(records) => observe_records::<C, 48>(records, rows.selection, features, slots),
        Records::Wide { codes, n_features, rows: all } => {
            let observe = |position: usize, slots: &mut [[C::Cell; SLOT_CELLS]]| {
                observe_row::<C>(&codes[position * n_features..], all[position], features, slots);
            };
            let ahead = |position: usize| {
                prefetch(codes, position * n_features);
                prefetch(all, position);
            };
            rows.selection.for_each(ahead, |position| observe(position, slots));
        }
    }
    slots
}

/// As [`observe`], and notes the codes seen: with fewer rows than codes most cells stay empty, and
/// looking at them would cost more than the rows.
pub fn observe_few<'s, C: Criterion>(
    rows: Rows<'_, C::Row>,
    features: &[u32],
    scratch: &'s mut Scratch<C::Cell>,
) -> (&'s mut [[C::Cell; SLOT_CELLS]], &'s [Seen]) {
    let Scratch { slots, seen } = scratch;
    slots.resize(features.len(), [C::EMPTY; SLOT_CELLS]);
    seen.clear();
    seen.resize(features.len(), [0; 4]);
    match rows.records {
        Records::Narrow(records) => observe_few_records::<C, 16>(records, rows.selection, features, (slots, seen)),
        Records::Middle(records) => observe_few_records::<C, 48>(records, rows.selection, features, (slots, seen)),
        Records::Wide { codes, n_features, rows: all } => {
            let ahead = |position: usize| {
                prefetch(codes, position * n_features);
                prefetch(all, position);
            };
            rows.selection.for_each(ahead, |position| {
                observe_few_row::<C>(&codes[position * n_features..], all[position], features, (slots, seen));
            });
        }
    }
    (slots, seen)
}

fn observe_few_records<C: Criterion, const P: usize>(
    records: &[Record<C::Row, P>],
    selection: Selection<'_>,
    features: &[u32],
    (slots, seen): (&mut [[C::Cell; SLOT_CELLS]], &mut [Seen]),
) {
    let all = features.iter().enumerate().all(|(i, &feature)| i == feature as usize);
    let ahead = |position: usize| prefetch(records, position);
    if all {
        selection.for_each(ahead, |position| {
            let Record { codes, row } = &records[position];
            let row = *row;
            for ((slot, seen), &code) in slots.iter_mut().zip(&mut *seen).zip(codes) {
                C::observe(&row, &mut slot[usize::from(code)]);
                seen[usize::from(code >> 6)] |= 1 << (code & 63);
            }
        });
    } else {
        selection.for_each(ahead, |position| {
            let Record { codes, row } = &records[position];
            observe_few_row::<C>(codes, *row, features, (slots, seen));
        });
    }
}

#[inline(always)]
fn observe_few_row<C: Criterion>(
    codes: &[u8],
    row: C::Row,
    features: &[u32],
    (slots, seen): (&mut [[C::Cell; SLOT_CELLS]], &mut [Seen]),
) {
    for ((slot, seen), &feature) in slots.iter_mut().zip(seen).zip(features) {
        let code = codes[feature as usize];
        C::observe(&row, &mut slot[usize::from(code)]);
        seen[usize::from(code >> 6)] |= 1 << (code & 63);
    }
}

fn observe_records<C: Criterion, const P: usize>(
    records: &[Record<C::Row, P>],
    selection: Selection<'_>,
    features: &[u32],
    slots: &mut [[C::Cell; SLOT_CELLS]],
) {
    let all = features.iter().enumerate().all(|(i, &feature)| i == feature as usize);
    let ahead = |position: usize| prefetch(records, position);
    if all {
        // The first features in order: no list needed, and the usual case.
        selection.for_each(ahead, |position| {
            // A copy stays in registers; behind a reference it is read again for every feature.
            let Record { codes, row } = &records[position];
            let row = *row;
            for (slot, &code) in slots.iter_mut().zip(codes) {
                C::observe(&row, &mut slot[code as usize]);
            }
        });
    } else {
        selection.for_each(ahead, |position| {
            let Record { codes, row } = &records[position];
            observe_row::<C>(codes, *row, features, slots);
        });
    }
}

#[inline(always)]
fn observe_row<C: Criterion>(codes: &[u8], row: C::Row, features: &[u32], slots: &mut [[C::Cell; SLOT_CELLS]]) {
    for (slot, &feature) in slots.iter_mut().zip(features) {
        C::observe(&row, &mut slot[codes[feature as usize] as usize]);
    }
}

/// Turns a parent's histogram into the other child's: `parent − child`, cell by cell.
pub fn subtract<S: Stats>(parent: &mut [S], child: &[S]) {
    for (parent, child) in parent.iter_mut().zip(child) {
        *parent = parent.without(child);
    }
}

/// The sums of all rows, from one feature's cells.
pub fn total<S: Stats>(cells: &[S]) -> S {
    let mut total = S::ZERO;
    for cell in cells {
        total += *cell;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::newton::{Grid, Newton};
    use crate::criterion::summarise;
    use crate::matrix::columns::Columns;
    use crate::matrix::{CodeMatrix, features};
    use impactiq_data::{MISSING_CODE, Seed};
    use proptest::prelude::*;

    fn newton(n: usize) -> Newton {
        Newton { l2: 0.0, category_smoothing: 0.0, grid: Grid::new(n, 1.0, 1.0) }
    }

    fn case(n: usize, seed: u64) -> (Columns, Vec<<Newton as Criterion>::Row>, Newton) {
        let seed = Seed::new(seed);
        let codes = (0..3u64)
            .map(|f| {
                (0..n as u64)
                    .map(|i| match seed.child(f).below(i, 7) {
                        6 => MISSING_CODE,
                        code => code as u8,
                    })
                    .collect()
            })
            .collect();
        let newton = newton(n);
        let rows = (0..n as u64).map(|i| newton.grid.row(seed.uniform(i) * 2.0 - 1.0, seed.uniform(!i))).collect();
        (Columns::ordered(codes), rows, newton)
    }

    fn direct(x: &Columns, rows: &[<Newton as Criterion>::Row], newton: &Newton, positions: &[u32]) -> Vec<[f64; 3]> {
        let layout = Layout::new(features(x).unwrap());
        let mut out = Vec::new();
        for f in 0..3 {
            let n_codes = layout.feature(f).n_codes;
            for code in (0..n_codes).map(|c| c as u8).chain([MISSING_CODE]) {
                let of_code = positions.iter().filter(|&&i| x.codes[f][i as usize] == code);
                let s = summarise(newton, of_code.map(|&i| &rows[i as usize]));
                out.push([s.gradient, s.hessian, f64::from(s.n_rows)]);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn a_sibling_by_subtraction_equals_its_direct_sums(n in 2usize..400, seed in 0u64..1000) {
            let (x, rows, newton) = case(n, seed);
            let layout = Layout::new(features(&x).unwrap());
            let all: Vec<u32> = (0..n as u32).collect();
            let records = Records::new(&CodeMatrix::gather(&x, &all), rows.clone());
            let (left, right): (Vec<u32>, Vec<u32>) = all.iter().partition(|&&i| Seed::new(seed).below(u64::from(i), 3) == 0);
            let mut scratch = Scratch::default();
            let mut sums = |selection| {
                let mut out = vec![Stats::ZERO; layout.n_cells()];
                let rows = Rows { records: &records, selection };
                build(&newton, &layout, &[0, 1, 2], rows, &mut scratch, &mut out);
                out
            };
            let mut parent = sums(Selection::Run { first: 0, n });
            let child = sums(Selection::Positions(&left));
            subtract(&mut parent, &child);
            let flat: Vec<[f64; 3]> = parent.iter().map(|s| [s.gradient, s.hessian, f64::from(s.n_rows)]).collect();
            prop_assert_eq!(flat, direct(&x, &rows, &newton, &right));
        }
    }

    #[test]
    fn pieces_and_feature_subsets_change_nothing() {
        let n = 3 * PIECE_ROWS + 17;
        let (x, rows, newton) = case(n, 5);
        let layout = Layout::new(features(&x).unwrap());
        let all: Vec<u32> = (0..n as u32).collect();
        let records = Records::new(&CodeMatrix::gather(&x, &all), rows.clone());
        let rows_of = |selection| Rows { records: &records, selection };
        let mut scratch = Scratch::default();
        let mut whole = vec![Stats::ZERO; layout.n_cells()];
        build(&newton, &layout, &[0, 1, 2], rows_of(Selection::Run { first: 0, n }), &mut scratch, &mut whole);
        let flat: Vec<[f64; 3]> = whole.iter().map(|s| [s.gradient, s.hessian, f64::from(s.n_rows)]).collect();
        assert_eq!(flat, direct(&x, &rows, &newton, &all));
        let mut some = vec![Stats::ZERO; layout.n_cells()];
        build(&newton, &layout, &[0, 2], rows_of(Selection::Positions(&all)), &mut scratch, &mut some);
        assert_eq!(some[layout.range(0)], whole[layout.range(0)]);
        assert_eq!(some[layout.range(2)], whole[layout.range(2)]);
        assert!(some[layout.range(1)].iter().all(|s| s.n_rows == 0));
    }
}
