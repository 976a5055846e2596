//! What can be asked, what is refused, and how tables grow columns.

use super::*;
use crate::connection::traffic::Traffic;
use crate::error::{Classify as _, ErrorKind};

fn orders() -> Given {
    let mut orders = payments();
    orders.table = "fact_purchase_orders";
    orders.alias = Some("fact_purchase_order");
    orders
}

async fn refusal(delta: &Delta, tables: &[Given]) -> String {
    let error = delta.load(landing(2, tables)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().is_some());
    error.to_string()
}

#[tokio::test]
async fn an_empty_warehouse_has_no_tables_and_no_ledger() {
    let (_folder, delta) = warehouse();
    assert!(delta.tables().await.expect("readable").is_empty());
    assert_eq!(delta.ledger().await.expect("readable"), Default::default());
    assert_eq!(ask(&delta, "SELECT 1 + 1").await, ["2"]);
    assert!(ask(&delta, "SHOW TABLES").await.is_empty());
    assert!(!root(&delta).exists(), "asking makes nothing");
}

#[tokio::test]
async fn tables_views_and_aliases_can_be_listed_and_asked() {
    let (_folder, delta) = warehouse();
    let rows = [payment(1, "1.25", true), payment(2, "2.50", false)];
    load(&delta, 1, &[locations(), orders().rows(rows)]).await;
    let names = [
        "dim_location",
        "fact_purchase_order",
        "fact_purchase_order_current",
        "fact_purchase_orders",
        "fact_purchase_orders_current",
        "fact_purchase_orders_ended",
    ];
    assert_eq!(delta.tables().await.expect("readable"), names);
    assert_eq!(ask(&delta, " show  TABLES ; ").await, names);
    let gone = orders().retracted([json!({"payment_id": 1})]);
    load(&delta, 2, &[gone]).await;
    for table in ["fact_purchase_order", "fact_purchase_orders"] {
        let all = format!("SELECT payment_id FROM {table} ORDER BY 1");
        assert_eq!(ask(&delta, &all).await, ["1", "2"]);
        let current = format!("SELECT * FROM {table}_current");
        assert_eq!(
            ask(&delta, &current).await,
            ["2|2|07:55:11.000123|2.50|false|2022-11-03"]
        );
    }
    assert!(ask(&delta, "SELECT * FROM dim_location").await.is_empty());
}

#[tokio::test]
async fn results_have_the_declared_types() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &[payments().rows([payment(1, "1.25", true)])]).await;
    let sql = "SELECT * FROM fact_payment_current WHERE created_time < '08:00:00'";
    let (schema, batches) = delta.query(sql).await.expect("it runs");
    let types: Vec<&DataType> = schema
        .fields()
        .iter()
        .map(|field| field.data_type())
        .collect();
    let expected = [
        &DataType::Int64,
        &DataType::Int32,
        &DataType::Time64(TimeUnit::Microsecond),
        &DataType::Decimal128(10, 2),
        &DataType::Boolean,
        &DataType::Date32,
    ];
    assert_eq!(types, expected);
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect("it runs");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    assert!(batches.iter().all(|batch| batch.schema() == schema));
}

#[tokio::test]
async fn rows_say_which_code_and_which_run_made_them() {
    let (_folder, delta) = warehouse();
    load(&delta, 3, &[locations().rows([location(1, "Leeds", None)])]).await;
    let sql = "SELECT _tidemill_run, _tidemill_module, _tidemill_digest, _tidemill_source, \
               _tidemill_landing, _tidemill_logical_time FROM dim_location";
    let (digest, time) = (Digest::of("1.0.0"), "1970-01-01T03:00:00Z");
    let expected = format!("transform-1.0.0|dim-location@1.0.0|{digest}|totesys|3|{time}");
    assert_eq!(ask(&delta, sql).await, [expected]);
}

#[tokio::test]
async fn whatever_writes_is_refused() {
    let (folder, delta) = warehouse();
    load(&delta, 1, &[locations().rows([location(1, "Leeds", None)])]).await;
    let file = folder.path().join("out.csv");
    let copy = format!("COPY dim_location TO '{}'", file.display());
    for sql in [
        "INSERT INTO dim_location SELECT * FROM dim_location",
        "DELETE FROM dim_location",
        "UPDATE dim_location SET city = 'x'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE dim_location",
        "SET datafusion.execution.batch_size = 1",
        &copy,
    ] {
        let error = delta.query(sql).await.err().expect(sql);
        assert!(
            matches!(&error, WarehouseError::Query(_)),
            "{sql}: {error:?}"
        );
    }
    assert!(!file.exists());
    let error = delta
        .query("SELECT * FROM '/etc/passwd'")
        .await
        .err()
        .expect("refused");
    assert!(error.to_string().contains("not found"), "{error}");
    let error = delta
        .query("DROP TABLE dim_location")
        .await
        .err()
        .expect("refused");
    assert_eq!(error.to_string(), "the query failed: a query can only read");
}

#[tokio::test]
async fn a_wrong_query_says_what_is_wrong_in_the_engine_s_words() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &[locations()]).await;
    for (sql, words) in [
        ("SELEC 1", "SELEC"),
        ("", ""),
        ("SELECT 1; SELECT 2", ""),
        ("SELECT * FROM nowhere", "table 'nowhere' not found"),
        ("SELECT towns FROM dim_location", "No field named towns"),
    ] {
        let error = delta.query(sql).await.err().expect(sql);
        assert!(
            matches!(&error, WarehouseError::Query(text) if text.contains(words)),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    // One that fails only when rows are read.
    load(&delta, 2, &[locations().rows([location(1, "Leeds", None)])]).await;
    let (_, batches) = delta
        .query("SELECT 1 / (location_id - 1) FROM dim_location")
        .await
        .expect("plans");
    let error = batches
        .try_collect::<Vec<_>>()
        .await
        .expect_err("it divides by zero");
    assert!(error.to_string().contains("Divide by zero"), "{error}");
}

#[tokio::test]
async fn a_nullable_column_is_added_and_old_rows_have_null() {
    let (_folder, delta) = warehouse();
    let one = location(1, "Leeds", None);
    load(
        &delta,
        1,
        &[locations().rows([one.clone(), location(2, "York", None)])],
    )
    .await;
    let mut wider = locations();
    let mut fields = wider.schema.fields().to_vec();
    fields.push(Arc::new(Field::new(
        "opens",
        DataType::Timestamp(TimeUnit::Millisecond, None),
        true,
    )));
    wider.schema = Arc::new(Schema::new(fields));
    let mut two = location(2, "York", None);
    two["opens"] = "2024-05-06T07:08:09.010".into();
    let loaded = load(&delta, 2, &[wider.clone().rows([one.clone(), two.clone()])]).await;
    assert_eq!((loaded[0].updated, loaded[0].unchanged), (1, 1));
    assert_eq!(loaded[0].notes, ["the column opens was added"]);
    let sql = "SELECT location_id, opens FROM dim_location ORDER BY 1";
    assert_eq!(
        ask(&delta, sql).await,
        ["1|NULL", "2|2024-05-06T07:08:09.010"]
    );
    // A module that was rolled back has no such column any more.
    let loaded = load(&delta, 3, &[locations().rows([location(2, "York", None)])]).await;
    assert_eq!(loaded[0].updated, 1);
    assert_eq!(
        loaded[0].notes,
        ["the rows have no column opens; NULL was written"]
    );
    assert_eq!(ask(&delta, sql).await, ["1|NULL", "2|NULL"]);
    assert_eq!(
        load_one(&delta, 4, wider.rows([one, two])).await,
        [0, 1, 0, 1]
    );
}

#[tokio::test]
async fn rows_that_do_not_fit_the_table_are_refused_and_change_nothing() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &[locations().rows([location(1, "Leeds", None)])]).await;
    let with = |fields: Vec<Field>| {
        let mut table = locations();
        table.schema = Arc::new(Schema::new(fields));
        [table]
    };
    let id = || Field::new("location_id", DataType::Int32, false);
    let city = || Field::new("city", DataType::Utf8, false);
    let district = || Field::new("district", DataType::Utf8, true);
    let cases = [
        (
            vec![id(), Field::new("city", DataType::Int32, false), district()],
            "city as Utf8",
        ),
        (
            vec![id(), Field::new("city", DataType::Utf8, true), district()],
            "may not be NULL",
        ),
        (
            vec![id(), district()],
            "has the column city, which may not be NULL",
        ),
        (
            vec![
                id(),
                city(),
                district(),
                Field::new("n", DataType::Int32, false),
            ],
            "the column n",
        ),
        (
            vec![
                id(),
                city(),
                district(),
                Field::new("_tidemill_run", DataType::Utf8, true),
            ],
            "own",
        ),
        (
            vec![
                id(),
                city(),
                Field::new("n", DataType::Duration(TimeUnit::Second), true),
            ],
            "cannot hold",
        ),
    ];
    for (fields, words) in cases {
        let refusal = refusal(&delta, &with(fields)).await;
        assert!(refusal.contains(words), "{refusal}");
    }
    let mut overwriting = locations();
    overwriting.mode = LoadMode::Overwrite;
    assert!(
        refusal(&delta, &[overwriting])
            .await
            .contains("load mode upsert")
    );
    let mut by_city = locations();
    by_city.key = &["city"];
    assert!(
        refusal(&delta, &[by_city])
            .await
            .contains("the key location_id")
    );
    let mut keyless = locations();
    keyless.table = "keyless";
    keyless.key = &[];
    assert!(refusal(&delta, &[keyless]).await.contains("no key"));
    let mut outside = locations();
    outside.table = "../outside";
    assert!(
        refusal(&delta, &[outside])
            .await
            .contains("name of a folder")
    );
    let mut taken = orders();
    taken.alias = Some("dim_location");
    assert!(
        refusal(&delta, &[taken])
            .await
            .contains("which dim_location has")
    );
    let twice = locations().rows([location(5, "a", None), location(5, "b", None)]);
    let error = delta.load(landing(2, &[twice])).await.expect_err("twice");
    let cause = std::error::Error::source(&error)
        .expect("a cause")
        .to_string();
    assert_eq!(cause, "the input holds a key more than once");
    let mut first = locations().rows([location(5, "a", None), location(5, "b", None)]);
    first.table = "new";
    assert!(delta.load(landing(2, &[first])).await.is_err());
    assert_eq!(commits(&delta, "dim_location"), 1);
    let sql = "SELECT location_id, city FROM dim_location";
    assert_eq!(ask(&delta, sql).await, ["1|Leeds"]);
}

#[tokio::test]
async fn other_programs_read_the_tables_with_the_oldest_protocol() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &[payments().rows([payment(1, "1.25", true)])]).await;
    let url = url::Url::from_directory_path(root(&delta).join("fact_payment")).expect("absolute");
    let table = deltalake::open_table(url).await.expect("a Delta table");
    let protocol = table.snapshot().expect("loaded").protocol().clone();
    assert_eq!(
        (protocol.min_reader_version(), protocol.min_writer_version()),
        (1, 2)
    );
    let session = datafusion::prelude::SessionContext::new();
    let provider = table.table_provider().await.expect("readable");
    session.register_table("t", provider).expect("a name");
    let sql = "SELECT created_time FROM t WHERE CAST(created_time AS TIME) < '08:00:00'";
    let rows = session
        .sql(sql)
        .await
        .expect("plans")
        .collect()
        .await
        .expect("runs");
    let text = arrow::util::pretty::pretty_format_batches(&rows)
        .expect("printable")
        .to_string();
    assert!(text.contains("07:55:11.000123"), "{text}");
}

#[test]
fn a_url_names_a_folder_below_the_base_or_an_absolute_one() {
    let open = |url: &str| {
        crate::warehouse::open(
            url,
            "public",
            Path::new("/base/project"),
            &Traffic::default(),
        )
    };
    let target = |url: &str| open(url).expect(url).target().to_owned();
    assert_eq!(target("delta://./warehouse"), "/base/project/warehouse");
    assert_eq!(target("delta://warehouse"), "/base/project/warehouse");
    assert_eq!(target("delta:///srv/warehouse"), "/srv/warehouse");
    assert!(open("delta://").is_err());
    assert!(open("delta://100%25").is_err());
    assert_eq!(
        target("delta://../shared/./warehouse"),
        "/base/shared/warehouse"
    );
}
