//! Reads a table: which COPY statements, over which connections, in which order their batches come.
//!
//! A large table is split into ranges of its blocks. The ranges are read at the same time and their batches
//! are dealt out in turn, so that the order of rows is the same whenever the same snapshot is read with the
//! same options. Rejected: whichever batch comes first, which is no faster once all connections are busy.

mod interleaved;
mod range;

use std::collections::VecDeque;
use std::sync::Arc;

use tidemill_codec::copy_out::Form;

use super::super::{BatchStream, Pace, Pieces, Selection, SourceError, SourceOptions};
use super::catalog::{self, CatalogColumn};
use super::name::quote;
use super::session::failed;
use super::snapshot::Connections;
use super::target::{Seen, Target};
use super::types::Wire;
use super::{changes, clock};
use crate::table::{Table, TableKind};
use crate::watermark::Reached;
use interleaved::{Interleaved, Plan};
use range::{Range, split};

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

#[cfg(test)]
mod tests {
    use super::*;

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
