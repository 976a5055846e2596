//! Decimals and bytes as digits.

use arrow_buffer::i256;

/// The bytes of hexadecimal digits.
pub fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The unscaled value of `12.50` as a decimal of so many digits, so many of them after the point.
pub(super) fn decimal(text: &str, digits: u8, after_point: i8) -> Result<i256, String> {
    let no_decimal = || format!("{text:?} is no decimal number");
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text),
    };
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return Err(no_decimal()),
        Some((whole, fraction)) => (whole, fraction),
        None => (unsigned, ""),
    };
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(no_decimal());
    }
    let places = usize::try_from(after_point).unwrap_or(0);
    let (kept, lost) = fraction.split_at(places.min(fraction.len()));
    let zeros = usize::from(after_point.min(0).unsigned_abs());
    let (whole, lost_too) = whole.split_at(whole.len().saturating_sub(zeros));
    if !(lost.bytes().chain(lost_too.bytes())).all(|byte| byte == b'0') {
        return Err(format!(
            "{text:?} has more than {after_point} decimal places"
        ));
    }
    let unscaled = format!("{whole}{kept:0<places$}");
    let unscaled = unscaled.trim_start_matches('0');
    if unscaled.len() > usize::from(digits) {
        return Err(format!("{text:?} has more than {digits} digits"));
    }
    if unscaled.is_empty() {
        return Ok(i256::ZERO);
    }
    i256::from_string(&format!("{sign}{unscaled}")).ok_or_else(no_decimal)
}

/// How [`decimal`] reads it.
pub(super) fn decimal_text(unscaled: i256, after_point: i8) -> String {
    let text = unscaled.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let Ok(places) = usize::try_from(after_point) else {
        let zeros = match digits {
            "0" => 0,
            _ => usize::from(after_point.unsigned_abs()),
        };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    };
    if places == 0 {
        return text;
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}
