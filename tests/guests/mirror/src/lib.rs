//! `mirror`: the rows of one table as they are, so that a test can push any schema through the straight line.
//!
//! The parameters are the schema of the table as an Arrow IPC stream without batches. Its metadata say the rest:
//! `name` is what this mirror is called, `input` and `output` are the tables, `key` the key's columns, one on each line, and
//! `mode`, where it is there, how it is loaded. A table with a key is mirrored change by change, one without is made anew
//! from everything.

use std::collections::HashMap;

use arrow_ipc::convert::try_schema_from_ipc_buffer;
use tidemill_sdk::arrow::array::RecordBatch;
use tidemill_sdk::arrow::schema::{Field, SchemaRef};
use tidemill_sdk::{Arrival, Description, Failure, Input, LoadMode, Output, Step, Transform};

tidemill_sdk::export!(mirror with parameters);

/// A table as it is.
pub struct Mirror {
    name: String,
    description: Description,
    schema: SchemaRef,
}

/// The mirror of the table that `parameters` describe.
///
/// # Errors
/// When they are no schema, or name no tables.
pub fn mirror(parameters: &[u8]) -> Result<Mirror, Failure> {
    let schema = try_schema_from_ipc_buffer(parameters)?;
    let said = schema.metadata();
    let key: Vec<&str> = said_of(said, "key")?.lines().collect();
    let (mut input, mode) = match key.is_empty() {
        true => (Input::current(said_of(said, "input")?), LoadMode::Overwrite),
        false => (Input::changes(said_of(said, "input")?), LoadMode::Upsert),
    };
    let mode = match said.get("mode").map(String::as_str) {
        Some("append-versions") => LoadMode::AppendVersions,
        Some("scd2") => LoadMode::Scd2,
        _ => mode,
    };
    let mut output = Output::new(said_of(said, "output")?, mode);
    for field in schema.fields() {
        input = input.column(plain(field));
        output.columns.push(plain(field));
    }
    let key: Vec<String> = key.into_iter().map(str::to_owned).collect();
    output.primary_key.clone_from(&key);
    input.key = key;
    Ok(Mirror {
        name: said_of(said, "name")?.to_owned(),
        schema: output.schema(),
        description: Description {
            inputs: vec![input],
            output,
            properties: Vec::new(),
        },
    })
}

fn said_of<'a>(said: &'a HashMap<String, String>, what: &str) -> Result<&'a str, Failure> {
    let found = said.get(what).map(String::as_str);
    found.ok_or_else(|| Failure::new("parameters", format!("the parameters have no {what}")))
}

fn plain(field: &Field) -> Field {
    Field::new(field.name(), field.data_type().clone(), field.is_nullable())
}

impl Transform for Mirror {
    fn describe(&self) -> Result<Description, Failure> {
        Ok(self.description.clone())
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn push(&mut self, arrival: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        let columns = arrival.rows.columns().to_vec();
        step.rows
            .push(RecordBatch::try_new(self.schema.clone(), columns)?);
        Ok(())
    }
}
