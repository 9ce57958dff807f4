//! Who is in which fold and who is held out: computed from counter hashes.
//!
//! Membership is exact per stratum (arm, and a rare binary outcome): the rows of a
//! stratum, ordered by the hash of (seed, row or cluster), are dealt out by quantile. It
//! depends on row numbers, not on threads, chunks or file formats, and never splits a
//! cluster. Clusters are dealt out whole, so strata are then only balanced by chance.

use crate::error::DataError;
use crate::seed::{Seed, Stream};

/// The fold of every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    n_folds: usize,
    of_row: Vec<u8>,
}

/// What keeps rows together and what must be balanced over folds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Split<'a> {
    /// A stable number per row (its number in the data), n of them.
    pub row_ids: &'a [u64],
    /// A stratum per row, balanced over folds; `None`: one stratum.
    pub strata: Option<&'a [u32]>,
    /// A cluster per row, never split; `None`: every row for itself.
    pub clusters: Option<&'a [u32]>,
}

impl Folds {
    /// Deals the rows out to `n_folds` (2 to 255) folds.
    ///
    /// # Errors
    /// [`DataError::BadSetting`] for a number of folds out of range,
    /// [`DataError::TooFewRows`] when there are fewer rows (or clusters) than folds.
    pub fn assign(split: Split<'_>, n_folds: usize, seed: Seed) -> Result<Self, DataError> {
        if !(2..=255).contains(&n_folds) {
            return Err(DataError::BadSetting {
                what: "number of folds",
                value: n_folds.to_string(),
                allowed: "it must be between 2 and 255",
            });
        }
        let shares: Vec<f64> = (1..n_folds).map(|fold| fold as f64 / n_folds as f64).collect();
        let of_row = deal(split, &shares, seed.stream(Stream::Folds));
        let folds = Folds { n_folds, of_row };
        if let Some((fold, &n)) = folds.counts().iter().enumerate().find(|&(_, &n)| n == 0) {
            return Err(DataError::TooFewRows { what: format!("fold {}", fold + 1), found: n, needed: 1 });
        }
        Ok(folds)
    }

    /// Folds given by the user: distinct values in order become folds 0, 1, ….
    ///
    /// # Errors
    /// [`DataError::BadSetting`] for fewer than 2 or more than 255 distinct values.
    pub fn fixed(values: &[u32]) -> Result<Self, DataError> {
        let mut distinct: Vec<u32> = values.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if !(2..=255).contains(&distinct.len()) {
            return Err(DataError::BadSetting {
                what: "number of distinct values of the fold column",
                value: distinct.len().to_string(),
                allowed: "it must be between 2 and 255",
            });
        }
        let of_row = values.iter().map(|v| distinct.binary_search(v).unwrap_or_default() as u8).collect();
        Ok(Folds { n_folds: distinct.len(), of_row })
    }

    /// Number of folds K.
    pub fn n_folds(&self) -> usize {
        self.n_folds
    }

    /// The fold of every row, 0 to K-1.
    pub fn of_row(&self) -> &[u8] {
        &self.of_row
    }

    /// Rows per fold.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.n_folds];
        self.of_row.iter().for_each(|&fold| counts[fold as usize] += 1);
        counts
    }
}

/// Flags the held-out rows: `fraction` (0 to less than 1) of every stratum, whole clusters.
///
/// # Errors
/// [`DataError::BadSetting`] for a fraction outside [0, 1).
pub fn holdout(split: Split<'_>, fraction: f64, seed: Seed) -> Result<Vec<bool>, DataError> {
    if !(0.0..1.0).contains(&fraction) {
        return Err(DataError::BadSetting {
            what: "split.holdout",
            value: fraction.to_string(),
            allowed: "it must be at least 0 and less than 1",
        });
    }
    if fraction == 0.0 {
        return Ok(vec![false; split.row_ids.len()]);
    }
    Ok(deal(split, &[fraction], seed.stream(Stream::Holdout)).into_iter().map(|part| part == 0).collect())
}

/// Deals rows into `shares.len() + 1` parts by quantiles of their hash within each stratum.
fn deal(split: Split<'_>, shares: &[f64], seed: Seed) -> Vec<u8> {
    match split.clusters {
        None => deal_rows(split.row_ids, split.strata, shares, seed),
        Some(clusters) => {
            let mut distinct: Vec<u64> = clusters.iter().map(|&c| u64::from(c)).collect();
            distinct.sort_unstable();
            distinct.dedup();
            let parts = deal_rows(&distinct, None, shares, seed);
            clusters.iter().map(|&c| parts[distinct.binary_search(&u64::from(c)).unwrap_or_default()]).collect()
        }
    }
}

fn deal_rows(ids: &[u64], strata: Option<&[u32]>, shares: &[f64], seed: Seed) -> Vec<u8> {
    let stratum = |row: usize| strata.map_or(0, |s| s[row]);
    let n_strata = strata.map_or(1, |s| s.iter().max().map_or(0, |&m| m as usize + 1));
    let mut hashes: Vec<Vec<u64>> = vec![Vec::new(); n_strata];
    for (row, &id) in ids.iter().enumerate() {
        hashes[stratum(row) as usize].push(seed.hash(id));
    }
    // Per stratum: the largest hash of each part. A part of k rows ends at the k-th smallest.
    let ends: Vec<Vec<Option<u64>>> = hashes
        .iter_mut()
        .map(|hashes| {
            shares
                .iter()
                .map(|share| {
                    let k = (share * hashes.len() as f64).round() as usize;
                    (k > 0).then(|| *hashes.select_nth_unstable(k - 1).1)
                })
                .collect()
        })
        .collect();
    ids.iter()
        .enumerate()
        .map(|(row, &id)| {
            let hash = seed.hash(id);
            let ends = &ends[stratum(row) as usize];
            ends.iter().position(|end| end.is_some_and(|end| hash <= end)).unwrap_or(ends.len()) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_are_balanced_exactly() {
        let ids: Vec<u64> = (0..1003).collect();
        let strata: Vec<u32> = ids.iter().map(|&i| u32::from(i % 7 == 0)).collect();
        let split = Split { row_ids: &ids, strata: Some(&strata), clusters: None };
        let folds = Folds::assign(split, 5, Seed::new(1)).unwrap();
        for s in 0..2 {
            let mut counts = [0usize; 5];
            (0..1003).filter(|&i| strata[i] == s).for_each(|i| counts[folds.of_row()[i] as usize] += 1);
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
        let held = holdout(split, 0.3, Seed::new(1)).unwrap();
        let n_rare = (0..1003).filter(|&i| strata[i] == 1 && held[i]).count();
        assert_eq!(n_rare, (144.0f64 * 0.3).round() as usize);
    }

    #[test]
    fn clusters_stay_whole_and_order_does_not_matter() {
        let ids: Vec<u64> = (0..500).collect();
        let clusters: Vec<u32> = ids.iter().map(|&i| (i / 10) as u32).collect();
        let split = Split { row_ids: &ids, strata: None, clusters: Some(&clusters) };
        let folds = Folds::assign(split, 5, Seed::new(9)).unwrap();
        assert!((0..500).all(|i| folds.of_row()[i] == folds.of_row()[i / 10 * 10]));
        let back: Vec<u64> = ids.iter().rev().copied().collect();
        let a = Folds::assign(Split { row_ids: &ids, ..Split::default() }, 4, Seed::new(2)).unwrap();
        let b = Folds::assign(Split { row_ids: &back, ..Split::default() }, 4, Seed::new(2)).unwrap();
        assert!((0..500).all(|i| a.of_row()[i] == b.of_row()[499 - i]));
    }

    #[test]
    fn fixed_folds_and_bad_settings() {
        let folds = Folds::fixed(&[7, 3, 7, 9]).unwrap();
        assert_eq!((folds.n_folds(), folds.of_row()), (3, &[1, 0, 1, 2][..]));
        assert!(Folds::fixed(&[1, 1]).is_err());
        assert!(Folds::assign(Split { row_ids: &[1], ..Split::default() }, 2, Seed::new(0)).is_err());
        assert!(holdout(Split { row_ids: &[1], ..Split::default() }, 1.0, Seed::new(0)).is_err());
    }
}
