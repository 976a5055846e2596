//! What a module is given, as texts that can be changed value by value.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;

use crate::cases::{self, Case, CaseInput, Shape};
use crate::contract::{Delivery, Description, Role};

/// Rows as JSON, and what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) context: cases::CaseContext,
    /// One per input of the module.
    pub(super) inputs: Vec<DraftInput>,
    /// Whether keys may come twice, which no source with keys has.
    pub(super) twice: bool,
}

/// What an input is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DraftInput {
    pub(super) rows: Vec<Vec<String>>,
    pub(super) deleted: Vec<Vec<String>>,
}

impl Draft {
    pub(super) fn of(case: &Case, described: &Description) -> Self {
        let inputs = case.inputs.iter().map(|input| DraftInput {
            rows: cases::cells(&input.rows),
            deleted: cases::cells(&input.deleted),
        });
        let mut draft = Self {
            context: case.context.clone(),
            inputs: inputs.collect(),
            twice: true,
        };
        draft.twice = !draft.has_keys(described);
        draft
    }

    /// The case; `None` when a text is no value of its column.
    pub(super) fn case(&self, shape: &Shape) -> Option<Case> {
        let mut inputs = Vec::new();
        for (input, declared) in self.inputs.iter().zip(&shape.inputs) {
            inputs.push(CaseInput {
                table: declared.table.clone(),
                rows: cases::batch(&declared.rows, &input.rows).ok()?,
                deleted: cases::batch(&declared.key, &input.deleted).ok()?,
            });
        }
        Some(Case::new("", self.context.clone(), inputs, shape))
    }

    /// Whether it is something that a landing could be: keys come once, what is deleted is not there, and lookups and
    /// deletes have whole keys.
    pub(super) fn has_keys(&self, described: &Description) -> bool {
        self.inputs
            .iter()
            .zip(&described.inputs)
            .all(|(input, declared)| {
                let places = places(&declared.schema, &declared.key);
                let mut seen = BTreeSet::new();
                let rows = input.rows.iter().all(|row| {
                    let key = key(row, &places);
                    let whole = !key.contains(&"null");
                    // A row of a streamed input whose key is NULL is for the module to refuse.
                    (whole || declared.role == Role::Streamed)
                        && (!whole || key.is_empty() || seen.insert(key))
                });
                let deletes = input.deleted.is_empty() || declared.delivery == Delivery::Changes;
                rows && deletes
                    && input.deleted.iter().all(|row| {
                        let key: Vec<&str> = row.iter().map(String::as_str).collect();
                        !key.contains(&"null") && seen.insert(key)
                    })
            })
    }

    /// Its rows for people, a line each.
    pub(super) fn told(&self, described: &Description) -> Vec<String> {
        let mut lines = Vec::new();
        for (input, declared) in self.inputs.iter().zip(&described.inputs) {
            let names: Vec<_> = declared
                .schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .collect();
            for row in &input.rows {
                lines.push(format!("{}: {}", declared.table, told(&names, row)));
            }
            let names: Vec<_> = declared.key.iter().map(String::as_str).collect();
            for row in &input.deleted {
                lines.push(format!(
                    "{}, deleted: {}",
                    declared.table,
                    told(&names, row)
                ));
            }
        }
        if lines.is_empty() {
            lines.push("no rows at all".to_owned());
        }
        lines
    }
}

fn told(names: &[&str], row: &[String]) -> String {
    const SHOWN_CHARS: usize = 60;
    let cells =
        names
            .iter()
            .zip(row)
            .map(|(name, cell)| match cell.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => format!("{name} {}…", cell.get(..end).unwrap_or_default()),
                None => format!("{name} {cell}"),
            });
    cells.collect::<Vec<_>>().join(", ")
}

pub(super) fn places(schema: &SchemaRef, key: &[String]) -> Vec<usize> {
    key.iter()
        .filter_map(|name| schema.index_of(name).ok())
        .collect()
}

pub(super) fn key<'r>(row: &'r [String], places: &[usize]) -> Vec<&'r str> {
    let parts = places.iter().filter_map(|at| row.get(*at));
    parts.map(String::as_str).collect()
}
