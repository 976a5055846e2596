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
pub(super) trait Unscaled: Copy {
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
pub(super) enum Fault {
    /// They do not follow the format.
    Malformed,
    /// They do, and the value cannot be held.
    Value(&'static str),
}

/// The value of `field` times ten to the power of `scale`, exactly.
pub(super) fn decode<V: Unscaled>(field: &[u8], scale: i8) -> Result<V, Fault> {
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
