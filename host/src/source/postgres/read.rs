//! Reads a table: which COPY statements, over which connections, in which order their batches come.
//!
//! A large table is split into ranges of its blocks. The ranges are read at the same time and their batches
//! are dealt out in turn, so that the order of rows is the same whenever the same snapshot is read with the
//! same options. Rejected: whichever batch comes first, which is no faster once all connections are busy.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use tidemill_codec::copy_out::{CopyDecoder, CopyError, Form};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::{BatchStream, Pace, Pieces, Selection, SourceError, SourceOptions};
use super::catalog::{self, CatalogColumn};
use super::name::quote;
use super::session::failed;
use super::snapshot::{Connections, Places};
use super::target::{Seen, Target};
use super::types::Wire;
use super::{changes, clock};
use crate::connection::postgres::PgConnection;
use crate::table::{Table, TableKind};
use crate::watermark::Reached;

/// Batches that one range may be ahead: one is decoded while another waits to be taken.
const BATCHES_AHEAD: usize = 2;

/// From this version on a range of `ctid` reads its blocks only; before, every range would scan the table.
const CTID_RANGES: i32 = 140_000;

const BLOCKS: &str = "
SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid::pg_catalog.regclass),
       pg_catalog.current_setting('block_size')::pg_catalog.int8";

/// Opens the stream of the rows of `table` that `selection` names.
pub(super) async fn open(
    connections: &Arc<Connections>,
    options: &SourceOptions,
    table: &Table,
    selection: &Selection,
) -> Result<BatchStream, SourceError> {
    let condition = match selection {
        Selection::All => None,
        Selection::SinceTransaction { xmin } => Some(changes::condition(*xmin)),
        Selection::SinceCursor { column, from } => Some(clock::condition(column, from)?),
    };
    // A cursor may use an index, which ranges of blocks would rule out.
    let in_blocks = !matches!(selection, Selection::SinceCursor { .. });
    let seen = look(connections, table, in_blocks).await?;
    let ranges = match seen.blocks {
        Some(blocks) => split(blocks.all, blocks.each(options), 0, None),
        None => vec![Range::WHOLE],
    };
    let reading = Reading::of(connections, table, seen)?;
    let statements = reading.statements(ranges, condition.as_deref());
    Ok(Interleaved::new(reading.plan, statements, None).into_stream())
}

/// As [`Snapshot::read_in_pieces`](super::super::Snapshot::read_in_pieces).
pub(super) async fn in_pieces(
    connections: &Arc<Connections>,
    options: &SourceOptions,
    table: &Table,
    rest: Option<(&Reached, u64)>,
) -> Result<Option<Pieces>, SourceError> {
    let seen = look(connections, table, true).await?;
    let Some(blocks) = seen.blocks else {
        return Ok(None);
    };
    let first = Reached {
        file: u64::from(seen.file),
        whole: 0,
        begun: Some(0),
    };
    let (from, condition) = match rest {
        // What has been moved since may lie where it is not looked for.
        Some((reached, _)) if reached.file != first.file => return Ok(None),
        Some((reached, xmin)) => (
            reached.clone(),
            Some(format!("NOT ({})", changes::condition(xmin))),
        ),
        None => (first, None),
    };
    let each = blocks.each(options);
    let again = match from.begun == Some(from.whole) {
        true => Vec::new(),
        false => split(blocks.all, each, from.whole, from.begun),
    };
    let rows = from.begun.map(|begun| split(blocks.all, each, begun, None));
    let reading = Reading::of(connections, table, seen)?;
    let again = reading.statements(again, condition.as_deref());
    let rows = reading.statements(rows.unwrap_or_default(), condition.as_deref());
    let end = Reached {
        whole: blocks.all,
        begun: None,
        ..from
    };
    let pace = Arc::new(Pace::new(from));
    Ok(Some(Pieces {
        end,
        again: Interleaved::new(reading.plan.clone(), again, None).into_stream(),
        rows: Interleaved::new(reading.plan, rows, Some(pace.clone())).into_stream(),
        pace,
    }))
}

/// What is asked of a table before it is read.
struct Looked {
    target: Target,
    columns: Vec<CatalogColumn>,
    /// The file of its rows.
    file: u32,
    /// Its blocks, where ranges of them can be read.
    blocks: Option<Blocks>,
}

/// The blocks of a table.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    all: u64,
    bytes: u64,
}

impl Blocks {
    /// Blocks of one range.
    fn each(self, options: &SourceOptions) -> u64 {
        (options.split_bytes / self.bytes).max(1)
    }
}

async fn look(
    connections: &Arc<Connections>,
    table: &Table,
    in_blocks: bool,
) -> Result<Looked, SourceError> {
    let target = Target::of(table)?;
    let splittable =
        in_blocks && table.kind == TableKind::Plain && connections.session.version >= CTID_RANGES;
    let (columns, file, blocks) = connections
        .question(Some(&table.name), async |connection| {
            let storage = target.lock(connections, connection, &[]).await?;
            let refused = |error| failed(connections.target(), target.action("read"), error);
            let columns = catalog::columns_of(connection, storage.oid)
                .await
                .map_err(refused)?;
            let mut blocks = None;
            if splittable && storage.heap {
                let row = connection
                    .query_one(BLOCKS, &[&storage.oid])
                    .await
                    .map_err(refused)?;
                let number = |column: usize| -> Result<u64, SourceError> {
                    let number: i64 = row.try_get(column).map_err(refused)?;
                    Ok(u64::try_from(number).unwrap_or(0))
                };
                let (all, bytes) = (number(0)?, number(1)?.max(1));
                let all = all.div_ceil(bytes);
                blocks = Some(Blocks { all, bytes });
            }
            target.unlock(connections, connection).await?;
            Ok((columns, storage.file, blocks))
        })
        .await?;
    Ok(Looked {
        target,
        columns,
        file,
        blocks,
    })
}

/// A table that is about to be read.
struct Reading {
    plan: Arc<Plan>,
    /// The select list, every column of the table in its order.
    list: String,
}

impl Reading {
    fn of(
        connections: &Arc<Connections>,
        table: &Table,
        looked: Looked,
    ) -> Result<Self, SourceError> {
        let selected = selected(&looked.target, table, &looked.columns)?;
        let plan = Arc::new(Plan {
            connections: Arc::clone(connections),
            target: looked.target,
            seen: selected.seen,
            schema: table.schema(),
            forms: selected.forms,
        });
        Ok(Self {
            plan,
            list: selected.list,
        })
    }

    fn statements(&self, ranges: Vec<Range>, condition: Option<&str>) -> VecDeque<(Range, String)> {
        let from = self.plan.target.sql();
        let ranges = ranges.into_iter();
        ranges
            .map(|range| (range, statement(&self.list, &from, condition, range)))
            .collect()
    }
}

/// How the columns of a table are asked for and come.
struct Selected {
    /// The select list, every column of the table in its order.
    list: String,
    /// Which columns of the catalog these are.
    seen: Vec<Seen>,
    /// In which form each comes.
    forms: Vec<Form>,
}

fn selected(
    target: &Target,
    table: &Table,
    columns: &[CatalogColumn],
) -> Result<Selected, SourceError> {
    let mut list = Vec::with_capacity(table.columns.len());
    let mut seen = Vec::with_capacity(table.columns.len());
    let mut forms = Vec::with_capacity(table.columns.len());
    for wanted in &table.columns {
        let found = columns
            .iter()
            .find(|c| c.column.name == wanted.name)
            .filter(|c| c.column.data_type == wanted.data_type || wanted.is_declared_text());
        let Some(found) = found else {
            return Err(target.altered());
        };
        // The project may want text of what would be landed as something else.
        let wire = match found.column.data_type == wanted.data_type {
            true => found.wire,
            false => Wire::Cast,
        };
        list.push(wire.asked(&quote(&wanted.name)));
        seen.push(Seen::of(found));
        forms.push(wire.form());
    }
    Ok(Selected {
        list: list.join(", "),
        seen,
        forms,
    })
}

fn statement(select: &str, from: &str, condition: Option<&str>, range: Range) -> String {
    let conditions: Vec<String> = condition
        .map(str::to_owned)
        .into_iter()
        .chain(range.conditions())
        .collect();
    let filter = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!("COPY (SELECT {select} FROM {from}{filter}) TO STDOUT (FORMAT binary)")
}

/// A range of a table's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u64,
    /// `None` is open: rows that were added after the size was asked for lie behind, and so might rows of
    /// the snapshot if the size was asked of a file system that lags.
    until: Option<u64>,
}

impl Range {
    const WHOLE: Self = Self {
        from: 0,
        until: None,
    };

    fn conditions(self) -> impl Iterator<Item = String> {
        let bound = |sign: &str, block: u64| format!("ctid {sign} '({block},0)'::pg_catalog.tid");
        let from = (self.from > 0).then(|| bound(">=", self.from));
        from.into_iter()
            .chain(self.until.map(|until| bound("<", until)))
    }
}

/// Ranges of `each` blocks that together are the blocks of a table of `all` blocks from `from` on and before `until`.
fn split(all: u64, each: u64, from: u64, until: Option<u64>) -> Vec<Range> {
    let blocks = until.unwrap_or(all).saturating_sub(from);
    let mut ranges: Vec<Range> = (0..blocks.div_ceil(each).max(1))
        .map(|n| Range {
            from: from + n * each,
            until: Some(from + (n + 1) * each),
        })
        .collect();
    if let Some(last) = ranges.last_mut() {
        last.until = until;
    }
    ranges
}

/// What the ranges of one table have in common.
struct Plan {
    connections: Arc<Connections>,
    target: Target,
    /// The columns that are read, as the snapshot sees them.
    seen: Vec<Seen>,
    schema: SchemaRef,
    /// In which form each column comes.
    forms: Vec<Form>,
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
struct Interleaved {
    plan: Arc<Plan>,
    waiting: VecDeque<(Range, String)>,
    /// In the order of their turns: the first is asked next.
    reading: VecDeque<Part>,
    /// Who is told how far it is.
    pace: Option<Arc<Pace>>,
}

impl Interleaved {
    fn new(
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

    fn into_stream(self) -> BatchStream {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_block_once_and_the_last_is_open() {
        let ranges = |all, from, until| -> Vec<_> {
            let ranges = split(all, 4, from, until).into_iter();
            ranges.map(|range| (range.from, range.until)).collect()
        };
        assert_eq!(ranges(0, 0, None), [(0, None)]);
        assert_eq!(ranges(4, 0, None), [(0, None)]);
        assert_eq!(ranges(5, 0, None), [(0, Some(4)), (4, None)]);
        assert_eq!(ranges(9, 0, None), [(0, Some(4)), (4, Some(8)), (8, None)]);
        // What an earlier part left, with blocks that were added meanwhile or taken away.
        assert_eq!(ranges(9, 4, None), [(4, Some(8)), (8, None)]);
        assert_eq!(ranges(3, 8, None), [(8, None)]);
        assert_eq!(ranges(9, 3, Some(8)), [(3, Some(7)), (7, Some(8))]);
        assert_eq!(ranges(9, 3, Some(7)), [(3, Some(7))]);
    }

    #[test]
    fn conditions_of_selection_and_range_are_joined() {
        let range = Range {
            from: 4,
            until: Some(8),
        };
        assert_eq!(
            statement("\"a\"", "ONLY \"public\".\"t\"", Some("x"), range),
            "COPY (SELECT \"a\" FROM ONLY \"public\".\"t\" WHERE x AND ctid >= '(4,0)'::pg_catalog.tid \
             AND ctid < '(8,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"
        );
        assert_eq!(
            statement("", "\"public\".\"t\"", None, Range::WHOLE),
            "COPY (SELECT  FROM \"public\".\"t\") TO STDOUT (FORMAT binary)"
        );
    }
}
