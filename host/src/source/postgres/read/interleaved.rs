//! The ranges of one table, read at the same time over connections of their own, their batches dealt out in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use tidemill_codec::copy_out::{CopyDecoder, CopyError, Form};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::range::Range;
use crate::connection::postgres::PgConnection;
use crate::source::postgres::snapshot::{Connections, Places};
use crate::source::postgres::target::{Seen, Target};
use crate::source::{BatchStream, Pace, SourceError};
use crate::watermark::Reached;

/// Batches that one range may be ahead: one is decoded while another waits to be taken.
const BATCHES_AHEAD: usize = 2;

/// What the ranges of one table have in common.
pub(super) struct Plan {
    pub(super) connections: Arc<Connections>,
    pub(super) target: Target,
    /// The columns that are read, as the snapshot sees them.
    pub(super) seen: Vec<Seen>,
    /// What they are decoded to.
    pub(super) schema: SchemaRef,
    /// In which form each column comes.
    pub(super) forms: Vec<Form>,
}

/// A range that is being read.
struct Part {
    range: Range,
    batches: mpsc::Receiver<RecordBatch>,
    task: Task,
    /// The right to the connection that it uses.
    place: Places,
}

/// The task that reads a range; it ends with its owner.
struct Task(JoinHandle<Result<(), SourceError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The parts of a table, and whose turn it is.
pub(super) struct Interleaved {
    plan: Arc<Plan>,
    waiting: VecDeque<(Range, String)>,
    /// In the order of their turns: the first is asked next.
    reading: VecDeque<Part>,
    /// Who is told how far it is.
    pace: Option<Arc<Pace>>,
}

impl Interleaved {
    pub(super) fn new(
        plan: Arc<Plan>,
        statements: VecDeque<(Range, String)>,
        pace: Option<Arc<Pace>>,
    ) -> Self {
        Self {
            plan,
            waiting: statements,
            reading: VecDeque::new(),
            pace,
        }
    }

    /// Starts as many parts as there are places.
    async fn begin(&mut self) {
        let mut places = self.plan.connections.places(self.waiting.len()).await;
        while let Some(place) = places.split(1) {
            self.start(place);
        }
        self.tell();
    }

    /// Says how far everything is that has been given: up to the first range that is not at its end.
    fn tell(&self) {
        let Some(pace) = &self.pace else {
            return;
        };
        let begun = self.waiting.front().map(|(range, _)| range.from);
        let open = self.reading.iter().map(|part| part.range.from).chain(begun);
        let file = pace.file();
        pace.set(open.min().map(|whole| Reached { file, whole, begun }));
    }

    /// Starts the next part in `place`, or leaves it to others when there is none or enough is read.
    fn start(&mut self, place: Places) {
        if self.pace.as_ref().is_some_and(|pace| pace.is_enough()) {
            return;
        }
        if let Some((range, statement)) = self.waiting.pop_front() {
            let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
            let task = tokio::spawn(copy(Arc::clone(&self.plan), statement, sender));
            self.reading.push_back(Part {
                range,
                batches,
                task: Task(task),
                place,
            });
        }
    }

    /// The next batch, in turn; `None` when all parts have ended.
    async fn next(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        while let Some(mut part) = self.reading.pop_front() {
            if let Some(batch) = part.batches.recv().await {
                self.reading.push_back(part);
                return Ok(Some(batch));
            }
            // The channel closes whatever the task came to; only the task says that it was the end.
            match (&mut part.task.0).await {
                Ok(end) => end?,
                Err(error) => {
                    return Err(SourceError::Protocol {
                        target: self.plan.connections.target().to_owned(),
                        reason: format!("its rows could not be decoded: {error}"),
                    });
                }
            }
            self.start(part.place);
            self.tell();
        }
        Ok(None)
    }

    pub(super) fn into_stream(self) -> BatchStream {
        futures::stream::try_unfold((self, false), |(mut parts, begun)| async move {
            if !begun {
                parts.begin().await;
            }
            let batch = parts.next().await?;
            Ok(batch.map(|batch| (batch, (parts, true))))
        })
        .boxed()
    }
}

/// Reads one range into `batches`. A receiver that is gone ends it.
async fn copy(
    plan: Arc<Plan>,
    statement: String,
    batches: mpsc::Sender<RecordBatch>,
) -> Result<(), SourceError> {
    let connections = &plan.connections;
    connections
        .in_time(async {
            let reader = connections.reader().await?;
            let work = copy_with(&plan, &reader.connection, &statement, &batches);
            if connections
                .patiently(plan.target.name(), &reader, work)
                .await?
            {
                connections.keep(reader);
            }
            Ok(())
        })
        .await
}

/// The same over one connection; false when nobody takes the batches any more.
async fn copy_with(
    plan: &Plan,
    reader: &PgConnection,
    statement: &str,
    batches: &mpsc::Sender<RecordBatch>,
) -> Result<bool, SourceError> {
    let connections = &plan.connections;
    let refused = |error| plan.target.refused(connections, error);
    let misread = |error| misread(connections.target(), &plan.schema, error);
    plan.target.lock(connections, reader, &plan.seen).await?;
    let mut bytes = std::pin::pin!(reader.copy_out(statement).await.map_err(refused)?);
    let mut decoder = CopyDecoder::new(Arc::clone(&plan.schema), &plan.forms).map_err(misread)?;
    while let Some(fragment) = bytes.try_next().await.map_err(refused)? {
        decoder.push(&fragment).map_err(misread)?;
        while let Some(batch) = decoder.next_batch() {
            if batches.send(batch).await.is_err() {
                return Ok(false);
            }
        }
    }
    let rest = decoder.finish().map_err(misread)?;
    // Before the last batch is taken: whoever takes it may take its time.
    plan.target.unlock(connections, reader).await?;
    Ok(match rest {
        Some(batch) => batches.send(batch).await.is_ok(),
        None => true,
    })
}

fn misread(target: &str, schema: &SchemaRef, error: CopyError) -> SourceError {
    match error {
        CopyError::Format(reason) => SourceError::Protocol {
            target: target.to_owned(),
            reason,
        },
        CopyError::Value {
            column,
            value,
            expected,
        } => SourceError::Value {
            column: schema
                .fields()
                .get(column)
                .map_or_else(String::new, |field| field.name().clone()),
            value,
            expected,
        },
    }
}
