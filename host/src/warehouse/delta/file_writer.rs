//! One new data file of a table, from its first row to what Delta's log says of it.
//!
//! Rejected: deltalake's own writer. It buffers a file in a store that panics in a task of its own when the disk is full,
//! and its statistics are not exact: decimals become floating point, and a row group without a range counts as if it were
//! in that of the others.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tempfile::TempPath;

use super::statistics;

/// What the name of every data file begins with.
const PREFIX: &str = "part-";
const SUFFIX: &str = ".zstd.parquet";
/// As many as a UUID has digits: two hosts never make the same name.
const RANDOM_LETTERS: usize = 32;

/// A data file that is being written. It is removed unless it is finished and kept.
pub(super) struct FileWriter {
    path: TempPath,
    schema: SchemaRef,
    rows: ArrowWriter<File>,
}

/// A data file with all its rows, removed unless it is kept.
pub(super) struct Finished {
    path: TempPath,
    add: Add,
}

impl FileWriter {
    /// A file without rows in `folder`.
    pub(super) fn create(
        folder: &Path,
        schema: &SchemaRef,
        properties: &WriterProperties,
    ) -> Result<Self, ParquetError> {
        let (file, path) = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .rand_bytes(RANDOM_LETTERS)
            .permissions(PermissionsExt::from_mode(0o666))
            .tempfile_in(folder)?
            .into_parts();
        let rows = ArrowWriter::try_new(file, schema.clone(), Some(properties.clone()))?;
        Ok(Self {
            path,
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
    pub(super) fn finish(self) -> Result<Finished, ParquetError> {
        let metadata = self.rows.close()?;
        let name = self.path.file_name().and_then(|name| name.to_str());
        let file = std::fs::metadata(&self.path)?;
        let written = file.modified()?.duration_since(UNIX_EPOCH);
        let add = Add {
            path: name.unwrap_or_default().to_owned(),
            partition_values: HashMap::new(),
            size: file.len().cast_signed(),
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
            path: self.path,
            add,
        })
    }
}

impl Finished {
    /// Leaves the file where it is, and gives what Delta's log says of it.
    pub(super) fn keep(self) -> io::Result<Add> {
        self.path.keep().map_err(|error| error.error)?;
        Ok(self.add)
    }
}
