//! Batches as people and programs read them: an aligned table, CSV, JSON or Parquet.
//!
//! Rows are written as they arrive, except for the table, whose widths need all of them.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;
use futures::{Stream, StreamExt as _};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::value::RawValue;

use crate::error::{Classify, ErrorKind};
use crate::printable;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns, for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One array of objects, NULL written as null.
    Json,
    /// Parquet with zstd.
    Parquet,
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file or the pipe refused.
    #[error("cannot write the rows")]
    Write(#[source] std::io::Error),
    /// A column's type has no form in this format.
    #[error("the rows cannot be written as {format}")]
    Encode {
        /// The format.
        format: &'static str,
        /// The encoder's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classify for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Write(_) => ErrorKind::Unavailable,
            Self::Encode { .. } => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write(_) => Some("check that there is space and that you may write there".into()),
            Self::Encode { .. } => {
                Some("choose another format, or cast the column in the query".into())
            }
        }
    }
}

/// Writes all batches and gives the number of rows.
///
/// # Errors
/// An error of the batches themselves, or [`ExportError`].
pub async fn write(
    format: Format,
    schema: SchemaRef,
    mut batches: impl Stream<Item = crate::Result<RecordBatch>> + Unpin,
    out: &mut (dyn Write + Send),
) -> crate::Result<u64> {
    let mut encoder = Encoder::new(format, schema, out)?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        encoder.write(batch)?;
    }
    encoder.finish()?;
    Ok(rows)
}

/// The batches as one JSON array, every number with all its digits: a decimal never becomes a float.
///
/// # Errors
/// [`ExportError::Encode`] when a type has no form in JSON.
pub fn json(batches: &[RecordBatch]) -> Result<Box<RawValue>, ExportError> {
    let failed = |cause: ArrowError| encode("JSON", cause);
    let mut text = Vec::new();
    let mut writer = json_writer(&mut text);
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    drop(writer);
    if text.is_empty() {
        text.extend(b"[]");
    }
    serde_json::from_slice(&text).map_err(|cause| encode("JSON", cause))
}

/// The batches as an aligned table. What would do something to a terminal is escaped.
///
/// # Errors
/// [`ExportError::Encode`] when a value cannot be shown.
pub fn table(schema: SchemaRef, batches: &[RecordBatch]) -> Result<String, ExportError> {
    let shown: Result<Vec<_>, ArrowError> = batches.iter().map(shown).collect();
    let header = shown_schema(&schema);
    shown
        .and_then(|shown| pretty_format_batches_with_schema(header, &shown))
        .map(|table| table.to_string())
        .map_err(|cause| encode("a table", cause))
}

/// Every value as the text that a table shows.
fn shown(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| {
        let values = ArrayFormatter::try_new(column, &options)?;
        let rows = 0..column.len();
        let texts = rows.map(|row| printable::whole(&values.value(row).to_string()));
        Ok(Arc::new(texts.map(Some).collect::<StringArray>()) as ArrayRef)
    });
    RecordBatch::try_new_with_options(
        shown_schema(batch.schema_ref()),
        columns.collect::<Result<_, ArrowError>>()?,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

fn shown_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|f| Field::new(printable::whole(f.name()), DataType::Utf8, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

type JsonWriter<W> = arrow::json::Writer<W, arrow::json::writer::JsonArray>;

fn json_writer<W: Write>(out: W) -> JsonWriter<W> {
    arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build(out)
}

fn encode(
    format: &'static str,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> ExportError {
    ExportError::Encode {
        format,
        cause: Box::new(cause),
    }
}

enum Encoder<'w> {
    Table {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        out: &'w mut (dyn Write + Send),
    },
    Csv(
        Box<arrow::csv::Writer<&'w mut (dyn Write + Send)>>,
        SchemaRef,
        u64,
    ),
    Json(JsonWriter<&'w mut (dyn Write + Send)>, u64),
    Parquet(Box<ArrowWriter<&'w mut (dyn Write + Send)>>),
}

impl<'w> Encoder<'w> {
    fn new(
        format: Format,
        schema: SchemaRef,
        out: &'w mut (dyn Write + Send),
    ) -> Result<Self, ExportError> {
        Ok(match format {
            Format::Table => Self::Table {
                schema,
                batches: Vec::new(),
                out,
            },
            Format::Csv => Self::Csv(Box::new(arrow::csv::Writer::new(out)), schema, 0),
            Format::Json => Self::Json(json_writer(out), 0),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(out, schema, Some(properties));
                Self::Parquet(Box::new(writer.map_err(parquet_failed)?))
            }
        })
    }

    fn write(&mut self, batch: RecordBatch) -> Result<(), ExportError> {
        match self {
            Self::Table { batches, .. } => {
                batches.push(batch);
                Ok(())
            }
            Self::Csv(writer, _, rows) => {
                *rows += batch.num_rows() as u64;
                writer
                    .write(&batch)
                    .map_err(|cause| arrow_failed("CSV", cause))
            }
            Self::Json(writer, rows) => {
                *rows += batch.num_rows() as u64;
                writer
                    .write(&batch)
                    .map_err(|cause| arrow_failed("JSON", cause))
            }
            Self::Parquet(writer) => writer.write(&batch).map_err(parquet_failed),
        }
    }

    fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Table {
                schema,
                batches,
                out,
            } => writeln!(out, "{}", table(schema, &batches)?).map_err(ExportError::Write),
            Self::Csv(mut writer, schema, rows) => {
                if rows == 0 {
                    // The header comes with the first batch, and an empty result has its columns too.
                    let empty = RecordBatch::new_empty(schema);
                    writer
                        .write(&empty)
                        .map_err(|cause| arrow_failed("CSV", cause))?;
                }
                writer.into_inner().flush().map_err(ExportError::Write)
            }
            Self::Json(mut writer, rows) => {
                if rows > 0 {
                    writer
                        .finish()
                        .map_err(|cause| arrow_failed("JSON", cause))?;
                }
                let out = writer.into_inner();
                let end = if rows > 0 { "\n" } else { "[]\n" };
                out.write_all(end.as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(ExportError::Write)
            }
            Self::Parquet(writer) => writer.close().map(drop).map_err(parquet_failed),
        }
    }
}

/// What a writer of Arrow says; a closed pipe is the pipe's own error.
fn arrow_failed(format: &'static str, cause: ArrowError) -> ExportError {
    match cause {
        ArrowError::IoError(_, cause) => ExportError::Write(cause),
        cause => encode(format, cause),
    }
}

fn parquet_failed(cause: ParquetError) -> ExportError {
    match cause {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(cause) => ExportError::Write(*cause),
            Err(cause) => ExportError::Encode {
                format: "Parquet",
                cause,
            },
        },
        cause => encode("Parquet", cause),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int32Array};
    use futures::stream;

    use super::*;

    fn batch() -> RecordBatch {
        let money = Decimal128Array::from(vec![Some(1_050), None])
            .with_precision_and_scale(10, 2)
            .expect("a decimal");
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("money", DataType::Decimal128(10, 2), true),
        ]);
        let columns: Vec<Arc<dyn arrow::array::Array>> = vec![
            Arc::new(Int32Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("O'Keefe, \"A\""), None])),
            Arc::new(money),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("a batch")
    }

    async fn written(format: Format, batches: Vec<RecordBatch>) -> Vec<u8> {
        let mut out = Vec::new();
        let batches = stream::iter(batches.into_iter().map(Ok));
        write(format, batch().schema(), batches, &mut out)
            .await
            .expect("rows are written");
        out
    }

    async fn text(format: Format, batches: Vec<RecordBatch>) -> String {
        String::from_utf8(written(format, batches).await).expect("text")
    }

    #[tokio::test]
    async fn csv_quotes_what_needs_it() {
        assert_eq!(
            text(Format::Csv, vec![batch()]).await,
            "id,name,money\n1,\"O'Keefe, \"\"A\"\"\",10.50\n2,,\n"
        );
    }

    #[tokio::test]
    async fn a_table_shows_no_value_that_moves_the_cursor() {
        let hostile: ArrayRef = Arc::new(StringArray::from(vec![Some("\x1b[2J\r\u{202e}x"), None]));
        let lists: ArrayRef = Arc::new(arrow::array::ListArray::new(
            Field::new_list_field(DataType::Utf8, true).into(),
            arrow::buffer::OffsetBuffer::from_lengths([1, 1]),
            hostile.clone(),
            None,
        ));
        let columns = [("a\u{7}", hostile), ("lists", lists)];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let table = table(batch.schema(), &[batch]).expect("a table");
        assert!(
            !table.contains(|c: char| c.is_control() && c != '\n'),
            "{table}"
        );
        assert!(table.contains(r"| \u{1b}[2J\r\u{202e}x |"), "{table}");
        assert!(table.contains(r"[\u{1b}[2J"), "{table}");
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[tokio::test]
    async fn json_is_one_array_with_nulls() {
        let text = text(Format::Json, vec![batch(), batch()]).await;
        let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(rows.as_array().map(Vec::len), Some(4));
        assert_eq!(rows[1]["name"], serde_json::Value::Null);
        assert!(text.contains(r#""money":10.50"#), "{text}");
    }

    #[test]
    fn json_at_hand_keeps_the_digits_of_a_decimal() {
        let json = json(&[batch()]).expect("JSON");
        assert!(json.get().contains(r#""money":10.50"#), "{json}");
        let none = super::json(&[]).expect("JSON");
        assert_eq!(none.get(), "[]");
    }

    #[tokio::test]
    async fn no_rows_are_still_a_document() {
        assert_eq!(text(Format::Json, vec![]).await, "[]\n");
        assert_eq!(text(Format::Csv, vec![]).await, "id,name,money\n");
        assert!(
            text(Format::Table, vec![])
                .await
                .contains("| id | name | money |")
        );
    }

    #[tokio::test]
    async fn parquet_comes_back_as_it_was() {
        let bytes = bytes::Bytes::from(written(Format::Parquet, vec![batch()]).await);
        let mut reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|builder| builder.build())
                .expect("a Parquet file");
        assert_eq!(reader.next().and_then(Result::ok), Some(batch()));
    }

    #[tokio::test]
    async fn a_closed_pipe_is_the_pipes_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        for format in [Format::Table, Format::Csv, Format::Json] {
            let batches = stream::iter([Ok(batch())]);
            let error = write(format, batch().schema(), batches, &mut Closed)
                .await
                .expect_err("the pipe is closed");
            assert!(
                matches!(
                    error.downcast_ref::<ExportError>(),
                    Some(ExportError::Write(_))
                ),
                "{format:?}: {error}"
            );
        }
    }
}
