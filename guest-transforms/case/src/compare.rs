//! What is not as expected, by row and column.

use std::collections::HashMap;
use std::fmt;

use arrow_array::RecordBatch;

use crate::case::{FailureKind, Made, Outcome, RejectedRow};
use crate::table::{cells, names};

/// So many lines show what is wrong; more would bury it.
const SHOWN_LINES: usize = 20;

/// What is not as expected, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The lines, such as `output, row 2 (staff_id 2), location: expected "Leeds", came "Leds"`.
    pub lines: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines.iter().take(SHOWN_LINES) {
            writeln!(f, "  {line}")?;
        }
        if self.lines.len() > SHOWN_LINES {
            writeln!(f, "  and {} more", self.lines.len() - SHOWN_LINES)?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

/// Compares what came with what is expected: rows and retractions with every bit of their values and in their order,
/// rejects with their place, code and message, failures with everything that they say.
///
/// # Errors
/// Everything that differs.
pub fn compare(expected: &Outcome, came: &Outcome) -> Result<(), Difference> {
    let mut lines = Vec::new();
    match (expected, came) {
        (Outcome::Made(expected), Outcome::Made(came)) => {
            let key = names(&expected.retractions);
            rows("output", &key, &expected.output, &came.output, &mut lines);
            let (retractions, also) = (&expected.retractions, &came.retractions);
            rows("retractions", &key, retractions, also, &mut lines);
            rejects(&expected.rejects, &came.rejects, &mut lines);
        }
        (Outcome::Failed(expected), Outcome::Failed(came)) => {
            if expected != came {
                lines.push(format!("failure: expected that {expected}"));
                lines.push(format!("failure: it came that {came}"));
            }
        }
        (Outcome::Made(_), Outcome::Failed(failed)) => {
            lines.push(format!("failure: expected none, and {failed}"));
        }
        (Outcome::Failed(failed), Outcome::Made(made)) => {
            lines.push(format!("failure: expected that {failed}"));
            lines.push(format!("failure: none came, but {}", counted(made)));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Difference { lines })
}

/// Whether a native run cannot come to what came of the sandbox. It knows less of failures: nobody sees to limits and
/// rules there, and a panic is a trap of other words.
pub fn is_beyond_native(sandbox: &Outcome, native: &Outcome) -> bool {
    let Outcome::Failed(sandbox) = sandbox else {
        return false;
    };
    match sandbox.kind {
        FailureKind::Limit | FailureKind::Breach => true,
        FailureKind::Trap => {
            matches!(native, Outcome::Failed(native) if native.kind == FailureKind::Trap)
        }
        FailureKind::GaveUp => false,
    }
}

fn counted(made: &Made) -> String {
    format!(
        "{} rows, {} retractions and {} rejects",
        made.output.num_rows(),
        made.retractions.num_rows(),
        made.rejects.len()
    )
}

fn rejects(expected: &[RejectedRow], came: &[RejectedRow], lines: &mut Vec<String>) {
    let mut left = came.to_vec();
    left.sort();
    for expected in expected {
        match left.iter().position(|reject| reject == expected) {
            Some(at) => {
                left.remove(at);
            }
            None => lines.push(format!("rejects: expected and did not come: {expected}")),
        }
    }
    for reject in left {
        lines.push(format!("rejects: came and was not expected: {reject}"));
    }
}

fn rows(
    what: &str,
    key: &[String],
    expected: &RecordBatch,
    came: &RecordBatch,
    lines: &mut Vec<String>,
) {
    let columns = names(expected);
    let types = |batch: &RecordBatch| -> Vec<_> {
        let columns = batch.columns().iter();
        columns.map(|column| column.data_type().clone()).collect()
    };
    if columns != names(came) || types(expected) != types(came) {
        let shape = |batch: &RecordBatch| {
            let columns = names(batch).into_iter().zip(types(batch));
            let columns = columns.map(|(name, kind)| format!("{name} {kind}"));
            columns.collect::<Vec<_>>().join(", ")
        };
        let (expected, came) = (shape(expected), shape(came));
        return lines.push(format!("{what}: expected columns {expected}, came {came}"));
    }
    let places = key
        .iter()
        .map(|name| columns.iter().position(|c| c == name));
    let table = Rows {
        what,
        columns: &columns,
        key: places.collect::<Option<Vec<usize>>>().unwrap_or_default(),
        expected: cells(expected),
        came: cells(came),
    };
    match table.by_key() {
        Some(pairs) => table.paired(&pairs, lines),
        None => table.one_by_one(lines),
    }
}

/// Rows of both sides, every value as JSON, which is the same for the same bits only.
struct Rows<'a> {
    what: &'a str,
    columns: &'a [String],
    /// Where the key is.
    key: Vec<usize>,
    expected: Vec<Vec<String>>,
    came: Vec<Vec<String>>,
}

impl Rows<'_> {
    fn key_of<'r>(&self, row: &'r [String]) -> Vec<&'r str> {
        let parts = self.key.iter().filter_map(|at| row.get(*at));
        parts.map(String::as_str).collect()
    }

    /// For every row that is expected, where the row of its key came; `None` where keys tell no rows apart.
    fn by_key(&self) -> Option<Vec<Option<usize>>> {
        if self.key.is_empty() {
            return None;
        }
        let mut places = HashMap::new();
        for (at, row) in self.came.iter().enumerate() {
            if places.insert(self.key_of(row), at).is_some() {
                return None;
            }
        }
        let mut seen = std::collections::HashSet::new();
        let pairs = self.expected.iter().map(|row| {
            let key = self.key_of(row);
            let place = places.get(&key).copied();
            seen.insert(key).then_some(place)
        });
        pairs.collect()
    }

    fn paired(&self, pairs: &[Option<usize>], lines: &mut Vec<String>) {
        let before = lines.len();
        for (row, (expected, place)) in self.expected.iter().zip(pairs).enumerate() {
            match place.and_then(|place| self.came.get(place)) {
                Some(came) => self.cells(row, expected, came, lines),
                None => self.missing(row, expected, lines),
            }
        }
        for (row, came) in self.came.iter().enumerate() {
            if !pairs.contains(&Some(row)) {
                self.strange(row, came, lines);
            }
        }
        let moved = pairs
            .iter()
            .enumerate()
            .find(|(row, place)| **place != Some(*row));
        if let (true, Some((row, Some(place)))) = (lines.len() == before, moved) {
            let told = self.place(row, self.expected.get(row).map_or(&[], Vec::as_slice));
            lines.push(format!(
                "{}: the same rows came in another order: {told} came as row {}",
                self.what,
                place + 1
            ));
        }
    }

    fn one_by_one(&self, lines: &mut Vec<String>) {
        for row in 0..self.expected.len().max(self.came.len()) {
            match (self.expected.get(row), self.came.get(row)) {
                (Some(expected), Some(came)) => self.cells(row, expected, came, lines),
                (Some(expected), None) => self.missing(row, expected, lines),
                (None, Some(came)) => self.strange(row, came, lines),
                (None, None) => {}
            }
        }
    }

    fn cells(&self, row: usize, expected: &[String], came: &[String], lines: &mut Vec<String>) {
        let cells = self.columns.iter().zip(expected.iter().zip(came));
        for (column, (one, other)) in cells.filter(|(_, (one, other))| one != other) {
            let place = self.place(row, expected);
            lines.push(format!(
                "{}, {place}, {column}: expected {one}, came {other}",
                self.what
            ));
        }
    }

    fn missing(&self, row: usize, cells: &[String], lines: &mut Vec<String>) {
        let (what, cells) = (self.what, cells.join(", "));
        lines.push(format!(
            "{what}, row {}: expected and did not come: [{cells}]",
            row + 1
        ));
    }

    fn strange(&self, row: usize, cells: &[String], lines: &mut Vec<String>) {
        let (what, cells) = (self.what, cells.join(", "));
        lines.push(format!(
            "{what}, row {}: came and was not expected: [{cells}]",
            row + 1
        ));
    }

    /// `row 2 (staff_id 2)`.
    fn place(&self, row: usize, cells: &[String]) -> String {
        let parts = self.key.iter().filter_map(|at| {
            let (name, value) = (self.columns.get(*at)?, cells.get(*at)?);
            Some(format!("{name} {value}"))
        });
        let key = parts.collect::<Vec<_>>().join(", ");
        match key.as_str() {
            "" => format!("row {}", row + 1),
            key => format!("row {} ({key})", row + 1),
        }
    }
}

#[cfg(test)]
mod tests;
