//! What a SQLite file says of its tables. Virtual tables need code that is not here and are not listed.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Discovered, cursor};
use super::types;
use crate::table::{Column, KeyOrigin, Table, TableKind, TableName};
use crate::watermark::CompareReason;

/// The names that a row's number goes by; a column of that name hides it.
const ROW_NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

const TABLES: &str = "SELECT name, type = 'view', wr FROM pragma_table_list
                       WHERE schema = 'main' AND type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                       ORDER BY name";

/// `hidden` is 1 for what only virtual tables have; generated columns are columns.
const COLUMNS: &str = "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1)
                        WHERE hidden <> 1 ORDER BY cid";

const INDEXES: &str =
    "SELECT name, \"unique\" FROM pragma_index_list(?1) WHERE NOT partial ORDER BY name";

/// An expression has no name.
const INDEX_COLUMNS: &str = "SELECT name FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";

/// How the rows of a table are paged through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Paging {
    /// By the number of the row, under the name that no column hides.
    RowNumber(&'static str),
    /// By the primary key of a table WITHOUT ROWID.
    Key(Vec<String>),
    /// By position: the rows of a view have nothing else.
    Position,
}

/// A table and how to page through it.
pub(super) struct Listed {
    pub(super) found: Discovered,
    pub(super) paging: Paging,
}

struct Described {
    column: Column,
    /// The place in the primary key, from 1.
    key_place: Option<i64>,
}

/// Every table and view, in name order.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let mut statement = connection.prepare(TABLES)?;
    let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    tables
        .map(|table| {
            let (name, is_view, without_rowid): (String, bool, bool) = table?;
            describe(connection, name, is_view, without_rowid)
        })
        .collect()
}

/// The table of that name; `None` when there is none.
pub(super) fn find(connection: &Connection, name: &TableName) -> rusqlite::Result<Option<Listed>> {
    let query = format!("SELECT * FROM ({TABLES}) WHERE name = ?1");
    let found = connection
        .query_row(&query, params![name.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    found
        .map(|(name, is_view, without_rowid)| describe(connection, name, is_view, without_rowid))
        .transpose()
}

fn describe(
    connection: &Connection,
    name: String,
    is_view: bool,
    without_rowid: bool,
) -> rusqlite::Result<Listed> {
    let described = columns(connection, &name)?;
    let indexes = indexes(connection, &name)?;
    let columns: Vec<Column> = described.iter().map(|d| d.column.clone()).collect();
    let primary = primary_key(&described);
    let numbered = |column: &Column| primary.as_slice() == [column.name.as_str()];
    let cursor_candidates = cursor::candidates(columns.iter().map(|column| cursor::Facts {
        column,
        indexed:
            numbered(column)
                || indexes.iter().any(|(_, columns)| {
                    columns.first().and_then(Option::as_ref) == Some(&column.name)
                }),
        serial: numbered(column) && !without_rowid,
    }));
    let (key, key_origin) = key(&columns, &primary, &indexes);
    let hidden = |row_number: &&str| {
        columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(row_number))
    };
    let paging = match ROW_NUMBERS.into_iter().find(|number| !hidden(number)) {
        _ if is_view => Paging::Position,
        _ if without_rowid => Paging::Key(primary),
        Some(row_number) => Paging::RowNumber(row_number),
        None => Paging::Position,
    };
    Ok(Listed {
        found: Discovered {
            table: Table {
                name: TableName::new(name),
                kind: if is_view {
                    TableKind::View
                } else {
                    TableKind::Plain
                },
                columns,
                key,
                key_origin,
            },
            // Everything is compared, so nobody need be told from anybody.
            identity: None,
            rows_estimate: None,
            bytes_estimate: None,
            cursor_candidates,
            changes: Err(CompareReason::NoCursor),
        },
        paging,
    })
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Described>> {
    let mut statement = connection.prepare(COLUMNS)?;
    let columns = statement.query_map(params![table], |row| {
        let source_type: String = row.get(1)?;
        let key_place: i64 = row.get(3)?;
        let (data_type, fidelity) = types::landing(&source_type);
        Ok(Described {
            column: Column {
                name: row.get(0)?,
                source_type,
                data_type,
                // SQLite lets NULL into most primary keys, and a key cannot use it: such a row is refused.
                nullable: !row.get::<_, bool>(2)? && key_place == 0,
                fidelity,
            },
            key_place: (key_place > 0).then_some(key_place),
        })
    })?;
    columns.collect()
}

/// The names of the primary key's columns, in its order.
fn primary_key(described: &[Described]) -> Vec<String> {
    let mut places: Vec<(i64, String)> = described
        .iter()
        .filter_map(|d| Some((d.key_place?, d.column.name.clone())))
        .collect();
    places.sort_unstable();
    places.into_iter().map(|(_, name)| name).collect()
}

/// Whether each index is unique, and its columns.
fn indexes(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<(bool, Vec<Option<String>>)>> {
    let mut statement = connection.prepare(INDEXES)?;
    let mut columns = connection.prepare(INDEX_COLUMNS)?;
    let indexes = statement.query_map(params![table], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?))
    })?;
    indexes
        .map(|index| {
            let (name, unique) = index?;
            let columns = columns.query_map(params![name], |row| row.get(0))?;
            Ok((unique, columns.collect::<rusqlite::Result<_>>()?))
        })
        .collect()
}

/// The primary key, or the shortest unique index over columns that are all NOT NULL.
fn key(
    columns: &[Column],
    primary: &[String],
    indexes: &[(bool, Vec<Option<String>>)],
) -> (Vec<String>, KeyOrigin) {
    if !primary.is_empty() {
        return (primary.to_vec(), KeyOrigin::Primary);
    }
    let required = |name: &String| columns.iter().any(|c| c.name == *name && !c.nullable);
    let shortest = indexes
        .iter()
        .filter(|(unique, _)| *unique)
        .filter_map(|(_, columns)| columns.iter().cloned().collect::<Option<Vec<String>>>())
        .filter(|columns| columns.iter().all(required))
        .min_by_key(Vec::len);
    match shortest {
        Some(key) => (key, KeyOrigin::Unique),
        None => (Vec::new(), KeyOrigin::None),
    }
}
