//! One snapshot for everything, and what it costs others: nothing.

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
            assert!(matches!(&error, SourceError::Rewritten(name) if *name == found.table.name));
            assert!(error.kind().is_retryable());
        }
    }
    run(&client, "CREATE TABLE later (id int)").await;
    let mut later = table(&*snapshot, "truncated").await;
    later.name = tidemill::table::TableName::new("later");
    let error = read(&*snapshot, &later, &Selection::All).await;
    assert!(matches!(error, Err(SourceError::NoTable(_))));
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

#[tokio::test(flavor = "multi_thread")]
async fn many_split_tables_are_read_at_once_over_few_connections() {
    let server = Server::shared();
    let client = server.database("many").await;
    for n in 0..6 {
        let sql = format!(
            "CREATE TABLE t{n} AS SELECT g AS id, repeat('x', 200) AS pad FROM generate_series(1, 40000) g"
        );
        run(&client, &sql).await;
    }
    let options = SourceOptions {
        split_bytes: 1024 * 1024,
        connections: 3,
        ..SourceOptions::default()
    };
    let source = source::open(&server.url("many"), &options).expect("the URL is right");
    let snapshot = source.snapshot().await.expect("the server runs");
    let tables = snapshot.tables().await.expect("the server runs");
    let reads = tables
        .iter()
        .map(|found| read(&*snapshot, &found.table, &Selection::All));
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(reads));
    let all = all.await.expect("no stream waits for another");
    assert_eq!(all.len(), 6);
    for rows in all {
        assert_eq!(rows.expect("it reads").num_rows(), 40_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_the_server_ended_is_a_matter_of_time() {
    let server = Server::shared();
    let client = server.database("ended").await;
    run(&client, "CREATE TABLE t AS SELECT 1 AS id").await;
    let snapshot = snapshot(&server.url("ended")).await;
    let table = table(&*snapshot, "t").await;
    run(
        &client,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
          WHERE application_name = 'tidemill' AND datname = 'ended'",
    )
    .await;
    // The first meets the broken connection, the second a snapshot that nobody exports any more.
    for _ in 0..2 {
        let error = snapshot.count(&table).await.expect_err("it ended");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}

/// A table of each kind of change, what is done to it after the snapshot, and whether it can still be read.
const CHANGED_SINCE: [(&str, &str, bool); 14] = [
    ("swapped_columns", "ALTER TABLE swapped_columns RENAME name TO x; ALTER TABLE swapped_columns RENAME other TO name;
                         ALTER TABLE swapped_columns RENAME x TO other", false),
    ("renamed_column", "ALTER TABLE renamed_column RENAME name TO x", false),
    ("dropped_column", "ALTER TABLE dropped_column DROP COLUMN name", false),
    ("replaced_column", "ALTER TABLE replaced_column DROP COLUMN name, ADD COLUMN name text DEFAULT 'new'", false),
    ("retyped_column", "ALTER TABLE retyped_column ALTER name TYPE varchar", false),
    ("rewritten", "ALTER TABLE rewritten ALTER id TYPE int8", false),
    ("renamed", "ALTER TABLE renamed RENAME TO was_renamed", false),
    ("moved", "CREATE SCHEMA elsewhere; ALTER TABLE moved SET SCHEMA elsewhere", false),
    ("taken", "ALTER TABLE taken RENAME TO was_taken; ALTER TABLE older RENAME TO taken", false),
    ("dropped", "DROP TABLE dropped", false),
    // What the rows of the snapshot do not depend on.
    ("wider", "ALTER TABLE wider ADD COLUMN more text DEFAULT 'new'", true),
    ("looser", "ALTER TABLE looser ALTER name DROP NOT NULL", true),
    ("indexed", "CREATE INDEX ON indexed (name)", true),
    ("commented", "COMMENT ON TABLE commented IS 'new'", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_changed_since_the_snapshot_stops_its_table_and_no_other() {
    let server = Server::shared();
    let client = server.database("altered").await;
    let names = CHANGED_SINCE.iter().map(|(name, ..)| *name);
    for name in names.chain(["older"]) {
        let sql = format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, name text NOT NULL, other text);
             INSERT INTO {name} SELECT g, 'n' || g, 'o' || g FROM generate_series(1, 9) g"
        );
        run(&client, &sql).await;
    }
    let snapshot = snapshot(&server.url("altered")).await;
    let tables = snapshot.tables().await.expect("the server runs");
    for (_, change, _) in CHANGED_SINCE {
        run(&client, change).await;
    }
    for (name, change, is_read) in CHANGED_SINCE {
        let found = tables
            .iter()
            .find(|found| found.table.name.as_str() == name);
        let table = &found.expect("it was there").table;
        match read(&*snapshot, table, &Selection::All).await {
            Ok(rows) => {
                assert!(is_read, "{change}");
                assert_eq!(rows.num_rows(), 9, "{change}");
                assert_eq!(rows.column(1).as_string::<i32>().value(8), "n9", "{change}");
                assert_eq!(snapshot.count(table).await.expect("it counts"), 9);
            }
            Err(error) => {
                assert!(!is_read, "{change}: {error}");
                assert!(
                    error.is_of_one_table() && error.kind().is_retryable(),
                    "{change}: {error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_partitions_and_views_read_is_looked_at_as_well() {
    let server = Server::shared();
    let client = server.database("behind").await;
    run(
        &client,
        "CREATE TABLE base AS SELECT g AS id FROM generate_series(1, 9) g;
         CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (1);
         CREATE VIEW over_base AS SELECT id FROM base;
         CREATE VIEW over_view AS SELECT id FROM over_base;
         CREATE VIEW over_parent AS SELECT id FROM parent;
         CREATE VIEW over_catalog AS SELECT oid::int8 AS id FROM pg_class WHERE relname = 'base';
         CREATE MATERIALIZED VIEW kept AS SELECT id FROM base;",
    )
    .await;
    for name in ["detached", "attached", "grown"] {
        let sql = format!(
            "CREATE TABLE {name} (id int) PARTITION BY RANGE (id);
             CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (0) TO (9);
             CREATE TABLE {name}_2 (id int);
             INSERT INTO {name} VALUES (1); INSERT INTO {name}_2 VALUES (10)"
        );
        run(&client, &sql).await;
    }
    let snapshot = snapshot(&server.url("behind")).await;
    let tables = snapshot.tables().await.expect("the server runs");
    run(
        &client,
        "TRUNCATE base, child; REFRESH MATERIALIZED VIEW kept;
         ALTER TABLE detached DETACH PARTITION detached_1;
         ALTER TABLE attached ATTACH PARTITION attached_2 FOR VALUES FROM (9) TO (99);
         CREATE TABLE grown_3 PARTITION OF grown FOR VALUES FROM (9) TO (99); INSERT INTO grown VALUES (9);",
    )
    .await;
    for (name, rows) in [
        ("over_base", None),
        ("over_view", None),
        ("over_parent", None),
        ("kept", None),
        ("detached", None),
        ("attached", None),
        // A partition that is new has no row that the snapshot sees.
        ("grown", Some(1)),
        ("over_catalog", Some(1)),
        ("detached_2", Some(1)),
    ] {
        let found = tables
            .iter()
            .find(|found| found.table.name.as_str() == name);
        let table = &found.expect("it was there").table;
        let read = read(&*snapshot, table, &Selection::All).await;
        let count = snapshot.count(table).await;
        match rows {
            None => {
                for error in [read.expect_err(name), count.expect_err(name)] {
                    assert!(error.is_of_one_table(), "{name}: {error}");
                }
            }
            Some(rows) => {
                assert_eq!(read.expect(name).num_rows(), rows, "{name}");
                assert_eq!(count.expect(name), rows as u64, "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_alters_a_table_waits_for_one_statement_and_not_for_the_snapshot() {
    let server = Server::shared();
    let client = server.database("short_locks").await;
    run(
        &client,
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp);
         INSERT INTO t SELECT g, '2026-01-01' FROM generate_series(1, 50000) g",
    )
    .await;
    let snapshot = snapshot(&server.url("short_locks")).await;
    let table = table(&*snapshot, "t").await;
    let rows = read(&*snapshot, &table, &Selection::All)
        .await
        .expect("it reads");
    assert_eq!(rows.num_rows(), 50_000);
    snapshot.count(&table).await.expect("it counts");
    snapshot.watermark(&table, "at").await.expect("it has one");
    run_each(
        &client,
        [
            "SET lock_timeout = '1ms'",
            "ALTER TABLE t ADD COLUMN more text",
            "ALTER TABLE t RENAME at TO later",
        ],
    )
    .await;
    // The next statement finds that it did not wait.
    let error = snapshot
        .watermark(&table, "at")
        .await
        .expect_err("it is called otherwise");
    assert!(matches!(error, SourceError::Altered(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_keeps_locked_is_given_up_and_no_other() {
    let server = Server::shared();
    let client = server.database("locked").await;
    run(
        &client,
        "CREATE TABLE free AS SELECT 1 AS id; CREATE TABLE held AS SELECT 1 AS id",
    )
    .await;
    let snapshot = snapshot(&server.url("locked")).await;
    let (free, held) = (
        table(&*snapshot, "free").await,
        table(&*snapshot, "held").await,
    );
    run(&client, "BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await;
    let error = read(&*snapshot, &held, &Selection::All)
        .await
        .expect_err("it is locked");
    assert!(matches!(error, SourceError::Locked(_)), "{error}");
    assert!(error.is_of_one_table() && error.kind().is_retryable());
    let rows = read(&*snapshot, &free, &Selection::All)
        .await
        .expect("it reads");
    assert_eq!(rows.num_rows(), 1);
    run(&client, "ROLLBACK").await;
    let rows = read(&*snapshot, &held, &Selection::All)
        .await
        .expect("it reads");
    assert_eq!(rows.num_rows(), 1);
}
