//! The training rows' bin codes, column after column.
//!
//! Columns of the data are gathered once for the rows a tree sees. A partition looks at one
//! feature of many scattered rows: column-major, 64 rows share a cache line. Histograms read
//! rows, which is what records are for. Numbers never live here, only codes.

use impactiq_data::{BinColumns, FeatureKind, MISSING_CODE};
use rayon::prelude::*;

use crate::error::TreesError;

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

/// Bin codes of n rows × p features, column after column.
#[derive(Clone, Debug, Default)]
pub struct CodeMatrix {
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
        let mut matrix = CodeMatrix::default();
        let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
        matrix.fill(&columns, rows);
        matrix
    }

    /// Copies the rows at `positions` of another matrix into this one, reusing its memory.
    pub fn take(&mut self, from: &CodeMatrix, positions: &[u32]) {
        let columns: Vec<&[u8]> = (0..from.n_features).map(|f| from.column(f)).collect();
        self.fill(&columns, positions);
    }

    fn fill(&mut self, columns: &[&[u8]], rows: &[u32]) {
        (self.n_rows, self.n_features) = (rows.len(), columns.len());
        self.columns.resize(rows.len() * columns.len(), 0);
        self.columns.par_chunks_mut(rows.len().max(1)).zip(columns).for_each(|(out, column)| {
            for (out, &row) in out.iter_mut().zip(rows) {
                *out = column[row as usize];
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

    /// The codes of one feature, n of them.
    #[inline(always)]
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature * self.n_rows..][..self.n_rows]
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
        assert_eq!((matrix.column(0), matrix.column(1)), (&[3, 0, 3][..], &[MISSING_CODE, 9, MISSING_CODE][..]));
        let mut part = CodeMatrix::default();
        part.take(&matrix, &[1]);
        assert_eq!((part.n_rows(), part.column(0), part.column(1)), (1, &[0][..], &[9][..]));
    }

    #[test]
    fn no_features_is_an_error() {
        assert_eq!(features(&Columns::ordered(vec![])), Err(TreesError::NoFeatures));
    }
}
