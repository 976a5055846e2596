//! Every type, name and width arrives as it is, or is refused or declared.

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
const TEXT: [(&str, &str, &str); 15] = [
    ("numeric", "numeric", "'NaN'"),
    ("huge", "numeric(100,50)", "1.5"),
    ("rounded", "numeric(3,-2)", "12345"),
    ("interval", "interval", "'1 year 2 days 03:04:05.6'"),
    ("timetz", "time with time zone", "'12:00+02'"),
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
        "SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'",
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
            &format!("CREATE TABLE t{n} (id int, odd {sql}); INSERT INTO t{n} VALUES (1, {value})"),
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
