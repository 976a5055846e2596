//! Writing: new data files of a table, and old ones written again without some of their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, kernels::zip::zip};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use deltalake::kernel::Add;
use futures::StreamExt as _;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns;
use super::data_file::DataFile;
use super::file_writer::{FileWriter, Finished, KeepError};
use super::input::RowsError;
use super::layout::{IS_CURRENT, VALID_TO};
use super::location::Location;

/// Files are closed when they reach this. Large enough that a fact of a hundred million rows has some
/// hundred files, small enough that rewriting one for a changed row stays under a second.
pub(super) const TARGET_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Rows of a row group: the unit that a lookup by key reads or skips.
const ROW_GROUP_ROWS: usize = 65_536;

/// A file that could not be written, or one that could not be read to be written again.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot write a data file")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot write a data file")]
    Keep(#[from] KeepError),
    #[error("the rows do not fit the table")]
    Rows(#[from] ArrowError),
    #[error("cannot open {file}")]
    Open {
        file: Location,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot read a data file")]
    Read(#[from] ParquetError),
}

/// Writes rows into new data files of one table. Files that are not committed are never seen, and what a writer has
/// written to a disk is removed with it unless it is finished.
pub(super) struct Writer {
    table: Location,
    schema: SchemaRef,
    properties: WriterProperties,
    open: Option<FileWriter>,
    full: Vec<Finished>,
}

impl Writer {
    /// A writer into the place of a table with the columns `schema`. No file is made before the first row.
    pub(super) fn new(table: &Location, schema: &Schema) -> Result<Self, WriteError> {
        let schema = columns::plain(schema);
        Ok(Self {
            table: table.clone(),
            properties: properties(&schema).map_err(unwritten)?,
            schema,
            open: None,
            full: Vec::new(),
        })
    }

    /// Writes complete rows.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())?;
        let (open, table) = (self.open.take(), self.table.clone());
        let (schema, properties) = (self.schema.clone(), self.properties.clone());
        let written = blocking(move || {
            let mut file = match open {
                Some(file) => file,
                None => FileWriter::create(&table, &schema, &properties)?,
            };
            file.write(&rows)?;
            Ok(match file.bytes() >= TARGET_FILE_BYTES {
                true => Written::Full(file.finish()?),
                false => Written::Open(file),
            })
        });
        match written.await.map_err(unwritten)? {
            Written::Open(file) => self.open = Some(file),
            Written::Full(mut file) => {
                file.send().await.map_err(KeepError::from)?;
                self.full.push(file);
            }
        }
        Ok(())
    }

    /// Writes the rows of `file` again, those of `marked` treated as `marks` says.
    pub(super) async fn rewrite(
        &mut self,
        file: &DataFile,
        marked: &BooleanBuffer,
        marks: Marks,
    ) -> Result<(), WriteError> {
        let mut batches = file.source.rows().await.map_err(|error| match error {
            RowsError::Open(cause) => WriteError::Open {
                file: file.source.place.clone(),
                cause,
            },
            RowsError::Read(cause) => WriteError::Read(cause),
        })?;
        let mut first = 0;
        while let Some(batch) = batches.next().await {
            let batch = columns::conform(&batch?, &self.schema)?;
            let marked = marked.slice(first, batch.num_rows());
            first += batch.num_rows();
            self.write(marks.apply(&batch, marked)?).await?;
        }
        Ok(())
    }

    /// What Delta's log says of the files written.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>, WriteError> {
        if let Some(file) = self.open.take() {
            let file = blocking(move || file.finish()).await;
            self.full.push(file.map_err(unwritten)?);
        }
        let mut kept = Vec::with_capacity(self.full.len());
        for file in self.full {
            kept.push(file.keep().await?);
        }
        Ok(kept)
    }
}

/// What the disk said, without the words of the one who passed it on.
fn unwritten(cause: ParquetError) -> WriteError {
    WriteError::Write(match cause {
        ParquetError::External(cause) => cause,
        other => other.into(),
    })
}

/// A file after rows were added to it.
enum Written {
    Open(FileWriter),
    Full(Finished),
}

/// Encoding and writing to the disk take too long for a thread that others wait for.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T, ParquetError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(ParquetError::External(panic.into())))
}

/// What marked rows of a file are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Marks {
    /// Gone.
    Removed,
    /// Valid until this instant, in microseconds since 1970-01-01T00:00:00Z.
    Closed(i64),
}

impl Marks {
    fn apply(self, rows: &RecordBatch, marked: BooleanBuffer) -> Result<RecordBatch, ArrowError> {
        match self {
            Self::Removed => filter_record_batch(rows, &BooleanArray::new(!&marked, None)),
            Self::Closed(until) => close(rows, &BooleanArray::new(marked, None), until),
        }
    }
}

fn close(rows: &RecordBatch, marked: &BooleanArray, until: i64) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            let closed: ArrayRef = match field.name().as_str() {
                VALID_TO => {
                    let until = TimestampMicrosecondArray::from_value(until, column.len());
                    Arc::new(until.with_timezone("UTC"))
                }
                IS_CURRENT => Arc::new(BooleanArray::from(vec![false; column.len()])),
                _ => return Ok(Arc::clone(column)),
            };
            zip(marked, &closed, column)
        });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<Vec<_>, _>>()?)
}

/// Positions in one file.
#[derive(Debug)]
pub(super) struct Positions {
    bits: BooleanBufferBuilder,
    count: usize,
}

impl Positions {
    /// No position of a file of `rows` rows.
    pub(super) fn none(rows: usize) -> Self {
        let mut bits = BooleanBufferBuilder::new(rows);
        bits.append_n(rows, false);
        Self { bits, count: 0 }
    }

    /// Adds one. A position past the end cannot come from a lookup and is ignored.
    pub(super) fn insert(&mut self, row: usize) {
        if row < self.bits.len() && !self.bits.get_bit(row) {
            self.bits.set_bit(row, true);
            self.count += 1;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn rows(&self) -> usize {
        self.bits.len()
    }

    /// The positions that are not among these.
    pub(super) fn inverted(mut self) -> Self {
        let rows = self.bits.len();
        let mut bits = BooleanBufferBuilder::new(rows);
        bits.append_buffer(&!&self.bits.finish());
        Self {
            bits,
            count: rows - self.count,
        }
    }

    pub(super) fn into_bits(mut self) -> BooleanBuffer {
        self.bits.finish()
    }
}

fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for field in schema.fields() {
        // The range of Parquet leaves NaN out, and a reader that skips row groups by it would miss one.
        if field.data_type().is_floating() {
            let column = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}
