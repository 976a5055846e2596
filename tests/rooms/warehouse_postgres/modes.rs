//! What rows and retractions do to a table, by its load mode.

use super::*;

#[tokio::test]
async fn upsert_changes_what_differs_and_removes_what_is_gone() {
    let url = database().await;
    let to = warehouse(&url);
    let first = [
        (1, Some(1), Some("a")),
        (2, None, Some("b")),
        (3, Some(3), None),
    ];
    load(&to, 1, table("dim_order", Upsert, &first, &[])).await;
    let second = [
        (1, Some(1), Some("a")),
        (2, Some(2), Some("b")),
        (4, None, None),
    ];
    let loaded = load(&to, 2, table("dim_order", Upsert, &second, &[3, 77])).await;
    assert_eq!(counts(&loaded), [1, 1, 1, 1]);
    assert_eq!(rows(&to, DIMENSION).await, ["1|1|a", "2|2|b", "4|-|-"]);
    let back = load(
        &to,
        3,
        table("dim_order", Upsert, &[(2, None, Some("b"))], &[]),
    )
    .await;
    assert_eq!(counts(&back), [0, 1, 0, 0]);
    assert_eq!(rows(&to, DIMENSION).await, ["1|1|a", "2|-|b", "4|-|-"]);
}

#[tokio::test]
async fn overwrite_makes_the_table_equal_to_the_rows() {
    let url = database().await;
    let to = warehouse(&url);
    let first = [(1, Some(1), None), (2, Some(2), None), (3, Some(3), None)];
    load(&to, 1, table("dim_order", Overwrite, &first, &[])).await;
    let second = [(2, Some(2), None), (3, Some(33), None), (4, Some(4), None)];
    let loaded = load(&to, 2, table("dim_order", Overwrite, &second, &[])).await;
    assert_eq!(counts(&loaded), [1, 1, 1, 1]);
    assert_eq!(rows(&to, DIMENSION).await, ["2|2|-", "3|33|-", "4|4|-"]);
    let none = load(&to, 3, table("dim_order", Overwrite, &[], &[])).await;
    assert_eq!(counts(&none), [0, 0, 3, 0]);
}

#[tokio::test]
async fn an_overwrite_without_a_key_holds_every_row_as_often_as_it_comes() {
    let url = database().await;
    let to = warehouse(&url);
    let keyless = |rows: &[OrderRow<'_>]| {
        let mut table = table("dim_order", Overwrite, rows, &[]);
        table.primary_key.clear();
        table
    };
    let twice = [(1, Some(1), None), (1, Some(1), None), (2, Some(2), None)];
    let loaded = load(&to, 1, keyless(&twice)).await;
    assert_eq!(counts(&loaded), [3, 0, 0, 0]);
    let loaded = load(&to, 2, keyless(&twice)).await;
    assert_eq!(counts(&loaded), [0, 0, 0, 3]);
    let loaded = load(&to, 3, keyless(&[(1, Some(1), None), (2, Some(2), None)])).await;
    assert_eq!(counts(&loaded), [2, 0, 3, 0]);
    assert_eq!(rows(&to, DIMENSION).await, ["1|1|-", "2|2|-"]);
    assert_eq!(counts(&load(&to, 4, keyless(&[])).await), [0, 0, 2, 0]);
}

#[tokio::test]
async fn a_version_is_appended_only_where_it_differs_from_the_latest() {
    let url = database().await;
    let to = warehouse(&url);
    let fact = |rows: &[OrderRow<'_>]| table("fact_order", AppendVersions, rows, &[]);
    load(&to, 1, fact(&[(1, Some(10), Some("a")), (2, None, None)])).await;
    let edited = load(&to, 2, fact(&[(1, Some(11), Some("a")), (2, None, None)])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 1]);
    let back = load(&to, 3, fact(&[(1, Some(10), Some("a"))])).await;
    assert_eq!(counts(&back), [1, 0, 0, 0]);
    let nulls = load(&to, 4, fact(&[(1, Some(10), None), (2, Some(0), None)])).await;
    assert_eq!(counts(&nulls), [2, 0, 0, 0]);
    assert_eq!(
        rows(&to, FACT).await,
        ["1|10|a", "2|-|-", "1|11|a", "1|10|a", "1|10|-", "2|0|-"]
    );
    assert_eq!(rows(&to, CURRENT).await, ["5|1|10|-", "6|2|0|-"]);
}

#[tokio::test]
async fn versions_are_numbered_in_the_order_of_the_stream_without_gaps() {
    let url = database().await;
    let to = warehouse(&url);
    let many: Vec<OrderRow<'_>> = (0..5_000).rev().map(|key| (key, Some(key), None)).collect();
    let batches = many.chunks(700).map(orders).collect();
    let first = TableLoad {
        rows: stream(batches),
        ..table("fact_order", AppendVersions, &[], &[])
    };
    assert_eq!(counts(&load(&to, 1, first).await), [5_000, 0, 0, 0]);
    let edited: Vec<OrderRow<'_>> = (0..5_000)
        .map(|key| (key, Some(key / 4_999), None))
        .collect();
    let loaded = load(&to, 2, table("fact_order", AppendVersions, &edited, &[])).await;
    assert_eq!(counts(&loaded), [4_999, 0, 0, 1]);
    assert_eq!(
        number(&url, "select count(*) from star.fact_order where fact_order_record_id <= 5000 and fact_order_record_id <> 5000 - order_id").await,
        0
    );
    assert_eq!(
        number(&url, "select count(*) from star.fact_order where fact_order_record_id > 5000 and fact_order_record_id <> 5000 + order_id").await,
        0
    );
    assert_eq!(
        number(
            &url,
            "select max(fact_order_record_id) from star.fact_order"
        )
        .await,
        9_999
    );
}

#[tokio::test]
async fn a_deleted_key_leaves_its_history_and_comes_back_as_a_version() {
    let url = database().await;
    let to = warehouse(&url);
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    load(&to, 1, fact(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    let deleted = load(&to, 2, fact(&[], &[1, 99])).await;
    assert_eq!(counts(&deleted), [0, 0, 1, 0]);
    assert_eq!(rows(&to, FACT).await, ["1|1|-", "2|2|-"]);
    assert_eq!(rows(&to, CURRENT).await, ["2|2|2|-"]);
    let again = load(&to, 3, fact(&[], &[1])).await;
    assert_eq!(counts(&again), [0, 0, 0, 0]);
    let entered = load(&to, 4, fact(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    assert_eq!(counts(&entered), [1, 0, 0, 1]);
    assert_eq!(rows(&to, CURRENT).await, ["3|1|1|-", "2|2|2|-"]);
    let deleted = load(&to, 5, fact(&[], &[1])).await;
    assert_eq!(counts(&deleted), [0, 0, 1, 0]);
    assert_eq!(rows(&to, CURRENT).await, ["2|2|2|-"]);
}

#[tokio::test]
async fn scd2_closes_a_version_where_the_next_begins() {
    let url = database().await;
    let to = warehouse(&url);
    let dim = |rows: &[OrderRow<'_>], gone: &[i32]| table("dim_order", Scd2, rows, gone);
    load(&to, 1, dim(&[(1, Some(1), None), (2, Some(2), None)], &[])).await;
    let edited = load(&to, 2, dim(&[(1, Some(11), None), (2, Some(2), None)], &[])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 1]);
    assert_eq!(
        counts(&load(&to, 3, dim(&[], &[1, 99])).await),
        [0, 0, 1, 0]
    );
    assert_eq!(
        counts(&load(&to, 5, dim(&[(1, Some(11), None)], &[])).await),
        [1, 0, 0, 0]
    );
    assert_eq!(
        rows(
            &to,
            "select order_id, units, _valid_from, _valid_to, _is_current from dim_order order by 1, 3"
        )
        .await,
        [
            "1|1|2026-01-01T01:00:00Z|2026-01-01T02:00:00Z|false",
            "1|11|2026-01-01T02:00:00Z|2026-01-01T03:00:00Z|false",
            "1|11|2026-01-01T05:00:00Z|-|true",
            "2|2|2026-01-01T01:00:00Z|-|true",
        ]
    );
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_no_version_that_ends_before_it_begins() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Scd2, &[(1, Some(1), None)], &[])).await;
    let mut earlier = landing(
        2,
        vec![table("dim_order", Scd2, &[(1, Some(2), None)], &[])],
    );
    earlier.logical_time = logical_time(0);
    to.load(earlier).await.expect("it is loaded");
    assert_eq!(
        number(&url, "select count(*) from star.dim_order where _valid_to < _valid_from or _valid_from < '2026-01-01T01:00Z'").await,
        0
    );
    assert_eq!(
        rows(&to, "select units from dim_order where _is_current").await,
        ["2"]
    );
}

#[tokio::test]
async fn retractions_may_come_in_several_batches() {
    let url = database().await;
    let to = warehouse(&url);
    let first: Vec<OrderRow<'_>> = (1..=4).map(|key| (key, None, None)).collect();
    load(&to, 1, table("dim_order", Upsert, &first, &[])).await;
    let gone = TableLoad {
        retractions: stream(vec![keys(&[1]), keys(&[]), keys(&[3, 4])]),
        ..table("dim_order", Upsert, &[], &[])
    };
    assert_eq!(counts(&load(&to, 2, gone).await), [0, 0, 3, 0]);
    assert_eq!(rows(&to, DIMENSION).await, ["2|-|-"]);
}
