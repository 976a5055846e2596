//! The straight line: the only room that knows several others.
//!
//! ```text
//! Pipeline::extract ──▶ landing manifest   ──▶ Pipeline::transform ──▶ processed manifest ──▶ Pipeline::load
//! ```

mod extract;
mod index;
mod landing;
pub mod report;
mod rows;
mod window;

/// A written object as a manifest names it.
fn object(part: crate::zone::parquet::Part) -> crate::manifest::Object {
    crate::manifest::Object {
        key: part.key,
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256,
    }
}

/// A table's name as one part of a key. What is not a letter, a digit, `-` or `_` is percent-encoded, and so
/// is a leading `_` or `.`, which tidemill's own folders begin with.
fn folder(table: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    match table.strip_prefix('_') {
        Some(rest) => format!(
            "{}{}",
            percent_encode(b"_", NON_ALPHANUMERIC),
            utf8_percent_encode(rest, KEPT)
        ),
        None => utf8_percent_encode(table, KEPT).to_string(),
    }
}
