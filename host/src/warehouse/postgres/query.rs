//! Queries of a user: read only, one statement, streamed.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::stream::Fuse;
use futures::{StreamExt, stream};
use tokio_postgres::{Column, Row, RowStream};

use super::decode::{Cells, Raw, is_readable};
use super::failure;
use super::sql::{ident, join};
use crate::connection::postgres::PgConnection;
use crate::warehouse::{BatchStream, WarehouseError};

/// A batch ends at whichever comes first.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What `show tables`, which PostgreSQL does not know, stands for.
const SHOW_TABLES: &str = "SELECT c.relname::text AS table_name,
        CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind
   FROM pg_catalog.pg_class c
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  ORDER BY c.relname::text COLLATE \"C\"";

/// Runs `sql` in a read-only transaction with `schema` first on the search path.
pub(super) async fn run(
    connection: PgConnection,
    server: &str,
    schema: &str,
    sql: &str,
) -> Result<(SchemaRef, BatchStream), WarehouseError> {
    let failed = |error| failure::query(server, error);
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL search_path = {}, public",
        ident(schema)
    );
    connection.batch_execute(&begin).await.map_err(failed)?;
    let sql = statement(sql);
    let mut prepared = connection.prepare(sql).await.map_err(failed)?;
    check(prepared.params().len(), prepared.columns())?;
    if !prepared.columns().iter().all(is_readable) {
        let wrapped = with_text(sql, prepared.columns());
        prepared = connection.prepare(&wrapped).await.map_err(failed)?;
    }
    let columns = prepared
        .columns()
        .iter()
        .map(Cells::of)
        .collect::<Result<Vec<_>, _>>()?;
    let schema: SchemaRef = Arc::new(Schema::new(
        columns.iter().map(Cells::field).collect::<Vec<_>>(),
    ));
    let parameters: [&str; 0] = [];
    let rows = connection
        .query_raw(&prepared, parameters)
        .await
        .map_err(failed)?;
    let answer = Answer {
        _connection: connection,
        server: server.to_owned(),
        rows: Box::pin(rows.fuse()),
        schema: schema.clone(),
        columns,
    };
    let batches = stream::try_unfold(answer, |mut answer| async move {
        let batch = answer.next_batch().await.map_err(crate::Error::from)?;
        Ok(batch.map(|batch| (batch, answer)))
    });
    Ok((schema, batches.boxed()))
}

/// The one statement in `sql`: a second one is refused by the server.
fn statement(sql: &str) -> &str {
    let sql = sql.trim();
    let sql = sql.strip_suffix(';').map_or(sql, str::trim_end);
    let words: Vec<&str> = sql.split_whitespace().collect();
    match words.as_slice() {
        [show, tables]
            if show.eq_ignore_ascii_case("show") && tables.eq_ignore_ascii_case("tables") =>
        {
            SHOW_TABLES
        }
        _ => sql,
    }
}

fn check(parameters: usize, columns: &[Column]) -> Result<(), WarehouseError> {
    if parameters > 0 {
        return Err(WarehouseError::Query(
            "it has a parameter ($1); write the value itself".into(),
        ));
    }
    if columns.is_empty() {
        return Err(WarehouseError::Query(
            "it is a statement without a result; only queries are run here".into(),
        ));
    }
    Ok(())
}

/// The same query with the columns that we cannot read as the server's own text for them.
fn with_text(sql: &str, columns: &[Column]) -> String {
    let numbered = (0..columns.len()).map(|i| format!("c{i}"));
    let selected = columns.iter().enumerate().map(|(i, column)| {
        let cast = if is_readable(column) { "" } else { "::text" };
        format!("q.c{i}{cast} AS {}", ident(column.name()))
    });
    // On lines of its own, for the sake of a comment at its end.
    format!(
        "SELECT {} FROM (\n{sql}\n) AS q({})",
        join(selected, ", "),
        join(numbered, ", ")
    )
}

/// A result on its way in. Dropping it closes the connection, and with it the query.
struct Answer {
    _connection: PgConnection,
    server: String,
    rows: Pin<Box<Fuse<RowStream>>>,
    schema: SchemaRef,
    columns: Vec<Cells>,
}

impl Answer {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        let mut rows = 0;
        let mut bytes = 0;
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = self.rows.next().await else {
                break;
            };
            let row = row.map_err(|error| failure::query(&self.server, error))?;
            self.push(&row)?;
            rows += 1;
            bytes += row.raw_size_bytes();
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Cells::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(|error| WarehouseError::Query(error.to_string()))
    }

    fn push(&mut self, row: &Row) -> Result<(), WarehouseError> {
        for (i, column) in self.columns.iter_mut().enumerate() {
            let raw: Option<Raw<'_>> = row
                .try_get(i)
                .map_err(|error| failure::query(&self.server, error))?;
            column.push(raw.map(|raw| raw.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_semicolon_is_not_a_second_statement() {
        assert_eq!(statement(" select 1 ; \n"), "select 1");
    }

    #[test]
    fn show_tables_is_understood() {
        assert_eq!(statement("SHOW  Tables;"), SHOW_TABLES);
        assert_eq!(statement("show timezone"), "show timezone");
    }
}
