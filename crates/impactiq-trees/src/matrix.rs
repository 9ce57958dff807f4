//! The training rows as dense bin codes, row after row and column after column.
//!
//! A histogram pass touches every feature of a row at once: row-major, a row costs one or
//! two cache lines instead of p of them. A partition looks at one feature of many
//! scattered rows: column-major, 64 rows share a line. Each form is 1 byte per cell, n × p; both together
//! are still a small part of the raw numbers. Numbers never live here, only codes.

use impactiq_data::{BinColumns, FeatureKind, MISSING_CODE};
use rayon::prelude::*;

use crate::error::TreesError;

/// Rows transposed together: their codes of all features stay in the first-level cache.
const BLOCK_ROWS: usize = 1024;

/// What trees know about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// How its codes may be split.
    pub kind: FeatureKind,
    /// One more than the largest value code, 1 to 255.
    pub n_codes: usize,
}

/// The features of a set of columns.
///
/// # Errors
/// [`TreesError::NoFeatures`]; [`TreesError::Length`] when a column is short.
pub fn features(x: &dyn BinColumns) -> Result<Vec<Feature>, TreesError> {
    if x.n_features() == 0 {
        return Err(TreesError::NoFeatures);
    }
    (0..x.n_features())
        .map(|f| {
            let found = x.codes(f).len();
            if found != x.n_rows() {
                return Err(TreesError::Length { what: "feature codes", expected: x.n_rows(), found });
            }
            let n_codes = x.n_codes(f).clamp(1, MISSING_CODE as usize);
            Ok(Feature { kind: x.kind(f), n_codes })
        })
        .collect()
}

/// Bin codes of n rows × p features.
#[derive(Clone, Debug, Default)]
pub struct CodeMatrix {
    codes: Vec<u8>,
    columns: Vec<u8>,
    n_rows: usize,
    n_features: usize,
}

impl CodeMatrix {
    /// Copies `rows` of the columns, in that order.
    ///
    /// # Panics
    /// When a row is out of range (a bug of the caller, who checks its task first).
    pub fn gather(x: &dyn BinColumns, rows: &[u32]) -> Self {
        let n_features = x.n_features();
        let columns: Vec<&[u8]> = (0..n_features).map(|f| x.codes(f)).collect();
        let mut codes = vec![0u8; rows.len() * n_features];
        codes.par_chunks_mut(BLOCK_ROWS * n_features).zip(rows.par_chunks(BLOCK_ROWS)).for_each(|(block, rows)| {
            for (f, column) in columns.iter().enumerate() {
                for (out, &row) in block[f..].iter_mut().step_by(n_features).zip(rows) {
                    *out = column[row as usize];
                }
            }
        });
        let mut own = vec![0u8; rows.len() * n_features];
        own.par_chunks_mut(rows.len().max(1)).zip(&columns).for_each(|(own, column)| {
            for (own, &row) in own.iter_mut().zip(rows) {
                *own = column[row as usize];
            }
        });
        CodeMatrix { codes, columns: own, n_rows: rows.len(), n_features }
    }

    /// Copies the rows at `positions` of another matrix into this one, reusing its memory.
    pub fn take(&mut self, from: &CodeMatrix, positions: &[u32]) {
        let p = from.n_features;
        self.n_features = p;
        self.n_rows = positions.len();
        self.codes.resize(positions.len() * p, 0);
        self.codes.par_chunks_mut(BLOCK_ROWS * p).zip(positions.par_chunks(BLOCK_ROWS)).for_each(
            |(block, positions)| {
                for (out, &position) in block.chunks_exact_mut(p).zip(positions) {
                    copy_codes(out, from.row(position as usize));
                }
            },
        );
        self.columns.resize(positions.len() * p, 0);
        self.columns.par_chunks_mut(positions.len().max(1)).enumerate().for_each(|(f, out)| {
            let column = from.column(f);
            for (out, &position) in out.iter_mut().zip(positions) {
                *out = column[position as usize];
            }
        });
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// All codes, row after row.
    #[inline(always)]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The codes of one feature, n of them.
    #[inline(always)]
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature * self.n_rows..][..self.n_rows]
    }

    /// The codes of one row, p of them.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[u8] {
        &self.codes[row * self.n_features..][..self.n_features]
    }
}

/// Copies a row. In steps of four and one: a call to the library's copy would cost more than
/// the dozen bytes of a typical row.
#[inline(always)]
fn copy_codes(out: &mut [u8], row: &[u8]) {
    let (mut words, mut from) = (out.chunks_exact_mut(4), row.chunks_exact(4));
    for (out, word) in (&mut words).zip(&mut from) {
        out.copy_from_slice(word);
    }
    for (out, code) in words.into_remainder().iter_mut().zip(from.remainder()) {
        *out = *code;
    }
}

#[cfg(test)]
pub(crate) mod columns {
    //! Columns of codes in memory, for tests.

    use super::*;

    /// Columns given directly.
    #[derive(Clone, Debug)]
    pub(crate) struct Columns {
        pub(crate) codes: Vec<Vec<u8>>,
        pub(crate) kinds: Vec<FeatureKind>,
    }

    impl Columns {
        /// Ordered features.
        pub(crate) fn ordered(codes: Vec<Vec<u8>>) -> Self {
            let kinds = vec![FeatureKind::Ordered; codes.len()];
            Columns { codes, kinds }
        }
    }

    impl BinColumns for Columns {
        fn n_rows(&self) -> usize {
            self.codes.first().map_or(0, Vec::len)
        }
        fn n_features(&self) -> usize {
            self.codes.len()
        }
        fn kind(&self, feature: usize) -> FeatureKind {
            self.kinds[feature]
        }
        fn n_codes(&self, feature: usize) -> usize {
            self.codes[feature].iter().filter(|&&c| c != MISSING_CODE).max().map_or(1, |&c| c as usize + 1)
        }
        fn codes(&self, feature: usize) -> &[u8] {
            &self.codes[feature]
        }
    }

    #[test]
    fn gathered_rows_keep_their_order_and_their_codes() {
        let x = Columns::ordered(vec![vec![0, 1, 2, 3], vec![9, 8, 7, MISSING_CODE]]);
        let matrix = CodeMatrix::gather(&x, &[3, 0, 3]);
        assert_eq!(matrix.codes(), [3, MISSING_CODE, 0, 9, 3, MISSING_CODE]);
        assert_eq!(matrix.column(1), [MISSING_CODE, 9, MISSING_CODE]);
        let mut part = CodeMatrix::default();
        part.take(&matrix, &[1]);
        assert_eq!((part.n_rows(), part.row(0), part.column(1)), (1, &[0, 9][..], &[9][..]));
    }

    #[test]
    fn no_features_is_an_error() {
        assert_eq!(features(&Columns::ordered(vec![])), Err(TreesError::NoFeatures));
    }
}
