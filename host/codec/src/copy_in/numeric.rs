//! Decimals as PostgreSQL's binary `numeric`: groups of four decimal digits, most significant first.
//!
//! ```text
//! groups · weight · sign · digits after the point · group*        value = Σ groupᵢ × 10000^(weight − i)
//! ```

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};

/// The base of a group.
const BASE: u16 = 10_000;
/// Enough for the 77 digits of 256 bits, and one group that a scale splits.
const GROUPS: usize = 21;
const NEGATIVE: u16 = 0x4000;

/// An unsigned number that gives away its lowest digits.
pub(super) trait Magnitude {
    fn is_zero(&self) -> bool;
    /// Takes the remainder of the division by `by` off.
    fn take(&mut self, by: u16) -> u16;
}

impl Magnitude for u128 {
    fn is_zero(&self) -> bool {
        *self == 0
    }

    fn take(&mut self, by: u16) -> u16 {
        // Division of 128 bits is a library call; almost every number fits 64.
        if let Ok(small) = u64::try_from(*self) {
            *self = u128::from(small / u64::from(by));
            return (small % u64::from(by)) as u16;
        }
        let rest = *self % u128::from(by);
        *self /= u128::from(by);
        rest as u16
    }
}

impl Magnitude for i256 {
    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    fn take(&mut self, by: u16) -> u16 {
        let divisor = Self::from_i128(by.into());
        let rest = self.wrapping_rem(divisor);
        *self = self.wrapping_div(divisor);
        rest.as_i128() as u16
    }
}

/// Writes ±`magnitude` × 10^−`scale`.
pub(super) fn put(negative: bool, mut magnitude: impl Magnitude, scale: i8, out: &mut BytesMut) {
    let scale = i16::from(scale);
    let mut groups = [0_u16; GROUPS];
    let mut count = 0_usize;
    let mut push = |group: u16| {
        if let Some(slot) = groups.get_mut(count) {
            *slot = group;
            count += 1;
        }
    };
    // The point stands between groups, so the lowest group takes only the digits that reach to the next.
    let split = u32::from(scale.rem_euclid(4).unsigned_abs());
    if split > 0 && !magnitude.is_zero() {
        push(magnitude.take(10_u16.pow(split)) * 10_u16.pow(4 - split));
    }
    while !magnitude.is_zero() {
        push(magnitude.take(BASE));
    }
    let used = groups.get(..count).unwrap_or_default();
    let trailing = used.iter().take_while(|group| **group == 0).count();
    let written = used.get(trailing..).unwrap_or_default();
    // At most GROUPS, and a scale of at most 127: both casts are exact.
    let weight = if written.is_empty() {
        0
    } else {
        count as i16 - 1 + (-scale).div_euclid(4)
    };
    out.put_u16(written.len() as u16);
    out.put_i16(weight);
    out.put_u16(if negative { NEGATIVE } else { 0 });
    out.put_i16(scale.max(0));
    for group in written.iter().rev() {
        out.put_u16(*group);
    }
}
