//! Writing: rows into objects of bounded size.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use parquet::errors::ParquetError;
use tokio::task::{JoinError, JoinSet};

use super::super::{ObjectWriter, Zone, ZoneError};
use super::encode::Encoder;
use super::{PART_ROWS, Settings};
use crate::digest::Digest;

/// Objects that are made durable while the next is written. It is the disk that is waited for, and an object is some
/// 10 to 30 MB of dirty memory until it has it.
const CLOSING: usize = 2;
/// Objects up to this size are kept, where they are: each is held in memory until it is.
const KEPT: usize = 4 << 20;

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
    settings: Settings,
    part_rows: u64,
    /// Whether objects are kept on this machine as well.
    keeps: bool,
    open: Option<OpenPart>,
    /// Objects that are full and become durable, as tasks that end with this writer.
    closing: JoinSet<Result<Part, ZoneError>>,
    /// Those that are, in no order.
    parts: Vec<Part>,
    /// Objects that were begun, and rows that were written.
    begun: usize,
    rows: u64,
}

struct OpenPart {
    key: String,
    rows: u64,
    encoder: Encoder,
    sink: Box<dyn ObjectWriter>,
    copy: Option<Copied>,
}

/// The bytes of an object that is to be kept, as long as it is small.
struct Copied {
    zone: Arc<dyn Zone>,
    bytes: BytesMut,
}

impl Copied {
    /// The same with more bytes; nothing where they are too many by now.
    fn with(mut self, bytes: &[u8]) -> Option<Self> {
        self.bytes.extend_from_slice(bytes);
        (self.bytes.len() <= KEPT).then_some(self)
    }
}

impl PartWriter {
    /// A writer of rows of `schema` into objects whose keys begin with `prefix`.
    pub fn new(zone: Arc<dyn Zone>, prefix: impl Into<String>, schema: SchemaRef) -> Self {
        Self {
            zone,
            prefix: prefix.into(),
            schema,
            settings: Settings::default(),
            part_rows: PART_ROWS,
            keeps: false,
            open: None,
            closing: JoinSet::new(),
            parts: Vec::new(),
            begun: 0,
            rows: 0,
        }
    }

    /// The same with objects of at most about `part_rows` rows.
    pub fn with_part_rows(mut self, part_rows: u64) -> Self {
        self.part_rows = part_rows;
        self
    }

    /// The same with the settings that something was written with before.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The same, which keeps small objects on this machine too, where the zone is far: for what the next run will read.
    pub fn keeping(mut self) -> Self {
        self.keeps = self.zone.kept().is_some();
        self
    }

    /// The schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a batch, whole into one object. It may be encoded and made durable after this returns; what fails
    /// then is told by a later call.
    ///
    /// # Errors
    /// `Unavailable` when the zone cannot be written; `Conflict` when an object of that key exists.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), ZoneError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(batch).await?,
        };
        let full = open.encoder.write(batch).await;
        if let Some(bytes) = full.map_err(|error| not_encoded(&open.key, error))? {
            open.write(bytes).await?;
        }
        open.rows += batch.num_rows() as u64;
        self.rows += batch.num_rows() as u64;
        if open.rows >= self.part_rows {
            self.close(open).await?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    /// Makes every object durable and gives all of them, in order.
    ///
    /// # Errors
    /// As [`PartWriter::write`].
    pub async fn finish(mut self) -> Result<Vec<Part>, ZoneError> {
        if let Some(open) = self.open.take() {
            self.parts.push(open.close().await?);
        }
        while let Some(closed) = self.closing.join_next().await {
            self.closed(closed)?;
        }
        self.parts.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(self.parts)
    }

    async fn begin(&mut self, first: &RecordBatch) -> Result<OpenPart, ZoneError> {
        let key = format!("{}-{:05}.parquet", self.prefix, self.begun);
        self.begun += 1;
        let encoder = Encoder::new(self.schema.clone(), self.settings.properties(first))
            .map_err(|error| not_encoded(&key, error))?;
        Ok(OpenPart {
            sink: self.zone.writer(&key).await?,
            key,
            rows: 0,
            encoder,
            copy: self.keeps.then(|| Copied {
                zone: self.zone.clone(),
                bytes: BytesMut::new(),
            }),
        })
    }

    /// Begins to make an object durable, when few enough are on the way.
    async fn close(&mut self, open: OpenPart) -> Result<(), ZoneError> {
        while self.closing.len() >= CLOSING
            && let Some(closed) = self.closing.join_next().await
        {
            self.closed(closed)?;
        }
        self.closing.spawn(open.close());
        Ok(())
    }

    fn closed(
        &mut self,
        closed: Result<Result<Part, ZoneError>, JoinError>,
    ) -> Result<(), ZoneError> {
        let lost = |cause| ZoneError::Unavailable {
            action: "create",
            object: format!("{}-*.parquet", self.prefix),
            cause: Box::new(cause),
        };
        self.parts.push(closed.map_err(lost)??);
        Ok(())
    }
}

impl OpenPart {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        self.copy = self.copy.take().and_then(|copy| copy.with(&bytes));
        self.sink.write(bytes).await
    }

    /// Writes what is left of the object and makes it durable.
    async fn close(self) -> Result<Part, ZoneError> {
        let Self {
            key,
            rows,
            encoder,
            mut sink,
            copy,
        } = self;
        let rest = encoder.finish().await;
        let rest = rest.map_err(|error| not_encoded(&key, error))?;
        let copy = copy.and_then(|copy| copy.with(&rest));
        sink.write(rest).await?;
        let written = sink.finish().await?;
        if let Some(Copied { zone, bytes }) = copy
            && let Some(kept) = zone.kept()
        {
            let name = written.sha256.to_string();
            kept.keep(&name, bytes.freeze()).await;
        }
        Ok(Part {
            key,
            rows,
            bytes: written.bytes,
            sha256: written.sha256,
        })
    }
}

fn not_encoded(object: &str, error: ParquetError) -> ZoneError {
    ZoneError::Unavailable {
        action: "create",
        object: object.to_owned(),
        cause: Box::new(error),
    }
}
