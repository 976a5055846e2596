//! SQLite's types: every declared type with values of every storage class.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use rusqlite::Connection;
use tempfile::TempDir;
use tidemill::source::{self, Selection, Snapshot, SourceOptions};
use tidemill::table::{Fidelity, Table};
use tidemill_tests::postgres::Server;

use super::line::Line;
use super::page;

/// Types as people declare them. The first of a line of the page is the first that is met here.
const DECLARED: &[&str] = &[
    "INTEGER",
    "int",
    "bigint",
    "int8",
    "UNSIGNED BIG INT",
    "int unsigned",
    "int4",
    "mediumint",
    "smallint",
    "int2",
    "tinyint",
    "boolean",
    "bool",
    "REAL",
    "double",
    "double precision",
    "float",
    "numeric(10,2)",
    "decimal(10,2)",
    "numeric(40,1)",
    "numeric",
    "decimal",
    "numeric(99)",
    "TEXT",
    "varchar(9)",
    "character(20)",
    "nvarchar(100)",
    "clob",
    "VARYING CHARACTER(255)",
    "longtext",
    "BLOB",
    "bytea",
    "longblob",
    "date",
    "time",
    "timestamp",
    "datetime",
    "timestamp(3)",
    "timestamptz",
    "timestamp with time zone",
    "",
    "ANY",
    "json",
    "uuid",
    "POINT",
    "PaymentTypeName",
];

/// Values in SQL; a column's affinity may turn one into another when it is stored.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-128",
    "32768",
    "2147483648",
    "9007199254740993",
    "-9223372036854775808",
    "1.5",
    "0.1 + 0.2",
    "1e300",
    "9e999",
    "-9e999",
    "-0.0",
    "2459887.09781",
    "''",
    "'abc'",
    "'12.50'",
    "'007'",
    "'123456789012345678901234567890.5'",
    "'2022-11-03'",
    "'-0044-03-15'",
    "'12022-11-03'",
    "'03/11/2022'",
    "'14:20'",
    "'14:20:51.563'",
    "'24:00:00'",
    "'2022-11-03 14:20:51.563'",
    "'2022-11-03T14:20:51'",
    "'2022-11-03 14:20:51Z'",
    "'2022-11-03 14:20:51.1234567+05:45'",
    "'2022-11-03T14:20:51.563001+05:45'",
    "x''",
    "x'00ff'",
    "CAST(x'61ff' AS TEXT)",
    "'a' || char(0) || 'b'",
    "'🚢'",
];

struct File {
    _folder: TempDir,
    url: String,
}

fn file(fill: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<File> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("source.sqlite");
    fill(&Connection::open(&path)?)?;
    Ok(File {
        url: format!("sqlite://{}", path.display()),
        _folder: folder,
    })
}

/// The name of the table with the `value`-th value in a column of the `declared`-th type.
fn name(declared: usize, value: usize) -> String {
    format!("t{declared}_{value}")
}

fn every_pair(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN")?;
    for (d, declared) in DECLARED.iter().enumerate() {
        for (v, value) in VALUES.iter().enumerate() {
            let table = name(d, v);
            connection.execute_batch(&format!(
                "CREATE TABLE {table} (c {declared}); INSERT INTO {table} VALUES ({value}), (NULL)"
            ))?;
        }
    }
    connection.execute_batch("COMMIT")
}

async fn read(snapshot: &dyn Snapshot, table: &Table) -> Result<RecordBatch> {
    let rows = snapshot.read(table, &Selection::All).await?;
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    Ok(concat_batches(&table.schema(), &batches)?)
}

/// What SQLite says that it stored.
fn stored(connection: &Connection, table: &str) -> Result<String> {
    let sql = format!("SELECT quote(c) FROM {table} WHERE c IS NOT NULL");
    // A text may have bytes that are no UTF-8.
    let bytes: Vec<u8> = connection.query_row(&sql, [], |row| {
        Ok(row
            .get_ref(0)?
            .as_bytes()
            .map(<[u8]>::to_vec)
            .unwrap_or_default())
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a declared type is landed as, and which values it takes.
struct Taken {
    arrow: String,
    reason: Option<String>,
    values: Vec<(String, String)>,
    refused: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_sqlite_is_what_its_columns_take() -> Result<()> {
    let file = file(every_pair)?;
    let connection = Connection::open(Path::new(file.url.trim_start_matches("sqlite://")))?;
    let source = source::open(&file.url, &SourceOptions::default())?;
    let snapshot = source.snapshot().await?;
    let tables = snapshot.tables().await?;
    let mut lines: Vec<(Taken, Vec<&str>)> = Vec::new();
    for (d, declared) in DECLARED.iter().enumerate() {
        let mut taken: Option<Taken> = None;
        for v in 0..VALUES.len() {
            let wanted = name(d, v);
            let table = tables.iter().find(|t| t.table.name.as_str() == wanted);
            let table = &table.context("it was made")?.table;
            let column = table.columns.first().context("it has one")?;
            let taken = taken.get_or_insert_with(|| Taken {
                arrow: column.data_type.to_string(),
                reason: match &column.fidelity {
                    Fidelity::Exact => None,
                    Fidelity::Text(reason) => Some(reason.clone()),
                },
                values: Vec::new(),
                refused: Vec::new(),
            });
            let stored = stored(&connection, &wanted)?;
            match read(&*snapshot, table).await {
                Ok(rows) => {
                    ensure!(rows.num_rows() == 2 && rows.column(0).is_null(1));
                    let landed = array_value_to_string(rows.column(0), 0)?;
                    let value = (stored, landed.replace("a\0b", "a␀b"));
                    if !taken.values.contains(&value) {
                        taken.values.push(value);
                    }
                }
                Err(error) => {
                    let said = format!("{error:#}");
                    ensure!(said.starts_with("column `c` holds "), "{declared}: {said}");
                    ensure!(column.fidelity == Fidelity::Exact, "{declared}: {said}");
                    taken.refused.push(stored);
                }
            }
        }
        let taken = taken.context("there are values")?;
        match lines.iter_mut().find(|(known, _)| {
            known.arrow == taken.arrow
                && known.reason == taken.reason
                && known.values == taken.values
        }) {
            Some((_, sources)) => sources.push(declared),
            None => lines.push((taken, vec![declared])),
        }
    }
    page::check("sqlite", &printed(&lines))
}

fn printed(lines: &[(Taken, Vec<&str>)]) -> String {
    let mut text =
        String::from("| declared | Arrow | takes, as stored → as landed |\n|---|---|---|\n");
    for (taken, sources) in lines {
        let sources: Vec<String> = sources
            .iter()
            .map(|source| match *source {
                "" => "no type".to_owned(),
                source => format!("`{source}`"),
            })
            .collect();
        let reason = taken.reason.as_ref().map(|reason| format!(": {reason}"));
        text.push_str(&format!(
            "| {} | `{}`{} | {} |\n",
            sources.join(", "),
            taken.arrow,
            reason.unwrap_or_default(),
            taken.told()
        ));
    }
    text
}

impl Taken {
    /// The values, or what it does not take where that is less, and what does not look as it is stored.
    fn told(&self) -> String {
        let shown = |(stored, landed): &(String, String)| match stored == landed {
            true => format!("`{stored}`"),
            false => format!("`{stored}` → `{landed}`"),
        };
        if self.refused.len() > self.values.len() {
            return self.values.iter().map(shown).collect::<Vec<_>>().join(", ");
        }
        let refused: Vec<String> = self
            .refused
            .iter()
            .map(|stored| format!("`{stored}`"))
            .collect();
        let changed = self
            .values
            .iter()
            .filter(|(stored, landed)| stored != landed && stored.trim_matches('\'') != landed);
        let mut told = match refused.is_empty() {
            true => "every value".to_owned(),
            false => format!("every value but {}", refused.join(", ")),
        };
        for changed in changed {
            told.push_str("; ");
            told.push_str(&shown(changed));
        }
        told
    }
}

/// Columns of every kind of type, in a table of every kind.
fn whole(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        r#"PRAGMA foreign_keys = OFF;
           CREATE TABLE t (id INTEGER PRIMARY KEY, b boolean, s smallint, i int4, l bigint, f double, n numeric(10,2),
                           w numeric(60,5), v text, y blob, d date, h time, at timestamp, atz timestamptz, any,
                           twice int GENERATED ALWAYS AS (l * 2) STORED, "a.b c""d 🚢" text);
           INSERT INTO t (id, b, s, i, l, f, n, w, v, y, d, h, at, atz, any, "a.b c""d 🚢") VALUES
             (1, 1, -32768, 2147483647, 9007199254740993, 0.1, -12.5, '1234567890123456789012345678901234567890.5',
              'O''Keefe 🚢', x'00ff', '-0044-03-15', '23:59:59.999999', '0001-01-01 00:00:00',
              '2022-11-03T14:20:51.563001+05:45', x'00', 'x'),
             (2, 0, 0, 0, 0, 9e999, 0, 0, '', x'', '9999-12-31', '00:00', '9999-12-31 23:59:59.999999',
              '1969-12-31T23:59:59.999999Z', 1.5, '');
           INSERT INTO t (id) VALUES (3);
           CREATE TABLE "without rowid" (a text COLLATE NOCASE, b int, v text, PRIMARY KEY (b, a)) WITHOUT ROWID;
           INSERT INTO "without rowid" VALUES ('x', 1, 'first'), ('Y', 1, 'second'), ('x', 2, NULL);
           CREATE TABLE strict_one (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
           INSERT INTO strict_one VALUES (1, 9223372036854775807, 1e-300, 't', x'01', '007'), (2, NULL, NULL, NULL, NULL, NULL);
           CREATE VIEW "a view" AS SELECT id, v || '!' AS loud FROM t;
           CREATE TABLE empty_one (id INTEGER PRIMARY KEY, v text);
           CREATE TABLE keyless (v text); INSERT INTO keyless VALUES ('a'), ('a'), (NULL);
           CREATE TABLE circle_a (id INTEGER PRIMARY KEY, b int REFERENCES circle_b);
           CREATE TABLE circle_b (id INTEGER PRIMARY KEY, a int REFERENCES circle_a);
           INSERT INTO circle_a VALUES (1, 1); INSERT INTO circle_b VALUES (1, 1);"#,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_table_of_sqlite_arrives_in_both_warehouses() -> Result<()> {
    let file = file(whole)?;
    let server = Server::shared();
    let mirrors = [
        ("t", "mirrored"),
        ("without rowid", "without_rowid"),
        ("strict_one", "strict_one"),
        ("keyless", "keyless"),
    ];
    for star in [
        "delta://./warehouse".to_owned(),
        server.fresh_database().await,
    ] {
        let line = Line::new(&file.url, &star, &mirrors, "").await?;
        let report = line.report(&["run"], 0)?;
        let tables = report["extract"][0]["tables"].as_array();
        let names: Vec<_> = tables
            .into_iter()
            .flatten()
            .map(|t| t["table"].as_str())
            .collect();
        ensure!(names.len() == 8, "{report:#}");
        line.arrived(&mirrors).await.with_context(|| star.clone())?;
        let again = line.report(&["run"], 0)?;
        ensure!(
            again["extract"][0]["tables"][0]["rows_changed"] == 0,
            "{again:#}"
        );
    }
    Ok(())
}
