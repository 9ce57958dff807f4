//! A hash index over keys that stand in a column: four bytes a slot, and no copy of a key.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use arrow::array::{Array, StringArray};

/// A slot without a row.
const FREE: u32 = u32::MAX;
/// The most rows of an index.
pub(super) const MAX_ROWS: usize = 1 << 30;

/// Row numbers by key, in open addressing with at least half of the slots free.
///
/// A standard map would hold a copy of each key and 40 bytes more a row. Its random hash is kept: keys come
/// from outside.
#[derive(Debug)]
pub(super) struct Index {
    slots: Vec<u32>,
    hasher: RandomState,
}

impl Index {
    /// Indexes at most [`MAX_ROWS`] keys, none of them null.
    ///
    /// # Errors
    /// The rows of a key that stands twice.
    pub fn build(keys: &StringArray) -> Result<Self, (usize, usize)> {
        let n_slots = (2 * keys.len()).next_power_of_two().max(2);
        let mut index = Index { slots: vec![FREE; n_slots], hasher: RandomState::new() };
        for row in 0..keys.len() {
            match index.find_slot(keys, keys.value(row)) {
                (slot, None) => index.slots[slot] = row as u32,
                (_, Some(first)) => return Err((first, row)),
            }
        }
        Ok(index)
    }

    /// The row of a key.
    pub fn find(&self, keys: &StringArray, key: &str) -> Option<usize> {
        self.find_slot(keys, key).1
    }

    fn find_slot(&self, keys: &StringArray, key: &str) -> (usize, Option<usize>) {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(key) as usize & mask;
        loop {
            match self.slots[slot] {
                FREE => return (slot, None),
                row if keys.value(row as usize) == key => return (slot, Some(row as usize)),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Memory it takes.
    pub fn n_bytes(&self) -> usize {
        self.slots.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_leads_to_its_row_and_no_other_does() {
        let keys: StringArray = (0..5000).map(|row| Some(format!("key {row}"))).collect();
        let index = Index::build(&keys).unwrap();
        assert!((0..5000).all(|row| index.find(&keys, &format!("key {row}")) == Some(row)));
        assert_eq!(index.find(&keys, "key 5000"), None);
        let empty = StringArray::from(Vec::<&str>::new());
        assert_eq!(Index::build(&empty).unwrap().find(&empty, ""), None);
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_both_rows() {
        let keys = StringArray::from(vec!["a", "b", "c", "b"]);
        assert_eq!(Index::build(&keys).unwrap_err(), (1, 3));
    }
}
