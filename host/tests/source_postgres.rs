//! The PostgreSQL source against real servers.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use futures::TryStreamExt;
use support::Server;
use tidemill::error::{Classify, ErrorKind};
use tidemill::source::{self, Discovered, Selection, Snapshot, Source, SourceError, SourceOptions};
use tidemill::table::{Fidelity, KeyOrigin, Table, TableKind};
use tidemill::watermark::{CompareReason, CursorValue, Position};
use tokio_postgres::Client;

fn open(url: &str) -> Box<dyn Source> {
    source::open(url, &SourceOptions::default()).expect("the URL is right")
}

async fn snapshot(url: &str) -> Box<dyn Snapshot> {
    open(url).snapshot().await.expect("the server runs")
}

async fn found(snapshot: &dyn Snapshot, name: &str) -> Discovered {
    let tables = snapshot.tables().await.expect("the server runs");
    tables
        .into_iter()
        .find(|found| found.table.name.as_str() == name)
        .expect(name)
}

async fn table(snapshot: &dyn Snapshot, name: &str) -> Table {
    found(snapshot, name).await.table
}

async fn read(
    snapshot: &dyn Snapshot,
    table: &Table,
    selection: &Selection,
) -> Result<RecordBatch, SourceError> {
    let batches: Vec<RecordBatch> = snapshot.read(table, selection).await?.try_collect().await?;
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8_192));
    Ok(concat_batches(&table.schema(), &batches).expect("one schema"))
}

/// The values of the first column, an integer.
fn ids(batch: &RecordBatch) -> Vec<i32> {
    batch
        .column(0)
        .as_primitive::<Int32Type>()
        .values()
        .to_vec()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

/// Runs statements that may not share a transaction with others.
async fn run_each<const N: usize>(client: &Client, statements: [&str; N]) {
    for sql in statements {
        run(client, sql).await;
    }
}

mod consistency {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn all_tables_are_read_in_one_snapshot_while_writers_commit() {
        let server = Server::shared();
        let client = server.database("consistency").await;
        run(
            &client,
            "CREATE TABLE a AS SELECT 1 AS id, 500::int8 AS amount;
             CREATE TABLE b AS SELECT g AS id, 10::int8 AS amount FROM generate_series(1, 50) g;",
        )
        .await;
        // The sum over both tables is the same in every committed state.
        let writer = tokio::spawn(async move {
            for n in 0.. {
                let amount = n % 7 - 3;
                run(
                    &client,
                    &format!(
                        "BEGIN; UPDATE a SET amount = amount - {amount};
                         UPDATE b SET amount = amount + {amount} WHERE id = {};
                         INSERT INTO b VALUES (1000 + {n}, 1); UPDATE a SET amount = amount - 1; COMMIT",
                        n % 50 + 1
                    ),
                )
                .await;
            }
        });
        for _ in 0..20 {
            let snapshot = snapshot(&server.url("consistency")).await;
            let mut sum = 0;
            for name in ["a", "b"] {
                let table = table(&*snapshot, name).await;
                let rows = read(&*snapshot, &table, &Selection::All)
                    .await
                    .expect("it reads");
                sum += rows
                    .column(1)
                    .as_primitive::<Int64Type>()
                    .values()
                    .iter()
                    .sum::<i64>();
                let counted = snapshot.count(&table).await.expect("it counts");
                assert_eq!(counted, rows.num_rows() as u64);
            }
            assert_eq!(sum, 1_000);
        }
        assert!(!writer.is_finished(), "the writer met an error");
        writer.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ranges_of_a_large_table_are_all_of_it_in_the_same_order() {
        let server = Server::shared();
        let client = server.database("ranges").await;
        run(
            &client,
            "CREATE TABLE t (id int PRIMARY KEY, pad text);
             INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 60000) g;
             DELETE FROM t WHERE id % 7 = 0; UPDATE t SET pad = 'y' WHERE id % 5 = 0;",
        )
        .await;
        let expected: BTreeSet<i32> = (1..=60_000).filter(|id| id % 7 != 0).collect();
        let options = SourceOptions {
            split_bytes: 512 * 1024,
            connections: 3,
            ..SourceOptions::default()
        };
        let source = source::open(&server.url("ranges"), &options).expect("the URL is right");
        let snapshot = source.snapshot().await.expect("the server runs");
        let table = table(&*snapshot, "t").await;
        let mut orders = Vec::new();
        for _ in 0..2 {
            let rows = read(&*snapshot, &table, &Selection::All)
                .await
                .expect("it reads");
            orders.push(ids(&rows));
        }
        assert_eq!(orders[0].len(), expected.len());
        assert_eq!(orders[0].iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(orders[0], orders[1]);
        assert!(!orders[0].is_sorted(), "it was read as one range");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn writers_wait_for_nothing() {
        let server = Server::shared();
        let client = server.database("writers").await;
        run(
            &client,
            "CREATE TABLE t (id int PRIMARY KEY, pad text);
             INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g;",
        )
        .await;
        let snapshot = snapshot(&server.url("writers")).await;
        let table = table(&*snapshot, "t").await;
        snapshot.count(&table).await.expect("it counts");
        let mut rows = snapshot
            .read(&table, &Selection::All)
            .await
            .expect("it reads");
        rows.try_next()
            .await
            .expect("it reads")
            .expect("there are rows");
        run_each(
            &client,
            [
                "SET lock_timeout = '1ms'",
                "INSERT INTO t VALUES (0, 'new')",
                "UPDATE t SET pad = '' WHERE id <= 2",
                "DELETE FROM t WHERE id > 9",
                "CREATE INDEX ON t (pad)",
                "VACUUM t",
            ],
        )
        .await;
        let rest: Vec<RecordBatch> = rows.try_collect().await.expect("it reads on");
        let rest: usize = rest.iter().map(RecordBatch::num_rows).sum();
        assert!(rest > 40_000, "what was deleted is still seen: {rest}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_was_truncated_or_rewritten_is_not_taken_for_empty() {
        let server = Server::shared();
        let client = server.database("rewritten").await;
        run(
            &client,
            "CREATE TABLE truncated AS SELECT g AS id FROM generate_series(1, 9) g;
             CREATE TABLE altered AS SELECT g AS id FROM generate_series(1, 9) g;
             CREATE TABLE parts (id int) PARTITION BY RANGE (id);
             CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
             INSERT INTO parts VALUES (1);",
        )
        .await;
        let snapshot = snapshot(&server.url("rewritten")).await;
        let tables = snapshot.tables().await.expect("the server runs");
        run(
            &client,
            "TRUNCATE truncated; ALTER TABLE altered ALTER id TYPE int8; TRUNCATE part;",
        )
        .await;
        assert_eq!(tables.len(), 3);
        for found in tables {
            let read = read(&*snapshot, &found.table, &Selection::All).await;
            let count = snapshot.count(&found.table).await;
            for error in [
                read.expect_err("it changed"),
                count.expect_err("it changed"),
            ] {
                assert!(
                    matches!(&error, SourceError::Rewritten(name) if *name == found.table.name)
                );
                assert!(error.kind().is_retryable());
            }
        }
        run(&client, "CREATE TABLE later (id int)").await;
        let mut later = tables_named(&*snapshot, "truncated").await;
        later.name = tidemill::table::TableName::new("later");
        let error = read(&*snapshot, &later, &Selection::All).await;
        assert!(matches!(error, Err(SourceError::NoTable(_))));
    }

    async fn tables_named(snapshot: &dyn Snapshot, name: &str) -> Table {
        table(snapshot, name).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn everything_ends_when_the_snapshot_and_its_streams_are_dropped() {
        let server = Server::shared();
        let client = server.database("ends").await;
        run(
            &client,
            "CREATE TABLE t AS SELECT g AS id, repeat('x', 1000) AS pad FROM generate_series(1, 50000) g",
        )
        .await;
        let sessions = async || -> i64 {
            let row = client
                .query_one(
                    "SELECT count(*) FROM pg_stat_activity
                      WHERE application_name = 'tidemill' AND datname = 'ends'",
                    &[],
                )
                .await
                .expect("the server runs");
            row.get(0)
        };
        let snapshot = snapshot(&server.url("ends")).await;
        let table = table(&*snapshot, "t").await;
        let mut rows = snapshot
            .read(&table, &Selection::All)
            .await
            .expect("it reads");
        rows.try_next()
            .await
            .expect("it reads")
            .expect("there are rows");
        assert!(sessions().await >= 3);
        let task = tokio::spawn(async move {
            let _held = (snapshot, rows);
            std::future::pending::<()>().await;
        });
        task.abort();
        let gone = async {
            while sessions().await > 0 {
                run(&client, "SELECT pg_sleep(0.02)").await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .expect("the sessions end");
    }
}

mod fidelity {
    use super::*;

    /// Column, type, a value, what it is landed as. The second row is NULL throughout.
    const EXACT: [(&str, &str, &str, &str); 23] = [
        ("bool", "boolean", "true", "true"),
        ("int2", "smallint", "-32768", "-32768"),
        ("int4", "integer", "2147483647", "2147483647"),
        (
            "int8",
            "bigint",
            "-9223372036854775808",
            "-9223372036854775808",
        ),
        ("float4", "real", "'NaN'", "NaN"),
        ("float8", "double precision", "0.1", "0.1"),
        (
            "money_like",
            "numeric(10,2)",
            "-12345678.90",
            "-12345678.90",
        ),
        (
            "wide",
            "numeric(38,10)",
            "1234567890123456789012345678.0123456789",
            "1234567890123456789012345678.0123456789",
        ),
        (
            "wider",
            "numeric(76,4)",
            "-98765432109876543210987654321098765432109876543210.0001",
            "-98765432109876543210987654321098765432109876543210.0001",
        ),
        ("text", "text", "'O''Keefe 🚢'", "O'Keefe 🚢"),
        ("varchar", "character varying(9)", "' a '", " a "),
        ("bpchar", "character(5)", "'ab'", "ab   "),
        ("name", "name", "'n'", "n"),
        (
            "json",
            "json",
            "'{\"b\": 1,  \"a\":2}'",
            "{\"b\": 1,  \"a\":2}",
        ),
        (
            "jsonb",
            "jsonb",
            "'{\"b\":1,\"a\":2}'",
            "{\"a\": 2, \"b\": 1}",
        ),
        (
            "uuid",
            "uuid",
            "'A0EEBC999C0B4EF8BB6D6BB9BD380A11'",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("bytea", "bytea", "'\\x00ff'", "00ff"),
        ("date", "date", "'0044-03-15 BC'", "-0043-03-15"),
        (
            "time",
            "time(6) without time zone",
            "'23:59:59.999999'",
            "23:59:59.999999",
        ),
        (
            "timestamp",
            "timestamp(3) without time zone",
            "'2022-11-03 14:20:51.563'",
            "2022-11-03T14:20:51.563",
        ),
        (
            "timestamptz",
            "timestamp with time zone",
            "'2022-11-03 14:20:51.563001+02'",
            "2022-11-03T12:20:51.563001Z",
        ),
        ("mood", "\"Mood\"", "'so so'", "so so"),
        ("price", "price", "12.50", "12.50"),
    ];

    /// Column, type, a value; landed as the text that the server has for it.
    const TEXT: [(&str, &str, &str); 16] = [
        ("numeric", "numeric", "'NaN'"),
        ("huge", "numeric(100,50)", "1.5"),
        ("rounded", "numeric(3,-2)", "12345"),
        ("interval", "interval", "'1 year 2 days 03:04:05.6'"),
        ("timetz", "time with time zone", "'12:00+02'"),
        ("money", "money", "1234.5"),
        ("inet", "inet", "'10.0.0.1/8'"),
        ("xml", "xml", "'<a/>'"),
        ("bit", "bit(3)", "B'101'"),
        ("range", "tstzrange", "'[2022-11-03 00:00+01,)'"),
        ("ints", "integer[]", "'[2:3]={1,NULL}'"),
        ("moods", "\"Mood\"[]", "ARRAY['so so']::\"Mood\"[]"),
        ("pair", "pair", "ROW(1, 'a,b')::pair"),
        ("point", "point", "'(1,2)'"),
        ("tsvector", "tsvector", "'a:1 b:2'"),
        ("chr", "\"char\"", "'c'"),
    ];

    async fn types_table(client: &Client) {
        run(
            client,
            "CREATE TYPE \"Mood\" AS ENUM ('good', 'so so'); CREATE TYPE pair AS (n int, t text);
             CREATE DOMAIN amount AS numeric(8,2); CREATE DOMAIN price AS amount CHECK (VALUE > 0);",
        )
        .await;
        let mut columns = Vec::new();
        let mut values = Vec::new();
        let declared = EXACT.iter().map(|(name, sql, value, _)| (name, sql, value));
        for (name, sql, value) in declared.chain(TEXT.iter().map(|(n, t, v)| (n, t, v))) {
            columns.push(format!("\"{name}\" {sql}"));
            values.push(*value);
        }
        run(
            client,
            &format!(
                "SET bytea_output = 'escape'; CREATE TABLE t (id int PRIMARY KEY, {});
                 INSERT INTO t VALUES (1, {}); INSERT INTO t VALUES (2)",
                columns.join(", "),
                values.join(", ")
            ),
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_type_is_landed_exactly_or_as_declared_text() {
        let server = Server::shared();
        let client = server.database("fidelity").await;
        types_table(&client).await;
        let snapshot = snapshot(&server.url("fidelity")).await;
        let table = table(&*snapshot, "t").await;
        let rows = read(&*snapshot, &table, &Selection::All)
            .await
            .expect("it reads");
        assert_eq!(rows.schema(), table.schema());
        for (name, sql, _, landed) in EXACT {
            let column = table.column(name).expect(name);
            assert_eq!(column.fidelity, Fidelity::Exact, "{name}");
            assert_eq!(column.source_type, sql);
            let array = rows.column_by_name(name).expect(name);
            let shown = arrow::util::display::array_value_to_string(array, 0).expect(name);
            assert_eq!(shown, landed, "{name}");
            assert!(array.is_null(1), "{name}");
        }
        run(
            &client,
            "SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; SET lc_monetary = 'C'",
        )
        .await;
        for (name, sql, _) in TEXT {
            let column = table.column(name).expect(name);
            assert!(matches!(column.fidelity, Fidelity::Text(_)), "{name}");
            assert_eq!(column.source_type, sql);
            let query = format!("SELECT \"{name}\"::text FROM t WHERE id = 1");
            let expected: String = client.query_one(&query, &[]).await.expect(name).get(0);
            let array = rows.column_by_name(name).expect(name).as_string::<i32>();
            assert_eq!(array.value(0), expected, "{name}");
            assert!(array.is_null(1), "{name}");
        }
        assert_eq!(rows.num_columns(), 1 + EXACT.len() + TEXT.len());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_value_that_its_arrow_type_lacks_names_its_column() {
        let server = Server::shared();
        let client = server.database("misfits").await;
        for (n, (sql, value, found)) in [
            ("numeric(10,2)", "'NaN'", "NaN"),
            ("date", "'infinity'", "infinity"),
            ("timestamp", "'-infinity'", "-infinity"),
            (
                "timestamptz",
                "'294276-01-01'",
                "a time after the year 294246",
            ),
            ("time", "'24:00'", "24:00:00"),
        ]
        .into_iter()
        .enumerate()
        {
            run(
                &client,
                &format!(
                    "CREATE TABLE t{n} (id int, odd {sql}); INSERT INTO t{n} VALUES (1, {value})"
                ),
            )
            .await;
            let snapshot = snapshot(&server.url("misfits")).await;
            let table = table(&*snapshot, &format!("t{n}")).await;
            let error = read(&*snapshot, &table, &Selection::All)
                .await
                .expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::Data);
            let message = error.to_string();
            assert!(
                message.starts_with(&format!("column `odd` holds {found}, ")),
                "{message}"
            );
            // The refusal of one table leaves the snapshot to the others.
            assert_eq!(snapshot.count(&table).await.expect("it counts"), 1);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_with_anything_in_them_work() {
        let server = Server::shared();
        let client = server.database("names").await;
        run(
            &client,
            r#"CREATE SCHEMA "Odd.Schema";
               CREATE TABLE "Odd.Schema"."a ""b"".c 🚢" ("Id" int PRIMARY KEY, "x.y" text, "'; DROP" text, "select" int);
               INSERT INTO "Odd.Schema"."a ""b"".c 🚢" VALUES (7, 'O''Keefe', '', 1);
               CREATE TABLE "a.b" AS SELECT 1 AS id;
               CREATE SCHEMA a; CREATE TABLE a.b AS SELECT 2 AS id;
               CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;"#,
        )
        .await;
        let snapshot = snapshot(&server.url("names")).await;
        let tables = snapshot.tables().await.expect("the server runs");
        let mut read_ids = Vec::new();
        for found in &tables {
            let rows = read(&*snapshot, &found.table, &Selection::All)
                .await
                .expect("it reads");
            assert_eq!(rows.num_rows(), 1);
            if rows.num_columns() > 0 {
                read_ids.push((found.table.name.as_str(), ids(&rows)[0]));
            }
        }
        assert_eq!(
            read_ids,
            [
                (r#""Odd.Schema"."a ""b"".c 🚢""#, 7),
                (r#""a.b""#, 1),
                ("a.b", 2)
            ]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_of_1600_columns_is_read() {
        let server = Server::shared();
        let client = server.database("wide").await;
        let columns: Vec<String> = (1..=1_600)
            .map(|n| format!("c{n} int2 DEFAULT {n}"))
            .collect();
        run(
            &client,
            &format!(
                "CREATE TABLE t ({}); INSERT INTO t DEFAULT VALUES",
                columns.join(", ")
            ),
        )
        .await;
        let snapshot = snapshot(&server.url("wide")).await;
        let table = table(&*snapshot, "t").await;
        let rows = read(&*snapshot, &table, &Selection::All)
            .await
            .expect("it reads");
        assert_eq!(rows.num_columns(), 1_600);
        let last = arrow::util::display::array_value_to_string(rows.column(1_599), 0);
        assert_eq!(last.expect("it is a number"), "1600");
    }
}

mod discovery {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn kinds_keys_and_cursors_are_found() {
        let server = Server::shared();
        let client = server.database("discovery").await;
        run(
            &client,
            "CREATE TABLE staff (staff_id serial PRIMARY KEY, name text NOT NULL, made timestamp NOT NULL,
                                 last_updated timestamp(3) NOT NULL);
             CREATE INDEX ON staff (last_updated);
             INSERT INTO staff (name, made, last_updated) SELECT 'x', now(), now() FROM generate_series(1, 100);
             CREATE TABLE code (a int NOT NULL, b int NOT NULL, c int, d int NOT NULL);
             CREATE UNIQUE INDEX u1 ON code (c); CREATE UNIQUE INDEX u2 ON code (b, a);
             CREATE UNIQUE INDEX u3 ON code (d) WHERE d > 0; CREATE UNIQUE INDEX u4 ON code ((d + 1));
             CREATE TABLE heap (id int, total int GENERATED ALWAYS AS (1) STORED);
             CREATE TABLE child () INHERITS (heap); INSERT INTO child VALUES (5); INSERT INTO heap VALUES (4);
             CREATE TABLE day (day date PRIMARY KEY) PARTITION BY RANGE (day);
             CREATE TABLE day_2022 PARTITION OF day FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
             CREATE TABLE day_2023 PARTITION OF day FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
             INSERT INTO day VALUES ('2022-05-05'), ('2023-05-05');
             CREATE VIEW seen AS SELECT staff_id FROM staff; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS id;
             CREATE SCHEMA hr; CREATE TABLE hr.staff (id int PRIMARY KEY DEFERRABLE);
             CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
             CREATE FOREIGN TABLE remote (line text) SERVER files OPTIONS (filename '/dev/null');
             ANALYZE;",
        )
        .await;
        let tables = open(&server.url("discovery"))
            .discover()
            .await
            .expect("the server runs");
        let facts: Vec<_> = tables
            .iter()
            .map(|found| {
                let table = &found.table;
                (
                    table.name.as_str(),
                    table.kind,
                    table.key.join(","),
                    table.key_origin,
                    found.changes.is_ok(),
                )
            })
            .collect();
        use KeyOrigin::{None, Primary, Unique};
        use TableKind::{Foreign, MaterializedView, Partitioned, Plain, View};
        assert_eq!(
            facts,
            [
                ("child", Plain, "".to_owned(), None, true),
                ("code", Plain, "b,a".to_owned(), Unique, true),
                ("day", Partitioned, "day".to_owned(), Primary, true),
                ("heap", Plain, "".to_owned(), None, true),
                ("hr.staff", Plain, "id".to_owned(), Primary, true),
                ("kept", MaterializedView, "".to_owned(), None, false),
                ("remote", Foreign, "".to_owned(), None, false),
                ("seen", View, "".to_owned(), None, false),
                ("staff", Plain, "staff_id".to_owned(), Primary, true),
            ]
        );
        let staff = tables.last().expect("there are nine");
        assert_eq!(staff.rows_estimate, Some(100));
        assert!(staff.bytes_estimate.is_some_and(|bytes| bytes >= 8_192));
        let cursors: Vec<_> = staff
            .cursor_candidates
            .iter()
            .map(|c| (c.column.as_str(), c.indexed, c.nullable))
            .collect();
        assert_eq!(
            cursors,
            [
                ("last_updated", true, false),
                ("made", false, false),
                ("staff_id", true, false)
            ]
        );
        let snapshot = snapshot(&server.url("discovery")).await;
        for (name, rows) in [
            ("heap", 1),
            ("child", 1),
            ("day", 2),
            ("seen", 100),
            ("kept", 1),
            ("remote", 0),
        ] {
            let table = table(&*snapshot, name).await;
            assert_eq!(snapshot.count(&table).await.expect(name), rows, "{name}");
            let read = read(&*snapshot, &table, &Selection::All).await.expect(name);
            assert_eq!(read.num_rows() as u64, rows, "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_role_with_rights_on_columns_sees_those_and_no_row_versions() {
        let server = Server::shared();
        let client = server.database("rights").await;
        run(
            &client,
            "CREATE TABLE t (id int PRIMARY KEY, secret text, seen text);
             CREATE TABLE hidden (id int); INSERT INTO t VALUES (1, 's', 'x');
             CREATE ROLE narrow LOGIN; GRANT SELECT (id, seen) ON t TO narrow;",
        )
        .await;
        let url = server.url("rights").replace("postgres@", "narrow@");
        let snapshot = snapshot(&url).await;
        let tables = snapshot.tables().await.expect("the server runs");
        assert_eq!(tables.len(), 1);
        let narrow = &tables[0];
        let columns: Vec<_> = narrow
            .table
            .columns
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(columns, ["id", "seen"]);
        assert_eq!(narrow.changes, Err(CompareReason::NoCursor));
        assert_eq!(
            snapshot.changes_since(&narrow.table, snapshot.position()),
            Err(CompareReason::NoCursor)
        );
        let rows = read(&*snapshot, &narrow.table, &Selection::All)
            .await
            .expect("it reads");
        assert_eq!(ids(&rows), [1]);
        assert_eq!(snapshot.count(&narrow.table).await.expect("it counts"), 1);
        let mut hidden = narrow.table.clone();
        hidden.name = tidemill::table::TableName::new("hidden");
        let error = read(&*snapshot, &hidden, &Selection::All)
            .await
            .expect_err("no right");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().is_some_and(|hint| hint.contains("grant")));
        run(&client, "DROP OWNED BY narrow; DROP ROLE narrow").await;
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_no_is_told_apart() {
        let server = Server::shared();
        let away = "postgresql://postgres@127.0.0.1:1/t?sslmode=disable";
        let error = open(away).discover().await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        for url in [
            server.url("no_such_database"),
            server.url("postgres").replace("postgres@", "nobody@"),
        ] {
            let error = open(&url).discover().await.expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().ends_with("refused the login"), "{error}");
        }
    }
}

mod changes {
    use super::*;

    /// Follows one table as runs do: each asks for what changed since the snapshot of the one before.
    struct Follower {
        url: String,
        name: &'static str,
        position: Position,
    }

    impl Follower {
        async fn new(url: String, name: &'static str) -> Self {
            let position = snapshot(&url).await.position().clone();
            Self {
                url,
                name,
                position,
            }
        }

        /// The ids of the rows that the next run reads, sorted.
        async fn next(&mut self) -> Vec<i32> {
            let snapshot = snapshot(&self.url).await;
            let table = table(&*snapshot, self.name).await;
            let selection = snapshot
                .changes_since(&table, &self.position)
                .expect("the ids can be compared");
            let rows = read(&*snapshot, &table, &selection)
                .await
                .expect("it reads");
            self.position = snapshot.position().clone();
            let mut ids = ids(&rows);
            ids.sort_unstable();
            ids
        }
    }

    const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 9) g";

    #[tokio::test(flavor = "multi_thread")]
    async fn inserts_and_edits_are_read_and_nothing_else() {
        let server = Server::start("");
        let client = server.database("edits").await;
        run(&client, TABLE).await;
        let mut follower = Follower::new(server.url("edits"), "t").await;
        assert_eq!(follower.next().await, [] as [i32; 0]);
        run(&client, "INSERT INTO t VALUES (10, 0); UPDATE t SET v = 1 WHERE id = 3; DELETE FROM t WHERE id = 4").await;
        assert_eq!(follower.next().await, [3, 10]);
        run(
            &client,
            "BEGIN; SAVEPOINT a; UPDATE t SET v = 2 WHERE id = 5; SAVEPOINT b; INSERT INTO t VALUES (11, 0);
             RELEASE a; SAVEPOINT c; UPDATE t SET v = 9 WHERE id = 6; ROLLBACK TO c; COMMIT",
        )
        .await;
        assert_eq!(follower.next().await, [5, 11]);
        run_each(&client, ["VACUUM FREEZE t", "SELECT id FROM t FOR UPDATE"]).await;
        assert_eq!(follower.next().await, [] as [i32; 0]);
        run_each(
            &client,
            [
                "UPDATE t SET v = 3 WHERE id = 7",
                "VACUUM FREEZE t",
                "VACUUM FULL t",
            ],
        )
        .await;
        assert_eq!(follower.next().await, [7]);
        run(&client, "TRUNCATE t; INSERT INTO t VALUES (1, 0), (2, 0)").await;
        assert_eq!(follower.next().await, [1, 2]);
        run(&client, "ALTER TABLE t ALTER v TYPE int8").await;
        assert_eq!(follower.next().await, [1, 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn late_commits_are_read_once_they_are_committed() {
        let server = Server::start("");
        let client = server.database("late").await;
        run(&client, TABLE).await;
        let [late, long] = [server.client("late").await, server.client("late").await];
        run(
            &late,
            "BEGIN; INSERT INTO t VALUES (20, 0); SAVEPOINT s; UPDATE t SET v = 1 WHERE id = 1",
        )
        .await;
        let mut follower = Follower::new(server.url("late"), "t").await;
        run(&client, "UPDATE t SET v = 1 WHERE id = 2").await;
        assert_eq!(follower.next().await, [2]);
        run(&late, "COMMIT").await;
        assert_eq!(
            follower.next().await,
            [1, 2, 20],
            "2 is repeated, and dropped as equal later"
        );
        assert_eq!(follower.next().await, [] as [i32; 0]);

        run(&long, "BEGIN; INSERT INTO t VALUES (30, 0)").await;
        for id in 3..6 {
            run(&client, &format!("UPDATE t SET v = 2 WHERE id = {id}")).await;
            assert!(follower.next().await.contains(&id));
        }
        run(&long, "UPDATE t SET v = 3 WHERE id = 9; COMMIT").await;
        let last = follower.next().await;
        assert!(last.contains(&30) && last.contains(&9), "{last:?}");

        run(
            &client,
            "BEGIN; UPDATE t SET v = 4 WHERE id = 8; PREPARE TRANSACTION 'p'",
        )
        .await;
        assert!(!follower.next().await.contains(&8));
        run(&client, "INSERT INTO t VALUES (31, 0)").await;
        assert!(!follower.next().await.contains(&8));
        run(&client, "COMMIT PREPARED 'p'").await;
        assert!(follower.next().await.contains(&8));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_leaves_no_transaction_id_shows_in_the_count_or_the_fingerprint() {
        let server = Server::shared();
        let client = server.database("unseen").await;
        run(
            &client,
            "CREATE TABLE t (id int NOT NULL, v int) PARTITION BY RANGE (id);
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); INSERT INTO t VALUES (1, 0);
             CREATE TABLE t2 (id int NOT NULL, v int); INSERT INTO t2 VALUES (11, 0);",
        )
        .await;
        let mut follower = Follower::new(server.url("unseen"), "t").await;
        let before = snapshot(&server.url("unseen")).await;
        let table_before = table(&*before, "t").await;
        assert_eq!(before.count(&table_before).await.expect("it counts"), 1);
        // The snapshot holds a lock that an ALTER TABLE waits for.
        drop(before);
        run(
            &client,
            "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20); ALTER TABLE t ADD COLUMN w int DEFAULT 5",
        )
        .await;
        assert_eq!(follower.next().await, [] as [i32; 0]);
        let after = snapshot(&server.url("unseen")).await;
        let table_after = table(&*after, "t").await;
        assert_eq!(after.count(&table_after).await.expect("it counts"), 2);
        assert_ne!(table_after.fingerprint(), table_before.fingerprint());
        run(&client, "UPDATE t2 SET v = 1").await;
        assert_eq!(follower.next().await, [11]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_on_another_server_and_ids_that_do_not_fit_ask_for_a_compare() {
        let [one, other] = [Server::shared(), std::sync::Arc::new(Server::start(""))];
        for server in [&one, &other] {
            run(&server.database("copied").await, TABLE).await;
        }
        let first = snapshot(&one.url("copied")).await;
        let second = snapshot(&other.url("copied")).await;
        let table = table(&*second, "t").await;
        assert_eq!(
            second.changes_since(&table, first.position()),
            Err(CompareReason::OtherSystem)
        );
        assert!(second.changes_since(&table, second.position()).is_ok());
        let elsewhere = snapshot(&other.url("postgres")).await;
        assert_eq!(
            second.changes_since(&table, elsewhere.position()),
            Err(CompareReason::OtherSystem)
        );
        let shifted = |by: i64| {
            let mut position = second.position().clone();
            if let Position::Postgres { xmin, xmax, .. } = &mut position {
                *xmin = xmin.saturating_add_signed(by);
                *xmax = xmax.saturating_add_signed(by);
            }
            position
        };
        assert_eq!(
            second.changes_since(&table, &shifted(1)),
            Err(CompareReason::IdsWentBack)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ids_are_compared_across_the_turn_of_the_circle() {
        let server = Server::start("");
        let client = server.database("turn").await;
        run(&client, TABLE).await;
        let early = snapshot(&server.url("turn")).await;
        let mut follower = Follower::new(server.url("turn"), "t").await;
        let before = early.position().clone();
        drop(early);
        // Nearly half a circle further: the ids of the rows are now almost as old as can be.
        let further = (1_u64 << 31) - 10_000_000;
        server.skip_to_transaction(further);
        let client = server.client("turn").await;
        run(&client, "UPDATE t SET v = 1 WHERE id = 5").await;
        assert_eq!(follower.next().await, [5]);
        let now = snapshot(&server.url("turn")).await;
        let table = table(&*now, "t").await;
        assert!(now.changes_since(&table, &before).is_ok());
        drop(now);
        run(&client, "UPDATE pg_database SET datallowconn = true").await;
        for database in ["template0", "template1", "postgres", "turn"] {
            run(&server.client(database).await, "VACUUM FREEZE").await;
        }
        server.skip_to_transaction(further + 20_000_000);
        let now = snapshot(&server.url("turn")).await;
        assert_eq!(
            now.changes_since(&table, &before),
            Err(CompareReason::TooOld)
        );
        let client = server.client("turn").await;
        run(&client, "UPDATE t SET v = 2 WHERE id = 6").await;
        let ids = follower.next().await;
        assert!(ids.contains(&6) && !ids.contains(&5), "{ids:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hot_standby_answers_like_its_primary() {
        let server = Server::start("");
        let client = server.database("standby").await;
        run(&client, TABLE).await;
        run(&client, "CREATE UNLOGGED TABLE unlogged (id int)").await;
        let standby = server.standby();
        let primary = snapshot(&server.url("standby")).await;
        let mut follower = Follower::new(standby.url("standby"), "t").await;
        let (
            Position::Postgres {
                system_identifier: a,
                timeline: t,
                ..
            },
            Position::Postgres {
                system_identifier: b,
                timeline: u,
                ..
            },
        ) = (primary.position(), &follower.position)
        else {
            panic!("both are PostgreSQL's");
        };
        assert_eq!((a, t), (b, u));
        assert!(a.is_some() && *t == Some(1));
        let late = server.client("standby").await;
        run(&late, "BEGIN; INSERT INTO t VALUES (40, 0)").await;
        run(&client, "UPDATE t SET v = 1 WHERE id = 2").await;
        caught_up(&client, &standby).await;
        assert_eq!(follower.next().await, [2]);
        run(&late, "COMMIT").await;
        caught_up(&client, &standby).await;
        assert_eq!(follower.next().await, [2, 40]);
        let on_standby = snapshot(&standby.url("standby")).await;
        let tables = on_standby.tables().await.expect("it runs");
        assert_eq!(tables.len(), 1, "what is not logged cannot be read there");
        assert!(
            on_standby
                .changes_since(&tables[0].table, primary.position())
                .is_ok()
        );
        // A standby that lags behind what was recorded has not got those rows yet.
        run(&client, "INSERT INTO t VALUES (41, 0)").await;
        let ahead = snapshot(&server.url("standby")).await;
        assert_eq!(
            on_standby.changes_since(&tables[0].table, ahead.position()),
            Err(CompareReason::IdsWentBack)
        );
        drop(on_standby);
        run(&standby.client("postgres").await, "SELECT pg_promote()").await;
        let promoted = snapshot(&standby.url("standby")).await;
        assert_eq!(
            promoted.changes_since(&tables[0].table, primary.position()),
            Err(CompareReason::OtherSystem)
        );
    }

    /// Waits until the standby shows what is committed on its primary.
    async fn caught_up(primary: &Client, standby: &Server) {
        let row = primary
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .await
            .expect("it runs");
        let lsn: String = row.get(0);
        let client = standby.client("postgres").await;
        let wait = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}', pg_sleep(0.01)");
        let caught_up = async {
            while !client
                .query_one(&wait, &[])
                .await
                .expect("it runs")
                .get::<_, bool>(0)
            {}
        };
        tokio::time::timeout(Duration::from_secs(30), caught_up)
            .await
            .expect("it catches up");
    }
}

mod cursor {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_watermark_is_the_highest_value_that_is_not_in_the_future() {
        let server = Server::shared();
        let client = server.database("cursor").await;
        run(
            &client,
            "CREATE TABLE t (id int, at timestamp, tz timestamptz, small int2, label text);
             INSERT INTO t VALUES (1, '2022-11-03 14:20:51.563001', '2022-11-03 14:20:51+02', 1, ''),
                                  (2, '2022-11-03 14:20:51.563', '2022-11-03 10:00:00+00', 7, ''),
                                  (3, now() + '1 day', now() + '1 day', NULL, ''), (4, NULL, NULL, 2, ''),
                                  (5, '-infinity', '-infinity', 3, '');
             CREATE TABLE empty (LIKE t)",
        )
        .await;
        let snapshot = snapshot(&server.url("cursor")).await;
        let table = table(&*snapshot, "t").await;
        let value = async |column: &str| {
            let watermark = snapshot.watermark(&table, column).await.expect(column);
            watermark.expect(column).value
        };
        let at = 1_667_485_251_563_001;
        assert_eq!(value("at").await, CursorValue::Timestamp(at));
        assert_eq!(
            value("tz").await,
            CursorValue::TimestampTz(1_667_478_051_000_000)
        );
        assert_eq!(value("small").await, CursorValue::Integer(7));
        assert_eq!(value("id").await, CursorValue::Integer(5));
        let error = snapshot
            .watermark(&table, "label")
            .await
            .expect_err("it is text");
        assert_eq!(error.kind(), ErrorKind::Config);
        let empty = super::table(&*snapshot, "empty").await;
        assert_eq!(
            snapshot.watermark(&empty, "at").await.expect("it reads"),
            None
        );
        let reachable = table_without(&table, "at");
        for (column, from, expected) in [
            ("at", CursorValue::Timestamp(at), vec![1, 3, 4]),
            ("at", CursorValue::Timestamp(at - 1), vec![1, 2, 3, 4]),
            (
                "tz",
                CursorValue::TimestampTz(1_667_478_051_000_000),
                vec![1, 3, 4],
            ),
            ("small", CursorValue::Integer(3), vec![2, 3, 5]),
        ] {
            let selection = Selection::SinceCursor {
                column: column.into(),
                from,
            };
            let error = read(&*snapshot, &table, &selection).await;
            // The infinite value is not selected, and so does not stop the table.
            let rows = error
                .or(read(&*snapshot, &reachable, &selection).await)
                .expect(column);
            let mut ids = ids(&rows);
            ids.sort_unstable();
            assert_eq!(ids, expected, "{column}");
        }
    }

    /// The same table read without its timestamps.
    fn table_without(table: &Table, _column: &str) -> Table {
        let mut table = table.clone();
        table
            .columns
            .retain(|column| !matches!(column.data_type, DataType::Timestamp(..)));
        table
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_clock_of_a_column_without_a_zone_is_never_ahead() {
        let server = Server::shared();
        for (n, zone) in ["Pacific/Kiritimati", "Etc/GMT+12"].into_iter().enumerate() {
            let name = format!("zone{n}");
            let client = server.database(&name).await;
            run(
                &client,
                &format!(
                    "ALTER DATABASE {name} SET TimeZone = '{zone}'; SET TimeZone = '{zone}';
                     CREATE TABLE t AS SELECT g AS id, localtimestamp - g * '1 hour'::interval AS at
                       FROM generate_series(-30, 30) g"
                ),
            )
            .await;
            let snapshot = snapshot(&server.url(&name)).await;
            let table = table(&*snapshot, "t").await;
            let watermark = snapshot.watermark(&table, "at").await.expect("it reads");
            let Some(CursorValue::Timestamp(at)) = watermark.map(|w| w.value) else {
                panic!("there are rows of the past");
            };
            let utc = snapshot.clock().timestamp_micros();
            let row = client
                .query_one(
                    "SELECT (extract(epoch FROM localtimestamp) * 1000000)::int8",
                    &[],
                )
                .await
                .expect("it runs");
            let local: i64 = row.get(0);
            let hour = 3_600_000_000;
            let limit = utc.min(local);
            assert!(at <= limit && at > limit - hour, "{zone}: {at} {limit}");
        }
    }
}

mod tls {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    struct Authority {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Authority {
        fn new() -> Self {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).expect("it signs").pem();
            Self {
                pem,
                issuer: Issuer::new(params, key),
            }
        }

        /// A certificate for `host` and its key.
        fn sign(&self, host: &str) -> (String, String) {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
            let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
            (certificate.pem(), key.serialize_pem())
        }
    }

    /// Whether the connection was encrypted, or why there was none.
    async fn encrypted(server: &Server, query: &str) -> Result<bool, SourceError> {
        let url = format!(
            "postgresql://postgres@localhost:{}/postgres?{query}",
            server.port()
        );
        let url = tidemill::connection::postgres::PgUrl::parse(&url)?;
        let connection = tidemill::connection::postgres::connect(&url).await?;
        let row = connection
            .query_one(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )
            .await
            .expect("it runs");
        connection.close().await;
        Ok(row.get(0))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_mode_trusts_what_it_should() {
        let authority = Authority::new();
        let stranger = Authority::new();
        let folder = tempfile::tempdir().expect("there is room");
        let file = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).expect("there is room");
            path.display().to_string()
        };
        let (certificate, key) = authority.sign("localhost");
        let root = file("root.pem", &authority.pem);
        let other = file("other.pem", &stranger.pem);
        let itself = file("self.pem", &certificate);
        let empty = file("empty.pem", "");

        let server = Server::start("");
        assert!(
            !encrypted(&server, "sslmode=prefer")
                .await
                .expect("plain will do")
        );
        let error = encrypted(&server, "sslmode=require")
            .await
            .expect_err("it has no TLS");
        assert!(
            error
                .to_string()
                .starts_with("no secure connection to localhost"),
            "{error}"
        );

        server.write("server.crt", &certificate);
        server.write("server.key", &key);
        server.restart("ssl = on\n");
        for (query, outcome) in [
            ("sslmode=disable".to_owned(), Some(false)),
            ("sslmode=allow".to_owned(), Some(false)),
            ("sslmode=prefer".to_owned(), Some(true)),
            ("sslmode=require".to_owned(), Some(true)),
            (format!("sslmode=require&sslrootcert={root}"), Some(true)),
            (format!("sslmode=require&sslrootcert={other}"), None),
            (format!("sslmode=prefer&sslrootcert={other}"), Some(false)),
            (format!("sslmode=verify-ca&sslrootcert={root}"), Some(true)),
            (
                format!("sslmode=verify-ca&sslrootcert={itself}"),
                Some(true),
            ),
            ("sslmode=verify-ca".to_owned(), None),
            (
                format!("sslmode=verify-full&sslrootcert={root}"),
                Some(true),
            ),
            (format!("sslmode=verify-full&sslrootcert={other}"), None),
            (format!("sslmode=verify-full&sslrootcert={empty}"), None),
            (
                "sslmode=verify-full&sslrootcert=/no/such/file".to_owned(),
                None,
            ),
        ] {
            let result = encrypted(&server, &query).await;
            assert_eq!(
                result.as_ref().ok().copied(),
                outcome,
                "{query}: {result:?}"
            );
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Config);
            }
        }

        let (certificate, key) = authority.sign("db.example");
        server.write("server.crt", &certificate);
        server.write("server.key", &key);
        server.restart("");
        for (query, outcome) in [
            (format!("sslmode=verify-ca&sslrootcert={root}"), Some(true)),
            (format!("sslmode=verify-full&sslrootcert={root}"), None),
        ] {
            let result = encrypted(&server, &query).await;
            assert_eq!(
                result.as_ref().ok().copied(),
                outcome,
                "{query}: {result:?}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_decides_between_plain_and_encrypted() {
        let authority = Authority::new();
        let (certificate, key) = authority.sign("localhost");
        let server = Server::start("");
        server.write("server.crt", &certificate);
        server.write("server.key", &key);
        for (rule, allow, prefer, disable) in [
            ("hostssl all all all trust", Some(true), Some(true), None),
            (
                "hostnossl all all all trust",
                Some(false),
                Some(false),
                Some(false),
            ),
        ] {
            server.write("pg_hba.conf", &format!("{rule}\nlocal all all trust\n"));
            server.restart("ssl = on\n");
            for (mode, outcome) in [("allow", allow), ("prefer", prefer), ("disable", disable)] {
                let result = encrypted(&server, &format!("sslmode={mode}")).await;
                assert_eq!(
                    result.as_ref().ok().copied(),
                    outcome,
                    "{rule} {mode}: {result:?}"
                );
            }
        }
    }
}
