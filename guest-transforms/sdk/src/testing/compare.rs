//! Compares what a case expects with what came, however it was run.

use std::fmt;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use super::case::Case;
use super::written;

/// What a run of a case gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The rows of the output, in the order in which they came.
    pub rows: Vec<RecordBatch>,
    /// The retractions, in the order in which they came.
    pub retractions: Vec<RecordBatch>,
    /// The rejects, in any order.
    pub rejects: Vec<RejectedRow>,
}

/// A refused row, found in the whole input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RejectedRow {
    /// The table of the input.
    pub input: String,
    /// The row, from 1, over the whole input.
    pub row: u64,
    /// The code.
    pub code: String,
    /// The message.
    pub message: String,
}

impl RejectedRow {
    /// A row that was refused as a row of a chunk, when every chunk but the last has `rows_per_chunk` rows.
    pub fn of_chunk(
        input: &str,
        rows_per_chunk: usize,
        chunk: u32,
        row: u32,
        code: &str,
        message: &str,
    ) -> Self {
        Self {
            input: input.to_owned(),
            row: u64::from(chunk) * rows_per_chunk as u64 + u64::from(row) + 1,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for RejectedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "row {} of {}: {}: {}",
            self.row, self.input, self.code, self.message
        )
    }
}

/// What is not as expected, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The lines, such as `output, row 2, location: expected Leeds, came Leds`.
    pub lines: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // So many show what is wrong; more would bury it.
        const SHOWN_LINES: usize = 20;
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

impl Case {
    /// Compares what came with what the case expects: rows and retractions with their types and their order, rejects
    /// with their place, code and message.
    ///
    /// # Errors
    /// Everything that differs.
    pub fn compare(&self, outcome: &Outcome) -> Result<(), Difference> {
        let mut lines = Vec::new();
        compare_rows("output", &self.output, &outcome.rows, &mut lines);
        compare_rows(
            "retractions",
            &self.retractions,
            &outcome.retractions,
            &mut lines,
        );
        self.compare_rejects(&outcome.rejects, &mut lines);
        if lines.is_empty() {
            return Ok(());
        }
        Err(Difference { lines })
    }

    fn compare_rejects(&self, came: &[RejectedRow], lines: &mut Vec<String>) {
        let mut left = came.to_vec();
        left.sort();
        for expected in &self.rejects {
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
}

fn compare_rows(what: &str, expected: &RecordBatch, came: &[RecordBatch], lines: &mut Vec<String>) {
    let schema = expected.schema();
    let shape = |batch: &RecordBatch| -> Vec<_> {
        let schema = batch.schema();
        let fields = schema.fields().iter();
        fields
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect()
    };
    for batch in came {
        if shape(batch) != shape(expected) {
            lines.push(format!(
                "{what}: expected columns {:?}, came {:?}",
                shape(expected),
                shape(batch)
            ));
            return;
        }
    }
    // Under the expected schema, because whether a column may be NULL is checked on its values.
    let came = came
        .iter()
        .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .and_then(|came| concat_batches(&schema, &came));
    let rows = came.and_then(|came| {
        let equal = came == *expected;
        Ok((equal, written::rows(expected)?, written::rows(&came)?))
    });
    let (equal, expected_rows, came_rows) = match rows {
        Ok(rows) => rows,
        Err(error) => return lines.push(format!("{what}: {error}")),
    };
    let before = lines.len();
    for row in 0..expected_rows.len().max(came_rows.len()) {
        match (expected_rows.get(row), came_rows.get(row)) {
            (Some(expected), Some(came)) => {
                let cells = schema.fields().iter().zip(expected.iter().zip(came));
                for (field, (expected, came)) in cells.filter(|(_, (a, b))| a != b) {
                    let name = field.name();
                    lines.push(format!(
                        "{what}, row {}, {name}: expected {expected}, came {came}",
                        row + 1
                    ));
                }
            }
            (Some(expected), None) => {
                lines.push(format!(
                    "{what}, row {}: expected and did not come: | {} |",
                    row + 1,
                    expected.join(" | ")
                ));
            }
            (None, Some(came)) => {
                lines.push(format!(
                    "{what}, row {}: came and was not expected: | {} |",
                    row + 1,
                    came.join(" | ")
                ));
            }
            (None, None) => {}
        }
    }
    if !equal && lines.len() == before {
        lines.push(format!("{what}: values differ that are written alike"));
    }
}
