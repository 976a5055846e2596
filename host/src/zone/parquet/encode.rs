//! Encoding: batches into the bytes of one Parquet file, the columns on several threads.
//!
//! Columns do not know of each other until a row group is put together, so they are dealt out to lanes, each
//! of which encodes and compresses its own on a thread for blocking work, from its first large batch to the end of
//! the row group. While they do, the caller prepares the next batches. The bytes are those that one thread would
//! write.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::GROUP_ROWS;

/// Lanes at most. More would wait for the one that reads and digests rows.
const LANES: usize = 4;

/// Batches that wait for a lane. A lane with costly columns may fall behind the others for a moment.
const BATCHES_AHEAD: usize = 2;

/// Cells of a batch below which it is encoded where it is: handing it over takes longer.
const CELLS_WORTH_A_THREAD: usize = 4_096;

/// One Parquet file in the making.
pub(super) struct Encoder {
    schema: SchemaRef,
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    /// Rows of the open row group; without any there is none.
    rows: usize,
    lanes: Lanes,
}

/// The columns of the open row group.
enum Lanes {
    /// They encode where they are.
    Idle(Vec<Lane>),
    /// Each has a thread.
    Busy(Vec<BusyLane>),
}

/// A lane on its thread, which ends with its last batch.
struct BusyLane {
    batches: mpsc::Sender<RecordBatch>,
    task: JoinHandle<Result<Closed>>,
}

/// Columns of a row group that are whole, by the position of their leaf.
type Closed = Vec<(usize, ArrowColumnChunk)>;

/// Some columns of a row group.
#[derive(Default)]
struct Lane {
    columns: Vec<Column>,
}

/// One column of the schema, with a writer for each of its leaves.
struct Column {
    field: usize,
    /// The position of its first leaf among all.
    first_leaf: usize,
    leaves: Vec<ArrowColumnWriter>,
}

impl Encoder {
    pub(super) fn new(schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            schema,
            file,
            factory,
            rows: 0,
            lanes: Lanes::Idle(Vec::new()),
        })
    }

    /// Encodes a batch, and gives the bytes of the row groups that became full.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<Option<Bytes>> {
        let mut from = 0;
        let mut is_full = false;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(GROUP_ROWS - self.rows);
            self.encode(batch.slice(from, rows)).await?;
            self.rows += rows;
            from += rows;
            if self.rows == GROUP_ROWS {
                self.close_group().await?;
                is_full = true;
            }
        }
        Ok(if is_full { Some(self.take()?) } else { None })
    }

    /// Closes the file and gives the rest of its bytes.
    pub(super) async fn finish(mut self) -> Result<Bytes> {
        if self.rows > 0 {
            self.close_group().await?;
        }
        self.file.finish()?;
        self.take()
    }

    fn take(&mut self) -> Result<Bytes> {
        self.file.flush()?;
        Ok(std::mem::take(self.file.inner_mut()).into())
    }

    async fn encode(&mut self, batch: RecordBatch) -> Result<()> {
        if self.rows == 0 {
            self.lanes = Lanes::Idle(self.begin_group()?);
        }
        let is_small = batch.num_rows() * batch.num_columns() < CELLS_WORTH_A_THREAD;
        if let Lanes::Idle(lanes) = &mut self.lanes {
            if is_small {
                let mut lanes = lanes.iter_mut();
                return lanes.try_for_each(|lane| lane.write(&self.schema, &batch));
            }
            let lanes = std::mem::take(lanes).into_iter();
            self.lanes = Lanes::Busy(lanes.map(|lane| lane.start(self.schema.clone())).collect());
        }
        let Lanes::Busy(lanes) = &self.lanes else {
            return Ok(());
        };
        for lane in lanes {
            if lane.batches.send(batch.clone()).await.is_err() {
                // A lane that ended early says why.
                return Err(self.end_lanes().await.err().unwrap_or_else(other_columns));
            }
        }
        Ok(())
    }

    /// Waits for the lanes, and takes their columns.
    async fn end_lanes(&mut self) -> Result<Closed> {
        let closed = match std::mem::replace(&mut self.lanes, Lanes::Idle(Vec::new())) {
            Lanes::Idle(lanes) => lanes.into_iter().map(Lane::close).collect::<Result<_>>()?,
            Lanes::Busy(lanes) => {
                // The senders are gone with this: no lane waits for another batch.
                let tasks = lanes.into_iter().map(|lane| lane.task).collect();
                join(tasks).await?
            }
        };
        let closed: Vec<Closed> = closed;
        Ok(closed.into_iter().flatten().collect())
    }

    fn begin_group(&self) -> Result<Vec<Lane>> {
        let group = self.file.flushed_row_groups().len();
        let writers = self.factory.create_column_writers(group)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.min(LANES).min(self.schema.fields().len()).max(1);
        let mut columns: Vec<Column> = Vec::new();
        for (leaf, writer) in writers.into_iter().enumerate() {
            let field = self.file.schema_descr().get_column_root_idx(leaf);
            match columns.last_mut().filter(|column| column.field == field) {
                Some(column) => column.leaves.push(writer),
                None => columns.push(Column {
                    field,
                    first_leaf: leaf,
                    leaves: vec![writer],
                }),
            }
        }
        // The costly ones, texts, are dealt out first, so that no lane gets them all.
        let is_cheap = |column: &Column| {
            let field = self.schema.fields().get(column.field);
            field.is_some_and(|field| field.data_type().is_primitive())
        };
        columns.sort_by_key(is_cheap);
        let mut lanes: Vec<Lane> = (0..count).map(|_| Lane::default()).collect();
        for (number, column) in columns.into_iter().enumerate() {
            if let Some(lane) = lanes.get_mut(number % count) {
                lane.columns.push(column);
            }
        }
        Ok(lanes)
    }

    async fn close_group(&mut self) -> Result<()> {
        let mut chunks = self.end_lanes().await?;
        chunks.sort_by_key(|(leaf, _)| *leaf);
        let mut group = self.file.next_row_group()?;
        for (_, chunk) in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Lane {
    /// Goes on with this lane on a thread of its own.
    fn start(mut self, schema: SchemaRef) -> BusyLane {
        let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            while let Some(batch) = waiting.blocking_recv() {
                self.write(&schema, &batch)?;
            }
            self.close()
        });
        BusyLane { batches, task }
    }

    fn write(&mut self, schema: &SchemaRef, batch: &RecordBatch) -> Result<()> {
        for column in &mut self.columns {
            let field = schema.fields().get(column.field);
            let (Some(field), Some(values)) = (field, batch.columns().get(column.field)) else {
                return Err(other_columns());
            };
            column.write(field, values)?;
        }
        Ok(())
    }

    fn close(self) -> Result<Closed> {
        let mut chunks = Vec::new();
        for column in self.columns {
            for (leaf, writer) in column.leaves.into_iter().enumerate() {
                chunks.push((column.first_leaf + leaf, writer.close()?));
            }
        }
        Ok(chunks)
    }
}

impl Column {
    fn write(&mut self, field: &arrow::datatypes::Field, values: &ArrayRef) -> Result<()> {
        if field.data_type() != values.data_type() {
            return Err(other_columns());
        }
        let leaves = compute_leaves(field, values)?;
        for (writer, leaf) in self.leaves.iter_mut().zip(&leaves) {
            writer.write(leaf)?;
        }
        Ok(())
    }
}

fn other_columns() -> ParquetError {
    ParquetError::General("the rows do not have the columns of the object".into())
}

async fn join<T>(tasks: Vec<JoinHandle<Result<T>>>) -> Result<Vec<T>> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(
            task.await
                .map_err(|lost| ParquetError::External(Box::new(lost)))??,
        );
    }
    Ok(done)
}
