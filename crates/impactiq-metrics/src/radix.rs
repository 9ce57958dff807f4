//! Sorting rows by score: a stable radix sort on the bits of the numbers.
//!
//! Linear in the number of rows, the same order on every machine and with any number of
//! threads. Nothing here knows what the scores mean.

/// Bits per digit; 2,048 counters stay in the first-level cache.
const DIGIT_BITS: u32 = 11;
const N_BUCKETS: usize = 1 << DIGIT_BITS;
const N_DIGITS: usize = 64usize.div_ceil(DIGIT_BITS as usize);

/// Maps a number to bits whose unsigned order is the numbers' order; −0 and 0 are equal.
#[inline]
pub(crate) fn ordered_bits(value: f64) -> u64 {
    // Adding 0 turns −0 into 0.
    let bits = (value + 0.0).to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | (1 << 63))
}

/// The order of `values` from small to large, equal ones in their given order, with the
/// sorted bits. At most `u32::MAX` values, none NaN.
pub(crate) fn ascending(values: &[f64]) -> (Vec<u64>, Vec<u32>) {
    let mut keys: Vec<u64> = values.iter().map(|&v| ordered_bits(v)).collect();
    let mut rows: Vec<u32> = (0..values.len() as u32).collect();
    let counts = digit_counts(&keys);
    let mut spare_keys = vec![0u64; keys.len()];
    let mut spare_rows = vec![0u32; rows.len()];
    for (digit, counts) in counts.chunks_exact(N_BUCKETS).enumerate() {
        if counts.iter().any(|&c| c as usize == keys.len()) {
            continue; // every key has the same digit
        }
        let mut next = vec![0u32; N_BUCKETS];
        let mut sum = 0;
        for (place, &count) in next.iter_mut().zip(counts) {
            *place = sum;
            sum += count;
        }
        let shift = digit as u32 * DIGIT_BITS;
        for (&key, &row) in keys.iter().zip(&rows) {
            let place = &mut next[(key >> shift) as usize & (N_BUCKETS - 1)];
            spare_keys[*place as usize] = key;
            spare_rows[*place as usize] = row;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut spare_keys);
        std::mem::swap(&mut rows, &mut spare_rows);
    }
    (keys, rows)
}

fn digit_counts(keys: &[u64]) -> Vec<u32> {
    let mut counts = vec![0u32; N_BUCKETS * N_DIGITS];
    for &key in keys {
        for digit in 0..N_DIGITS {
            counts[digit * N_BUCKETS + ((key >> (digit as u32 * DIGIT_BITS)) as usize & (N_BUCKETS - 1))] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_stable_comparison_sort(
            values in prop::collection::vec(prop_oneof![any::<i8>().prop_map(f64::from), prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL], 0..200)
        ) {
            let (keys, rows) = ascending(&values);
            let mut expected: Vec<u32> = (0..values.len() as u32).collect();
            expected.sort_by(|&a, &b| values[a as usize].partial_cmp(&values[b as usize]).unwrap());
            prop_assert_eq!(&rows, &expected);
            prop_assert!(keys.windows(2).all(|k| k[0] <= k[1]));
        }
    }

    #[test]
    fn negative_zero_equals_zero_and_signs_are_ordered() {
        assert_eq!(ordered_bits(-0.0), ordered_bits(0.0));
        assert!(ordered_bits(-1.0) < ordered_bits(-0.5));
        assert!(ordered_bits(-0.5) < ordered_bits(0.0) && ordered_bits(0.0) < ordered_bits(1e-300));
    }
}
