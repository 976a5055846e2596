//! What was survived, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use super::asked::Asked;

/// One kind of case.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The suite.
    pub(crate) suite: &'static str,
    /// The cases: "embedded warehouse, before commit 1".
    pub(crate) what: String,
    /// How many were survived.
    pub(crate) survived: u64,
}

/// The lines as a table, with how to have them again.
pub(crate) fn table(asked: &Asked, lines: &[Line], elapsed: Duration) -> String {
    let width = lines.iter().map(|line| line.what.chars().count()).max();
    let width = width.unwrap_or_default().max("survived".len());
    let mut text = format!("{:<8}  {:<width$}  {:>8}\n", "suite", "survived", "times");
    for line in lines {
        let _ = writeln!(
            text,
            "{:<8}  {:<width$}  {:>8}",
            line.suite, line.what, line.survived
        );
    }
    let all: u64 = lines.iter().map(|line| line.survived).sum();
    let seconds = elapsed.as_secs();
    let _ = write!(
        text,
        "{:<8}  {:<width$}  {all:>8}\nseed {}, {} min {} s",
        "all",
        "",
        asked.seed,
        seconds / 60,
        seconds % 60
    );
    text
}
