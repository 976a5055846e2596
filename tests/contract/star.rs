//! The star schema as the mission gives it, and what a module declares in the same words.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimeUnit};
use tidemill::contract::{Delivery, Description, Role};

/// What the eleven modules must declare: `?` marks a column that may be NULL, `reads` the columns of the source
/// that a module may see. It is written from the warehouse's schema and not from the modules.
pub(crate) const EXPECTED: &str = include_str!("star.txt");

/// What a module declares, in the form of [`EXPECTED`].
pub(crate) fn declaration(described: &Description) -> String {
    let output = &described.output;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{}@{} makes {} ({}), key {}",
        described.name,
        described.version,
        output.table,
        output.mode,
        output.primary_key.join(", ")
    );
    for (name, value) in &described.properties {
        let _ = writeln!(text, "  with {name} {value}");
    }
    for field in output.schema.fields() {
        let nullable = if field.is_nullable() { "?" } else { "" };
        let name = field.name();
        let _ = writeln!(text, "    {name:<36} {}{nullable}", sql(field.data_type()));
    }
    for input in &described.inputs {
        let delivery = match input.delivery {
            Delivery::Changes => "changes of",
            Delivery::Current => "current",
        };
        let role = match input.role {
            Role::Lookup => ", looked up",
            Role::Streamed => "",
        };
        let columns: Vec<_> = input.schema.fields().iter().map(|f| f.name()).collect();
        let columns = columns.into_iter().map(String::as_str).collect::<Vec<_>>();
        let _ = writeln!(
            text,
            "  reads {delivery} {}{role}: {}",
            input.table,
            columns.join(", ")
        );
    }
    text.push('\n');
    text
}

/// The warehouse's name of a type.
fn sql(data_type: &DataType) -> String {
    match data_type {
        DataType::Int32 => "int".into(),
        DataType::Utf8 => "text".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(TimeUnit::Microsecond) => "time".into(),
        DataType::Decimal128(digits, after_point) => format!("numeric({digits},{after_point})"),
        other => format!("{other}, which is no type of the star"),
    }
}

/// The lines in which two texts differ, with their numbers; empty where they are equal.
pub(crate) fn differences(expected: &str, found: &str) -> String {
    let lines =
        |text: &str| -> Vec<String> { text.trim_end().lines().map(str::to_owned).collect() };
    let (expected, found) = (lines(expected), lines(found));
    let mut text = String::new();
    for at in 0..expected.len().max(found.len()) {
        let (wanted, got) = (expected.get(at), found.get(at));
        if wanted != got {
            let shown = |line: Option<&String>| line.cloned().unwrap_or_else(|| "nothing".into());
            let _ = writeln!(
                text,
                "line {}: expected {}, declared {}",
                at + 1,
                shown(wanted).trim(),
                shown(got).trim()
            );
        }
    }
    text
}
