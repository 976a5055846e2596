//! What each load mode does with rows and retractions.

use super::*;

const HISTORY: &str = "SELECT fact_payment_record_id, payment_id, payment_amount, paid \
                       FROM fact_payment ORDER BY 1";
const CURRENT: &str = "SELECT fact_payment_record_id, payment_id, payment_amount, paid \
                       FROM fact_payment_current ORDER BY 2";

#[tokio::test]
async fn a_fact_row_is_a_version_only_where_it_differs_from_the_latest_of_its_key() {
    let (_folder, delta) = warehouse();
    let first = payments().rows([payment(2, "1.10", false), payment(1, "2.00", false)]);
    assert_eq!(load_one(&delta, 1, first.clone()).await, [2, 0, 0, 0]);
    assert_eq!(load_one(&delta, 2, first).await, [0, 0, 0, 2]);
    let paid = payments().rows([payment(1, "2.00", false), payment(2, "1.10", true)]);
    assert_eq!(load_one(&delta, 3, paid).await, [1, 0, 0, 1]);
    let back = payments().rows([payment(2, "1.10", false), payment(3, "9.99", true)]);
    assert_eq!(load_one(&delta, 4, back).await, [2, 0, 0, 0]);
    let expected = [
        "1|2|1.10|false",
        "2|1|2.00|false",
        "3|2|1.10|true",
        "4|2|1.10|false",
        "5|3|9.99|true",
    ];
    assert_eq!(ask(&delta, HISTORY).await, expected);
    let current = ["2|1|2.00|false", "4|2|1.10|false", "5|3|9.99|true"];
    assert_eq!(ask(&delta, CURRENT).await, current);
    // One commit for the table and one for each landing that changed it.
    assert_eq!(commits(&delta, "fact_payment"), 3);
}

#[tokio::test]
async fn a_deleted_fact_leaves_its_history_and_comes_back_as_a_new_version() {
    let (_folder, delta) = warehouse();
    let both = payments().rows([payment(1, "1.00", false), payment(2, "2.00", false)]);
    load_one(&delta, 1, both.clone()).await;
    let gone = payments().retracted([json!({"payment_id": 1}), json!({"payment_id": 7})]);
    assert_eq!(load_one(&delta, 2, gone.clone()).await, [0, 0, 1, 0]);
    assert_eq!(ask(&delta, CURRENT).await, ["2|2|2.00|false"]);
    assert_eq!(
        ask(&delta, "SELECT count(*) FROM fact_payment").await,
        ["2"]
    );
    assert_eq!(load_one(&delta, 3, gone.clone()).await, [0, 0, 0, 0]);
    // The same values as before it was deleted.
    assert_eq!(load_one(&delta, 4, both.clone()).await, [1, 0, 0, 1]);
    assert_eq!(
        ask(&delta, CURRENT).await,
        ["3|1|1.00|false", "2|2|2.00|false"]
    );
    assert_eq!(load_one(&delta, 5, both).await, [0, 0, 0, 2]);
    assert_eq!(load_one(&delta, 6, gone).await, [0, 0, 1, 0]);
    let ended = "SELECT fact_payment_record_id, _tidemill_source, _tidemill_landing, \
                 _tidemill_run, _tidemill_logical_time FROM fact_payment_ended ORDER BY 1";
    let expected = [
        "1|totesys|2|transform-1.0.0|1970-01-01T02:00:00Z",
        "3|totesys|6|transform-1.0.0|1970-01-01T06:00:00Z",
    ];
    assert_eq!(ask(&delta, ended).await, expected);
}

#[tokio::test]
async fn null_is_a_value_and_the_last_digit_of_a_decimal_counts() {
    let (_folder, delta) = warehouse();
    let undated = |amount: &str| {
        let mut row = payment(1, amount, true);
        row["payment_date"] = Value::Null;
        payments().rows([row])
    };
    let dated = payments().rows([payment(1, "99999999.98", true)]);
    assert_eq!(
        load_one(&delta, 1, undated("99999999.98")).await,
        [1, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 2, undated("99999999.98")).await,
        [0, 0, 0, 1]
    );
    assert_eq!(load_one(&delta, 3, dated).await, [1, 0, 0, 0]);
    assert_eq!(
        load_one(&delta, 4, undated("99999999.98")).await,
        [1, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 5, undated("99999999.99")).await,
        [1, 0, 0, 0]
    );
    let dates =
        "SELECT payment_date, payment_amount FROM fact_payment ORDER BY fact_payment_record_id";
    let expected = [
        "NULL|99999999.98",
        "2022-11-03|99999999.98",
        "NULL|99999999.98",
        "NULL|99999999.99",
    ];
    assert_eq!(ask(&delta, dates).await, expected);
}

#[tokio::test]
async fn an_upsert_changes_only_rows_that_differ() {
    let (_folder, delta) = warehouse();
    let rows = [
        location(1, "Leeds", None),
        location(2, "Manchester", Some("Ancoats")),
        location(3, "O'Keefe's \"Town\"", Some("")),
    ];
    assert_eq!(
        load_one(&delta, 1, locations().rows(rows.clone())).await,
        [3, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 2, locations().rows(rows)).await,
        [0, 0, 0, 3]
    );
    assert_eq!(commits(&delta, "dim_location"), 1);
    let mut changed = locations().rows([
        location(4, "York", None),
        location(1, "Leeds", Some("Headingley")),
        location(2, "Manchester", Some("Ancoats")),
    ]);
    changed.version = "1.0.1";
    let changed = changed.retracted([json!({"location_id": 3}), json!({"location_id": 9})]);
    assert_eq!(load_one(&delta, 3, changed).await, [1, 1, 1, 1]);
    let sql = "SELECT location_id, city, district, _tidemill_module FROM dim_location ORDER BY 1";
    let expected = [
        "1|Leeds|Headingley|dim-location@1.0.1",
        "2|Manchester|Ancoats|dim-location@1.0.0",
        "4|York|NULL|dim-location@1.0.1",
    ];
    assert_eq!(ask(&delta, sql).await, expected);
}

#[tokio::test]
async fn an_overwrite_makes_the_table_equal_to_the_rows() {
    let (_folder, delta) = warehouse();
    let mut table = locations();
    table.mode = LoadMode::Overwrite;
    let three = [
        location(1, "a", None),
        location(2, "b", None),
        location(3, "c", None),
    ];
    assert_eq!(
        load_one(&delta, 1, table.clone().rows(three.clone())).await,
        [3, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 2, table.clone().rows(three)).await,
        [0, 0, 0, 3]
    );
    assert_eq!(commits(&delta, "dim_location"), 1);
    let others = [
        location(4, "d", None),
        location(2, "b", Some("x")),
        location(1, "a", None),
    ];
    assert_eq!(
        load_one(&delta, 3, table.clone().rows(others)).await,
        [1, 1, 1, 1]
    );
    let sql = "SELECT location_id, city, district FROM dim_location ORDER BY 1";
    assert_eq!(ask(&delta, sql).await, ["1|a|NULL", "2|b|x", "4|d|NULL"]);
    assert_eq!(load_one(&delta, 4, table).await, [0, 0, 3, 0]);
    assert!(ask(&delta, sql).await.is_empty());
}

#[tokio::test]
async fn scd2_closes_the_open_version_and_opens_another() {
    let (_folder, delta) = warehouse();
    let mut table = locations();
    table.mode = LoadMode::Scd2;
    let two = [location(1, "Leds", None), location(2, "York", None)];
    assert_eq!(
        load_one(&delta, 1, table.clone().rows(two)).await,
        [2, 0, 0, 0]
    );
    let mended = [location(1, "Leeds", None), location(2, "York", None)];
    assert_eq!(
        load_one(&delta, 2, table.clone().rows(mended)).await,
        [0, 1, 0, 1]
    );
    let gone = table.clone().retracted([json!({"location_id": 2})]);
    assert_eq!(load_one(&delta, 3, gone).await, [0, 0, 1, 0]);
    let again = table.rows([location(2, "York", None), location(1, "Leds", None)]);
    assert_eq!(load_one(&delta, 4, again).await, [1, 1, 0, 0]);
    let sql = "SELECT location_id, city, _valid_from, _valid_to, _is_current \
               FROM dim_location ORDER BY 1, 3";
    let expected = [
        "1|Leds|1970-01-01T01:00:00Z|1970-01-01T02:00:00Z|false",
        "1|Leeds|1970-01-01T02:00:00Z|1970-01-01T04:00:00Z|false",
        "1|Leds|1970-01-01T04:00:00Z|NULL|true",
        "2|York|1970-01-01T01:00:00Z|1970-01-01T03:00:00Z|false",
        "2|York|1970-01-01T04:00:00Z|NULL|true",
    ];
    assert_eq!(ask(&delta, sql).await, expected);
    let current = "SELECT * FROM dim_location_current ORDER BY 1";
    assert_eq!(ask(&delta, current).await, ["1|Leds|NULL", "2|York|NULL"]);
}

#[tokio::test]
async fn keys_of_text_dates_and_several_columns_are_found() {
    let (_folder, delta) = warehouse();
    let schema = Schema::new(vec![
        Field::new("Day", DataType::Date32, false),
        Field::new("day of", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
    ]);
    let table = given("Dim Day", LoadMode::Upsert, schema, &["day of", "Day"]);
    let row = |day: &str, of: &str, n: Option<i64>| json!({"Day": day, "day of": of, "n": n});
    let rows = [
        row("2024-02-29", "é\"'", Some(1)),
        row("2024-02-29", "", None),
        row("2024-03-01", "", Some(3)),
    ];
    assert_eq!(
        load_one(&delta, 1, table.clone().rows(rows.clone())).await,
        [3, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 2, table.clone().rows(rows)).await,
        [0, 0, 0, 3]
    );
    let changed = table
        .rows([row("2024-02-29", "", Some(2))])
        .retracted([json!({"Day": "2024-02-29", "day of": "é\"'"})]);
    assert_eq!(load_one(&delta, 3, changed).await, [0, 1, 1, 0]);
    let sql = r#"SELECT "Day", "day of", n FROM "Dim Day" ORDER BY 1"#;
    assert_eq!(ask(&delta, sql).await, ["2024-02-29||2", "2024-03-01||3"]);
}

#[tokio::test]
async fn a_table_without_columns_besides_its_key_never_differs() {
    let (_folder, delta) = warehouse();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let table = given("only_key", LoadMode::AppendVersions, schema, &["id"]);
    let table = table.rows([json!({"id": 1}), json!({"id": 2})]);
    assert_eq!(load_one(&delta, 1, table.clone()).await, [2, 0, 0, 0]);
    assert_eq!(load_one(&delta, 2, table).await, [0, 0, 0, 2]);
}

#[tokio::test]
async fn single_changes_in_ten_thousand_rows_read_and_write_single_rows() {
    let (_folder, delta) = warehouse();
    let all = |paid: i32| (1..=10_000).map(move |id| payment(id, "1.50", id == paid));
    assert_eq!(
        load_one(&delta, 1, payments().rows(all(0))).await,
        [10_000, 0, 0, 0]
    );
    assert_eq!(
        load_one(&delta, 2, payments().rows(all(7_777))).await,
        [1, 0, 0, 9_999]
    );
    let one = payments().rows([payment(7_777, "1.50", false)]);
    assert_eq!(load_one(&delta, 3, one.clone()).await, [1, 0, 0, 0]);
    assert_eq!(
        load_one(&delta, 4, one.retracted([json!({"payment_id": 1})])).await,
        [0, 0, 1, 1]
    );
    let counts = "SELECT count(*), max(fact_payment_record_id) FROM fact_payment";
    assert_eq!(ask(&delta, counts).await, ["10002|10002"]);
    let current = "SELECT count(*), sum(payment_amount), bool_or(paid) FROM fact_payment_current";
    assert_eq!(ask(&delta, current).await, ["9999|14998.50|false"]);
    // The first load's rows were never written again: one data file for each landing that added rows.
    assert_eq!(files_in(&delta, "fact_payment", ".parquet"), 3);
}

#[tokio::test]
async fn many_small_files_become_one_and_every_row_stays() {
    let (_folder, delta) = warehouse();
    for id in 1..=70 {
        let number = u64::try_from(id).expect("positive");
        load_one(
            &delta,
            number,
            payments().rows([payment(id, "1.00", false)]),
        )
        .await;
    }
    let rows = "SELECT count(*), count(DISTINCT payment_id), min(fact_payment_record_id), \
                max(fact_payment_record_id) FROM fact_payment";
    assert_eq!(ask(&delta, rows).await, ["70|70|1|70"]);
    let newest = delta.newest().await.expect("readable").expect("published");
    let table = crate::warehouse::delta::delta_table::TableFolder::of(&delta.place, "fact_payment")
        .expect("a folder")
        .at(newest.tables["fact_payment"].version)
        .await
        .expect("the published version");
    let files = table.get_file_uris().expect("loaded").count();
    assert!(files < 10, "{files} files");
    // One commit for each landing and one that compacted.
    assert_eq!(commits(&delta, "fact_payment"), 71);
    let again = payments().rows((1..=70).map(|id| payment(id, "1.00", false)));
    assert_eq!(load_one(&delta, 71, again).await, [0, 0, 0, 70]);
}

#[tokio::test]
async fn the_log_is_summed_up_every_ten_commits() {
    let (_folder, delta) = warehouse();
    for number in 1..=23 {
        let id = i32::try_from(number).expect("a small number");
        load_one(
            &delta,
            number,
            payments().rows([payment(id, "1.00", false)]),
        )
        .await;
    }
    let commits = commits(&delta, "fact_payment");
    assert!(commits >= 23);
    assert_eq!(
        files_in(&delta, "fact_payment/_delta_log", ".checkpoint.parquet"),
        commits / 10
    );
    let rows = ask(&delta, "SELECT count(*) FROM fact_payment").await;
    assert_eq!(rows, ["23"]);
}

#[tokio::test]
async fn an_overwrite_without_a_key_holds_every_row_as_often_as_it_comes() {
    let (_folder, delta) = warehouse();
    let mut table = locations();
    table.mode = LoadMode::Overwrite;
    table.key = &[];
    let twice = [
        location(1, "a", None),
        location(1, "a", None),
        location(2, "b", None),
    ];
    let loaded = load_one(&delta, 1, table.clone().rows(twice)).await;
    assert_eq!(loaded, [3, 0, 0, 0]);
    let loaded = load_one(&delta, 2, table.clone().rows([location(1, "a", None)])).await;
    assert_eq!(loaded, [1, 0, 3, 0]);
    let rows = "SELECT location_id, city FROM dim_location ORDER BY 1";
    assert_eq!(ask(&delta, rows).await, ["1|a"]);
    assert_eq!(load_one(&delta, 3, table).await, [0, 0, 1, 0]);
    assert!(ask(&delta, rows).await.is_empty());
}

#[tokio::test]
async fn lists_are_loaded_compared_and_read_like_other_values() {
    let (_folder, delta) = warehouse();
    let of = |item| DataType::new_list(item, true);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("numbers", of(DataType::Int64), true),
        Field::new("times", of(DataType::Time64(TimeUnit::Microsecond)), true),
    ]);
    let table = given("dim_list", LoadMode::Upsert, schema, &["id"]);
    let row = |id: i32, numbers: Value, times: Value| json!({"id": id, "numbers": numbers, "times": times});
    let first = [
        row(1, json!([1, null, 3]), json!(["07:55:11.000123"])),
        row(2, json!([]), Value::Null),
    ];
    let loaded = load_one(&delta, 1, table.clone().rows(first.clone())).await;
    assert_eq!(loaded, [2, 0, 0, 0]);
    let loaded = load_one(&delta, 2, table.clone().rows(first)).await;
    assert_eq!(loaded, [0, 0, 0, 2]);
    let edited = [row(2, json!([null]), Value::Null)];
    assert_eq!(load_one(&delta, 3, table.rows(edited)).await, [0, 1, 0, 0]);
    let rows = "SELECT id, numbers, times FROM dim_list ORDER BY 1";
    assert_eq!(
        ask(&delta, rows).await,
        ["1|[1, NULL, 3]|[07:55:11.000123]", "2|[NULL]|NULL"]
    );
    let (schema, _) = delta.query(rows).await.expect(rows);
    let times = schema.field(2).data_type();
    assert_eq!(*times, of(DataType::Time64(TimeUnit::Microsecond)));
}
