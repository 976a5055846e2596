//! totesys in a PostgreSQL database: history by COPY, days by prepared statements.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use async_trait::async_trait;
use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::super::DemoError;
use super::super::model::{Change, Commit, Memory};
use super::super::rows::{Kind, Row, Table, Value};
use super::{Database, MIGRATIONS, memory, quoted, remembered_rows, stride};
use crate::connection::postgres::{PgConnection, PgUrl, connect};

const TABLES: &str = include_str!("../sql/postgres_tables.sql");
const CONSTRAINTS: &str = include_str!("../sql/postgres_constraints.sql");

/// Bytes of COPY text that are sent at once: large enough that the wire is not the bottleneck.
const COPY_BYTES: usize = 256 * 1024;

/// A session in the database.
pub(super) struct Postgres {
    target: String,
    client: PgConnection,
    statements: HashMap<(Table, Verb), Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Verb {
    Insert,
    Update,
    Delete,
}

impl Postgres {
    pub(super) async fn connect(url: &str) -> Result<Self, DemoError> {
        let url = PgUrl::parse(url)?;
        Ok(Self {
            target: url.target().to_owned(),
            client: connect(&url).await?,
            statements: HashMap::new(),
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> DemoError {
        let target = self.target.clone();
        move |cause| DemoError::Postgres {
            target,
            action,
            cause,
        }
    }

    async fn batch(&self, action: &'static str, sql: &str) -> Result<(), DemoError> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(self.failed(action))
    }

    async fn has_totesys(&self) -> Result<bool, DemoError> {
        let found = self
            .client
            .query_one("SELECT to_regclass('sales_order') IS NOT NULL OR to_regclass('address') IS NOT NULL", &[])
            .await
            .map_err(self.failed("look for its tables"))?;
        Ok(found.get(0))
    }

    async fn copy(&self, table: Table, rows: &[Row]) -> Result<(), DemoError> {
        let action = "load the history";
        let sql = format!("COPY {} FROM STDIN", quoted(table.name()));
        let sink = self
            .client
            .copy_in(&sql)
            .await
            .map_err(self.failed(action))?;
        let mut sink = std::pin::pin!(sink);
        let mut text = String::with_capacity(COPY_BYTES + 1024);
        for row in rows.iter().filter(|row| row.table() == table) {
            write_copy_line(&mut text, row);
            if text.len() >= COPY_BYTES {
                let full = std::mem::take(&mut text);
                sink.send(Bytes::from(full))
                    .await
                    .map_err(self.failed(action))?;
                text.reserve(COPY_BYTES + 1024);
            }
        }
        sink.send(Bytes::from(text))
            .await
            .map_err(self.failed(action))?;
        sink.finish().await.map_err(self.failed(action))?;
        Ok(())
    }

    /// Sets every sequence behind the highest key, as if it had numbered the rows.
    async fn set_sequences(&self, tables: impl Iterator<Item = Table>) -> Result<(), DemoError> {
        let mut sql = String::new();
        for table in tables {
            let (name, key) = (quoted(table.name()), table.key());
            // Writing to a String does not fail.
            let _ = writeln!(
                sql,
                "SELECT setval(pg_get_serial_sequence('{name}', '{key}'), max({key})) FROM {name} HAVING count(*) > 0;"
            );
        }
        self.batch("set the sequences", &sql).await
    }

    async fn statement(&mut self, table: Table, verb: Verb) -> Result<Statement, DemoError> {
        if let Some(statement) = self.statements.get(&(table, verb)) {
            return Ok(statement.clone());
        }
        let statement = self
            .client
            .prepare(&sql_of(table, verb))
            .await
            .map_err(self.failed("prepare a statement"))?;
        self.statements.insert((table, verb), statement.clone());
        Ok(statement)
    }

    async fn change(&mut self, change: &Change) -> Result<(), DemoError> {
        let (verb, values) = match change {
            Change::Insert(row) => (Verb::Insert, row.values()),
            Change::Update { after, .. } => (Verb::Update, after.values()),
            Change::Delete(row) => (Verb::Delete, vec![Value::Int(row.key())]),
            Change::SetNull { .. } => return Ok(()),
        };
        let statement = self.statement(change.table(), verb).await?;
        let bound: Vec<Bound> = values.iter().map(Bound::of).collect();
        let parameters = bound.iter().map(Bound::as_sql);
        let touched = self
            .client
            .execute_raw(&statement, parameters)
            .await
            .map_err(self.failed("apply a change"))?;
        match touched {
            1 => Ok(()),
            _ => Err(DemoError::Strange {
                target: self.target.clone(),
                table: change.table().name(),
            }),
        }
    }

    async fn select(&self, table: Table, tail: &str) -> Result<Vec<Row>, DemoError> {
        let columns: Vec<String> = table
            .columns()
            .iter()
            .map(|(column, _)| format!("{column}::text"))
            .collect();
        let sql = format!(
            "SELECT {} FROM {} {tail}",
            columns.join(", "),
            quoted(table.name())
        );
        let found = self
            .client
            .query(&sql, &[])
            .await
            .map_err(self.failed("read its state"))?;
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            let values: Vec<Option<String>> = (0..row.len())
                .map(|place| row.try_get(place))
                .collect::<Result<_, _>>()
                .map_err(self.failed("read its state"))?;
            rows.push(Row::parse(table, &values)?);
        }
        Ok(rows)
    }
}

#[async_trait]
impl Database for Postgres {
    async fn create(&mut self) -> Result<(), DemoError> {
        if self.has_totesys().await? {
            return Err(DemoError::Exists {
                target: self.target.clone(),
            });
        }
        self.batch("make the tables", "BEGIN").await?;
        self.batch("make the tables", TABLES).await?;
        self.batch("make the tables", MIGRATIONS).await
    }

    async fn load(&mut self, rows: Vec<Row>) -> Result<(), DemoError> {
        for table in Table::ALL {
            if rows.iter().any(|row| row.table() == table) {
                self.copy(table, &rows).await?;
            }
        }
        Ok(())
    }

    async fn loaded(&mut self) -> Result<(), DemoError> {
        self.batch("build the constraints", CONSTRAINTS).await?;
        self.set_sequences(Table::ALL.into_iter()).await?;
        self.batch("commit the history", "COMMIT; ANALYZE").await
    }

    async fn apply(&mut self, commits: Vec<Commit>) -> Result<(), DemoError> {
        let mut inserted = std::collections::BTreeSet::new();
        for commit in &commits {
            self.batch("begin a transaction", "BEGIN").await?;
            for change in &commit.changes {
                if let Change::Insert(row) = change {
                    inserted.insert(row.table());
                }
                if let Err(error) = self.change(change).await {
                    // The first error is the one to report; a broken connection has rolled back anyway.
                    drop(self.batch("roll back", "ROLLBACK").await);
                    return Err(error);
                }
            }
            self.batch("commit a transaction", "COMMIT").await?;
        }
        self.set_sequences(inserted.into_iter()).await
    }

    async fn remember(&mut self) -> Result<Memory, DemoError> {
        if !self.has_totesys().await? {
            return Err(DemoError::Missing {
                target: self.target.clone(),
            });
        }
        let mut highest = BTreeMap::new();
        for table in Table::ALL {
            let sql = format!("SELECT max({}) FROM {}", table.key(), quoted(table.name()));
            let found = self
                .client
                .query_one(&sql, &[])
                .await
                .map_err(self.failed("read its state"))?;
            if let Some(key) = found.get(0) {
                highest.insert(table, key);
            }
        }
        let stride = stride(&highest);
        let mut rows = Vec::new();
        for table in Table::ALL {
            let condition = remembered_rows(table, stride);
            rows.extend(self.select(table, &format!("WHERE {condition}")).await?);
        }
        // What is entered after hours may bear a date of the future. Without `t.` the order would be that
        // of the column selected, which is text.
        let newest = self
            .select(
                Table::Transaction,
                "t WHERE created_at::time < '18:00' ORDER BY t.transaction_id DESC LIMIT 1",
            )
            .await?;
        Ok(memory(highest, rows, newest.into_iter().next()))
    }
}

/// The statement that does `verb` to one row of `table`; the key is `$1`.
fn sql_of(table: Table, verb: Verb) -> String {
    let name = quoted(table.name());
    let places: Vec<(&str, String)> = (1_u32..)
        .zip(table.columns())
        .map(|(place, (column, kind))| (*column, cast(place, *kind)))
        .collect();
    match verb {
        Verb::Insert => {
            let values: Vec<&str> = places.iter().map(|(_, place)| place.as_str()).collect();
            format!("INSERT INTO {name} VALUES ({})", values.join(", "))
        }
        Verb::Update => {
            let set: Vec<String> = places
                .iter()
                .skip(1)
                .map(|(column, place)| format!("{column} = {place}"))
                .collect();
            format!(
                "UPDATE {name} SET {} WHERE {} = $1",
                set.join(", "),
                table.key()
            )
        }
        Verb::Delete => format!("DELETE FROM {name} WHERE {} = $1", table.key()),
    }
}

/// A place for a value that is bound as text where the driver has no type of its own for it.
fn cast(place: u32, kind: Kind) -> String {
    match kind {
        Kind::Int => format!("${place}::integer"),
        Kind::Bool => format!("${place}::boolean"),
        Kind::Text => format!("${place}::text"),
        Kind::Enum(name) => format!("${place}::text::\"{name}\""),
        Kind::Money => format!("${place}::text::numeric(10,2)"),
        Kind::Time => format!("${place}::text::timestamp(3)"),
    }
}

/// A value as it is bound.
enum Bound {
    Int(Option<i32>),
    Text(Option<String>),
    Bool(bool),
    /// NULL of a type that the statement decides.
    Null,
}

impl Bound {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(Some(*number)),
            Value::Bool(value) => Self::Bool(*value),
            other => Self::Text(Some(other.to_string())),
        }
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(value) => value,
            Self::Text(value) => value,
            Self::Bool(value) => value,
            Self::Null => &AnyNull,
        }
    }
}

/// NULL for a parameter of any type.
#[derive(Debug)]
struct AnyNull;

impl ToSql for AnyNull {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        _: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(tokio_postgres::types::IsNull::Yes)
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Writes a row as a line of COPY's text format.
fn write_copy_line(text: &mut String, row: &Row) {
    for (place, value) in row.values().iter().enumerate() {
        if place > 0 {
            text.push('\t');
        }
        match value {
            Value::Null => text.push_str("\\N"),
            Value::Text(value) => escape(text, value),
            Value::Date(date) => escape(text, &date.to_string()),
            other => {
                // Writing to a String does not fail.
                let _ = write!(text, "{other}");
            }
        }
    }
    text.push('\n');
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::{Currency, Stamps};
    use super::*;

    #[test]
    fn a_copy_line_escapes_what_the_format_uses() {
        let at = chrono::NaiveDate::from_ymd_opt(2024, 1, 2)
            .and_then(|date| date.and_hms_milli_opt(3, 4, 5, 60))
            .expect("a time");
        let row = Row::Currency(Currency {
            currency_id: 7,
            currency_code: "a\\b\tc\nd".into(),
            stamps: Stamps::new(at),
        });
        let mut line = String::new();
        write_copy_line(&mut line, &row);
        assert_eq!(
            line,
            "7\ta\\\\b\\tc\\nd\t2024-01-02 03:04:05.060\t2024-01-02 03:04:05.060\n"
        );
    }

    #[test]
    fn statements_cast_to_the_types_of_the_table() {
        assert_eq!(
            sql_of(Table::PaymentType, Verb::Update),
            "UPDATE \"payment_type\" SET payment_type_name = $2::text::\"PaymentTypeName\", \
             created_at = $3::text::timestamp(3), last_updated = $4::text::timestamp(3) \
             WHERE payment_type_id = $1"
        );
    }
}
