//! The first half of the BLAKE3 of many short texts.
//!
//! Hashed one by one, a row waits for every block of its own before the next begins, and leaves most of a
//! vector unit idle. So rows of as many blocks are hashed side by side, up to the last block, which is shorter
//! in each: the crate can do that and does not document it, hence its exact version in the manifest and the
//! test that compares with [`blake3::hash`]. Rows of mixed columns take 0.10 µs so, and 0.25 µs by themselves.

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::Digest128;

const BLOCK: usize = 64;

/// Rows that are hashed side by side: as many as the widest vectors hold.
const SIDE_BY_SIDE: usize = 16;

/// Whole blocks before the last one, at most: BLAKE3 makes a tree of what is longer than 16 blocks.
const MOST_BLOCKS: usize = 15;

const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// The initial state, as the specification of BLAKE3 gives it.
const IV: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

/// Appends the digest of every row to `digests`.
pub(super) fn append<'a>(rows: impl Iterator<Item = &'a [u8]>, digests: &mut Vec<Digest128>) {
    let mut by_blocks: [Vec<(usize, &[u8])>; MOST_BLOCKS + 1] = Default::default();
    for row in rows {
        let blocks = row.len().saturating_sub(1) / BLOCK;
        match by_blocks.get_mut(blocks).filter(|_| blocks > 0) {
            Some(alike) => {
                alike.push((digests.len(), row));
                digests.push(Digest128::default());
            }
            None => digests.push(first_half(blake3::hash(row).as_bytes())),
        }
    }
    let platform = Platform::detect();
    macro_rules! side_by_side {
        ($($blocks:literal)*) => {$(
            if let Some(alike) = by_blocks.get($blocks) {
                hash::<{ $blocks * BLOCK }>(platform, alike, digests);
            }
        )*};
    }
    side_by_side!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Hashes rows of `WHOLE` bytes in whole blocks and one more block, full or not.
fn hash<const WHOLE: usize>(
    platform: Platform,
    rows: &[(usize, &[u8])],
    digests: &mut [Digest128],
) {
    let mut states = [0; 32 * SIDE_BY_SIDE];
    for rows in rows.chunks(SIDE_BY_SIDE) {
        let whole: Vec<&[u8; WHOLE]> = rows
            .iter()
            .filter_map(|(_, row)| row.first_chunk())
            .collect();
        let no = IncrementCounter::No;
        platform.hash_many(&whole, &IV, 0, no, 0, CHUNK_START, 0, &mut states);
        for ((at, row), state) in rows.iter().zip(states.chunks_exact(32)) {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(state.chunks_exact(4)) {
                *word = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            let rest = row.get(WHOLE..).unwrap_or_default();
            let mut last = [0; BLOCK];
            for (byte, value) in last.iter_mut().zip(rest) {
                *byte = *value;
            }
            platform.compress_in_place(&mut words, &last, rest.len() as u8, 0, CHUNK_END | ROOT);
            let mut hashed = [0; 32];
            for (bytes, word) in hashed.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            if let Some(digest) = digests.get_mut(*at) {
                *digest = first_half(&hashed);
            }
        }
    }
}

fn first_half(hash: &[u8; 32]) -> Digest128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_have_the_digest_that_they_have_alone() {
        let bytes: Vec<u8> = (0..2_200_u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let lengths = (0..bytes.len()).flat_map(|length| vec![length; length % 35 + 1]);
        let rows: Vec<&[u8]> = lengths
            .map(|length| &bytes[bytes.len() - length..])
            .collect();
        let mut digests = Vec::new();
        append(rows.iter().copied(), &mut digests);
        assert_eq!(digests.len(), rows.len());
        for (row, digest) in rows.iter().zip(digests) {
            let alone = first_half(blake3::hash(row).as_bytes());
            assert_eq!(digest, alone, "{} bytes", row.len());
        }
    }
}
