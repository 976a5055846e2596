//! Writing: new data files of a table, and old ones written again without some of their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, kernels::zip::zip};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use deltalake::DeltaTableError;
use deltalake::kernel::Add;
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use futures::StreamExt as _;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns;
use super::data_file::DataFile;
use super::layout::{IS_CURRENT, VALID_TO};

/// Files are closed when they reach this. Large enough that a fact of a hundred million rows has some
/// hundred files, small enough that rewriting one for a changed row stays under a second.
pub(super) const TARGET_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Rows of a row group: the unit that a lookup by key reads or skips.
const ROW_GROUP_ROWS: usize = 65_536;

/// A file that could not be written, or one that could not be read to be written again.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot write a data file")]
    Delta(#[from] DeltaTableError),
    #[error("the rows do not fit the table")]
    Rows(#[from] ArrowError),
    #[error("cannot open {}", .path.display())]
    Open {
        path: std::path::PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot read a data file")]
    Read(#[from] parquet::errors::ParquetError),
}

/// Writes rows into new data files of one table. Files that are not committed are never seen.
pub(super) struct Writer {
    files: RecordBatchWriter,
    schema: Arc<Schema>,
}

impl Writer {
    /// A writer into the table at `url`, whose columns are `schema`. No file is made before the first row.
    pub(super) fn new(url: &url::Url, schema: &Schema) -> Result<Self, WriteError> {
        let schema = columns::plain(schema);
        let files = RecordBatchWriter::try_new(url.as_str(), Arc::clone(&schema), None, None)?
            .with_target_file_size(TARGET_FILE_BYTES)
            .with_writer_properties(properties(&schema)?);
        Ok(Self { files, schema })
    }

    /// Writes complete rows.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<(), WriteError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())?;
        Ok(self.files.write(rows).await?)
    }

    /// Writes the rows of `file` again, those of `marked` treated as `marks` says.
    pub(super) async fn rewrite(
        &mut self,
        file: &DataFile,
        marked: &BooleanBuffer,
        marks: Marks,
    ) -> Result<(), WriteError> {
        let handle = tokio::fs::File::open(&file.path).await;
        let handle = handle.map_err(|cause| WriteError::Open {
            path: file.path.clone(),
            cause,
        })?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut batches = ParquetRecordBatchStreamBuilder::new_with_options(handle, options)
            .await?
            .build()?;
        let mut first = 0;
        while let Some(batch) = batches.next().await {
            let batch = columns::conform(&batch?, &self.schema)?;
            let marked = marked.slice(first, batch.num_rows());
            first += batch.num_rows();
            self.write(marks.apply(&batch, marked)?).await?;
        }
        Ok(())
    }

    /// The files written.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>, WriteError> {
        let mut files = self.files.flush().await?;
        for file in &mut files {
            file.stats = file.stats.take().map(|stats| exact(stats, &self.schema));
        }
        Ok(files)
    }
}

/// The statistics of a file without the smallest and largest values of columns where they are not exact.
///
/// Decimals stand in Delta's log as floating point, and times are cut to milliseconds: a reader that skips files by
/// such a range would miss rows. The Parquet files have them exactly.
fn exact(stats: String, schema: &Schema) -> String {
    let Ok(mut said) = serde_json::from_str::<serde_json::Value>(&stats) else {
        return stats;
    };
    for range in ["minValues", "maxValues"] {
        let Some(values) = said
            .get_mut(range)
            .and_then(|values| values.as_object_mut())
        else {
            continue;
        };
        values.retain(|name, _| {
            let field = schema.field_with_name(name);
            field.is_ok_and(|field| has_exact_range(field.data_type()))
        });
    }
    said.to_string()
}

fn has_exact_range(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Date32 | DataType::Utf8
        )
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

fn properties(schema: &Schema) -> Result<WriterProperties, WriteError> {
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
