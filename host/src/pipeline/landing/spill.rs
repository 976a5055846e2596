//! Spills: the rows of one partition of a compare with their digests, in a temporary file without a name.

use std::io::{BufWriter, Seek as _};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, StreamExt as _};

use super::LandingError;
use super::digested::{Digested, DigestedStream};
use crate::pipeline::rows::{Digest128, digest_array};
use crate::pipeline::temporary::{Disk, TemporaryFile};

/// The two columns of digests in front of the table's own.
const DIGESTS: usize = 2;

/// Rows of one partition.
pub(super) struct Spill {
    file: TemporaryFile,
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<TemporaryFile>>,
}

fn no_spill(error: impl std::error::Error + Send + Sync + 'static) -> LandingError {
    LandingError::Spill(Box::new(error))
}

impl Spill {
    pub(super) fn new(schema: SchemaRef, disk: &Disk) -> Result<Self, LandingError> {
        let digest = |name| Arc::new(Field::new(name, DataType::FixedSizeBinary(16), false));
        let mut fields = vec![digest("_key"), digest("_row")];
        fields.extend(schema.fields().iter().cloned());
        let spilled: SchemaRef = Arc::new(Schema::new(fields));
        let file = disk.file().map_err(no_spill)?;
        let sink = BufWriter::new(file.try_clone().map_err(no_spill)?);
        let writer = StreamWriter::try_new(sink, &spilled).map_err(no_spill)?;
        Ok(Self {
            file,
            schema: spilled,
            writer,
        })
    }

    pub(super) fn write(&mut self, digested: &Digested) -> Result<(), LandingError> {
        let digests = [&digested.keys, &digested.rows]
            .map(|digests| Arc::new(digest_array(digests)) as ArrayRef);
        let columns = digests
            .into_iter()
            .chain(digested.batch.columns().iter().cloned());
        let batch = RecordBatch::try_new(self.schema.clone(), columns.collect());
        self.writer
            .write(&batch.map_err(no_spill)?)
            .map_err(no_spill)
    }

    pub(super) fn read(mut self) -> Result<DigestedStream, LandingError> {
        self.writer.finish().map_err(no_spill)?;
        drop(self.writer);
        self.file.rewind().map_err(no_spill)?;
        let reader = StreamReader::try_new_buffered(self.file, None).map_err(no_spill)?;
        let batches = reader.map(|batch| Ok(digested(&batch.map_err(no_spill)?)?));
        Ok(stream::iter(batches).boxed())
    }
}

fn digested(spilled: &RecordBatch) -> Result<Digested, LandingError> {
    let digests = |column: usize| -> Vec<Digest128> {
        let array = spilled.column(column).as_fixed_size_binary();
        (0..array.len())
            .map(|row| array.value(row).try_into().unwrap_or_default())
            .collect()
    };
    let own: Vec<usize> = (DIGESTS..spilled.num_columns()).collect();
    Ok(Digested {
        keys: digests(0),
        rows: digests(1),
        batch: spilled.project(&own).map_err(no_spill)?,
    })
}
