//! Moves a node's rows so that its left child comes first: stable and branch-free.
//!
//! Stability keeps positions ascending within every node, so reads stay in memory order
//! however deep the tree. Large nodes are partitioned in pieces of fixed size in parallel; the
//! outcome is the same stable order for any number of threads.

use std::ops::Range;

use impactiq_data::MISSING_CODE;
use rayon::prelude::*;

use crate::kernel::prefetch;
use crate::split::Rule;
use crate::tile::Part;

/// Rows per piece of a parallel partition.
const PIECE_ROWS: usize = 1 << 16;

/// How many rows ahead scattered rows are asked for.
const ROWS_AHEAD: usize = 32;

/// Partitions the rows at `range` by a rule on a feature; returns how many went left.
pub fn partition<R: Copy + Send + Sync>(part: &mut Part<R>, range: Range<usize>, feature: u32, rule: &Rule) -> usize {
    match *rule {
        // Compared as in `goes_left`; among the codes plus one missing is 0.
        Rule::AtMost { code: last, missing_left: true } => {
            by(part, range, feature, move |code| code.wrapping_add(1) <= last.min(MISSING_CODE - 1) + 1)
        }
        Rule::AtMost { code: last, missing_left: false } => {
            by(part, range, feature, move |code| code <= last.min(MISSING_CODE - 1))
        }
        Rule::In { .. } => {
            let table = rule.table();
            by(part, range, feature, move |code| table[code as usize])
        }
    }
}

fn by<R: Copy + Send + Sync>(
    part: &mut Part<R>,
    range: Range<usize>,
    feature: u32,
    goes_left: impl Fn(u8) -> bool + Sync,
) -> usize {
    let (matrix, order, scratch) = part.split_borrow();
    let codes = matrix.column(feature as usize);
    let (order, scratch) = (&mut order[range.clone()], &mut scratch[range]);
    if order.len() < 2 * PIECE_ROWS || rayon::current_num_threads() == 1 {
        let n_left = piece(codes, &goes_left, order, scratch);
        let n_right = order.len() - n_left;
        order[n_left..].copy_from_slice(&scratch[..n_right]);
        return n_left;
    }
    in_pieces(codes, &goes_left, order, scratch)
}

/// Moves the left rows to the front of `order` and the right rows to the front of
/// `right`; returns how many went left.
fn piece(codes: &[u8], goes_left: &impl Fn(u8) -> bool, order: &mut [u32], right: &mut [u32]) -> usize {
    let (mut n_left, mut n_right) = (0, 0);
    for i in 0..order.len() {
        // Both sides are written; only one of them advances. `n_left` never passes i.
        let row = order[i];
        if let Some(&ahead) = order.get(i + ROWS_AHEAD) {
            prefetch(codes, ahead as usize);
        }
        let left = usize::from(goes_left(codes[row as usize]));
        order[n_left] = row;
        right[n_right] = row;
        n_left += left;
        n_right += 1 - left;
    }
    n_left
}

fn in_pieces(codes: &[u8], goes_left: &(impl Fn(u8) -> bool + Sync), order: &mut [u32], scratch: &mut [u32]) -> usize {
    let counts: Vec<usize> = order
        .par_chunks_mut(PIECE_ROWS)
        .zip(scratch.par_chunks_mut(PIECE_ROWS))
        .map(|(order, right)| piece(codes, goes_left, order, right))
        .collect();
    // Every piece holds its left rows in `order` and its right rows in `scratch`. The
    // lefts move up within `order`, piece by piece; the rights follow them.
    let mut n_left = 0;
    for (i, &count) in counts.iter().enumerate() {
        order.copy_within(i * PIECE_ROWS..i * PIECE_ROWS + count, n_left);
        n_left += count;
    }
    let mut at = n_left;
    for (right, &count) in scratch.chunks(PIECE_ROWS).zip(&counts) {
        let n_right = right.len() - count;
        order[at..at + n_right].copy_from_slice(&right[..n_right]);
        at += n_right;
    }
    n_left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::CodeMatrix;
    use crate::matrix::columns::Columns;
    use impactiq_data::Seed;
    use proptest::prelude::*;

    fn check(n: usize, seed: u64, threads: usize) {
        let seed = Seed::new(seed);
        let codes: Vec<u8> = (0..n as u64).map(|i| seed.below(i, 9) as u8).collect();
        let all: Vec<u32> = (0..n as u32).collect();
        let matrix = CodeMatrix::gather(&Columns::ordered(vec![vec![0; n], codes.clone()]), &all);
        let mut part = Part::new(matrix, vec![(); n]);
        let range = n / 7..n - n / 9;
        let rule = Rule::AtMost { code: 3, missing_left: false };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let n_left = pool.install(|| partition(&mut part, range.clone(), 1, &rule));
        let (left, right): (Vec<u32>, Vec<u32>) = all[range.clone()].iter().partition(|&&i| codes[i as usize] <= 3);
        assert_eq!(n_left, left.len());
        let mut expected = all[..range.start].to_vec();
        expected.extend(left);
        expected.extend(right);
        expected.extend(&all[range.end..]);
        assert_eq!(part.order(), expected);
    }

    proptest! {
        #[test]
        fn a_partition_is_stable_and_touches_only_its_range(n in 1usize..3000, seed in 0u64..100) {
            check(n, seed, 1);
        }
    }

    #[test]
    fn a_parallel_partition_is_the_same() {
        check(400_000, 3, 1);
        check(400_000, 3, 3);
    }
}
