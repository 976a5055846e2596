//! A case as the text of its file: laid out so that a review reads it like a table.

use std::fmt::Write as _;

use arrow_array::RecordBatch;

use crate::FORMAT;
use crate::case::{Case, Context, Outcome, RejectedRow};
use crate::document::WrittenContext;
use crate::table::{cells, names};
use crate::value;

/// Values that are wider than this do not push the columns after them to the right.
const WIDEST: usize = 40;

impl Case {
    /// The text of its file. Reading it back gives the same case.
    pub fn to_json(&self) -> String {
        let mut members = vec![format!("\"format\": {FORMAT}")];
        for (name, text) in [("title", &self.title), ("about", &self.about)] {
            if !text.is_empty() {
                members.push(format!("\"{name}\": {}", plain(text)));
            }
        }
        if let Some(origin) = &self.origin {
            members.push(format!("\"origin\": {}", plain(origin)));
        }
        if self.context != Context::default() {
            members.push(format!("\"context\": {}", plain(&written(&self.context))));
        }
        let given = self.inputs.iter().map(|input| {
            let mut parts = table(&input.rows, 3);
            if input.deleted.num_rows() > 0 {
                parts.push(format!(
                    "\"deleted\": {}",
                    object(&table(&input.deleted, 4), 3)
                ));
            }
            format!("{}: {}", plain(&input.table), object(&parts, 2))
        });
        members.push(format!(
            "\"inputs\": {}",
            object(&given.collect::<Vec<_>>(), 1)
        ));
        expected(&self.expected, &mut members);
        if let Some(fuel) = self.fuel {
            members.push(format!("\"fuel\": {fuel}"));
        }
        if let Some(percent) = self.fuel_tolerance_percent {
            members.push(format!("\"fuel_tolerance_percent\": {percent}"));
        }
        format!("{}\n", object(&members, 0))
    }
}

fn expected(expected: &Outcome, members: &mut Vec<String>) {
    let made = match expected {
        Outcome::Made(made) => made,
        Outcome::Failed(failed) => return members.push(format!("\"failure\": {}", plain(failed))),
    };
    members.push(format!(
        "\"output\": {}",
        object(&table(&made.output, 2), 1)
    ));
    if made.retractions.num_rows() > 0 {
        let retractions = object(&table(&made.retractions, 2), 1);
        members.push(format!("\"retractions\": {retractions}"));
    }
    if !made.rejects.is_empty() {
        members.push(format!("\"rejects\": {}", rejects(&made.rejects)));
    }
}

fn rejects(rejects: &[RejectedRow]) -> String {
    let lines: Vec<String> = rejects
        .iter()
        .map(|reject| format!("    {}", plain(reject)))
        .collect();
    format!("[\n{}\n  ]", lines.join(",\n"))
}

/// The members of a table at a depth, its rows one below the other under the names of their columns.
fn table(batch: &RecordBatch, depth: usize) -> Vec<String> {
    let names: Vec<String> = names(batch).iter().map(plain).collect();
    let rows = cells(batch);
    let mut widths: Vec<usize> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let values = rows.iter().filter_map(|row| row.get(at)).chain([name]);
        let fitting = values
            .map(|value| value.chars().count())
            .filter(|width| *width <= WIDEST);
        widths.push(fitting.max().unwrap_or(0));
    }
    let indent = "  ".repeat(depth + 1);
    let head = format!("\"columns\":\n{indent}{}", line(&names, &widths));
    if rows.is_empty() {
        return vec![head, "\"rows\": []".to_owned()];
    }
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{indent}{}", line(row, &widths)))
        .collect();
    let close = "  ".repeat(depth);
    vec![head, format!("\"rows\": [\n{}\n{close}]", rows.join(",\n"))]
}

/// Values in brackets, each as wide as its column.
fn line(values: &[String], widths: &[usize]) -> String {
    let mut line = String::from("[");
    let last = values.len().saturating_sub(1);
    for (at, value) in values.iter().enumerate() {
        line.push_str(value);
        if at < last {
            let width = widths.get(at).copied().unwrap_or_default();
            let blanks = width.saturating_sub(value.chars().count()) + 1;
            // Writing to a String cannot fail.
            let _ = write!(line, ",{}", " ".repeat(blanks));
        }
    }
    line.push(']');
    line
}

/// Members in braces, each on a line of its own.
fn object(members: &[String], depth: usize) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let indent = "  ".repeat(depth + 1);
    let lines: Vec<String> = members
        .iter()
        .map(|member| format!("{indent}{member}"))
        .collect();
    format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(depth))
}

/// A value in one line of JSON.
fn plain(value: &(impl serde::Serialize + ?Sized)) -> String {
    // Plain structs with text keys, for which serialising cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn written(context: &Context) -> WrittenContext {
    let micros = context.logical_time_micros;
    let text = String::from_utf8(context.parameters.clone());
    let (parameters, parameters_hex) = match text {
        Ok(text) => (Some(text).filter(|text| !text.is_empty()), None),
        Err(bytes) => (None, Some(value::hex(bytes.as_bytes()))),
    };
    WrittenContext {
        logical_time: (micros != 0).then(|| value::instant_text(micros)),
        seed: context.seed,
        parameters,
        parameters_hex,
    }
}
