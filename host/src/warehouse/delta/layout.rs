//! Layout: the columns of one table, ours and the output's, and how a batch of rows gets them.
//!
//! ```text
//! append-versions   <record id>, columns of the output,                                        provenance
//! upsert, overwrite              columns of the output,                                        provenance
//! scd2                           columns of the output, _valid_from, _valid_to, _is_current,   provenance
//! <table>_ended     <record id>,                                                               provenance
//!
//! provenance        _tidemill_run, _tidemill_module, _tidemill_digest,
//!                   _tidemill_source, _tidemill_landing, _tidemill_logical_time
//! ```
//!
//! The provenance of an ended version is that of the retraction that ended it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::columns;
use crate::contract::{LoadMode, ModuleRef};
use crate::run::RunId;
use crate::warehouse::{TableLoad, WarehouseError};

const RUN: &str = "_tidemill_run";
const MODULE: &str = "_tidemill_module";
const DIGEST: &str = "_tidemill_digest";
const SOURCE: &str = "_tidemill_source";
const LANDING: &str = "_tidemill_landing";
const LOGICAL_TIME: &str = "_tidemill_logical_time";
const VALID_FROM: &str = "_valid_from";
pub(super) const VALID_TO: &str = "_valid_to";
pub(super) const IS_CURRENT: &str = "_is_current";

/// The columns of one table of the warehouse, in stored types.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The table.
    pub(super) table: String,
    /// How it is loaded.
    pub(super) mode: LoadMode,
    /// The columns that identify a row, in key order.
    pub(super) key: Vec<String>,
    /// The serial column: `append-versions` only.
    pub(super) record_id: Option<String>,
    /// The columns of the output.
    pub(super) output: SchemaRef,
    /// All columns.
    pub(super) schema: SchemaRef,
    /// Whether the table as published lacks some of them.
    pub(super) evolved: bool,
}

/// Which code made rows, out of what.
#[derive(Debug, Clone)]
pub(super) struct Provenance {
    pub(super) run: RunId,
    pub(super) module: ModuleRef,
    pub(super) source: String,
    pub(super) landing: i64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) logical_time: i64,
}

/// The serial column of `load`'s table.
pub(super) fn record_id(load: &TableLoad) -> Option<String> {
    (load.mode == LoadMode::AppendVersions).then(|| {
        load.record_id
            .clone()
            .unwrap_or_else(|| format!("{}_record_id", load.table))
    })
}

/// Whether a column is the warehouse's own, whatever the table.
pub(super) fn is_ours(column: &str) -> bool {
    column.starts_with("_tidemill_") || [VALID_FROM, VALID_TO, IS_CURRENT].contains(&column)
}

impl Layout {
    /// The layout of the table that `load` loads, where `published` has the columns it has so far, and
    /// what a person should know about the difference.
    ///
    /// # Errors
    /// `Table` when the rows do not fit the table.
    pub(super) fn of(
        load: &TableLoad,
        published: Option<&Schema>,
    ) -> Result<(Self, Vec<String>), WarehouseError> {
        let record_id = record_id(load);
        let refused = |problem: String| WarehouseError::Table {
            table: load.table.clone(),
            problem,
        };
        let rows = stored_columns(load, record_id.as_deref()).map_err(refused)?;
        let (output, notes, evolved) = match published {
            None => (rows, Vec::new(), false),
            Some(published) => {
                let table = output_columns(published, record_id.as_deref());
                let (output, notes) = merge(&table, &rows).map_err(refused)?;
                let evolved = output.len() > table.len();
                (output, notes, evolved)
            }
        };
        let layout = Self {
            table: load.table.clone(),
            mode: load.mode,
            key: load.primary_key.clone(),
            schema: all_columns(&output, record_id.as_deref(), load.mode),
            output: Arc::new(Schema::new(output)),
            record_id,
            evolved,
        };
        Ok((layout, notes))
    }

    /// The layout of the table beside an `append-versions` table that says which versions were ended.
    pub(super) fn ended(table: &str, record_id: &str) -> Self {
        let output = [Field::new(record_id, DataType::Int64, false)];
        Self {
            table: format!("{table}_ended"),
            mode: LoadMode::Upsert,
            key: vec![record_id.to_owned()],
            record_id: None,
            schema: all_columns(&output, None, LoadMode::Upsert),
            output: Arc::new(Schema::new(output.to_vec())),
            evolved: false,
        }
    }

    /// The columns besides the key: a row differs when one of them does.
    pub(super) fn compared(&self) -> Vec<String> {
        self.output
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .filter(|name| !self.key.contains(name))
            .collect()
    }

    /// The schema of the key columns, in key order.
    pub(super) fn key_schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self
            .key
            .iter()
            .filter_map(|name| self.output.fields().find(name).map(|(_, field)| field))
            .cloned()
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Rows of the output with the columns that the warehouse adds. `first_id` numbers them.
    pub(super) fn complete(
        &self,
        rows: &RecordBatch,
        first_id: i64,
        made_by: &Provenance,
    ) -> Result<RecordBatch, ArrowError> {
        let count = rows.num_rows();
        let text = |value: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                value, count,
            )))
        };
        let time = || -> ArrayRef {
            let times = TimestampMicrosecondArray::from_value(made_by.logical_time, count);
            Arc::new(times.with_timezone("UTC"))
        };
        let module = format!("{}@{}", made_by.module.name, made_by.module.version);
        let columns = self.schema.fields().iter().map(|field| {
            Ok(match field.name().as_str() {
                RUN => text(made_by.run.as_str()),
                MODULE => text(&module),
                DIGEST => text(&made_by.module.digest.to_string()),
                SOURCE => text(&made_by.source),
                LANDING => Arc::new(Int64Array::from_value(made_by.landing, count)),
                LOGICAL_TIME | VALID_FROM => time(),
                VALID_TO => new_null_array(field.data_type(), count),
                IS_CURRENT => Arc::new(BooleanArray::from(vec![true; count])),
                name if Some(name) == self.record_id.as_deref() => {
                    Arc::new(Int64Array::from_iter_values((first_id..).take(count)))
                }
                name => Arc::clone(rows.column_by_name(name).ok_or_else(|| {
                    ArrowError::SchemaError(format!("there is no column {name}"))
                })?),
            })
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_new(columns::plain(&self.schema), columns)
    }
}

/// The columns of a table that come from the output.
pub(super) fn output_columns(table: &Schema, record_id: Option<&str>) -> Vec<Field> {
    table
        .fields()
        .iter()
        .filter(|field| !is_ours(field.name()) && Some(field.name().as_str()) != record_id)
        .map(|field| field.as_ref().clone())
        .collect()
}

fn stored_columns(load: &TableLoad, record_id: Option<&str>) -> Result<Vec<Field>, String> {
    if load.primary_key.is_empty() && load.mode != LoadMode::Overwrite {
        return Err("is given rows that have no key".into());
    }
    if let Some(missing) = load
        .primary_key
        .iter()
        .find(|name| load.schema.field_with_name(name).is_err())
    {
        return Err(format!(
            "is given rows without the column {missing} of its key"
        ));
    }
    load.schema
        .fields()
        .iter()
        .map(|field| {
            let name = field.name();
            if is_ours(name) || Some(name.as_str()) == record_id {
                return Err(format!(
                    "is given the column {name}, which is a column of the warehouse's own"
                ));
            }
            columns::stored(field).ok_or_else(|| {
                format!(
                    "is given the column {name} of type {}, which a Delta table cannot hold",
                    field.data_type()
                )
            })
        })
        .collect()
}

/// The table's columns and the new ones of the rows, which must be nullable: old rows have none.
fn merge(table: &[Field], rows: &[Field]) -> Result<(Vec<Field>, Vec<String>), String> {
    let mut merged = table.to_vec();
    let mut notes = Vec::new();
    for field in table {
        let name = field.name();
        match rows.iter().find(|row| row.name() == name) {
            None if field.is_nullable() => {
                notes.push(format!("the rows have no column {name}; NULL was written"));
            }
            None => {
                return Err(format!(
                    "has the column {name}, which may not be NULL and which the rows do not have"
                ));
            }
            Some(row) if columns::declared(row) != columns::declared(field) => {
                return Err(format!(
                    "has the column {name} as {}, and the rows have it as {}",
                    columns::declared(field),
                    columns::declared(row)
                ));
            }
            Some(row) if row.is_nullable() && !field.is_nullable() => {
                return Err(format!(
                    "has the column {name}, which may not be NULL, and in the rows it may"
                ));
            }
            Some(_) => {}
        }
    }
    for row in rows {
        if table.iter().any(|field| field.name() == row.name()) {
            continue;
        }
        if !row.is_nullable() {
            return Err(format!(
                "does not have the column {} of the rows, which may not be NULL",
                row.name()
            ));
        }
        notes.push(format!("the column {} was added", row.name()));
        merged.push(row.clone());
    }
    Ok((merged, notes))
}

fn all_columns(output: &[Field], record_id: Option<&str>, mode: LoadMode) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::with_capacity(output.len() + 8);
    fields.extend(record_id.map(|name| Field::new(name, DataType::Int64, false)));
    fields.extend(output.iter().cloned());
    if mode == LoadMode::Scd2 {
        fields.push(Field::new(VALID_FROM, instant(), false));
        fields.push(Field::new(VALID_TO, instant(), true));
        fields.push(Field::new(IS_CURRENT, DataType::Boolean, false));
    }
    for name in [RUN, MODULE, DIGEST, SOURCE] {
        fields.push(Field::new(name, DataType::Utf8, false));
    }
    fields.push(Field::new(LANDING, DataType::Int64, false));
    fields.push(Field::new(LOGICAL_TIME, instant(), false));
    Arc::new(Schema::new(fields))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
