//! Crashes at every point, several hosts, and what readers see meanwhile.

use super::*;
use crate::error::{Classify as _, ErrorKind};

const EVERYTHING: [&str; 4] = [
    "SELECT location_id, city, district FROM dim_location ORDER BY 1",
    "SELECT fact_payment_record_id, payment_id, payment_amount, paid FROM fact_payment ORDER BY 1",
    "SELECT fact_payment_record_id FROM fact_payment_ended ORDER BY 1",
    "SELECT staff_id, name, _valid_from, _valid_to FROM dim_staff ORDER BY 1, 3",
];

fn staff(rows: impl IntoIterator<Item = (i32, &'static str)>) -> Given {
    let schema = Schema::new(vec![
        Field::new("staff_id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, false),
    ]);
    let rows = rows
        .into_iter()
        .map(|(id, name)| json!({"staff_id": id, "name": name}));
    given("dim_staff", LoadMode::Scd2, schema, &["staff_id"]).rows(rows)
}

fn first() -> Vec<Given> {
    vec![
        locations().rows([location(1, "Leeds", None), location(2, "York", None)]),
        staff([(1, "Ann"), (2, "Bob")]),
        payments().rows([payment(1, "1.00", false), payment(2, "2.00", false)]),
    ]
}

fn second() -> Vec<Given> {
    vec![
        locations()
            .rows([location(3, "Hull", None), location(1, "Leeds", Some("x"))])
            .retracted([json!({"location_id": 2})]),
        staff([(2, "Rob"), (3, "Cyd")]),
        payments()
            .rows([payment(3, "3.00", false), payment(2, "2.00", true)])
            .retracted([json!({"payment_id": 1})]),
    ]
}

async fn everything(delta: &Delta) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for sql in EVERYTHING {
        answers.push(ask(delta, sql).await);
    }
    answers
}

/// What the warehouse holds after both landings when nothing goes wrong.
async fn expected() -> Vec<Vec<String>> {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    load(&delta, 2, &second()).await;
    everything(&delta).await
}

fn publication(delta: &Delta, number: u64) -> std::path::PathBuf {
    let folder = root(delta).join("_tidemill/publications");
    folder.join(format!("{number:010}.json"))
}

fn commit(delta: &Delta, table: &str, number: u64) -> std::path::PathBuf {
    root(delta)
        .join(table)
        .join(format!("_delta_log/{number:020}.json"))
}

#[tokio::test]
async fn a_second_load_of_a_landing_does_nothing_and_says_so() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    load(&delta, 2, &second()).await;
    let before = everything(&delta).await;
    for number in [1, 2] {
        let loaded = load(&delta, number, &second()).await;
        assert!(
            loaded
                .iter()
                .all(|table| table.already && table.inserted == 0)
        );
    }
    assert_eq!(everything(&delta).await, before);
    assert!(!publication(&delta, 3).exists());
    let ledger = delta.ledger().await.expect("readable");
    assert_eq!(ledger.through("fact_payment", "totesys"), 2);
    assert_eq!(ledger.through("fact_payment", "other"), 0);
}

#[tokio::test]
async fn a_crash_at_any_point_between_the_commits_is_completed_by_the_next_load() {
    let expected = expected().await;
    // In the order in which they are made: what a crash leaves is a beginning of this list.
    let points = |delta: &Delta| {
        vec![
            commit(delta, "dim_location", 1),
            commit(delta, "dim_staff", 1),
            commit(delta, "fact_payment_ended", 1),
            commit(delta, "fact_payment", 1),
            publication(delta, 2),
        ]
    };
    for survived in 0..5 {
        let (_folder, delta) = warehouse();
        load(&delta, 1, &first()).await;
        let before = everything(&delta).await;
        let report = load(&delta, 2, &second()).await;
        for point in points(&delta).into_iter().skip(survived) {
            std::fs::remove_file(&point).expect("it was made");
        }
        assert_eq!(
            everything(&delta).await,
            before,
            "nothing unpublished is seen"
        );
        assert_eq!(
            delta
                .ledger()
                .await
                .expect("readable")
                .through("dim_staff", "totesys"),
            1
        );

        let again = load(&delta, 2, &second()).await;
        assert_eq!(again, report, "after {survived} commits");
        assert_eq!(
            everything(&delta).await,
            expected,
            "after {survived} commits"
        );
        for point in points(&delta).into_iter().take(4) {
            assert!(point.exists());
        }
        if survived == 4 {
            assert_eq!(
                commits(&delta, "fact_payment"),
                2,
                "nothing was applied twice"
            );
        }
        // The numbers go on where they were.
        let more = [payments().rows([payment(4, "4.00", false)])];
        load(&delta, 3, &more).await;
        let newest = "SELECT max(fact_payment_record_id) FROM fact_payment";
        assert_eq!(ask(&delta, newest).await, ["5"]);
    }
}

#[tokio::test]
async fn rows_that_end_with_an_error_load_nothing() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    let before = everything(&delta).await;
    let mut broken = second();
    broken[2] = broken[2].clone().breaking();
    let error = delta
        .load(landing(2, &broken))
        .await
        .expect_err("it breaks");
    assert!(matches!(&error, WarehouseError::Rows { table, .. } if table == "fact_payment"));
    assert_eq!(everything(&delta).await, before);
    load(&delta, 2, &second()).await;
    assert_eq!(everything(&delta).await, expected().await);
    assert_eq!(
        commits(&delta, "dim_location"),
        2,
        "its commit was completed"
    );
}

#[tokio::test]
async fn an_orphan_of_other_rows_is_undone_and_leaves_no_trace() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    // A run loads landing 2 and dies before it publishes; then its module is mended and run again.
    let mut wrong = second();
    for table in &mut wrong {
        table.version = "0.9.0";
        table.rows.truncate(1);
    }
    wrong[0].rows[0]["city"] = "Hell".into();
    load(&delta, 2, &wrong).await;
    std::fs::remove_file(publication(&delta, 2)).expect("it was made");
    load(&delta, 2, &second()).await;
    assert_eq!(everything(&delta).await, expected().await);
    let traces = "SELECT count(*) FROM fact_payment WHERE _tidemill_module LIKE '%0.9.0'";
    assert_eq!(ask(&delta, traces).await, ["0"]);
}

#[tokio::test]
async fn an_orphan_is_undone_for_other_programs_even_when_nothing_changes() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    let mut wrong = second();
    wrong.iter_mut().for_each(|table| table.version = "0.9.0");
    load(&delta, 2, &wrong).await;
    std::fs::remove_file(publication(&delta, 2)).expect("it was made");
    load(&delta, 2, &first()).await;
    for table in [
        "dim_location",
        "dim_staff",
        "fact_payment",
        "fact_payment_ended",
    ] {
        let folder = root(&delta).join(table);
        let url = url::Url::from_directory_path(folder).expect("absolute");
        let newest = deltalake::open_table(url).await.expect("a Delta table");
        let session = datafusion::prelude::SessionContext::new();
        let provider = newest.table_provider().await.expect("readable");
        let rows = session.read_table(provider).expect("a table").count().await;
        let ours = ask(&delta, &format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(ours, [rows.expect("readable").to_string()], "{table}");
    }
}

#[tokio::test]
async fn an_orphan_of_the_first_load_ever_is_undone_too() {
    let (_folder, delta) = warehouse();
    let mut wrong = first();
    for table in &mut wrong {
        table.version = "0.9.0";
        table.rows.truncate(1);
    }
    load(&delta, 1, &wrong).await;
    std::fs::remove_file(publication(&delta, 1)).expect("it was made");
    assert!(delta.tables().await.expect("readable").is_empty());
    load(&delta, 1, &first()).await;
    load(&delta, 2, &second()).await;
    assert_eq!(everything(&delta).await, expected().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_that_load_the_same_landing_both_end_with_one_result() {
    let expected = expected().await;
    for _ in 0..6 {
        let (_folder, one) = warehouse();
        let other = one.clone();
        for (number, tables) in [(1, first()), (2, second())] {
            let (a, b) = tokio::join!(
                one.load(landing(number, &tables)),
                other.load(landing(number, &tables))
            );
            assert!(a.is_ok() || b.is_ok() || !publication(&one, number).exists());
            for lost in [a, b].into_iter().filter_map(Result::err) {
                assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost:?}");
            }
            load(&one, number, &tables).await;
        }
        assert_eq!(everything(&one).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sources_that_load_the_same_table_at_once_both_arrive() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    let arrive = |source: &'static str, id: i32| {
        let delta = delta.clone();
        async move {
            for number in 1..=4 {
                let id = id + i32::try_from(number).expect("small");
                let tables = [payments().rows([payment(id, "5.00", false)])];
                loop {
                    match delta.load(landing_of(source, number, &tables)).await {
                        Ok(_) => break,
                        Err(lost) => assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost:?}"),
                    }
                }
            }
        }
    };
    let (one, other) = (
        tokio::spawn(arrive("a", 100)),
        tokio::spawn(arrive("b", 200)),
    );
    one.await.expect("it arrives");
    other.await.expect("it arrives");
    let ids = "SELECT payment_id FROM fact_payment_current WHERE payment_id > 99 ORDER BY 1";
    let all = ["101", "102", "103", "104", "201", "202", "203", "204"];
    assert_eq!(ask(&delta, ids).await, all);
    let numbers = "SELECT count(*), count(DISTINCT fact_payment_record_id), \
                   max(fact_payment_record_id) FROM fact_payment";
    assert_eq!(ask(&delta, numbers).await, ["10|10|10"]);
    let ledger = delta.ledger().await.expect("readable");
    assert_eq!(ledger.through("fact_payment", "a"), 4);
    assert_eq!(ledger.through("fact_payment", "b"), 4);
    assert_eq!(ledger.through("fact_payment", "totesys"), 1);
}

#[tokio::test]
async fn a_query_that_began_reads_on_in_the_version_it_began_with() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    let (_, batches) = delta.query(EVERYTHING[0]).await.expect("it begins");
    load(&delta, 2, &second()).await;
    let batches: Vec<RecordBatch> = batches.try_collect().await.expect("it ends");
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_damaged_publication_is_named_and_nothing_is_guessed() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &first()).await;
    std::fs::write(publication(&delta, 2), b"{\"format\":1").expect("written");
    let error = delta.ledger().await.expect_err("damaged");
    assert!(
        error.to_string().ends_with("0000000002.json is damaged"),
        "{error}"
    );
    let error = delta
        .load(landing(2, &second()))
        .await
        .expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Data);
}
