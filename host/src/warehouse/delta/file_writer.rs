//! One new data file of a table, from its first row to what Delta's log says of it.
//!
//! Rejected: deltalake's own writer. It buffers a file in a store that panics in a task of its own when the disk is full,
//! and its statistics are not exact: decimals become floating point, and a row group without a range counts as if it were
//! in that of the others.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake::kernel::Add;
use object_store::{ObjectStore as _, PutMode, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tempfile::TempPath;

use super::location::{Bucket, Location};
use super::statistics;

/// What the name of every data file begins with.
const PREFIX: &str = "part-";
const SUFFIX: &str = ".zstd.parquet";
/// As many as a UUID has digits: two hosts never make the same name.
const RANDOM_LETTERS: usize = 32;

/// A data file that is being written. It is removed unless it is finished and kept.
pub(super) struct FileWriter {
    draft: Draft,
    schema: SchemaRef,
    rows: ArrowWriter<Sink>,
}

/// Where it will be.
enum Draft {
    File(TempPath),
    /// The object is created when it is whole: it is held until then, for one request is what can be conditional.
    Object(Bucket, String),
}

/// What takes its bytes.
enum Sink {
    File(File),
    Memory(Vec<u8>),
}

/// A data file with all its rows. One on a disk is removed unless it is kept; an object stays until it is swept.
pub(super) struct Finished {
    draft: Option<Draft>,
    bytes: Bytes,
    add: Add,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Memory(memory) => memory.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}

impl FileWriter {
    /// A file without rows in the place of a table.
    pub(super) fn create(
        table: &Location,
        schema: &SchemaRef,
        properties: &WriterProperties,
    ) -> Result<Self, ParquetError> {
        let (sink, draft) = match table {
            Location::Folder(folder) => {
                let (file, path) = tempfile::Builder::new()
                    .prefix(PREFIX)
                    .suffix(SUFFIX)
                    .rand_bytes(RANDOM_LETTERS)
                    .permissions(PermissionsExt::from_mode(0o666))
                    .tempfile_in(folder)?
                    .into_parts();
                (Sink::File(file), Draft::File(path))
            }
            Location::Bucket(bucket) => {
                let name = format!("{PREFIX}{}{SUFFIX}", letters()?);
                (
                    Sink::Memory(Vec::new()),
                    Draft::Object(bucket.join(&name), name),
                )
            }
        };
        let rows = ArrowWriter::try_new(sink, schema.clone(), Some(properties.clone()))?;
        Ok(Self {
            draft,
            schema: schema.clone(),
            rows,
        })
    }

    /// Writes rows of the file's schema.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.rows.write(rows)
    }

    /// About how large the file would be if it were finished now.
    pub(super) fn bytes(&self) -> u64 {
        (self.rows.bytes_written() + self.rows.in_progress_size()) as u64
    }

    /// Writes the end of the file.
    pub(super) fn finish(mut self) -> Result<Finished, ParquetError> {
        let metadata = self.rows.finish()?;
        let bytes = match self.rows.inner_mut() {
            Sink::File(_) => Bytes::new(),
            Sink::Memory(memory) => std::mem::take(memory).into(),
        };
        let (name, size, written) = match &self.draft {
            Draft::File(path) => {
                let name = path.file_name().and_then(|name| name.to_str());
                let file = std::fs::metadata(path)?;
                (name.unwrap_or_default(), file.len(), file.modified()?)
            }
            Draft::Object(_, name) => (name.as_str(), bytes.len() as u64, now()),
        };
        let written = written.duration_since(UNIX_EPOCH);
        let add = Add {
            path: name.to_owned(),
            partition_values: HashMap::new(),
            size: size.cast_signed(),
            modification_time: written.map_or(0, |since| since.as_millis() as i64),
            data_change: true,
            stats: Some(statistics::of(&metadata, &self.schema).to_string()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        };
        Ok(Finished {
            draft: Some(self.draft),
            bytes,
            add,
        })
    }
}

impl Finished {
    /// Creates the object, if it is one that is not there yet.
    pub(super) async fn send(&mut self) -> object_store::Result<()> {
        if let Some(Draft::Object(object, _)) = &self.draft {
            let bytes = PutPayload::from(std::mem::take(&mut self.bytes));
            let put = object
                .objects
                .put_opts(&object.prefix, bytes, PutMode::Create.into());
            put.await?;
            self.draft = None;
        }
        Ok(())
    }

    /// Leaves the file where it is, and gives what Delta's log says of it.
    pub(super) async fn keep(mut self) -> Result<Add, KeepError> {
        self.send().await?;
        if let Some(Draft::File(path)) = self.draft {
            path.keep().map_err(|error| error.error)?;
        }
        Ok(self.add)
    }
}

/// A data file that could not be left where it is to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Object(#[from] object_store::Error),
}

/// What no other host calls a file.
fn letters() -> io::Result<String> {
    let mut bytes = [0_u8; RANDOM_LETTERS / 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// When an object is written. A disk would say it, a store says it only when asked.
#[expect(
    clippy::disallowed_methods,
    reason = "Delta's log wants to be told, and small files are put together in this order; nothing else comes of it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
