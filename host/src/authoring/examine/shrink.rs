//! From a large input that breaks something to a small one that still does: fewer rows first, then simpler columns.

use super::draft::Draft;
use super::extremes::simplest;
use crate::contract::Description;

/// Inputs that are tried: each is a handful of sessions, so this is a second or two.
const TRIES: usize = 400;

/// Makes a draft smaller as long as `breaks` holds of it.
pub(super) fn shrink(
    draft: Draft,
    described: &Description,
    breaks: impl FnMut(&Draft) -> bool,
) -> Draft {
    let mut shrinking = Shrinking {
        smallest: draft,
        described,
        breaks,
        left: TRIES,
    };
    shrinking.rows();
    shrinking.columns();
    // A simpler value may be what lets another row go.
    shrinking.rows();
    shrinking.smallest
}

struct Shrinking<'d, F> {
    smallest: Draft,
    described: &'d Description,
    breaks: F,
    left: usize,
}

/// Which rows of an input.
#[derive(Clone, Copy)]
enum Part {
    Rows,
    Deleted,
}

impl<F: FnMut(&Draft) -> bool> Shrinking<'_, F> {
    /// Takes a smaller draft when it still breaks.
    fn attempt(&mut self, draft: Draft) -> bool {
        let plain = draft.twice || draft.has_keys(self.described);
        if self.left == 0 || !plain {
            return false;
        }
        self.left -= 1;
        let breaks = (self.breaks)(&draft);
        if breaks {
            self.smallest = draft;
        }
        breaks
    }

    /// Leaves out halves of the rows, then quarters, then single ones.
    fn rows(&mut self) {
        for input in 0..self.smallest.inputs.len() {
            for part in [Part::Rows, Part::Deleted] {
                let mut size = self.part(input, part);
                while size > 0 {
                    let mut from = 0;
                    while from < self.part(input, part) {
                        let mut draft = self.smallest.clone();
                        if let Some(rows) = part_of(&mut draft, input, part) {
                            rows.drain(from..rows.len().min(from + size));
                        }
                        if !self.attempt(draft) {
                            from += size;
                        }
                    }
                    size /= 2;
                }
            }
        }
    }

    fn part(&mut self, input: usize, part: Part) -> usize {
        part_of(&mut self.smallest, input, part).map_or(0, |rows| rows.len())
    }

    /// Makes whole columns as simple as can be, then single values.
    fn columns(&mut self) {
        for input in 0..self.smallest.inputs.len() {
            let fields = self
                .described
                .inputs
                .get(input)
                .map(|input| input.schema.fields().clone());
            for (column, field) in fields.iter().flatten().enumerate() {
                let simple = simplest(field);
                if simple
                    .iter()
                    .any(|value| self.fill(input, column, None, value))
                {
                    continue;
                }
                for row in 0..self.part(input, Part::Rows) {
                    let _ = simple
                        .iter()
                        .any(|value| self.fill(input, column, Some(row), value));
                }
            }
        }
    }

    /// Puts a value into a column, of one row or of all; whether it still breaks. It does where nothing changes.
    fn fill(&mut self, input: usize, column: usize, row: Option<usize>, value: &str) -> bool {
        let mut draft = self.smallest.clone();
        for (at, cells) in part_of(&mut draft, input, Part::Rows)
            .into_iter()
            .flatten()
            .enumerate()
        {
            if let (true, Some(cell)) = (row.is_none_or(|row| row == at), cells.get_mut(column)) {
                value.clone_into(cell);
            }
        }
        draft == self.smallest || self.attempt(draft)
    }
}

fn part_of(draft: &mut Draft, input: usize, part: Part) -> Option<&mut Vec<Vec<String>>> {
    let input = draft.inputs.get_mut(input)?;
    Some(match part {
        Part::Rows => &mut input.rows,
        Part::Deleted => &mut input.deleted,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::authoring::examine::draft::DraftInput;
    use crate::cases::CaseContext;
    use crate::contract::{Delivery, Input, LoadMode, Output, Role};

    /// One streamed input `note` with a key, a text and a number.
    fn described() -> Description {
        let fields = [
            ("id", DataType::Int32),
            ("body", DataType::Utf8),
            ("size", DataType::Int64),
        ];
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        Description {
            name: "note".into(),
            version: "1.0.0".into(),
            inputs: vec![Input {
                table: "note".into(),
                schema: schema.clone(),
                key: vec!["id".into()],
                delivery: Delivery::Changes,
                role: Role::Streamed,
            }],
            output: Output {
                table: "note".into(),
                schema,
                primary_key: vec!["id".into()],
                mode: LoadMode::Upsert,
            },
            properties: BTreeMap::new(),
        }
    }

    fn draft(rows: usize) -> Draft {
        let row = |id: usize| vec![id.to_string(), format!("\"text {id}\""), "7".to_owned()];
        Draft {
            context: CaseContext::default(),
            inputs: vec![DraftInput {
                rows: (0..rows).map(row).collect(),
                deleted: vec![vec!["100".to_owned()]],
            }],
            twice: false,
        }
    }

    #[test]
    fn one_row_is_left_where_one_row_is_enough_and_the_rest_of_it_is_simple() {
        let breaks = |draft: &Draft| {
            draft.inputs[0]
                .rows
                .iter()
                .any(|row| row[1] == "\"text 11\"")
        };
        let smallest = shrink(draft(16), &described(), breaks);
        assert_eq!(smallest.inputs[0].rows, [["null", "\"text 11\"", "null"]]);
        assert!(smallest.inputs[0].deleted.is_empty());
    }

    #[test]
    fn rows_keep_keys_of_their_own() {
        let whole = |draft: &Draft| {
            draft.inputs[0]
                .rows
                .iter()
                .filter(|row| row[0] != "null")
                .count()
                >= 3
        };
        let smallest = shrink(draft(16), &described(), whole);
        let rows = &smallest.inputs[0].rows;
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(smallest.has_keys(&described()), "{rows:?}");
        assert!(
            rows.iter().all(|row| row[1] == "null" && row[2] == "null"),
            "{rows:?}"
        );
    }

    #[test]
    fn what_always_breaks_is_shown_on_nothing() {
        let smallest = shrink(draft(16), &described(), |_| true);
        assert_eq!(smallest.told(&described()), ["no rows at all"]);
    }
}
