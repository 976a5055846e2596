//! Parquet objects in a zone: rows in, one or several immutable objects out, and back.
//!
//! The writer settings are fixed, so that the same rows in the same batches give the same bytes: a replay
//! compares digests. An object is at most [`PART_ROWS`] rows, so that a reader may hold one whole: it
//! checks the digest that the manifest records before it decodes a single byte.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_writer::{AsyncArrowWriter, AsyncFileWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use super::{ObjectWriter, Written, Zone, ZoneError};
use crate::digest::Digest;

/// The name of the writer settings below. A change of any of them is a new name.
pub const WRITER: &str = "parquet-1";

/// Rows in one object. A million rows of a fact are some 20 MB.
pub const PART_ROWS: u64 = 1 << 20;

/// Rows in one row group: large enough to compress, small enough to read a few keys without the rest.
const GROUP_ROWS: usize = 1 << 17;

/// Rows in one batch that a reader gives.
pub const BATCH_ROWS: usize = 8_192;

/// Batches of one or several objects, in order.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, ZoneError>> + Send>>;

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("tidemill {WRITER}"))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}

/// What was written into one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The key of the object.
    pub key: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Writes rows into objects `<prefix>-00000.parquet`, `<prefix>-00001.parquet`, … Without rows there is no
/// object. Dropped before `finish`, it leaves no object but those that were full.
pub struct PartWriter {
    zone: Arc<dyn Zone>,
    prefix: String,
    schema: SchemaRef,
    part_rows: u64,
    open: Option<OpenPart>,
    parts: Vec<Part>,
}

struct OpenPart {
    key: String,
    rows: u64,
    writer: AsyncArrowWriter<ZoneSink>,
}

impl PartWriter {
    /// A writer of rows of `schema` into objects whose keys begin with `prefix`.
    pub fn new(zone: Arc<dyn Zone>, prefix: impl Into<String>, schema: SchemaRef) -> Self {
        Self {
            zone,
            prefix: prefix.into(),
            schema,
            part_rows: PART_ROWS,
            open: None,
            parts: Vec::new(),
        }
    }

    /// The same with objects of at most about `part_rows` rows.
    pub fn with_part_rows(mut self, part_rows: u64) -> Self {
        self.part_rows = part_rows;
        self
    }

    /// The schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        let full: u64 = self.parts.iter().map(|part| part.rows).sum();
        full + self.open.as_ref().map_or(0, |open| open.rows)
    }

    /// Appends a batch, whole into one object.
    ///
    /// # Errors
    /// `Unavailable` when the zone cannot be written; `Conflict` when an object of that key exists.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), ZoneError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin().await?,
        };
        let object = open.key.clone();
        open.writer
            .write(batch)
            .await
            .map_err(|error| from_parquet(&object, error))?;
        open.rows += batch.num_rows() as u64;
        if open.rows >= self.part_rows {
            self.close(open).await?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    /// Makes the last object durable and gives all of them, in order.
    ///
    /// # Errors
    /// As [`PartWriter::write`].
    pub async fn finish(mut self) -> Result<Vec<Part>, ZoneError> {
        if let Some(open) = self.open.take() {
            self.close(open).await?;
        }
        Ok(self.parts)
    }

    async fn begin(&self) -> Result<OpenPart, ZoneError> {
        let key = format!("{}-{:05}.parquet", self.prefix, self.parts.len());
        let sink = ZoneSink::new(self.zone.writer(&key).await?);
        let writer = AsyncArrowWriter::try_new(sink, self.schema.clone(), Some(properties()))
            .map_err(|error| from_parquet(&key, error))?;
        Ok(OpenPart {
            key,
            rows: 0,
            writer,
        })
    }

    async fn close(&mut self, mut open: OpenPart) -> Result<(), ZoneError> {
        let failed = |error| from_parquet(&open.key, error);
        open.writer.finish().await.map_err(failed)?;
        let sink = open.writer.into_inner();
        let written = sink.written.ok_or_else(|| ZoneError::Unavailable {
            action: "create",
            object: open.key.clone(),
            cause: "the Parquet writer ended without completing the object".into(),
        })?;
        self.parts.push(Part {
            key: open.key,
            rows: open.rows,
            bytes: written.bytes,
            sha256: written.sha256,
        });
        Ok(())
    }
}

/// The bytes of a Parquet file on their way into an object, in pieces worth a call.
struct ZoneSink {
    writer: Option<Box<dyn ObjectWriter>>,
    written: Option<Written>,
}

impl ZoneSink {
    fn new(writer: Box<dyn ObjectWriter>) -> Self {
        Self {
            writer: Some(writer),
            written: None,
        }
    }
}

impl AsyncFileWriter for ZoneSink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            match &mut self.writer {
                Some(writer) => writer.write(bytes).await.map_err(into_parquet),
                None => Err(ParquetError::General("the object is complete".into())),
            }
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            if let Some(writer) = self.writer.take() {
                self.written = Some(writer.finish().await.map_err(into_parquet)?);
            }
            Ok(())
        })
    }
}

fn into_parquet(error: ZoneError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A zone's error comes back as itself; anything else is a failure of the encoder.
fn from_parquet(object: &str, error: ParquetError) -> ZoneError {
    let cause: Box<dyn std::error::Error + Send + Sync> = match error {
        ParquetError::External(cause) => match cause.downcast::<ZoneError>() {
            Ok(zone) => return *zone,
            Err(other) => other,
        },
        other => Box::new(other),
    };
    ZoneError::Unavailable {
        action: "create",
        object: object.to_owned(),
        cause,
    }
}

/// Reads a whole object and checks it against its digest.
///
/// # Errors
/// `Data` when it is missing or not what it was.
pub async fn read_verified(zone: &dyn Zone, key: &str, sha256: Digest) -> Result<Bytes, ZoneError> {
    let bytes = zone.read(key).await?;
    let found = {
        let bytes = bytes.clone();
        tokio::task::spawn_blocking(move || Digest::of(&bytes))
            .await
            .map_err(|join| ZoneError::Unavailable {
                action: "read",
                object: key.to_owned(),
                cause: Box::new(join),
            })?
    };
    if found == sha256 {
        return Ok(bytes);
    }
    Err(ZoneError::Damaged {
        object: format!("{}/{key}", zone.url()),
        reason: format!("its sha256 is {} and not {}", found.short(), sha256.short()),
    })
}

/// The rows of Parquet bytes that have been verified, `columns` of them or all.
///
/// # Errors
/// `Data` when they are not Parquet.
pub fn decode(
    object: &str,
    bytes: Bytes,
    columns: Option<&[String]>,
) -> Result<impl Iterator<Item = Result<RecordBatch, ZoneError>> + Send + use<>, ZoneError> {
    let damaged = |reason: String| ZoneError::Damaged {
        object: object.to_owned(),
        reason,
    };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .map_err(|error| damaged(error.to_string()))?
        .with_batch_size(BATCH_ROWS);
    if let Some(columns) = columns {
        let roots = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| columns.contains(field.name()))
            .map(|(index, _)| index)
            .collect::<Vec<_>>();
        let mask = parquet::arrow::ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let reader = builder
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    let object = object.to_owned();
    Ok(reader.map(move |batch| {
        batch.map_err(|error: ArrowError| ZoneError::Damaged {
            object: object.clone(),
            reason: error.to_string(),
        })
    }))
}

/// An object to read: its key and the digest that a manifest records.
pub type Verified = (String, Digest);

/// The rows of several objects, one after the other, each verified as a whole before its first row.
pub fn read(
    zone: Arc<dyn Zone>,
    objects: Vec<Verified>,
    columns: Option<Vec<String>>,
) -> BatchStream {
    stream::iter(objects)
        .then(move |(key, sha256)| {
            let zone = zone.clone();
            let columns = columns.clone();
            async move {
                let bytes = read_verified(zone.as_ref(), &key, sha256).await?;
                let object = format!("{}/{key}", zone.url());
                decode(&object, bytes, columns.as_deref()).map(stream::iter)
            }
        })
        .try_flatten()
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::local::LocalZone;
    use arrow::array::{Array as _, AsArray as _, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    fn rows(ids: std::ops::Range<i32>) -> RecordBatch {
        let names: StringArray = ids
            .clone()
            .map(|n| (n % 3 != 0).then(|| format!("n{n}")))
            .collect();
        let ids = Int32Array::from_iter_values(ids);
        RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
    }

    fn zone() -> (tempfile::TempDir, Arc<dyn Zone>) {
        let folder = tempfile::tempdir().unwrap();
        let zone = Arc::new(LocalZone::new(folder.path()));
        (folder, zone)
    }

    fn verified(parts: &[Part]) -> Vec<Verified> {
        parts.iter().map(|p| (p.key.clone(), p.sha256)).collect()
    }

    #[tokio::test]
    async fn rows_come_back_in_order_over_several_parts() {
        let (_folder, zone) = zone();
        let mut writer = PartWriter::new(zone.clone(), "t/part", schema());
        writer.part_rows = 100;
        for start in (0..1_000).step_by(50) {
            writer.write(&rows(start..start + 50)).await.unwrap();
        }
        let parts = writer.finish().await.unwrap();
        assert_eq!(parts.len(), 10);
        let batches: Vec<_> = read(zone, verified(&parts), None)
            .try_collect()
            .await
            .unwrap();
        let ids: Vec<i32> = batches
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int32Type>().values().to_vec())
            .collect();
        assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_same_rows_give_the_same_bytes() {
        let (_folder, zone) = zone();
        let mut digests = Vec::new();
        for prefix in ["a", "b"] {
            let mut writer = PartWriter::new(zone.clone(), prefix, schema());
            writer.write(&rows(0..500)).await.unwrap();
            digests.push(writer.finish().await.unwrap()[0].sha256);
        }
        assert_eq!(digests[0], digests[1]);
    }

    #[tokio::test]
    async fn without_rows_there_is_no_object() {
        let (_folder, zone) = zone();
        let mut writer = PartWriter::new(zone.clone(), "t", schema());
        writer.write(&rows(0..0)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap(), vec![]);
        assert_eq!(zone.list("").await.unwrap(), vec![]);
    }

    #[tokio::test]
    async fn a_damaged_object_is_refused_before_it_is_decoded() {
        let (folder, zone) = zone();
        let mut writer = PartWriter::new(zone.clone(), "t", schema());
        writer.write(&rows(0..500)).await.unwrap();
        let parts = writer.finish().await.unwrap();
        let path = folder.path().join(&parts[0].key);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let read: Result<Vec<_>, _> = read(zone, verified(&parts), None).try_collect().await;
        assert!(matches!(read, Err(ZoneError::Damaged { .. })));
    }

    #[tokio::test]
    async fn only_the_columns_that_were_asked_for_are_read() {
        let (_folder, zone) = zone();
        let mut writer = PartWriter::new(zone.clone(), "t", schema());
        writer.write(&rows(0..5)).await.unwrap();
        let parts = writer.finish().await.unwrap();
        let columns = Some(vec!["name".to_owned()]);
        let batches: Vec<_> = read(zone, verified(&parts), columns)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(batches[0].num_columns(), 1);
        assert_eq!(batches[0].column(0).null_count(), 2);
    }
}
