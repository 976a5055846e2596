//! Chunks: a stream of rows in pieces that are large enough to look up and small enough to hold.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;

use super::columns;
use crate::warehouse::{BatchStream, WarehouseError};

/// Rows that are looked up together. Every lookup walks the files of the table, so larger is faster; a row
/// costs about 200 bytes here, so this is some 30 MiB.
const CHUNK_ROWS: usize = 131_072;

/// Bytes after which a chunk is cut although it has fewer rows: rows with texts of megabytes must not multiply the
/// memory of a run, nor reach the 2 GiB that a column of texts can hold.
const CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// The rows of a stream, in stored types.
pub(super) struct Chunks {
    table: String,
    schema: SchemaRef,
    batches: BatchStream,
}

impl Chunks {
    /// The columns `schema` of `batches`.
    pub(super) fn of(table: &str, schema: SchemaRef, batches: BatchStream) -> Self {
        Self {
            table: table.to_owned(),
            schema,
            batches,
        }
    }

    /// The next rows; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        let mut pending = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < CHUNK_ROWS
            && bytes < CHUNK_BYTES
            && let Some(batch) = self.batches.next().await
        {
            let batch = batch.map_err(|cause| WarehouseError::Rows {
                table: self.table.clone(),
                cause: Box::new(cause),
            })?;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            let batch = columns::conform(&batch, &self.schema).map_err(|e| self.unfit(&e))?;
            pending.push(batch);
        }
        if rows == 0 {
            return Ok(None);
        }
        let chunk = concat_batches(&self.schema, &pending).map_err(|e| self.unfit(&e))?;
        Ok(Some(chunk))
    }

    fn unfit(&self, cause: &arrow::error::ArrowError) -> WarehouseError {
        WarehouseError::Table {
            table: self.table.clone(),
            problem: format!("cannot hold the rows: {cause}"),
        }
    }
}
