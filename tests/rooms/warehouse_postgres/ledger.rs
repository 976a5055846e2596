//! What has been loaded, once, and where its rows come from.

use super::*;

#[tokio::test]
async fn a_new_warehouse_is_empty_and_stays_untouched_by_asking() {
    let url = database().await;
    let to = warehouse(&url);
    assert_eq!(to.ledger().await.expect("an answer"), <_>::default());
    assert!(to.tables().await.expect("an answer").is_empty());
    assert_eq!(
        number(
            &url,
            "select count(*) from pg_namespace where nspname in ('star', 'tidemill')"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_landing_is_loaded_once_and_its_ledger_says_so() {
    let url = database().await;
    let to = warehouse(&url);
    let both = |rows: &[OrderRow<'_>]| {
        landing(
            7,
            vec![
                table("dim_order", Upsert, rows, &[]),
                table("fact_order", AppendVersions, rows, &[]),
            ],
        )
    };
    let first = to
        .load(both(&[(1, Some(10), Some("a")), (2, None, None)]))
        .await
        .expect("it is loaded");
    assert!(first.iter().all(|table| counts(table) == [2, 0, 0, 0]));
    let ledger = to.ledger().await.expect("an answer");
    assert_eq!(ledger.through("dim_order", "totesys"), 7);
    assert_eq!(ledger.through("fact_order", "totesys"), 7);
    assert_eq!(ledger.through("fact_order", "another"), 0);

    let second = to
        .load(both(&[(1, Some(99), None), (3, None, None)]))
        .await
        .expect("it is loaded");
    assert!(second.iter().all(|table| table.already));
    assert!(second.iter().all(|table| counts(table) == [0, 0, 0, 0]));
    assert_eq!(rows(&to, DIMENSION).await, ["1|10|a", "2|-|-"]);
    assert_eq!(rows(&to, FACT).await, ["1|10|a", "2|-|-"]);
}

#[tokio::test]
async fn a_table_that_missed_a_landing_is_loaded_beside_one_that_has_it() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let loaded = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(9, None, None)], &[]),
                table("fact_order", AppendVersions, &[(1, None, None)], &[]),
            ],
        ))
        .await
        .expect("it is loaded");
    assert_eq!(
        loaded.iter().map(|t| t.already).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn rows_of_our_tables_say_where_they_come_from() {
    let url = database().await;
    let to = warehouse(&url);
    load(
        &to,
        1,
        table(
            "dim_order",
            Upsert,
            &[(1, Some(1), None), (2, None, None)],
            &[],
        ),
    )
    .await;
    let changed = TableLoad {
        transform_run: "transform-2".to_owned().into(),
        ..table(
            "dim_order",
            Upsert,
            &[(1, Some(2), None), (2, None, None)],
            &[],
        )
    };
    assert_eq!(counts(&load(&to, 2, changed).await), [0, 1, 0, 1]);
    let provenance = rows(
        &to,
        "select order_id, _tidemill_run, _tidemill_module, _tidemill_source, _tidemill_landing,
                _tidemill_logical_time, _tidemill_digest from dim_order order by 1",
    )
    .await;
    let digest = tidemill::digest::Digest::of("orders");
    assert_eq!(
        provenance,
        [
            format!("1|transform-2|orders@1.2.3|totesys|2|2026-01-01T02:00:00Z|{digest}"),
            format!("2|transform|orders@1.2.3|totesys|1|2026-01-01T01:00:00Z|{digest}"),
        ]
    );
    assert_eq!(
        number(&url, "select count(*) from pg_constraint where conrelid = 'star.dim_order'::regclass and contype = 'p'").await,
        1
    );
}

#[tokio::test]
async fn a_dropped_table_is_pending_again() {
    let url = database().await;
    let to = warehouse(&url);
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    load(&to, 1, fact(&[(1, None, None)], &[])).await;
    load(&to, 2, fact(&[], &[1])).await;
    execute(&url, "drop table star.fact_order cascade").await;
    assert_eq!(
        to.ledger()
            .await
            .expect("an answer")
            .through("fact_order", "totesys"),
        0
    );
    load(&to, 1, fact(&[(1, None, None)], &[])).await;
    assert_eq!(rows(&to, CURRENT).await, ["1|1|-|-"]);
}
