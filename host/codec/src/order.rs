//! The order that sorts digests, which are uniform: their first bytes decide almost always.

use arrow::array::{Array as _, FixedSizeBinaryArray};

use crate::rows::Digest128;

/// Which of `partitions` equal ranges a digest falls into.
pub fn partition_of(digest: &Digest128, partitions: usize) -> usize {
    let [a, b, ..] = *digest;
    (usize::from(u16::from_be_bytes([a, b])) * partitions) >> 16
}

/// The positions of `digests` in the order that sorts them; `None` when two are the same.
pub fn sorted(digests: &FixedSizeBinaryArray) -> Option<Vec<u32>> {
    let halves = |row: u32| -> (u64, u64) {
        let digest = digest(digests, row as usize);
        let whole = u128::from_be_bytes(digest);
        ((whole >> 64) as u64, whole as u64)
    };
    let mut order: Vec<(u64, u32)> = (0..digests.len() as u32)
        .map(|row| (halves(row).0, row))
        .collect();
    order.sort_unstable_by(|a, b| {
        let by_first = a.0.cmp(&b.0);
        by_first.then_with(|| halves(a.1).1.cmp(&halves(b.1).1))
    });
    let same = |a: &(u64, u32), b: &(u64, u32)| a.0 == b.0 && halves(a.1) == halves(b.1);
    let is_unique = order
        .windows(2)
        .all(|two| !matches!(two, [a, b] if same(a, b)));
    is_unique.then(|| order.into_iter().map(|(_, row)| row).collect())
}

/// The positions of the digests that fall into each of `partitions` equal ranges, in their order.
pub fn dealt(digests: &FixedSizeBinaryArray, partitions: usize) -> Vec<Vec<u32>> {
    let expected = digests.len() / partitions.max(1);
    let mut dealt: Vec<Vec<u32>> = (0..partitions)
        .map(|_| Vec::with_capacity(expected + expected / 4))
        .collect();
    for row in 0..digests.len() {
        if let Some(rows) = dealt.get_mut(partition_of(&digest(digests, row), partitions)) {
            rows.push(row as u32);
        }
    }
    dealt
}

fn digest(digests: &FixedSizeBinaryArray, row: usize) -> Digest128 {
    digests.value(row).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::digest_array;

    fn digests(numbers: &[u128]) -> FixedSizeBinaryArray {
        let digests: Vec<Digest128> = numbers.iter().map(|n| n.to_be_bytes()).collect();
        digest_array(&digests)
    }

    #[test]
    fn digests_are_sorted_by_all_of_their_bytes() {
        let of = |numbers: &[u128]| sorted(&digests(numbers));
        assert_eq!(of(&[]), Some(vec![]));
        assert_eq!(of(&[1 << 64, 1, u128::MAX, 0]), Some(vec![3, 1, 0, 2]));
        assert_eq!(
            of(&[(7 << 64) + 3, (7 << 64) + 1, 7 << 64]),
            Some(vec![2, 1, 0])
        );
    }

    #[test]
    fn digests_that_are_the_same_have_no_order() {
        assert_eq!(sorted(&digests(&[(7 << 64) + 3, 1, (7 << 64) + 3])), None);
    }

    #[test]
    fn every_digest_is_dealt_into_its_range_once() {
        let numbers: Vec<u128> = (0..1_000).map(|n| n * (u128::MAX / 1_000)).collect();
        let dealt = dealt(&digests(&numbers), 8);
        assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 1_000);
        for (partition, rows) in dealt.iter().enumerate() {
            for row in rows {
                assert_eq!(
                    partition_of(&numbers[*row as usize].to_be_bytes(), 8),
                    partition
                );
            }
        }
    }
}
