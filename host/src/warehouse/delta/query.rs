//! Queries: the published tables as DataFusion sees them. Nothing here can write.
//!
//! ```text
//! <table>           all columns; the history of an append-versions or scd2 table
//! <table>_current   append-versions, scd2: the row of every key that counts now, without the warehouse's columns
//! <table>_ended     append-versions: which versions were ended by a delete, and by which landing
//! <alias>, <alias>_current
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use deltalake::DeltaTable;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use futures::StreamExt as _;

use super::Delta;
use super::columns;
use super::delta_table::TableFolder;
use super::layout::{IS_CURRENT, output_columns};
use super::location::Location;
use super::publication::{Publication, Published};
use crate::contract::LoadMode;
use crate::warehouse::{BatchStream, TableLoad, WarehouseError};

const CATALOG: &str = "tidemill";
const SCHEMA: &str = "public";

/// `SHOW TABLES` of DataFusion lists its own catalogue tables too, which nobody asked for.
const SHOW_TABLES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";

/// The names that a published table makes, and no other table may have.
pub(super) fn names(table: &str, published: &Published) -> Vec<String> {
    all_names(table, published.mode, published.alias.as_deref())
}

/// The names that a table will make.
pub(super) fn planned_names(load: &TableLoad) -> Vec<String> {
    all_names(&load.table, load.mode, load.alias.as_deref())
}

fn all_names(table: &str, mode: LoadMode, alias: Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    for name in std::iter::once(table).chain(alias) {
        names.push(name.to_owned());
        if has_current(mode) {
            names.push(format!("{name}_current"));
        }
    }
    if mode == LoadMode::AppendVersions {
        names.push(format!("{table}_ended"));
    }
    names
}

fn has_current(mode: LoadMode) -> bool {
    matches!(mode, LoadMode::AppendVersions | LoadMode::Scd2)
}

/// Runs `sql` over the tables of `publication`.
pub(super) async fn run(
    delta: &Delta,
    publication: Option<&Publication>,
    sql: &str,
) -> Result<(SchemaRef, BatchStream), WarehouseError> {
    let asked = sql.trim().trim_end_matches(';').trim_end();
    let sql = match asked
        .to_ascii_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()[..]
    {
        ["show", "tables"] => SHOW_TABLES,
        _ => asked,
    };
    let session = session(delta, publication, sql).await?;
    let plan = session
        .state()
        .create_logical_plan(sql)
        .await
        .map_err(wrong)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|_| WarehouseError::Query("a query can only read".into()))?;
    let frame = session.execute_logical_plan(plan).await.map_err(wrong)?;
    let stream = frame.execute_stream().await.map_err(wrong)?;
    let schema = stream.schema();
    let batches = stream.map(|batch| batch.map_err(|cause| wrong(cause).into()));
    Ok((schema, batches.boxed()))
}

/// A session with the tables that `sql` can mean. A name that is not in the text is not in the query, so only
/// the tables it asks for are opened; a question about all of them says so.
async fn session(
    delta: &Delta,
    publication: Option<&Publication>,
    sql: &str,
) -> Result<SessionContext, WarehouseError> {
    let config = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        // Results have the declared types, not those of one engine.
        .set_bool(
            "datafusion.execution.parquet.schema_force_view_types",
            false,
        )
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let session = SessionContext::new_with_config(config);
    if let Location::Bucket(bucket) = &delta.place {
        session.register_object_store(&bucket.root()?, bucket.objects.clone());
    }
    let sql = sql.to_lowercase();
    let tables = publication.map(|publication| &publication.tables);
    for (name, published) in tables.unwrap_or(&BTreeMap::new()) {
        let mut names = std::iter::once(name).chain(&published.alias);
        let is_meant = names.any(|name| sql.contains(&name.replace('"', "\"\"").to_lowercase()));
        if is_meant || sql.contains("information_schema") || sql.starts_with("show") {
            register(delta, &session, name, published).await?;
        }
    }
    Ok(session)
}

async fn register(
    delta: &Delta,
    session: &SessionContext,
    name: &str,
    published: &Published,
) -> Result<(), WarehouseError> {
    let (folder, table) = open(delta, name, published.version).await?;
    let refused = |cause: DataFusionError| folder.refused("open", cause);
    let rows = declared(&folder, session, &table).await?;
    let aliases = || std::iter::once(name).chain(published.alias.as_deref());
    for alias in aliases() {
        add(session, alias, Arc::clone(&rows)).map_err(refused)?;
    }
    if let Some(version) = published.ended {
        let beside = format!("{name}_ended");
        let (folder, table) = open(delta, &beside, version).await?;
        let ended = declared(&folder, session, &table).await?;
        add(session, &beside, ended).map_err(refused)?;
    }
    if has_current(published.mode) {
        let columns = output_names(&folder, &table, published)?;
        let view = session.sql(&current(name, published, &columns)).await;
        let view = view.map_err(refused)?.into_view();
        for alias in aliases() {
            add(session, &format!("{alias}_current"), Arc::clone(&view)).map_err(refused)?;
        }
    }
    Ok(())
}

async fn open(
    delta: &Delta,
    name: &str,
    version: u64,
) -> Result<(TableFolder, DeltaTable), WarehouseError> {
    let folder = TableFolder::of(&delta.place, name)?;
    let table = folder.at(version).await?;
    Ok((folder, table))
}

fn add(
    session: &SessionContext,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<(), DataFusionError> {
    let name = datafusion::common::TableReference::bare(name);
    session.register_table(name, table).map(drop)
}

/// The table with its columns cast back to their declared types.
async fn declared(
    folder: &TableFolder,
    session: &SessionContext,
    table: &DeltaTable,
) -> Result<Arc<dyn TableProvider>, WarehouseError> {
    let refused = |cause: DataFusionError| folder.refused("open", cause);
    let schema = arrow_schema(folder, table)?;
    let provider = table
        .table_provider()
        .with_session(Arc::new(session.state()));
    let frame = session
        .read_table(provider.await.map_err(refused)?)
        .map_err(refused)?;
    let columns: Vec<Expr> = schema
        .fields()
        .iter()
        .map(|field| {
            let (column, declared) = (ident(field.name()), columns::declared(field));
            if declared == *field.data_type() {
                column
            } else {
                cast(column, declared).alias(field.name())
            }
        })
        .collect();
    Ok(frame.select(columns).map_err(refused)?.into_view())
}

fn arrow_schema(
    folder: &TableFolder,
    table: &DeltaTable,
) -> Result<arrow::datatypes::Schema, WarehouseError> {
    let snapshot = table
        .snapshot()
        .map_err(|cause| folder.failed("open", cause))?;
    snapshot
        .schema()
        .as_ref()
        .try_into_arrow()
        .map_err(|cause| folder.refused("open", cause))
}

/// The record id, where there is one, and the columns of the output.
fn output_names(
    folder: &TableFolder,
    table: &DeltaTable,
    published: &Published,
) -> Result<Vec<String>, WarehouseError> {
    let schema = arrow_schema(folder, table)?;
    let record_id = published.record_id.as_deref();
    let output = output_columns(&schema, record_id);
    let names = output.iter().map(|field| field.name().as_str());
    Ok(record_id.into_iter().chain(names).map(quoted).collect())
}

/// The view over the rows that count now.
///
/// Two hash joins on the serial number instead of a window over the whole history: they read the key and
/// the serial number of all versions, and sort nothing.
fn current(name: &str, published: &Published, columns: &[String]) -> String {
    let (columns, table) = (columns.join(", "), quoted(name));
    let Some(record_id) = &published.record_id else {
        return format!("SELECT {columns} FROM {table} WHERE {}", quoted(IS_CURRENT));
    };
    let keys: Vec<String> = published
        .primary_key
        .iter()
        .map(|key| quoted(key))
        .collect();
    let (keys, id, ended) = (
        keys.join(", "),
        quoted(record_id),
        quoted(&format!("{name}_ended")),
    );
    format!(
        "SELECT {columns} FROM {table} \
         WHERE {id} IN (SELECT max({id}) FROM {table} GROUP BY {keys}) \
         AND NOT EXISTS (SELECT 1 FROM {ended} WHERE {ended}.{id} = {table}.{id})"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// DataFusion's message without its backtrace and without the names that we gave catalogue and schema.
fn wrong(cause: DataFusionError) -> WarehouseError {
    let text = cause
        .strip_backtrace()
        .replace(&format!("{CATALOG}.{SCHEMA}."), "");
    WarehouseError::Query(text.trim().to_owned())
}
