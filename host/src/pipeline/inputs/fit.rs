//! Landed rows in the columns and types that a module declared.

use arrow::array::{Array as _, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::InputError;

/// The columns of `schema` out of `batch`, by name. A column that was landed later is NULL before.
pub(in crate::pipeline) fn fit(
    table: &str,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, InputError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| fit_column(table, batch, field))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|cause| {
        let table = table.to_owned();
        InputError::Rows { table, cause }
    })
}

/// The keys of deleted rows, as the module declared them. A key column that deletions do not have would be NULL, and
/// what was deleted would stay.
pub(in crate::pipeline) fn fit_keys(
    table: &str,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, InputError> {
    let mut declared = schema.fields().iter().map(|field| field.name());
    match declared.find(|column| batch.column_by_name(column).is_none()) {
        None => fit(table, batch, schema),
        Some(column) => Err(InputError::Key {
            table: table.to_owned(),
            column: column.clone(),
        }),
    }
}

fn fit_column(table: &str, batch: &RecordBatch, field: &Field) -> Result<ArrayRef, InputError> {
    let (table, column) = (table.to_owned(), field.name().clone());
    let Some(landed) = batch.column_by_name(&column) else {
        if field.is_nullable() {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        }
        return Err(InputError::NoColumn { table, column });
    };
    if !field.is_nullable() && landed.null_count() > 0 {
        return Err(InputError::Null { table, column });
    }
    let declared = field.data_type();
    if landed.data_type() == declared {
        return Ok(landed.clone());
    }
    if !becomes(landed.data_type(), declared) {
        return Err(InputError::Type {
            table,
            column,
            declared: declared.clone(),
            landed: landed.data_type().clone(),
        });
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(landed, declared, &strict).map_err(|cause| InputError::Value {
        table,
        column,
        declared: declared.clone(),
        cause,
    })
}

/// Whether every value of one type that fits another is the same value there, so that a strict cast either
/// keeps it or fails.
fn becomes(landed: &DataType, declared: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64};
    match (landed, declared) {
        (Decimal128(_, from), Decimal128(_, to) | Decimal256(_, to))
        | (Decimal256(_, from), Decimal256(_, to)) => to >= from,
        (Float32, Float64) => true,
        (from, to) => from.is_integer() && to.is_integer(),
    }
}

/// Whether a landed column can be given to a module as `declared`: for the plan.
pub(in crate::pipeline) fn can_become(landed: &DataType, declared: &DataType) -> bool {
    landed == declared || becomes(landed, declared)
}
