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
