//! Rows as records: a row's codes beside what it contributes.
//!
//! A histogram reads, row by row, the codes of all features and the row's contribution. Deep
//! in a tree its rows are scattered and every cache line costs more than the additions; so
//! both parts stand in one aligned record, one line per row for up to 16 (32 bytes with boosting's
//! 16-byte rows) or 48 features (64 bytes). Wider tables keep them apart.
//! What must not live here: sums.

use rayon::prelude::*;

use crate::matrix::CodeMatrix;

/// Rows handled together: their codes of all features stay in the first-level cache.
const BLOCK_ROWS: usize = 512;

/// A row: codes of up to P features, padded, and its contribution.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Record<R, const P: usize> {
    /// Codes by feature; those beyond the last feature mean nothing.
    pub codes: [u8; P],
    /// What the row contributes.
    pub row: R,
}

/// Rows as records, in a form that fits the number of features.
#[derive(Clone, Debug)]
pub enum Records<R> {
    /// Up to 16 features.
    Narrow(Vec<Record<R, 16>>),
    /// Up to 48 features.
    Middle(Vec<Record<R, 48>>),
    /// Any number of features: codes row after row, contributions apart.
    Wide {
        /// p codes a row.
        codes: Vec<u8>,
        /// Number of features p.
        n_features: usize,
        /// What each row contributes.
        rows: Vec<R>,
    },
}

impl<R: Copy + Send + Sync> Records<R> {
    /// Records of a matrix' rows, each contributing what `rows` says.
    ///
    /// # Panics
    /// When `rows` and the matrix differ in length (a bug of the caller).
    pub fn new(matrix: &CodeMatrix, rows: Vec<R>) -> Self {
        assert_eq!(matrix.n_rows(), rows.len(), "one contribution per row");
        match matrix.n_features() {
            0..=16 => Records::Narrow(narrow(matrix, &rows)),
            17..=48 => Records::Middle(narrow(matrix, &rows)),
            p => Records::Wide { codes: row_major(matrix), n_features: p, rows },
        }
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        match self {
            Records::Narrow(records) => records.len(),
            Records::Middle(records) => records.len(),
            Records::Wide { rows, .. } => rows.len(),
        }
    }

    /// What a row contributes.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &R {
        match self {
            Records::Narrow(records) => &records[row].row,
            Records::Middle(records) => &records[row].row,
            Records::Wide { rows, .. } => &rows[row],
        }
    }

    /// Replaces what all rows contribute: `fill` gets the first row of a block and room for
    /// the block.
    pub fn fill_rows(&mut self, empty: R, fill: impl Fn(usize, &mut [R]) + Sync) {
        fn records<R: Copy + Send + Sync, const P: usize>(
            records: &mut [Record<R, P>],
            empty: R,
            fill: impl Fn(usize, &mut [R]) + Sync,
        ) {
            records.par_chunks_mut(BLOCK_ROWS).with_min_len(16).enumerate().for_each(|(block, records)| {
                let mut rows = [empty; BLOCK_ROWS];
                let rows = &mut rows[..records.len()];
                fill(block * BLOCK_ROWS, rows);
                records.iter_mut().zip(rows).for_each(|(record, row)| record.row = *row);
            });
        }
        match self {
            Records::Narrow(own) => records(own, empty, fill),
            Records::Middle(own) => records(own, empty, fill),
            Records::Wide { rows, .. } => rows
                .par_chunks_mut(BLOCK_ROWS)
                .with_min_len(16)
                .enumerate()
                .for_each(|(block, rows)| fill(block * BLOCK_ROWS, rows)),
        }
    }

    /// Copies the rows of `from` at `positions` into this, reusing the memory.
    pub fn take(&mut self, from: &Self, positions: &[u32]) {
        fn copy<T: Copy>(out: &mut Vec<T>, from: &[T], positions: &[u32]) {
            out.clear();
            out.extend(positions.iter().map(|&position| from[position as usize]));
        }
        match (&mut *self, from) {
            (Records::Narrow(own), Records::Narrow(from)) => copy(own, from, positions),
            (Records::Middle(own), Records::Middle(from)) => copy(own, from, positions),
            (_, Records::Narrow(from)) => {
                *self = Records::Narrow(positions.iter().map(|&position| from[position as usize]).collect());
            }
            (_, Records::Middle(from)) => {
                *self = Records::Middle(positions.iter().map(|&position| from[position as usize]).collect());
            }
            (_, Records::Wide { codes, n_features, rows }) => {
                let p = *n_features;
                let mut own = Vec::with_capacity(positions.len() * p);
                positions.iter().for_each(|&position| own.extend_from_slice(&codes[position as usize * p..][..p]));
                let rows = positions.iter().map(|&position| rows[position as usize]).collect();
                *self = Records::Wide { codes: own, n_features: p, rows };
            }
        }
    }
}

fn narrow<R: Copy + Send + Sync, const P: usize>(matrix: &CodeMatrix, rows: &[R]) -> Vec<Record<R, P>> {
    let mut records: Vec<Record<R, P>> = rows.par_iter().map(|&row| Record { codes: [0; P], row }).collect();
    records.par_chunks_mut(BLOCK_ROWS).enumerate().for_each(|(block, records)| {
        for feature in 0..matrix.n_features() {
            let column = &matrix.column(feature)[block * BLOCK_ROWS..];
            records.iter_mut().zip(column).for_each(|(record, &code)| record.codes[feature] = code);
        }
    });
    records
}

fn row_major(matrix: &CodeMatrix) -> Vec<u8> {
    let p = matrix.n_features();
    let mut codes = vec![0; matrix.n_rows() * p];
    codes.par_chunks_mut(BLOCK_ROWS * p).enumerate().for_each(|(block, codes)| {
        for feature in 0..p {
            let column = &matrix.column(feature)[block * BLOCK_ROWS..];
            codes[feature..].iter_mut().step_by(p).zip(column).for_each(|(out, &code)| *out = code);
        }
    });
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::columns::Columns;

    fn codes_of(records: &Records<u64>, row: usize, p: usize) -> Vec<u8> {
        match records {
            Records::Narrow(records) => records[row].codes[..p].to_vec(),
            Records::Middle(records) => records[row].codes[..p].to_vec(),
            Records::Wide { codes, .. } => codes[row * p..][..p].to_vec(),
        }
    }

    #[test]
    fn every_width_keeps_codes_and_contributions_together() {
        for p in [1, 16, 17, 48, 49, 100] {
            let n = 1300usize;
            let code = |row: usize, feature: usize| (row * 7 + feature * 31) as u8;
            let x = Columns::ordered((0..p).map(|f| (0..n).map(|i| code(i, f)).collect()).collect());
            let matrix = CodeMatrix::gather(&x, &(0..n as u32).collect::<Vec<_>>());
            let mut records = Records::new(&matrix, vec![0; n]);
            records.fill_rows(0, |first, rows| {
                rows.iter_mut().enumerate().for_each(|(i, row)| *row = (first + i) as u64 * 3);
            });
            let whole = |row: usize| (0..p).map(|f| code(row, f)).collect::<Vec<u8>>();
            assert!((0..n).all(|i| codes_of(&records, i, p) == whole(i) && *records.row(i) == i as u64 * 3));
            let mut part = Records::new(&CodeMatrix::default(), Vec::new());
            for positions in [&[1299u32, 5, 5][..], &[0, 1, 2, 700]] {
                part.take(&records, positions);
                assert_eq!(part.n_rows(), positions.len());
                for (i, &position) in positions.iter().enumerate() {
                    assert_eq!(codes_of(&part, i, p), whole(position as usize));
                    assert_eq!(*part.row(i), u64::from(position) * 3);
                }
            }
        }
    }
}
