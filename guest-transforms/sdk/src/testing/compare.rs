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
    /// Compares what came with what the case expects: rows and retractions with their types and their order,
    /// rejects with their place, code and message.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::{Input, integer};
    use crate::table::Table;
    use crate::testing::run;
    use crate::transform::Transform;

    const RIGHT: &str = "# Two rows and a fault\n\nThe case that is then spoilt.\n
## input note

| note_id | body |
|--------:|------|
|       1 | one  |
|       2 | NULL |
|       3 | \"\"   |

## deleted note

| note_id |
|--------:|
|       9 |

## output

| note_id | body |
|--------:|------|
|       1 | one  |
|       3 | \"\"   |

## retractions

| note_id |
|--------:|
|       2 |
|       9 |

## rejects

| input | row | code          | message                                           |
|-------|----:|---------------|---------------------------------------------------|
| note  |   2 | missing-value | note.body is NULL, and note.body must have a value |
";

    fn notes() -> Table {
        let note = Input::changes("note").key(integer("note_id"));
        Table::upsert("note")
            .key("note_id", note.integer("note_id"))
            .required("body", note.text("body"))
    }

    /// What the case says after a text in it was replaced, for chunks of one row and of many.
    fn spoilt(from: &str, to: &str) -> Vec<String> {
        assert_eq!(RIGHT.matches(from).count(), 1, "{from}");
        let text = RIGHT.replace(from, to);
        let description = notes().describe().unwrap();
        let case = Case::parse(Path::new("case.md"), &text, &description).unwrap();
        let lines = [1, 7].map(|rows| {
            let outcome = run(notes(), &case, rows).unwrap();
            case.compare(&outcome)
                .map_or_else(|difference| difference.lines, |()| Vec::new())
        });
        assert_eq!(lines[0], lines[1]);
        lines[0].clone()
    }

    #[test]
    fn the_right_expectation_holds() {
        assert_eq!(spoilt("# Two rows", "# Two rows"), [""; 0]);
    }

    #[test]
    fn a_wrong_value_is_shown_with_its_row_and_column() {
        let output = "## output\n\n| note_id | body |\n|--------:|------|\n|       1 | ";
        assert_eq!(
            spoilt(&format!("{output}one "), &format!("{output}two ")),
            ["output, row 1, body: expected two, came one"]
        );
    }

    #[test]
    fn null_the_empty_text_and_the_text_null_are_three_values() {
        let before = "|       1 | one  |\n|       3 | ";
        for (written, shown) in [("NULL", "NULL"), ("\"NULL\"", "\"NULL\"")] {
            let text = RIGHT.replace(
                &format!("{before}\"\"   |"),
                &format!("{before}{written} |"),
            );
            let case = Case::parse(Path::new("case.md"), &text, &notes().describe().unwrap());
            match case {
                // A required column cannot be expected to be NULL.
                Err(error) => assert!(shown == "NULL" && error.message.contains("body"), "{error}"),
                Ok(case) => {
                    let difference = case.compare(&run(notes(), &case, 7).unwrap()).unwrap_err();
                    assert_eq!(
                        difference.lines,
                        [format!("output, row 2, body: expected {shown}, came \"\"")]
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_too_few_and_a_row_too_many_are_shown_whole() {
        assert_eq!(
            spoilt(
                "|       1 | one  |\n|       3 | \"\"   |",
                "|       1 | one  |"
            ),
            ["output, row 2: came and was not expected: | 3 | \"\" |"]
        );
        assert_eq!(
            spoilt(
                "|       1 | one  |\n|       3 | \"\"   |",
                "|       1 | one  |\n|       3 | \"\"   |\n| 4 | four |"
            ),
            ["output, row 3: expected and did not come: | 4 | four |"]
        );
    }

    #[test]
    fn a_wrong_retraction_is_shown() {
        let retractions = "## retractions\n\n| note_id |\n|--------:|\n|       ";
        assert_eq!(
            spoilt(&format!("{retractions}2"), &format!("{retractions}8")),
            ["retractions, row 1, note_id: expected 8, came 2"]
        );
    }

    #[test]
    fn a_reject_with_another_row_code_or_message_is_shown_both_ways() {
        for (from, to) in [
            ("|   2 | missing-value", "|   1 | missing-value"),
            ("missing-value", "missing"),
            ("must have a value", "should have a value"),
        ] {
            let lines = spoilt(from, to);
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[0].starts_with("rejects: expected and did not come: row"));
            assert_eq!(
                lines[1],
                "rejects: came and was not expected: row 2 of note: missing-value: \
                 note.body is NULL, and note.body must have a value"
            );
        }
    }

    #[test]
    fn a_file_that_is_no_case_is_told_by_its_line() {
        let description = notes().describe().unwrap();
        for (from, to, line, message) in [
            ("# Two rows and a fault\n", "", 1, "begins with a title"),
            ("The case that is then spoilt.", "", 1, "a line of prose"),
            (
                "## input note",
                "## input notes",
                5,
                "the module has no input notes",
            ),
            ("## rejects", "## refusals", 33, "there is no section"),
            ("## retractions", "## output", 26, "comes twice"),
            (
                "|       2 | NULL |",
                "|       2 |      |",
                10,
                "an empty cell says nothing",
            ),
            (
                "|       2 | NULL |",
                "|       2 |",
                10,
                "the row has 1 cells and the header 2",
            ),
            (
                "|       2 | NULL |",
                "|     two | NULL |",
                5,
                "in column note_id",
            ),
            (
                "|   2 | missing",
                "| two | missing",
                37,
                "two is no row number",
            ),
        ] {
            let text = RIGHT.replacen(from, to, 1);
            assert_ne!(text, RIGHT);
            let error = Case::parse(Path::new("case.md"), &text, &description).unwrap_err();
            assert!(error.to_string().starts_with("case.md:"));
            assert!(error.message.contains(message), "{error}");
            assert_eq!(error.line, line, "{error}");
        }
    }
}
