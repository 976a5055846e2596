//! What is found with nothing but a URL.

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

#[tokio::test(flavor = "multi_thread")]
async fn tables_columns_and_types_that_were_made_anew_are_told_from_their_namesakes() {
    let server = Server::shared();
    let client = server.database("identities").await;
    run(
        &client,
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE DOMAIN feeling AS mood;
         CREATE TYPE pair AS (a int, b mood);
         CREATE TABLE t (id int PRIMARY KEY, plain text, felt feeling, pairs pair[]);
         CREATE TABLE u (id int PRIMARY KEY, plain text, felt feeling, pairs pair[])",
    )
    .await;
    let url = server.url("identities");
    let identity = async |name: &str| {
        let snapshot = snapshot(&url).await;
        let found = found(&*snapshot, name).await;
        (found.identity.expect("PostgreSQL has numbers"), found.table)
    };
    let (before, table_before) = identity("t").await;
    let (again, _) = identity("t").await;
    assert_eq!(before, again);
    assert_ne!(before.relation, identity("u").await.0.relation);
    assert_eq!(before.columns["plain"].made_of, None);
    for (sql, changed) in [
        (
            "ALTER TABLE t DROP COLUMN plain, ADD COLUMN plain text",
            "plain",
        ),
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "felt pairs"),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", "pairs"),
        ("ALTER TABLE t ALTER plain SET DEFAULT 'x'", ""),
    ] {
        let (before, _) = identity("t").await;
        run(&client, sql).await;
        let (after, _) = identity("t").await;
        let differ = before
            .columns
            .iter()
            .filter(|(name, column)| after.columns.get(*name) != Some(column));
        let differ: Vec<&str> = differ.map(|(name, _)| name.as_str()).collect();
        assert_eq!(differ.join(" "), changed, "{sql}");
    }
    let (_, table_after) = identity("t").await;
    let sorted = |table: &Table| {
        let mut columns = table.columns.clone();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        columns
    };
    assert_eq!(
        sorted(&table_before),
        sorted(&table_after),
        "and nothing else tells them apart"
    );
}
