//! Why a session stops, and why a row is refused. The first ends the run of the table; the second does not.

use std::fmt;

use arrow_schema::ArrowError;

/// The module cannot go on: the run of its table has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Short and stable: lower-case letters, digits and hyphens.
    pub code: String,
    /// What failed on what, for a person.
    pub message: String,
}

impl Failure {
    /// A failure with its code and what failed on what.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self::new("arrow", error.to_string())
    }
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Short and stable, for grouping: lower-case letters, digits and hyphens.
    pub code: &'static str,
    /// What is wrong with which column, for a person.
    pub message: String,
}

impl Reason {
    /// A column has no value where it must have one.
    pub const MISSING_VALUE: &'static str = "missing-value";
    /// A text is not a calendar date written as `YYYY-MM-DD`.
    pub const BAD_DATE: &'static str = "bad-date";
    /// A code is not in the list of known codes.
    pub const UNKNOWN_CODE: &'static str = "unknown-code";
    /// A joined table has no row for the value.
    pub const NO_MATCH: &'static str = "no-match";

    /// A reason with its code and what is wrong with which column.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// A text of a row as a message shows it: quoted, control characters escaped, and cut so that a megabyte in a
/// column does not become a megabyte in a message.
pub fn quoted(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    match text.char_indices().nth(SHOWN_CHARS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_bounded_and_on_one_line() {
        assert_eq!(quoted("O'Keefe"), "\"O'Keefe\"");
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        let long = quoted(&"é".repeat(1_000_000));
        assert_eq!(long.chars().count(), 43);
        assert!(long.ends_with("\"…"));
    }
}
