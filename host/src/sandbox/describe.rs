//! From what a module says of itself to a [`Description`] that can be believed.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::binding::types;
use super::decode::read_schema;
use super::text::is_kebab;
use crate::contract::{ALIAS, Delivery, Description, Input, LoadMode, Output, RECORD_ID, Role};
use crate::printable;

/// Names of modules, properties and versions.
const NAME_BYTES: usize = 64;
/// Names of source tables and columns: PostgreSQL has 63, other systems up to 128.
const SOURCE_NAME_BYTES: usize = 256;
/// Names of warehouse tables and columns: PostgreSQL cuts longer ones.
const WAREHOUSE_NAME_BYTES: usize = 63;
/// Inputs of a module, and its properties.
const MOST_PARTS: usize = 64;
/// A schema as IPC. 2 000 columns have about 300 KiB.
const SCHEMA_BYTES: usize = 1024 * 1024;
/// Columns of a schema with everything nested in them.
const MOST_FIELDS: usize = 2_000;
/// How deep types may be nested: a list of structs of lists has depth 4.
const MOST_DEPTH: usize = 8;
/// The value of a property.
const PROPERTY_BYTES: usize = 1024;

/// Checks a description and makes it plain data.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn check(said: types::Description) -> Result<Description, String> {
    if !is_kebab(&said.name, NAME_BYTES) {
        return Err(format!(
            "the name `{}` is not made of lower-case letters, digits and hyphens, or is longer than {NAME_BYTES} bytes",
            printable::line(&said.name, NAME_BYTES)
        ));
    }
    if said.version.len() > NAME_BYTES || semver::Version::parse(&said.version).is_err() {
        return Err(format!(
            "the version `{}` is not a semantic version",
            printable::line(&said.version, NAME_BYTES)
        ));
    }
    let output = check_output(said.output)?;
    let inputs = check_inputs(said.inputs)?;
    if output.mode == LoadMode::Overwrite {
        whole_inputs(&inputs)?;
    }
    let properties = check_properties(said.properties, &output)?;
    Ok(Description {
        name: said.name,
        version: said.version,
        inputs,
        output,
        properties,
    })
}

fn check_inputs(said: Vec<types::Input>) -> Result<Vec<Input>, String> {
    if said.is_empty() || said.len() > MOST_PARTS {
        return Err(format!(
            "it has {} inputs; there must be 1 to {MOST_PARTS}",
            said.len()
        ));
    }
    let mut tables = BTreeSet::new();
    said.into_iter()
        .map(|input| {
            let input = check_input(input)?;
            if tables.insert(input.table.clone()) {
                Ok(input)
            } else {
                Err(format!("the input `{}` comes twice", input.table))
            }
        })
        .collect()
}

fn check_input(said: types::Input) -> Result<Input, String> {
    let table = source_name("an input table", said.table)?;
    let place = format!("the input `{table}`");
    let schema = check_schema(&place, &said.schema, SOURCE_NAME_BYTES)?;
    check_key(&place, &schema, &said.key)?;
    let input = Input {
        table,
        schema,
        key: said.key,
        delivery: match said.delivery {
            types::Delivery::Changes => Delivery::Changes,
            types::Delivery::Current => Delivery::Current,
        },
        role: match said.role {
            types::Role::Lookup => Role::Lookup,
            types::Role::Streamed => Role::Streamed,
        },
    };
    if input.role == Role::Lookup && input.delivery == Delivery::Changes {
        return Err(format!(
            "{place} is a lookup of changes only: rows that did not change would not be found"
        ));
    }
    Ok(input)
}

fn check_output(said: types::Output) -> Result<Output, String> {
    if !is_identifier(&said.table) {
        return Err(format!(
            "the output table `{}` is not an identifier of at most {WAREHOUSE_NAME_BYTES} bytes",
            printable::line(&said.table, WAREHOUSE_NAME_BYTES)
        ));
    }
    let place = format!("the output `{}`", said.table);
    let schema = check_schema(&place, &said.schema, WAREHOUSE_NAME_BYTES)?;
    check_key(&place, &schema, &said.primary_key)?;
    let mode = match said.mode {
        types::LoadMode::Upsert => LoadMode::Upsert,
        types::LoadMode::AppendVersions => LoadMode::AppendVersions,
        types::LoadMode::Overwrite => LoadMode::Overwrite,
        types::LoadMode::Scd2 => LoadMode::Scd2,
    };
    if said.primary_key.is_empty() && mode != LoadMode::Overwrite {
        return Err(format!("{place} has no primary key, which {mode} needs"));
    }
    for column in &said.primary_key {
        let field = schema.field_with_name(column).map_err(|e| e.to_string())?;
        if field.is_nullable() {
            return Err(format!(
                "the primary key column `{column}` of {place} is nullable"
            ));
        }
        if field.data_type().is_nested() {
            return Err(format!(
                "the primary key column `{column}` of {place} is nested"
            ));
        }
    }
    Ok(Output {
        table: said.table,
        schema,
        primary_key: said.primary_key,
        mode,
    })
}

/// A table that equals the rows of one session cannot be made from a part of its input.
fn whole_inputs(inputs: &[Input]) -> Result<(), String> {
    match inputs.iter().find(|i| i.delivery == Delivery::Changes) {
        Some(input) => Err(format!(
            "its output is overwritten, but the input `{}` brings changes only",
            input.table
        )),
        None => Ok(()),
    }
}

fn check_properties(
    said: Vec<(String, String)>,
    output: &Output,
) -> Result<BTreeMap<String, String>, String> {
    if said.len() > MOST_PARTS {
        return Err(format!("it has more than {MOST_PARTS} properties"));
    }
    let mut properties = BTreeMap::new();
    for (name, value) in said {
        let shown = printable::line(&name, NAME_BYTES);
        if !is_kebab(&name, NAME_BYTES) {
            return Err(format!("the property `{shown}` has no proper name"));
        }
        if value.len() > PROPERTY_BYTES || value.chars().any(char::is_control) {
            return Err(format!(
                "the value of the property `{shown}` is not plain text"
            ));
        }
        let known = name == RECORD_ID || name == ALIAS;
        if known && !is_identifier(&value) {
            return Err(format!(
                "the property `{shown}` is `{}`, which is not an identifier",
                printable::line(&value, WAREHOUSE_NAME_BYTES)
            ));
        }
        if properties.insert(name, value).is_some() {
            return Err(format!("the property `{shown}` comes twice"));
        }
    }
    check_known(&properties, output)?;
    Ok(properties)
}

fn check_known(properties: &BTreeMap<String, String>, output: &Output) -> Result<(), String> {
    if let Some(column) = properties.get(RECORD_ID) {
        if output.mode != LoadMode::AppendVersions {
            return Err(format!(
                "`{RECORD_ID}` is for append-versions, but the output is {}",
                output.mode
            ));
        }
        if output.schema.field_with_name(column).is_ok() {
            return Err(format!(
                "`{RECORD_ID}` names `{column}`, which is a column already"
            ));
        }
    }
    match properties.get(ALIAS) {
        Some(alias) if *alias == output.table => Err(format!(
            "`{ALIAS}` is the name of the output itself, `{alias}`"
        )),
        _ => Ok(()),
    }
}

fn check_key(place: &str, schema: &Schema, key: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for column in key {
        let shown = printable::line(column, SOURCE_NAME_BYTES);
        if schema.field_with_name(column).is_err() {
            return Err(format!(
                "the key column `{shown}` of {place} is not among its columns"
            ));
        }
        if !seen.insert(column) {
            return Err(format!("the key column `{shown}` of {place} comes twice"));
        }
    }
    Ok(())
}

fn check_schema(place: &str, bytes: &[u8], name_bytes: usize) -> Result<SchemaRef, String> {
    if bytes.len() > SCHEMA_BYTES {
        return Err(format!(
            "the schema of {place} has more than {SCHEMA_BYTES} bytes"
        ));
    }
    let schema = read_schema(bytes)
        .map_err(|reason| format!("the schema of {place} is unreadable: {reason}"))?;
    if schema.fields().is_empty() {
        return Err(format!("{place} has no columns"));
    }
    let mut names = BTreeSet::new();
    let mut fields_left = MOST_FIELDS;
    for field in schema.fields() {
        let name = source_name("a column", field.name().clone())?;
        if name.len() > name_bytes {
            return Err(format!(
                "the column name `{name}` of {place} is longer than {name_bytes} bytes"
            ));
        }
        check_type(field, 1, &mut fields_left)
            .and_then(|()| check_notation(field.data_type()))
            .map_err(|reason| format!("the column `{name}` of {place} {reason}"))?;
        if !names.insert(name) {
            return Err(format!(
                "the column `{}` of {place} comes twice",
                field.name()
            ));
        }
    }
    Ok(schema.into())
}

/// Types whose every value takes a bit or more in a buffer, so that lengths can be checked against bytes.
///
/// Views, dictionaries, run-end encoding and unions are other encodings of the same values; a transform
/// gains nothing by them at the boundary, and their checks are where decoders have had their defects.
fn check_type(field: &Field, depth: usize, fields_left: &mut usize) -> Result<(), String> {
    if depth > MOST_DEPTH {
        return Err(format!("is nested deeper than {MOST_DEPTH}"));
    }
    *fields_left = fields_left
        .checked_sub(1)
        .ok_or_else(|| format!("is beyond the {MOST_FIELDS} columns that a schema may have"))?;
    let refused = || {
        let notation = printable::line(&field.data_type().to_string(), 100);
        Err(format!(
            "has the type {notation}, which cannot cross the boundary"
        ))
    };
    match field.data_type() {
        DataType::Null
        | DataType::Union(..)
        | DataType::Dictionary(..)
        | DataType::RunEndEncoded(..)
        | DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_) => refused(),
        DataType::FixedSizeBinary(size) if *size <= 0 => refused(),
        // An Arrow stream cannot tell it from no zone.
        DataType::Timestamp(_, Some(zone)) if zone.is_empty() => refused(),
        DataType::FixedSizeList(_, size) if *size <= 0 => refused(),
        DataType::Struct(fields) if fields.is_empty() => refused(),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check_type(field, depth + 1, fields_left)),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => check_type(item, depth + 1, fields_left),
        _ => Ok(()),
    }
}

/// Manifests record a type by Arrow's notation of it. One that the notation does not name exactly, as with a quotation
/// mark in the name of a part, could be written and never be read again.
fn check_notation(data_type: &DataType) -> Result<(), String> {
    let notation = data_type.to_string();
    match notation.parse::<DataType>() {
        Ok(read) if read == *data_type => Ok(()),
        _ => Err(format!(
            "has the type {}, which cannot be recorded: its notation is not exact",
            printable::line(&notation, 100)
        )),
    }
}

/// A name that some source gave: anything printable.
fn source_name(what: &str, name: String) -> Result<String, String> {
    if name.is_empty() || name.len() > SOURCE_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!(
            "{what} is called `{}`, which is not a name",
            printable::line(&name, NAME_BYTES)
        ));
    }
    Ok(name)
}

/// Whether `name` needs no quoting and is safe as a part of a path.
fn is_identifier(name: &str) -> bool {
    name.len() <= WAREHOUSE_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Fields, TimeUnit};
    use arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::sandbox::fuzz::describe;

    fn refusal(data_type: DataType) -> Option<String> {
        let schema = Schema::new(vec![Field::new("c", data_type, true)]);
        let stream = StreamWriter::try_new(Vec::new(), &schema).expect("a schema");
        describe(stream.get_ref()).err()
    }

    #[test]
    fn a_type_that_could_not_be_read_back_from_a_manifest_is_refused() {
        let part = |name: &str| Field::new(name, DataType::Int32, false);
        let structure = |name: &str| DataType::Struct(Fields::from(vec![part(name)]));
        let zoned = |zone: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
        let item = |item: Field| DataType::List(Arc::new(item));
        let noted = part("item").with_metadata([("a".to_owned(), "b".to_owned())].into());
        for honest in [
            structure("a"),
            structure("A b"),
            zoned("UTC"),
            item(part("item")),
            item(part("element")),
        ] {
            assert_eq!(refusal(honest.clone()), None, "{honest}");
        }
        for hostile in [structure("a\", b"), zoned("U\"TC"), item(noted)] {
            let refused =
                refusal(hostile.clone()).unwrap_or_else(|| panic!("{hostile} is accepted"));
            assert!(refused.contains("cannot be recorded"), "{refused}");
        }
    }
}
