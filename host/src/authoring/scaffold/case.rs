//! The first case of a new module: a plain row, and a deleted key where it may be given one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_case::{Case, CaseInput, Context, InputShape, Made, Outcome, Shape, value};

use super::code::{self, Manner};
use crate::table::Column;

/// The text of the case.
pub(super) fn first(made: &code::Made<'_>) -> String {
    let column = |column: &code::MadeColumn<'_>| {
        Field::new(
            &column.name,
            column.from.data_type.clone(),
            column.manner == Manner::Optional,
        )
    };
    let keys = made
        .columns
        .iter()
        .filter(|column| column.manner == Manner::Key);
    let shape = Shape {
        inputs: (0..made.inputs.len())
            .map(|input| read(made, input))
            .collect(),
        output: schema(made.columns.iter().map(column)),
        output_key: schema(keys.map(column)),
    };
    let deletes = made.inputs.len() == 1;
    let inputs = shape.inputs.iter().map(|input| CaseInput {
        table: input.table.clone(),
        rows: rows(&input.rows, Some(SAMPLE)),
        deleted: rows(&input.key, deletes.then_some(OTHER)),
    });
    let inputs: Vec<_> = inputs.collect();
    let mut case = Case::new("A plain row", Context::default(), inputs, &shape);
    case.about = match deletes {
        true => "It becomes a row, and a deleted key is taken back. Write what is peculiar to these tables: what is NULL, \
                 what is refused."
            .into(),
        false => "It becomes a row with what belongs to it. Write what is peculiar to these tables: what finds no match, \
                  what is NULL, what is refused."
            .into(),
    };
    case.expected = Outcome::Made(Made {
        output: rows(&shape.output, Some(SAMPLE)),
        retractions: rows(&shape.output_key, deletes.then_some(OTHER)),
        rejects: Vec::new(),
    });
    case.to_json()
}

/// What the module will declare of an input: the key, then the columns that its rules name, in the order of the rules.
fn read(made: &code::Made<'_>, input: usize) -> InputShape {
    let Some(table) = made.inputs.get(input).map(|input| input.table) else {
        return InputShape {
            table: String::new(),
            rows: schema([].into_iter()),
            key: schema([].into_iter()),
        };
    };
    let mut names: Vec<&str> = table.key.iter().map(String::as_str).collect();
    let joins = made.joins().filter(|_| input == 0);
    let used = made.columns.iter().filter(|column| column.input == input);
    for name in used.map(|column| column.from.name.as_str()).chain(joins) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let field = |column: &Column| Field::new(&column.name, column.data_type.clone(), true);
    let of = |names: &[&str]| {
        schema(
            names
                .iter()
                .filter_map(|name| table.column(name))
                .map(field),
        )
    };
    let key: Vec<&str> = table.key.iter().map(String::as_str).collect();
    InputShape {
        table: table.name.to_string(),
        rows: of(&names),
        key: of(&key),
    }
}

fn schema(fields: impl Iterator<Item = Field>) -> SchemaRef {
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Which of two values a column of each type is given.
const SAMPLE: usize = 0;
/// The other.
const OTHER: usize = 1;

/// One row of values, or none. Values of one type are equal, so that the row of a joined table is found.
fn rows(schema: &SchemaRef, which: Option<usize>) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| {
        let cells: Vec<&str> = which
            .map(|which| sample(field.data_type(), which))
            .into_iter()
            .collect();
        value::column(field, &cells)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>();
    let batch = columns
        .ok()
        .and_then(|columns| RecordBatch::try_new(schema.clone(), columns).ok());
    batch.unwrap_or_else(|| RecordBatch::new_empty(schema.clone()))
}

fn sample(data_type: &DataType, which: usize) -> &'static str {
    let [one, other] = match data_type {
        DataType::Utf8 => ["\"a\"", "\"b\""],
        DataType::Boolean => ["true", "false"],
        DataType::Date32 => ["\"2026-01-31\"", "\"2026-02-01\""],
        DataType::Timestamp(..) => ["\"2026-01-31 09:00:00\"", "\"2026-02-01 09:00:00\""],
        // As many digits as the narrowest decimal has.
        DataType::Decimal128(digits, places) if i16::from(*digits) <= i16::from(*places) => {
            ["0", "0"]
        }
        _ => ["1", "2"],
    };
    if which == SAMPLE { one } else { other }
}
