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
