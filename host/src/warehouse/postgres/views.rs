//! The views over what was loaded: `<table>_current`, and a table's second name.
//!
//! A view is made again only when its definition changed, because that waits for everybody who reads it. A
//! view that cannot be made is a note and never a failed load: the rows are there.

use tokio_postgres::Client;

use super::bookkeeping::Bookkeeping;
use super::catalog;
use super::failure;
use super::sql::{NAME_BYTES, ident, join, qualified};
use super::target::{PROVENANCE_PREFIX, Target};

/// A view as it should be.
struct View {
    name: String,
    definition: String,
}

/// Makes the views of `target`: what a person should know about those that could not be made.
pub(super) async fn publish(
    books: Bookkeeping<'_>,
    target: &Target,
    alias: Option<&str>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let columns = match catalog::relation(books.client, &target.schema, &target.table).await? {
        Some(relation) => catalog::columns(books.client, relation.oid).await?,
        None => return Ok(Vec::new()),
    };
    let columns: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut notes = Vec::new();
    for view in views(target, &columns, alias) {
        if let Some(note) = make(books, &view).await? {
            notes.push(note);
        }
    }
    Ok(notes)
}

/// The views of `target`, in the order in which they build on each other.
fn views(target: &Target, columns: &[&str], alias: Option<&str>) -> Vec<View> {
    let mut views = Vec::new();
    let current = target.record_id.as_ref().map(|record_id| {
        let definition = current(target, columns, record_id);
        let name = format!("{}_current", target.table);
        views.push(View { name, definition });
    });
    let Some(alias) = alias else {
        return views;
    };
    views.push(View {
        name: alias.to_owned(),
        definition: select(columns, &target.sql_name()),
    });
    if let (Some(()), Some(record_id)) = (current, &target.record_id) {
        let of = qualified(&target.schema, &format!("{}_current", target.table));
        views.push(View {
            name: format!("{alias}_current"),
            definition: select(&published(columns, record_id), &of),
        });
    }
    views
}

/// The record id, then the columns that are not about where a row comes from, in the table's order: a column
/// that is added later comes last, which is the only place where a view can take it.
fn published<'a>(columns: &[&'a str], record_id: &'a str) -> Vec<&'a str> {
    let others = columns
        .iter()
        .copied()
        .filter(|name| *name != record_id && !name.starts_with(PROVENANCE_PREFIX));
    std::iter::once(record_id).chain(others).collect()
}

/// The latest version of every key, by record id, without those that were ended. DISTINCT ON walks the index
/// on key and record id, and a condition on the key reaches it.
fn current(target: &Target, columns: &[&str], record_id: &str) -> String {
    let key = join(target.key_columns().map(|column| ident(&column.name)), ", ");
    let columns = join(published(columns, record_id).into_iter().map(ident), ", ");
    let record_id = ident(record_id);
    format!(
        "SELECT {columns} FROM (SELECT DISTINCT ON ({key}) {columns} FROM {} ORDER BY {key}, {record_id} DESC) AS latest \
         WHERE NOT EXISTS (SELECT FROM tidemill.ended_version AS e WHERE e.warehouse = {} AND e.table_name = {} \
         AND e.record_id = latest.{record_id})",
        target.sql_name(),
        literal(&target.schema),
        literal(&target.table)
    )
}

fn select(columns: &[&str], from: &str) -> String {
    format!(
        "SELECT {} FROM {from}",
        join(columns.iter().map(|name| ident(name)), ", ")
    )
}

/// A text in the definition of a view, which can have no bound values. Only our own names get here.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

async fn make(
    books: Bookkeeping<'_>,
    view: &View,
) -> Result<Option<String>, tokio_postgres::Error> {
    if view.name.len() > NAME_BYTES {
        return Ok(Some(format!(
            "there is no view `{}`: PostgreSQL's names have at most {NAME_BYTES} bytes",
            view.name
        )));
    }
    let recorded = books.view(&view.name).await?;
    let exists = catalog::relation(books.client, books.warehouse, &view.name)
        .await?
        .is_some();
    match (exists, recorded) {
        (true, None) => Ok(Some(format!(
            "`{}` was there already and is left as it is",
            view.name
        ))),
        (true, Some(definition)) if definition == view.definition => Ok(None),
        _ => create(books, view).await,
    }
}

/// Makes or replaces a view inside a savepoint, so that a refusal costs only the view.
async fn create(
    books: Bookkeeping<'_>,
    view: &View,
) -> Result<Option<String>, tokio_postgres::Error> {
    let client: &Client = books.client;
    client.batch_execute("SAVEPOINT tidemill_view").await?;
    let statement = format!(
        "CREATE OR REPLACE VIEW {} AS {}",
        qualified(books.warehouse, &view.name),
        view.definition
    );
    match client.batch_execute(&statement).await {
        Ok(()) => {
            books.record_view(&view.name, &view.definition).await?;
            client
                .batch_execute("RELEASE SAVEPOINT tidemill_view")
                .await?;
            Ok(None)
        }
        Err(error) if error.as_db_error().is_some() => {
            client
                .batch_execute("ROLLBACK TO SAVEPOINT tidemill_view")
                .await?;
            Ok(Some(format!(
                "the view `{}` could not be made: {}",
                view.name,
                failure::message(&error)
            )))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_or_backslash_in_a_schema_name_stays_inside_the_literal() {
        assert_eq!(literal(r"a'b\c"), r"E'a''b\\c'");
    }

    #[test]
    fn a_view_names_the_record_id_first_and_no_provenance() {
        let columns = ["order_id", "_tidemill_run", "record_id", "units"];
        assert_eq!(
            published(&columns, "record_id"),
            ["record_id", "order_id", "units"]
        );
    }
}
