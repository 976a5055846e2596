//! PostgreSQL's types: all that `pg_type` has, those that people make, and those of extensions.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use tidemill::table::{Column, Fidelity};
use tidemill_tests::postgres::{Server, connect};
use tokio_postgres::Client;

use super::line::Line;
use super::page::{self, Row};
use super::text;

mod values;

use self::values::{Case, cases};

/// The types that are made before the table is: by people, and by extensions.
const DEFINITIONS: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION isn;
CREATE EXTENSION seg; CREATE EXTENSION intarray;
CREATE TYPE "Mood" AS ENUM ('good', 'so so', '🚢');
CREATE DOMAIN amount AS numeric(8,2); CREATE DOMAIN price AS amount CHECK (VALUE > 0);
CREATE DOMAIN tags AS text[]; CREATE DOMAIN feeling AS "Mood"; CREATE DOMAIN code AS char(4);
CREATE TYPE pair AS (n int, t text); CREATE TYPE nested AS (p pair, at timestamptz, ps pair[]);
CREATE TYPE floatrange AS RANGE (subtype = float8, multirange_type_name = floatmultirange);
"#;

/// How the server must write values so that they can be compared.
const WORDS: &str =
    "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC';
                     SET extra_float_digits = 3; SET bytea_output = 'hex'";

/// Everything about a role or a database that changes how the server writes a value.
const OTHER_WORDS: &str = "
ALTER DATABASE {} SET TimeZone = 'Asia/Kathmandu'; ALTER DATABASE {} SET DateStyle = 'SQL, DMY';
ALTER DATABASE {} SET IntervalStyle = 'iso_8601'; ALTER DATABASE {} SET extra_float_digits = -15;
ALTER DATABASE {} SET bytea_output = 'escape'; ALTER DATABASE {} SET xmloption = 'document';
ALTER DATABASE {} SET search_path = ''; ALTER DATABASE {} SET quote_all_identifiers = on;
ALTER DATABASE {} SET standard_conforming_strings = off; ALTER DATABASE {} SET array_nulls = off;
ALTER DATABASE {} SET xmlbinary = 'hex'; ALTER DATABASE {} SET lc_messages = 'POSIX'";

/// Base types that no query can make a value of: only NULL can be in such a column.
const WITHOUT_INPUT: [&str; 7] = [
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

/// A table with a column for every case.
pub(super) struct Types {
    pub(super) url: String,
    pub(super) client: Client,
    pub(super) cases: Vec<Case>,
}

impl Types {
    pub(super) async fn create(server: &Server) -> Result<Self> {
        let url = server.fresh_database().await;
        let client = connect(&url).await?;
        client.batch_execute(DEFINITIONS).await?;
        let mut cases = cases();
        for name in WITHOUT_INPUT {
            cases.push(Case::new(name, &[]));
        }
        cases.extend(arrays(&client, &cases).await?);
        let columns: Vec<String> = cases
            .iter()
            .enumerate()
            .map(|(n, case)| format!("c{n} {}", case.sql))
            .collect();
        let create = format!(
            "CREATE TABLE t (id int PRIMARY KEY, {})",
            columns.join(", ")
        );
        client.batch_execute(&create).await?;
        let types = Self { url, client, cases };
        types.fill().await?;
        types.every_type_is_there().await?;
        Ok(types)
    }

    /// One row more than the most values of a case has: there, everything is NULL.
    pub(super) fn rows(&self) -> usize {
        1 + self.cases.iter().map(|c| c.values.len()).max().unwrap_or(0)
    }

    async fn fill(&self) -> Result<()> {
        for row in 0..self.rows() {
            let mut values = vec![row.to_string()];
            for case in &self.cases {
                values.push(match case.values.get(row) {
                    Some(value) => format!("({value})::{}", case.sql),
                    None => "NULL".into(),
                });
            }
            let insert = format!("INSERT INTO t VALUES ({})", values.join(", "));
            self.client.batch_execute(&insert).await?;
        }
        Ok(())
    }

    /// No type of `pg_type` that a column can have is forgotten.
    async fn every_type_is_there(&self) -> Result<()> {
        let forgotten = self
            .client
            .query(
                "SELECT t.oid::regtype::text FROM pg_type t
                  WHERE t.typtype IN ('b', 'r', 'm', 'e', 'd') AND t.typisdefined
                    AND t.typnamespace = 'pg_catalog'::regnamespace
                    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND t.typlen = -1
                                       AND e.typtype IN ('c', 'p'))
                    AND NOT EXISTS (SELECT FROM pg_attribute a
                                     WHERE a.attrelid = 't'::regclass AND a.atttypid = t.oid)
                  ORDER BY 1",
                &[],
            )
            .await?;
        let forgotten: Vec<String> = forgotten.iter().map(|row| row.get(0)).collect();
        ensure!(
            forgotten.is_empty(),
            "types without a case: {}",
            forgotten.join(", ")
        );
        Ok(())
    }

    /// The server's own text of every value: by row, then by case.
    pub(super) async fn expected(&self, client: &Client) -> Result<Vec<Vec<Option<String>>>> {
        client.batch_execute(WORDS).await?;
        let columns: Vec<String> = (0..self.cases.len())
            .map(|n| self.cases[n].text(&format!("c{n}")))
            .collect();
        let query = format!("SELECT {} FROM t ORDER BY id", columns.join(", "));
        let rows = client.query(&query, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| (0..self.cases.len()).map(|n| row.get(n)).collect())
            .collect())
    }
}

/// The array type of every type that a case has and whose array type no case has.
async fn arrays(client: &Client, cases: &[Case]) -> Result<Vec<Case>> {
    let mut arrays: BTreeMap<String, Case> = BTreeMap::new();
    for case in cases {
        let row = client
            .query_one(
                "SELECT typarray, typarray::regtype::text FROM pg_type WHERE oid = to_regtype($1)",
                &[&case.sql],
            )
            .await
            .with_context(|| case.sql.clone())?;
        if row.get::<_, u32>(0) == 0 {
            continue;
        }
        let mut items: Vec<&str> = case.values.iter().take(2).map(String::as_str).collect();
        items.insert(items.len().min(1), "NULL");
        let value = format!("ARRAY[{}]", items.join(", "));
        let name: String = row.get(1);
        let is_there = cases.iter().any(|case| case.sql == name);
        if !is_there {
            arrays
                .entry(name.clone())
                .or_insert_with(|| Case::new(&name, &[&value]));
        }
    }
    Ok(arrays.into_values().collect())
}

/// Whether a batch holds what the server says, its columns being `id` and the cases.
fn check(
    what: &str,
    types: &Types,
    rows: &RecordBatch,
    expected: &[Vec<Option<String>>],
) -> Result<()> {
    ensure!(
        rows.num_rows() == expected.len(),
        "{what} has {} rows",
        rows.num_rows()
    );
    let mut wrong = Vec::new();
    for (n, case) in types.cases.iter().enumerate() {
        let column = rows.column_by_name(&format!("c{n}"));
        let column = column.with_context(|| format!("{what} has no column of {}", case.sql))?;
        for (row, expected) in expected.iter().enumerate() {
            if let Err(error) = text::check(column, row, expected[n].as_deref()) {
                wrong.push(format!("{}: {error:#}", case.sql));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{what} differs from the source:\n{}", wrong.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_postgresql_is_what_both_warehouses_hold() -> Result<()> {
    let server = Server::shared();
    let types = Types::create(&server).await?;
    let star = server.fresh_database().await;
    let mirrors = [("t", "mirrored")];
    let to_delta = Line::new(&types.url, "delta://./warehouse", &mirrors, "").await?;
    let to_server = Line::new(&types.url, &star, &mirrors, "").await?;
    let expected = types.expected(&types.client).await?;
    let table = to_delta.tables().await?.remove("t").context("t is there")?;
    declared(&to_delta, &table.columns)?;

    to_delta.report(&["run"], 0)?;
    let landed = to_delta.landed("t").await?;
    check("Parquet", &types, &landed.rows().await?, &expected)?;
    let in_delta = to_delta.query("SELECT * FROM mirrored ORDER BY id").await?;
    check("Delta", &types, &in_delta, &expected)?;
    every_value_is_found(&to_delta, &types, &in_delta).await?;

    to_server.report(&["run"], 0)?;
    let in_server = warehouse_texts(&types, &star).await?;
    compare_texts(&types, &in_server, &expected)?;
    let queried = to_server
        .query("SELECT * FROM mirrored ORDER BY id")
        .await?;
    check("a query of PostgreSQL", &types, &queried, &expected)?;
    for line in [&to_delta, &to_server] {
        line.project.done(["verify"])?;
    }
    nothing_changes_with_settings(&server, &types, &to_delta)?;

    let parquet = landed.parquet_types().await?;
    let delta = delta_types(&to_delta)?;
    let server_types = server_types(&star).await?;
    let mut rows = Vec::new();
    for (n, case) in types.cases.iter().enumerate() {
        let name = format!("c{n}");
        let column = table.column(&name).context("a case has a column")?;
        rows.push(Row {
            source: case.sql.clone(),
            arrow: column.data_type.to_string(),
            parquet: parquet[n + 1].clone(),
            delta: delta.get(&name).context("delta has it")?.clone(),
            postgres: server_types
                .get(&name)
                .context("the server has it")?
                .clone(),
            reason: match &column.fidelity {
                Fidelity::Exact => None,
                Fidelity::Text(reason) => Some(reason.clone()),
            },
        });
    }
    page::check("postgresql", &page::of_rows(&rows))
}

/// Conditions on the value of a column find its row: what Delta's log says of a file excludes none that it holds.
async fn every_value_is_found(line: &Line, types: &Types, rows: &RecordBatch) -> Result<()> {
    let mut questions = Vec::new();
    for (n, case) in types.cases.iter().enumerate() {
        let column = rows
            .column_by_name(&format!("c{n}"))
            .context("it was checked")?;
        for row in 0..rows.num_rows() {
            if let Some(literal) = text::literal(column, row)? {
                questions.push((
                    case.sql.clone(),
                    format!("SELECT count(*) FROM mirrored WHERE c{n} = {literal}"),
                ));
            }
        }
    }
    ensure!(questions.len() > 100, "{} values", questions.len());
    let mut wrong = Vec::new();
    for some in questions.chunks(20) {
        let asked: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(n, (_, sql))| format!("SELECT {n} AS question, ({sql}) AS found"))
            .collect();
        let sql = format!(
            "SELECT question FROM ({}) WHERE found = 0",
            asked.join(" UNION ALL ")
        );
        let lost = line.query(&sql).await?;
        for n in lost.column(0).as_primitive::<Int64Type>().values() {
            wrong.push(format!("{}: {}", some[*n as usize].0, some[*n as usize].1));
        }
    }
    ensure!(
        wrong.is_empty(),
        "not found in Delta:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// `plan` says of exactly the columns that are landed as text that they are, and why.
fn declared(line: &Line, columns: &[Column]) -> Result<()> {
    let plan = line.report(&["plan"], 4)?;
    let said: BTreeSet<(String, String, String)> =
        serde_json::from_value(plan["sources"][0]["as_text"].clone())?;
    let wanted = columns.iter().filter_map(|column| match &column.fidelity {
        Fidelity::Exact => None,
        Fidelity::Text(reason) => Some((
            column.name.clone(),
            column.source_type.clone(),
            reason.clone(),
        )),
    });
    ensure!(said == wanted.collect(), "{plan:#}");
    Ok(())
}

/// The same rows are landed whatever the settings of the source's database and role.
fn nothing_changes_with_settings(server: &Server, types: &Types, line: &Line) -> Result<()> {
    let database = tidemill_tests::postgres::database_of(&types.url).to_owned();
    let settings = OTHER_WORDS.replace("{}", &database);
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let client = server.client("postgres").await;
            for setting in settings.split(';') {
                client.batch_execute(setting).await?;
            }
            anyhow::Ok(())
        })
    })?;
    let report = line.report(&["extract", "--reconcile"], 0)?;
    let table = &report["extract"][0]["tables"][0];
    let table = if table.is_null() {
        &report[0]["tables"][0]
    } else {
        table
    };
    ensure!(
        table["rows_read"].as_u64() == Some(types.rows() as u64)
            && table["rows_changed"] == 0
            && table["rows_new"] == 0,
        "{report:#}"
    );
    Ok(())
}

async fn warehouse_texts(types: &Types, star: &str) -> Result<Vec<Vec<Option<String>>>> {
    let client = connect(star).await?;
    client.batch_execute(WORDS).await?;
    let columns: Vec<String> = (0..types.cases.len())
        .map(|n| values::written(&format!("c{n}")))
        .collect();
    let query = format!("SELECT {} FROM mirrored ORDER BY id", columns.join(", "));
    let rows = client.query(&query, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| (0..types.cases.len()).map(|n| row.get(n)).collect())
        .collect())
}

fn compare_texts(
    types: &Types,
    found: &[Vec<Option<String>>],
    expected: &[Vec<Option<String>>],
) -> Result<()> {
    ensure!(found.len() == expected.len(), "{} rows", found.len());
    let mut wrong = Vec::new();
    for (found, expected) in found.iter().zip(expected) {
        for (n, case) in types.cases.iter().enumerate() {
            if found[n] != expected[n] {
                let shown = |text: &Option<String>| text.as_deref().map(text::short);
                let (found, expected) = (shown(&found[n]), shown(&expected[n]));
                wrong.push(format!("{}: {found:?} where {expected:?} is", case.sql));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "PostgreSQL differs:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// The types of the columns in Delta's own log.
fn delta_types(line: &Line) -> Result<BTreeMap<String, String>> {
    let log = line
        .project
        .path()
        .join("warehouse/mirrored/_delta_log/00000000000000000000.json");
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    for action in log.lines() {
        let action: serde_json::Value = serde_json::from_str(action)?;
        if let Some(schema) = action["metaData"]["schemaString"].as_str() {
            let schema: serde_json::Value = serde_json::from_str(schema)?;
            let fields = schema["fields"].as_array().context("a schema has fields")?;
            return Ok(fields
                .iter()
                .map(|field| {
                    let name = field["name"].as_str().unwrap_or_default().to_owned();
                    (name, field["type"].as_str().unwrap_or("nested").to_owned())
                })
                .collect());
        }
    }
    bail!("the log has no schema")
}

async fn server_types(star: &str) -> Result<BTreeMap<String, String>> {
    let client = connect(star).await?;
    let rows = client
        .query(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
              WHERE attrelid = 'mirrored'::regclass AND attnum > 0",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
