//! A set of keys that is a bitmap for as long as that is worth its memory, and a hash set from then on.

use std::collections::HashSet;

use roaring::RoaringTreemap;

/// When a bitmap is first asked whether it is worth its memory; asked again at every doubling.
const FIRST_REVIEW_KEYS: u64 = 65_536;
/// What a hash set takes per key; a bitmap that takes more is turned into one.
pub(super) const HASHED_BYTES: u64 = 32;
/// The most that one more key can cost in a bitmap: a container of its own, and its place.
const SCATTERED_BYTES: u64 = CONTAINER_BYTES + 16;
/// How many keys come at least between two looks at the size of a bitmap that nears the ceiling.
const LEAST_REVIEW_KEYS: u64 = 1_000_000;
/// What a bitmap spends on each of its containers besides their content.
const CONTAINER_BYTES: u64 = 64;

/// A set of keys.
#[derive(Debug)]
pub(super) enum Seen {
    Bits {
        keys: RoaringTreemap,
        count: u64,
        review_at: u64,
        /// Its size when it was last looked at, and how many keys it had.
        seen: (u64, u64),
    },
    Hashed(HashSet<u128>),
}

impl Seen {
    pub(super) fn new(whole_numbers: bool) -> Self {
        if whole_numbers {
            Self::Bits {
                keys: RoaringTreemap::new(),
                count: 0,
                review_at: FIRST_REVIEW_KEYS,
                seen: (0, 0),
            }
        } else {
            Self::Hashed(HashSet::new())
        }
    }

    pub(super) fn contains(&self, key: u128) -> bool {
        match self {
            Self::Bits { keys, .. } => u64::try_from(key).is_ok_and(|key| keys.contains(key)),
            Self::Hashed(keys) => keys.contains(&key),
        }
    }

    /// Adds a key; false when it was there.
    pub(super) fn insert(&mut self, key: u128) -> bool {
        match self {
            Self::Hashed(keys) => keys.insert(key),
            Self::Bits { keys, count, .. } => {
                let is_new = u64::try_from(key).is_ok_and(|key| keys.insert(key));
                *count += u64::from(is_new);
                self.review();
                is_new
            }
        }
    }

    pub(super) fn is_disjoint(&self, others: &RoaringTreemap) -> bool {
        match self {
            Self::Bits { keys, .. } => keys.is_empty() || keys.is_disjoint(others),
            Self::Hashed(keys) => {
                keys.is_empty() || others.iter().all(|key| !keys.contains(&key.into()))
            }
        }
    }

    /// Adds as many keys as `others` has; false, and nothing is added, when one was there or these keys are not
    /// held as bits.
    pub(super) fn merge(&mut self, others: RoaringTreemap, added: u64) -> bool {
        let Self::Bits { keys, count, .. } = self else {
            return false;
        };
        if !keys.is_disjoint(&others) {
            return false;
        }
        *keys |= others;
        *count += added;
        self.review();
        true
    }

    /// Turns a bitmap that is not worth its memory into a hash set.
    fn review(&mut self) {
        let Self::Bits {
            keys,
            count,
            review_at,
            ..
        } = self
        else {
            return;
        };
        if *count < *review_at {
            return;
        }
        while *review_at <= *count {
            *review_at = review_at.saturating_mul(2);
        }
        if bitmap_bytes(keys) > *count * HASHED_BYTES {
            *self = Self::Hashed(keys.iter().map(u128::from).collect());
        }
    }

    /// How many keys are held one by one.
    pub(super) fn hashed(&self) -> u64 {
        match self {
            Self::Bits { .. } => 0,
            Self::Hashed(keys) => keys.len() as u64,
        }
    }

    /// The most that a bitmap may take. It is looked at only when it could have reached `room`.
    pub(super) fn bitmap_bytes(&mut self, room: u64) -> u64 {
        let Self::Bits {
            keys, count, seen, ..
        } = self
        else {
            return 0;
        };
        let since = *count - seen.1;
        let most = seen.0 + since * SCATTERED_BYTES;
        if most <= room || since < LEAST_REVIEW_KEYS {
            return seen.0;
        }
        *seen = (bitmap_bytes(keys), *count);
        seen.0
    }
}

fn bitmap_bytes(keys: &RoaringTreemap) -> u64 {
    keys.bitmaps()
        .map(|(_, bitmap)| {
            let found = bitmap.statistics();
            CONTAINER_BYTES * (1 + u64::from(found.n_containers))
                + found.n_bytes_array_containers
                + found.n_bytes_bitset_containers
                + found.n_bytes_run_containers
        })
        .sum()
}
