//! totesys in a SQLite file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use super::super::DemoError;
use super::super::model::{Change, Commit, Memory};
use super::super::rows::{Row, Table, Value};
use super::{Database, MIGRATIONS, memory, quoted, remembered_rows, stride};

const TABLES: &str = include_str!("../sql/sqlite.sql");

/// A file. Its driver blocks, so every call runs on the blocking pool.
pub(super) struct Sqlite {
    path: String,
    connection: Arc<Mutex<Connection>>,
}

impl Sqlite {
    pub(super) fn open(path: &str) -> Result<Self, DemoError> {
        let failed = |cause: rusqlite::Error| DemoError::Sqlite {
            path: path.into(),
            action: "open it",
            cause,
        };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .execute_batch("PRAGMA foreign_keys = ON")
            .map_err(failed)?;
        Ok(Self {
            path: path.into(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let outcome = done.await.unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic.into_panic());
        });
        outcome.map_err(|error| match error {
            SqliteError::Driver(cause) => DemoError::Sqlite {
                path: self.path.clone(),
                action,
                cause,
            },
            SqliteError::Row(error) => DemoError::Row(error),
            SqliteError::Exists => DemoError::Exists {
                target: self.path.clone(),
            },
            SqliteError::Missing => DemoError::Missing {
                target: self.path.clone(),
            },
        })
    }
}

/// What a call on the blocking pool ends with.
enum SqliteError {
    Driver(rusqlite::Error),
    Row(super::super::rows::RowError),
    Exists,
    Missing,
}

impl From<rusqlite::Error> for SqliteError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Driver(cause)
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn create(&mut self) -> Result<(), DemoError> {
        self.blocking("make the tables", |connection| {
            if has_totesys(connection)? {
                return Err(SqliteError::Exists);
            }
            // References are checked once at the end, not row by row.
            connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN")?;
            connection.execute_batch(TABLES)?;
            connection.execute_batch(MIGRATIONS)?;
            Ok(())
        })
        .await
    }

    async fn load(&mut self, rows: Vec<Row>) -> Result<(), DemoError> {
        self.blocking("load the history", move |connection| {
            for row in &rows {
                insert(connection, row)?;
            }
            Ok(())
        })
        .await
    }

    async fn loaded(&mut self) -> Result<(), DemoError> {
        self.blocking("commit the history", |connection| {
            connection.execute_batch("COMMIT; PRAGMA foreign_keys = ON; ANALYZE")?;
            Ok(())
        })
        .await
    }

    async fn apply(&mut self, commits: Vec<Commit>) -> Result<(), DemoError> {
        self.blocking("apply a day", move |connection| {
            for commit in &commits {
                let transaction = connection.transaction()?;
                for change in &commit.changes {
                    apply(&transaction, change)?;
                }
                transaction.commit()?;
            }
            Ok(())
        })
        .await
    }

    async fn remember(&mut self) -> Result<Memory, DemoError> {
        self.blocking("read its state", |connection| {
            if !has_totesys(connection)? {
                return Err(SqliteError::Missing);
            }
            remember(connection)
        })
        .await
    }
}

fn has_totesys(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name IN ('sales_order', 'address')",
        [],
        |row| row.get(0),
    )
}

fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    let table = row.table();
    let places = vec!["?"; table.columns().len()].join(", ");
    let sql = format!("INSERT INTO {} VALUES ({places})", quoted(table.name()));
    execute(connection, &sql, row.values())
}

fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Insert(row) => insert(connection, row),
        Change::Update { after, .. } => {
            let table = after.table();
            let set: Vec<String> = (1_u32..)
                .zip(table.columns())
                .skip(1)
                .map(|(place, (column, _))| format!("{column} = ?{place}"))
                .collect();
            let sql = format!(
                "UPDATE {} SET {} WHERE {} = ?1",
                quoted(table.name()),
                set.join(", "),
                table.key()
            );
            execute(connection, &sql, after.values())
        }
        Change::Delete(row) => {
            let table = row.table();
            let sql = format!(
                "DELETE FROM {} WHERE {} = ?1",
                quoted(table.name()),
                table.key()
            );
            execute(connection, &sql, vec![Value::Int(row.key())])
        }
        Change::SetNull { .. } => Ok(()),
    }
}

/// Executes a statement that touches exactly one row.
fn execute(connection: &Connection, sql: &str, values: Vec<Value<'_>>) -> rusqlite::Result<()> {
    let touched = connection
        .prepare_cached(sql)?
        .execute(params_from_iter(values))?;
    match touched {
        1 => Ok(()),
        other => Err(rusqlite::Error::StatementChangedRows(other)),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(SqlValue::Null),
            Self::Int(number) => ToSqlOutput::Owned(SqlValue::Integer((*number).into())),
            Self::Bool(value) => ToSqlOutput::Owned(SqlValue::Integer((*value).into())),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            // The column's affinity makes a number of the text, as it does for every client.
            Self::Date(_) | Self::Money(_) | Self::Time(_) => {
                ToSqlOutput::Owned(SqlValue::Text(self.to_string()))
            }
        })
    }
}

fn remember(connection: &Connection) -> Result<Memory, SqliteError> {
    let mut highest = BTreeMap::new();
    for table in Table::ALL {
        let sql = format!("SELECT max({}) FROM {}", table.key(), quoted(table.name()));
        if let Some(key) = connection.query_row(&sql, [], |row| row.get(0))? {
            highest.insert(table, key);
        }
    }
    let stride = stride(&highest);
    let mut rows = Vec::new();
    for table in Table::ALL {
        let condition = remembered_rows(table, stride);
        rows.extend(select(connection, table, &format!("WHERE {condition}"))?);
    }
    // What is entered after hours may bear a date of the future.
    let newest = select(
        connection,
        Table::Transaction,
        "WHERE substr(created_at, 12, 5) < '18:00' ORDER BY transaction_id DESC LIMIT 1",
    )?;
    Ok(memory(highest, rows, newest.into_iter().next()))
}

fn select(connection: &Connection, table: Table, tail: &str) -> Result<Vec<Row>, SqliteError> {
    let columns: Vec<String> = table
        .columns()
        .iter()
        .map(|(column, _)| format!("CAST({column} AS text)"))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} {tail}",
        columns.join(", "),
        quoted(table.name())
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values: Vec<Option<String>> = (0..table.columns().len())
            .map(|place| row.get(place).optional().map(Option::flatten))
            .collect::<Result<_, _>>()?;
        rows.push(Row::parse(table, &values).map_err(SqliteError::Row)?);
    }
    Ok(rows)
}
