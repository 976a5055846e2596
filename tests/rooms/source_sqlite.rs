//! The SQLite source against real files.

use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use rusqlite::Connection;
use tempfile::TempDir;
use tidemill::error::{Classify, ErrorKind};
use tidemill::source::{self, Selection, Snapshot, SourceError, SourceOptions};
use tidemill::table::{Fidelity, KeyOrigin, TableKind};
use tidemill::watermark::{CompareReason, CursorValue, Position};

use crate::snapshots::{read, table};

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(sql: &str) -> File {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("the file.db");
    write(&path).execute_batch(sql).expect(sql);
    File {
        _folder: folder,
        path,
    }
}

fn write(path: &Path) -> Connection {
    Connection::open(path).expect("the folder is ours")
}

async fn begin(path: &Path) -> Result<Box<dyn Snapshot>, SourceError> {
    let url = format!("sqlite://{}", path.display()).replace(' ', "%20");
    source::open(&url, &SourceOptions::default())?
        .snapshot()
        .await
}

async fn snapshot(file: &File) -> Box<dyn Snapshot> {
    begin(&file.path).await.expect("the file is there")
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

#[tokio::test]
async fn tables_keys_and_cursors_are_found() {
    let file = file(
        "CREATE TABLE staff (staff_id INTEGER PRIMARY KEY, name TEXT NOT NULL, pay numeric(10,2),
                             last_updated timestamp(3) NOT NULL, extra);
         CREATE INDEX staff_updated ON staff (last_updated);
         CREATE TABLE pair (a text, b int4, PRIMARY KEY (b, a)) WITHOUT ROWID;
         CREATE TABLE code (x int NOT NULL, y int NOT NULL, z int UNIQUE, UNIQUE (y, x));
         CREATE TABLE loose (v text); CREATE VIEW seen AS SELECT name FROM staff;
         CREATE UNIQUE INDEX partial_one ON loose (v) WHERE v > '';",
    );
    let snapshot = snapshot(&file).await;
    assert_eq!(snapshot.position(), &Position::Sqlite);
    let tables = snapshot.tables().await.expect("it lists");
    let facts: Vec<_> = tables
        .iter()
        .map(|t| {
            (
                t.table.name.as_str(),
                t.table.kind,
                t.table.key.join(","),
                t.table.key_origin,
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            (
                "code",
                TableKind::Plain,
                "y,x".to_owned(),
                KeyOrigin::Unique
            ),
            ("loose", TableKind::Plain, String::new(), KeyOrigin::None),
            (
                "pair",
                TableKind::Plain,
                "b,a".to_owned(),
                KeyOrigin::Primary
            ),
            ("seen", TableKind::View, String::new(), KeyOrigin::None),
            (
                "staff",
                TableKind::Plain,
                "staff_id".to_owned(),
                KeyOrigin::Primary
            ),
        ]
    );
    let staff = tables.last().expect("there are five");
    let cursors: Vec<_> = staff
        .cursor_candidates
        .iter()
        .map(|c| (c.column.as_str(), c.indexed, c.nullable))
        .collect();
    assert_eq!(
        cursors,
        [("last_updated", true, false), ("staff_id", true, false)]
    );
    assert_eq!(staff.changes, Err(CompareReason::NoCursor));
    let extra = staff.table.column("extra").expect("it is there");
    assert!(matches!(extra.fidelity, Fidelity::Text(_)));
}

#[tokio::test]
async fn rows_are_read_page_by_page_in_the_order_of_their_keys() {
    let file = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v text);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO t SELECT i * 3, 'v' || i FROM n;
         CREATE TABLE k (id int8, name text, PRIMARY KEY (name, id)) WITHOUT ROWID;
         INSERT INTO k SELECT id, CASE WHEN id % 2 THEN 'a' ELSE 'B' END FROM t;
         CREATE TABLE hiding (rowid int8, v text); INSERT INTO hiding SELECT 7, v FROM t;
         CREATE VIEW every AS SELECT id FROM t;",
    );
    let snapshot = snapshot(&file).await;
    for name in ["t", "k", "hiding", "every"] {
        let table = table(&*snapshot, name).await;
        let rows = read(&*snapshot, &table, &Selection::All).await.expect(name);
        assert_eq!(rows.num_rows(), 20_000, "{name}");
        assert_eq!(snapshot.count(&table).await.expect(name), 20_000);
        let mut ids = ids(&rows);
        if name == "t" {
            assert!(ids.is_sorted());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(
            ids.len(),
            if name == "hiding" { 1 } else { 20_000 },
            "{name}"
        );
    }
}

#[tokio::test]
async fn wide_rows_make_short_batches() {
    let file = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b blob);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO t SELECT i, zeroblob(3000000) FROM n;",
    );
    let snapshot = snapshot(&file).await;
    let table = table(&*snapshot, "t").await;
    let stream = snapshot
        .read(&table, &Selection::All)
        .await
        .expect("it reads");
    let batches: Vec<RecordBatch> = stream.try_collect().await.expect("it reads");
    assert!(batches.len() > 5, "{} batches", batches.len());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20);
}

#[tokio::test]
async fn streams_and_questions_may_be_interleaved_and_see_one_snapshot() {
    let file = file(
        "PRAGMA journal_mode = WAL; CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
         INSERT INTO a SELECT i FROM n; INSERT INTO b SELECT id FROM a;",
    );
    let snapshot = snapshot(&file).await;
    let (a, b) = (table(&*snapshot, "a").await, table(&*snapshot, "b").await);
    let mut left = snapshot.read(&a, &Selection::All).await.expect("it reads");
    let mut right = snapshot.read(&b, &Selection::All).await.expect("it reads");
    let writer = write(&file.path);
    let mut rows = 0;
    while let Some(page) = left.try_next().await.expect("it reads") {
        writer
            .execute_batch(
                "DELETE FROM b WHERE id % 2 = 0; INSERT INTO a SELECT max(id) + 1 FROM a",
            )
            .expect("a file in WAL mode is written while it is read");
        let other = right.try_next().await.expect("it reads").expect("as many");
        assert_eq!(page, other);
        assert_eq!(snapshot.count(&b).await.expect("it counts"), 30_000);
        rows += page.num_rows();
    }
    assert_eq!(rows, 30_000);
}

#[tokio::test]
async fn definitions_are_those_of_the_snapshot_as_rows_are() {
    let file = file(
        "PRAGMA journal_mode = WAL; CREATE TABLE a (id INTEGER PRIMARY KEY, name text, other text);
         CREATE TABLE b (id INTEGER PRIMARY KEY);
         INSERT INTO a VALUES (1, 'n', 'o'); INSERT INTO b VALUES (1);",
    );
    let snapshot = snapshot(&file).await;
    let (a, b) = (table(&*snapshot, "a").await, table(&*snapshot, "b").await);
    write(&file.path)
        .execute_batch(
            "ALTER TABLE a RENAME name TO x; ALTER TABLE a RENAME other TO name; ALTER TABLE a RENAME x TO other;
             DROP TABLE b",
        )
        .expect("a file in WAL mode is written while it is read");
    let rows = read(&*snapshot, &a, &Selection::All)
        .await
        .expect("it reads");
    assert_eq!(rows.column(1).as_string::<i32>().value(0), "n");
    assert_eq!(
        ids(&read(&*snapshot, &b, &Selection::All)
            .await
            .expect("it reads")),
        [1]
    );
    assert_eq!(table(&*snapshot, "a").await, a);
}

#[tokio::test]
async fn the_file_is_never_written_and_never_made() {
    let file = file("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let before = std::fs::read(&file.path).expect("it is there");
    let snapshot = snapshot(&file).await;
    let table = table(&*snapshot, "t").await;
    read(&*snapshot, &table, &Selection::All)
        .await
        .expect("it reads");
    drop(snapshot);
    assert_eq!(std::fs::read(&file.path).expect("it is there"), before);

    let missing = file.path.with_file_name("missing.db");
    let error = begin(&missing).await.err().expect("it is not there");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().ends_with("there is no such file"),
        "{error}"
    );
    assert!(!missing.exists());

    let other = file.path.with_file_name("other.db");
    std::fs::write(&other, "this is not a database, whatever its name says")
        .expect("there is room");
    let error = begin(&other).await.err().expect("it is none");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.hint().as_deref(),
        Some("name a SQLite file; where it was one, restore it from a backup")
    );
}

#[tokio::test]
async fn a_value_that_is_not_of_its_type_is_found_by_its_row() {
    let file = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, pay numeric(10,2));
         INSERT INTO t VALUES (1, 12.5), (2, '7.25'), (3, NULL), (40, 0.1 + 0.2);
         CREATE TABLE k (id text PRIMARY KEY); INSERT INTO k VALUES (NULL);",
    );
    let snapshot = snapshot(&file).await;
    for (name, message) in [
        (
            "t",
            "column `pay` holds a real in row 40 of table t, which is not a numeric(10,2)",
        ),
        (
            "k",
            "column `id` holds NULL in row 1 of table k, which is not a value that its NOT NULL or its key allows",
        ),
    ] {
        let table = table(&*snapshot, name).await;
        let error = read(&*snapshot, &table, &Selection::All)
            .await
            .expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn columns_without_a_known_type_are_read_as_text() {
    let file = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, any, kind PaymentTypeName, total int GENERATED ALWAYS AS (id * 2));
         INSERT INTO t (id, any, kind) VALUES (1, 1.5, 'SALES_RECEIPT'), (2, 7, NULL), (3, 'x', 'Q');",
    );
    let snapshot = snapshot(&file).await;
    let table = table(&*snapshot, "t").await;
    let rows = read(&*snapshot, &table, &Selection::All)
        .await
        .expect("it reads");
    let shown: Vec<Vec<String>> = rows
        .columns()
        .iter()
        .map(|column| {
            (0..3)
                .map(|row| array_value_to_string(column, row).expect("text"))
                .collect()
        })
        .collect();
    assert_eq!(
        shown,
        [
            ["1", "2", "3"],
            ["1.5", "7", "x"],
            ["SALES_RECEIPT", "", "Q"],
            ["2", "4", "6"]
        ]
    );
}

#[tokio::test]
async fn a_cursor_compares_times_and_not_their_texts() {
    let file = file(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp, tz timestamptz);
         INSERT INTO t VALUES (1, '2022-11-03 14:20:51.5', '2022-11-03T14:20:51+02:00'),
                              (2, '2022-11-03T14:20:51.500', '2022-11-03 13:00:00Z'),
                              (3, '2022-11-03 14:20:51.499', '2022-11-03T13:00:00.000001Z'),
                              (4, NULL, NULL), (5, '9999-01-01 00:00', '9999-01-01 00:00:00Z');",
    );
    let snapshot = snapshot(&file).await;
    let table = table(&*snapshot, "t").await;
    for (column, highest, rows) in [
        (
            "at",
            CursorValue::Timestamp(1_667_485_251_500_000),
            vec![1, 2, 4, 5],
        ),
        (
            "tz",
            CursorValue::TimestampTz(1_667_480_400_000_001),
            vec![3, 4, 5],
        ),
        ("id", CursorValue::Integer(5), vec![5]),
    ] {
        let watermark = snapshot
            .watermark(&table, column)
            .await
            .expect(column)
            .expect(column);
        assert_eq!(watermark.value, highest);
        let selection = Selection::SinceCursor {
            column: column.into(),
            from: highest,
        };
        let selected = read(&*snapshot, &table, &selection).await.expect(column);
        assert_eq!(ids(&selected), rows, "{column}");
    }
    assert!(snapshot.changes_since(&table, &Position::Sqlite).is_err());
}
