//! PostgreSQL's `numeric` on the wire, into the unscaled integer of an Arrow decimal.
//!
//! On the wire: four 16-bit integers (how many digits; the weight of the first; the sign; the display
//! scale), then the digits to base 10 000, the most significant first.

use arrow::datatypes::i256;

/// Base-10 digits in one digit of the wire format.
const GROUP: i32 = 4;

/// Groups of zeros that may be appended at most: 76 digits are the longest Arrow decimal. It bounds the
/// work that a hostile weight can cause.
const MOST_GROUPS: i32 = 20;

/// An integer that decimal digits are appended to.
pub trait Unscaled: Copy {
    /// Zero.
    const ZERO: Self;
    /// `self * factor + digit`, or `None` on overflow.
    fn append(self, factor: u16, digit: u16) -> Option<Self>;
    /// `-self`.
    fn negate(self) -> Option<Self>;
}

impl Unscaled for i128 {
    const ZERO: Self = 0;

    fn append(self, factor: u16, digit: u16) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(digit.into())
    }

    fn negate(self) -> Option<Self> {
        self.checked_neg()
    }
}

impl Unscaled for i256 {
    const ZERO: Self = i256::ZERO;

    fn append(self, factor: u16, digit: u16) -> Option<Self> {
        self.checked_mul(i256::from_i128(factor.into()))?
            .checked_add(i256::from_i128(digit.into()))
    }

    fn negate(self) -> Option<Self> {
        self.checked_neg()
    }
}

/// Why bytes are not a number of the type.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// They do not follow the format.
    Malformed,
    /// They do, and the value cannot be held.
    Value(&'static str),
}

/// The most groups whose number is sure to fit 64 bits.
const SMALL_GROUPS: u16 = 4;

/// [`decode`] into 128 bits. Almost every number is small enough for a shorter way.
///
/// # Errors
/// As [`decode`].
pub fn decode_128(field: &[u8], scale: i8) -> Result<i128, Fault> {
    match small(field, scale) {
        Some(value) => Ok(value),
        None => decode(field, scale),
    }
}

/// A number of few groups; `None` where it has more, or something is wrong with it.
fn small(field: &[u8], scale: i8) -> Option<i128> {
    let (header, digits) = field.split_first_chunk::<8>()?;
    let [n0, n1, w0, w1, s0, s1, _, _] = *header;
    let count = u16::from_be_bytes([n0, n1]);
    let sign = u16::from_be_bytes([s0, s1]);
    if count > SMALL_GROUPS || digits.len() != 2 * usize::from(count) || sign & !0x4000 != 0 {
        return None;
    }
    let mut value = 0_u64;
    for group in digits.as_chunks::<2>().0 {
        let digit = u16::from_be_bytes(*group);
        if digit > 9_999 {
            return None;
        }
        value = value * 10_000 + u64::from(digit);
    }
    // The power of ten of the last group, in units of the result.
    let weight = i32::from(i16::from_be_bytes([w0, w1]));
    let power = (weight + 1 - i32::from(count)) * GROUP + i32::from(scale);
    let factor = 10_u64.checked_pow(power.unsigned_abs())?;
    let value = match power < 0 {
        false => i128::from(value) * i128::from(factor),
        true if value.is_multiple_of(factor) => i128::from(value / factor),
        true => return None,
    };
    Some(if sign == 0 { value } else { -value })
}

/// The value of `field`, a `numeric` as the server sends it, times ten to the power of `scale`, exactly.
///
/// # Errors
/// [`Fault::Malformed`] where the bytes are no `numeric`, [`Fault::Value`] where the number is not finite, has more
/// decimal places, or does not fit.
pub fn decode<V: Unscaled>(field: &[u8], scale: i8) -> Result<V, Fault> {
    let (header, digits) = field.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
    let [n0, n1, w0, w1, s0, s1, _, _] = *header;
    let sign = u16::from_be_bytes([s0, s1]);
    match sign {
        0x0000 | 0x4000 => {}
        0xC000 => return Err(Fault::Value("NaN")),
        0xD000 => return Err(Fault::Value("Infinity")),
        0xF000 => return Err(Fault::Value("-Infinity")),
        _ => return Err(Fault::Malformed),
    }
    if digits.len() != 2 * usize::from(u16::from_be_bytes([n0, n1])) {
        return Err(Fault::Malformed);
    }
    let weight = i32::from(i16::from_be_bytes([w0, w1]));
    let value = unscaled(digits, weight, scale.into())?;
    if sign == 0 {
        return Ok(value);
    }
    value.negate().ok_or(Fault::Value("a number too large"))
}

fn unscaled<V: Unscaled>(digits: &[u8], weight: i32, scale: i32) -> Result<V, Fault> {
    let large = Fault::Value("a number too large");
    let mut value = V::ZERO;
    // The power of ten of the last digit of the group at hand, in units of the result.
    let mut power = weight * GROUP + scale;
    for pair in digits.chunks_exact(2) {
        let digit = match *pair {
            [high, low] => u16::from_be_bytes([high, low]),
            _ => return Err(Fault::Malformed),
        };
        if digit > 9_999 {
            return Err(Fault::Malformed);
        }
        value = append_group(value, digit, power)?.ok_or(Fault::Value("a number too large"))?;
        power -= GROUP;
    }
    // `power` is now that of the group after the last; what is missing down to one are zeros.
    let zeros = power + GROUP;
    if digits.is_empty() || zeros <= 0 {
        return Ok(value);
    }
    if zeros > MOST_GROUPS * GROUP {
        return Err(large);
    }
    for _ in 0..zeros / GROUP {
        value = value
            .append(10_000, 0)
            .ok_or(Fault::Value("a number too large"))?;
    }
    let factor = power_of_ten(zeros % GROUP).ok_or(Fault::Malformed)?;
    value.append(factor, 0).ok_or(large)
}

/// Appends the part of one group that is at or above one unit of the result. A part below it would be
/// lost, which is a fault; PostgreSQL sends none for a column that has the scale.
fn append_group<V: Unscaled>(value: V, digit: u16, power: i32) -> Result<Option<V>, Fault> {
    if power >= 0 {
        return Ok(value.append(10_000, digit));
    }
    let below = power_of_ten((-power).min(GROUP)).ok_or(Fault::Malformed)?;
    if !digit.is_multiple_of(below) {
        return Err(Fault::Value("a number with more decimal places"));
    }
    let factor = power_of_ten((GROUP + power).max(0)).ok_or(Fault::Malformed)?;
    Ok(value.append(factor, digit / below))
}

fn power_of_ten(exponent: i32) -> Option<u16> {
    u32::try_from(exponent)
        .ok()
        .and_then(|e| 10_u16.checked_pow(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_scaled_only_without_loss() {
        // -12.34: two groups, the first of weight 0, negative, two digits after the point.
        let cents = [0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x0D, 0x48];
        assert_eq!(decode_128(&cents, 2), Ok(-1_234));
        assert_eq!(decode(&cents, 2), Ok(i256::from_i128(-1_234)));
        let lost = Err(Fault::Value("a number with more decimal places"));
        assert_eq!(decode_128(&cents, 1), lost);
        let nan = [0, 0, 0, 0, 0xC0, 0, 0, 0];
        assert_eq!(decode_128(&nan, 2), Err(Fault::Value("NaN")));
        assert_eq!(decode_128(&cents[..11], 2), Err(Fault::Malformed));
    }

    #[test]
    fn the_short_way_comes_to_what_the_long_one_does() {
        let mut short_ways = 0;
        for digits in [
            &[][..],
            &[0],
            &[1],
            &[9_999],
            &[12, 3_400],
            &[10_000],
            &[1, 0, 5_000],
            &[9_999, 9_999, 9_999, 9_999],
            &[1, 2, 3, 4, 5],
        ] {
            for weight in -6..=6_i16 {
                for (scale, sign) in
                    (-2..=12_i8).flat_map(|s| [(s, 0_u16), (s, 0x4000), (s, 0xC000)])
                {
                    let mut field = (digits.len() as u16).to_be_bytes().to_vec();
                    field.extend(weight.to_be_bytes());
                    field.extend(sign.to_be_bytes());
                    field.extend([0, 0]);
                    digits
                        .iter()
                        .for_each(|digit: &u16| field.extend(digit.to_be_bytes()));
                    let long = decode::<i128>(&field, scale);
                    assert_eq!(
                        decode_128(&field, scale),
                        long,
                        "{digits:?} {weight} {scale}"
                    );
                    short_ways += usize::from(small(&field, scale).is_some());
                }
            }
        }
        assert!(short_ways > 500, "{short_ways}");
    }
}
