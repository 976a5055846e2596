//! Tables of every kind and name that PostgreSQL has, landed with the rights of a reader and loaded into both warehouses.

use anyhow::{Context, Result, ensure};
use arrow::array::Array;
use serde_json::Value;
use tidemill_tests::postgres::{Server, connect, execute};

use super::line::Line;

/// The longest name of PostgreSQL: 63 bytes, 60 characters.
const LONGEST: &str = "as long as a name can be, with blanks. and \"quotes\" and 🚢 xy";

/// What the reader may see, and how many rows of it.
const TABLES: &[(&str, u64)] = &[
    ("\"Odd.Schema\".\"a \"\"b\"\".c 🚢\"", 2),
    ("a.b", 1),
    ("\"a.b\"", 1),
    ("child", 1),
    ("circle_a", 1),
    ("circle_b", 1),
    ("dropped", 2),
    ("empty_one", 0),
    ("far_away", 2),
    ("generated", 2),
    ("identity", 2),
    ("keyless", 3),
    ("materialised", 2),
    ("nothing", 3),
    ("nulls", 2),
    ("parent", 1),
    ("parted", 4),
    ("secured", 1),
    ("seen", 2),
    ("select", 1),
    ("toasted", 2),
    ("unlogged_one", 1),
    ("wide", 1),
    ("widest", 1),
];

fn definitions() -> String {
    let columns = |count: usize| -> String {
        let columns: Vec<String> = (1..count)
            .map(|n| format!("c{n} int2 DEFAULT {n}"))
            .collect();
        format!("id int PRIMARY KEY, {}", columns.join(", "))
    };
    let quoted = LONGEST.replace('"', "\"\"");
    format!(
        r#"
        CREATE SCHEMA "Odd.Schema"; CREATE SCHEMA a;
        CREATE TABLE "Odd.Schema"."a ""b"".c 🚢"
          ("Id" int, "id " int, "x.y" text, "'; DROP" text, "select" int, "{quoted}" text, "a,b;{{}}()=" int, "É" int,
           "  " int, "naïve" int, PRIMARY KEY ("Id", "id "));
        INSERT INTO "Odd.Schema"."a ""b"".c 🚢" VALUES (7, 1, 'O''Keefe', '', 1, 'long', 2, 3, 4, 5), (7, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        CREATE TABLE a.b AS SELECT 1 AS id; CREATE TABLE "a.b" AS SELECT 2 AS id;
        CREATE TABLE "select" ("from" int PRIMARY KEY); INSERT INTO "select" VALUES (1);
        CREATE TABLE circle_a (id int PRIMARY KEY, b int); CREATE TABLE circle_b (id int PRIMARY KEY, a int REFERENCES circle_a);
        INSERT INTO circle_a VALUES (1, 1); INSERT INTO circle_b VALUES (1, 1);
        ALTER TABLE circle_a ADD FOREIGN KEY (b) REFERENCES circle_b;
        CREATE TABLE dropped (id int PRIMARY KEY, gone text, kept text, gone_too int, last numeric(10,2));
        INSERT INTO dropped VALUES (1, 'x', 'y', 2, 3.5);
        ALTER TABLE dropped DROP COLUMN gone, DROP COLUMN gone_too, ADD COLUMN added text DEFAULT 'd';
        INSERT INTO dropped VALUES (2, NULL, 4.5, 'e');
        CREATE TABLE empty_one (id int PRIMARY KEY, v text);
        CREATE TABLE generated (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
        INSERT INTO generated (id, n) VALUES (1, 21), (2, NULL);
        CREATE TABLE identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); INSERT INTO identity (v) VALUES ('a'), ('b');
        CREATE TABLE keyless (v text, n int); INSERT INTO keyless VALUES ('a', 1), ('a', 1), (NULL, NULL);
        CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
        INSERT INTO nothing DEFAULT VALUES;
        CREATE TABLE nulls (id int PRIMARY KEY, a bool, b int2, c int8, d real, e numeric(9,3), f text, g bytea, h date, i time,
                            j timestamp, k timestamptz, l jsonb, m int[], n uuid);
        INSERT INTO nulls VALUES (1), (2);
        CREATE TABLE parent (id int PRIMARY KEY, v text); INSERT INTO parent VALUES (1, 'p');
        CREATE TABLE child (extra int) INHERITS (parent); INSERT INTO child VALUES (2, 'c', 3);
        CREATE TABLE parted (id int, at date, v text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
        CREATE TABLE parted_22 PARTITION OF parted FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
        CREATE TABLE parted_23 (v text, at date NOT NULL, id int NOT NULL) PARTITION BY HASH (id);
        CREATE TABLE parted_23_0 PARTITION OF parted_23 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE parted_23_1 PARTITION OF parted_23 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        ALTER TABLE parted ATTACH PARTITION parted_23 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
        CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
        INSERT INTO parted VALUES (1, '2022-05-01', 'a'), (1, '2023-05-01', 'b'), (2, '2023-05-01', 'c'), (1, '1999-01-01', 'd');
        CREATE TABLE secured (id int PRIMARY KEY, owner name); INSERT INTO secured VALUES (1, 'reader'), (2, 'other');
        ALTER TABLE secured ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON secured USING (owner = current_user);
        CREATE VIEW seen AS SELECT id, upper(v) AS loud FROM identity;
        CREATE MATERIALIZED VIEW materialised AS SELECT id, v FROM identity;
        CREATE EXTENSION postgres_fdw;
        DO $$ BEGIN
          EXECUTE format('CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
                         '127.0.0.1', current_setting('port'), current_database());
        END $$;
        CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'postgres', password_required 'false');
        CREATE FOREIGN TABLE far_away (id int, v text) SERVER elsewhere OPTIONS (schema_name 'public', table_name 'identity');
        CREATE TABLE toasted (id int PRIMARY KEY, t text, b bytea);
        ALTER TABLE toasted ALTER t SET STORAGE EXTERNAL;
        INSERT INTO toasted VALUES (1, repeat('toast 🚢 ', 1500000), decode(repeat('00ff', 4000000), 'hex')), (2, 'small', '');
        CREATE UNLOGGED TABLE unlogged_one (id int PRIMARY KEY); INSERT INTO unlogged_one VALUES (1);
        CREATE TABLE wide ({}); INSERT INTO wide VALUES (1);
        CREATE TABLE widest ({}); INSERT INTO widest VALUES (1);
        CREATE ROLE reader LOGIN;
        GRANT USAGE ON SCHEMA a, "Odd.Schema" TO reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA public, a, "Odd.Schema" TO reader;
        "#,
        columns(1_590),
        columns(1_600)
    )
}

const MIRRORS: &[(&str, &str)] = &[
    ("\"Odd.Schema\".\"a \"\"b\"\".c 🚢\"", "odd"),
    ("dropped", "dropped"),
    ("far_away", "far_away"),
    ("generated", "generated"),
    ("keyless", "keyless"),
    ("nulls", "nulls"),
    ("parted", "parted"),
    ("secured", "secured"),
    ("seen", "seen"),
    ("toasted", "toasted"),
    ("wide", "wide"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_table_of_postgresql_arrives_in_both_warehouses() -> Result<()> {
    // Roles are the server's, not the database's.
    let server = Server::start("");
    let url = server.fresh_database().await;
    execute(&url, &definitions()).await?;
    let temporary = connect(&url).await?;
    temporary
        .batch_execute("CREATE TEMPORARY TABLE not_ours (id int)")
        .await?;
    let url = url.replace("postgres@", "reader@");
    for star in [
        "delta://./warehouse".to_owned(),
        server.fresh_database().await,
    ] {
        let line = Line::new(&url, &star, MIRRORS, "").await?;
        let report = line.report(&["run"], 0)?;
        let mut found: Vec<(String, u64)> = read(&report);
        let mut wanted: Vec<(String, u64)> =
            TABLES.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        found.sort();
        wanted.sort();
        ensure!(found == wanted, "{found:#?}");
        line.arrived(MIRRORS).await.with_context(|| star.clone())?;
        let again = line.report(&["run", "--reconcile"], 0)?;
        let changed = again["extract"][0]["tables"].as_array();
        for table in changed.into_iter().flatten() {
            ensure!(
                table["rows_new"] == 0 && table["rows_changed"] == 0,
                "{table:#}"
            );
        }
    }
    Ok(())
}

fn read(report: &Value) -> Vec<(String, u64)> {
    let tables = report["extract"][0]["tables"].as_array();
    tables
        .into_iter()
        .flatten()
        .map(|table| {
            let name = table["table"].as_str().unwrap_or_default().to_owned();
            (name, table["rows_read"].as_u64().unwrap_or_default())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_stops_a_table_lands_as_text_when_the_project_asks_for_it() -> Result<()> {
    let server = Server::shared();
    let url = server.fresh_database().await;
    let mut sql = String::new();
    for (n, (of, value, ..)) in STOPPING.iter().enumerate() {
        sql.push_str(&format!(
            "CREATE TABLE t{n} (id int PRIMARY KEY, odd {of}); INSERT INTO t{n} VALUES (1, {value}), (2, NULL);"
        ));
    }
    execute(&url, &sql).await?;
    let line = Line::new(&url, "delta://./warehouse", &[], "").await?;
    let report = line.report(&["extract"], 1)?;
    let failures = failures(&report);
    ensure!(failures.len() == STOPPING.len(), "{report:#}");
    for (n, (of, value, said, _)) in STOPPING.iter().enumerate() {
        let failure = failures.iter().find(|f| f["table"] == format!("t{n}"));
        let failure = failure.with_context(|| format!("{of} {value} was landed"))?;
        ensure!(failure["message"] == *said, "{failure:#}");
        ensure!(failure["kind"] == "data", "{failure:#}");
        let hint = failure["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains("`text`"), "{failure:#}");
    }
    let mut settings = String::new();
    for n in 0..STOPPING.len() {
        settings.push_str(&format!("[source.origin.table.t{n}]\ntext = [\"odd\"]\n"));
    }
    let line = Line::new(&url, "delta://./warehouse", &[], &settings).await?;
    let plan = line.report(&["plan"], 4)?;
    line.report(&["extract"], 0)?;
    for (n, (of, value, _, text)) in STOPPING.iter().enumerate() {
        let rows = line.landed(&format!("t{n}")).await?.rows().await?;
        super::text::check(rows.column(1), 0, Some(text))
            .with_context(|| format!("{of} {value}"))?;
        ensure!(rows.column(1).is_null(1));
        let planned = plan["sources"].as_array().into_iter().flatten();
        let mut planned = planned.filter(|table| table["table"] == format!("t{n}"));
        let said = planned.next().map(|table| &table["as_text"][0][2]);
        ensure!(
            said.is_some_and(|said| said == "the project file asks for it"),
            "{plan:#}"
        );
    }
    let line = Line::new(
        &url,
        "delta://./warehouse",
        &[],
        "[source.origin.table.t0]\ntext = [\"od\"]\n",
    )
    .await?;
    let report = line.report(&["extract"], 1)?;
    let message = failures_of(&report, "t0")?;
    ensure!(
        message == "it has no column `od`, which the project file wants landed as text",
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_that_has_no_place_in_other_calendars_arrives_in_both_warehouses() -> Result<()> {
    let server = Server::shared();
    let url = server.fresh_database().await;
    let far = "CREATE TABLE far (id int PRIMARY KEY, d date); INSERT INTO far VALUES (1, '5874897-12-31')";
    execute(&url, far).await?;
    let mirrors = [("far", "far")];
    let star = server.fresh_database().await;
    let line = Line::new(&url, &star, &mirrors, "").await?;
    line.report(&["run"], 0)?;
    let landed = line.landed("far").await?.rows().await?;
    super::text::check(landed.column(1), 0, Some("5874897-12-31"))?;
    let row = connect(&star)
        .await?
        .query_one("SELECT d::text FROM far", &[])
        .await?;
    ensure!(row.get::<_, String>(0) == "5874897-12-31");
    let line = Line::new(&url, "delta://./warehouse", &mirrors, "").await?;
    line.report(&["run"], 0)?;
    let loaded = line.query("SELECT d FROM far").await?;
    super::text::check(loaded.column(0), 0, Some("5874897-12-31"))?;
    Ok(())
}

/// Type, value, what is said of it, and its text.
const STOPPING: &[(&str, &str, &str, &str)] = &[
    (
        "numeric(10,2)",
        "'NaN'",
        "column `odd` holds NaN, which is not a numeric(10,2)",
        "NaN",
    ),
    (
        "numeric(50,2)",
        "'NaN'",
        "column `odd` holds NaN, which is not a numeric(50,2)",
        "NaN",
    ),
    (
        "date",
        "'infinity'",
        "column `odd` holds infinity, which is not a day",
        "infinity",
    ),
    (
        "date",
        "'-infinity'",
        "column `odd` holds -infinity, which is not a day",
        "-infinity",
    ),
    (
        "time",
        "'24:00'",
        "column `odd` holds 24:00:00, which is not a time before midnight",
        "24:00:00",
    ),
    (
        "timestamp",
        "'infinity'",
        "column `odd` holds infinity, which is not a point in time",
        "infinity",
    ),
    (
        "timestamptz",
        "'-infinity'",
        "column `odd` holds -infinity, which is not a point in time",
        "-infinity",
    ),
    (
        "timestamptz",
        "'294276-12-31 23:59:59.999999+00'",
        "column `odd` holds a time after the year 294246, which is not a time within 64 bits of microseconds of 1970",
        "294276-12-31 23:59:59.999999+00",
    ),
];

fn failures(report: &Value) -> Vec<Value> {
    let extracts = report.as_array().or(report["extract"].as_array());
    let failures = extracts
        .into_iter()
        .flatten()
        .filter_map(|e| e["failures"].as_array());
    failures.flatten().cloned().collect()
}

fn failures_of(report: &Value, table: &str) -> Result<String> {
    let failures = failures(report);
    let failure = failures.iter().find(|failure| failure["table"] == table);
    let message = failure.with_context(|| format!("{report:#}"))?["message"].as_str();
    Ok(message.unwrap_or_default().to_owned())
}
