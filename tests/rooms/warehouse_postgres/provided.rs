//! A provided warehouse: tables that were there before, of another shape.

use super::*;

const PROVIDED: &str = "
    create schema star;
    create table star.dim_order (code varchar(4), order_id smallint primary key, remark text default 'none');
    create table star.fact_order (
        fact_key serial primary key,
        units numeric(12,3),
        order_id int not null references star.dim_order on delete cascade,
        loaded timestamptz not null default now());
    select setval('star.fact_order_fact_key_seq', 1000);";

#[tokio::test]
async fn a_provided_warehouse_is_loaded_by_the_names_of_its_columns() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let loaded = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(1, Some(5), Some("a"))], &[]),
                table(
                    "fact_order",
                    AppendVersions,
                    &[(1, Some(5), Some("a"))],
                    &[],
                ),
            ],
        ))
        .await
        .expect("it is loaded");
    let notes: Vec<&[String]> = loaded.iter().map(|table| table.notes.as_slice()).collect();
    assert_eq!(
        notes,
        [
            ["the warehouse's table has no column `units`: not loaded"],
            ["the warehouse's table has no column `code`: not loaded"],
        ]
    );
    assert_eq!(rows(&to, "select * from dim_order").await, ["a|1|none"]);
    assert_eq!(
        rows(
            &to,
            "select fact_key, units, order_id, loaded is not null from fact_order"
        )
        .await,
        ["1001|5.000|1|true"]
    );
    let fact =
        |rows: &[OrderRow<'_>], gone: &[i32]| table("fact_order", AppendVersions, rows, gone);
    let same = load(&to, 2, fact(&[(1, Some(5), Some("other"))], &[])).await;
    assert_eq!(counts(&same), [0, 0, 0, 1]);
    let edited = load(&to, 3, fact(&[(1, Some(6), None)], &[])).await;
    assert_eq!(counts(&edited), [1, 0, 0, 0]);
    let current = "select fact_key, order_id, units from fact_order_current";
    assert_eq!(rows(&to, current).await, ["1002|1|6.000"]);
    assert_eq!(counts(&load(&to, 4, fact(&[], &[1])).await), [0, 0, 1, 0]);
    assert!(rows(&to, current).await.is_empty());
    assert_eq!(
        number(&url, "select count(*) from pg_attribute where attname like '\\_tidemill%' and attrelid in ('star.dim_order'::regclass, 'star.fact_order'::regclass)").await,
        0
    );
}

#[tokio::test]
async fn a_row_that_the_history_of_facts_points_at_is_kept() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let dimension = |rows: &[OrderRow<'_>], gone: &[i32]| table("dim_order", Upsert, rows, gone);
    to.load(landing(
        1,
        vec![
            dimension(
                &[
                    (1, None, Some("a")),
                    (2, None, Some("b")),
                    (3, None, Some("c")),
                ],
                &[],
            ),
            table("fact_order", AppendVersions, &[(1, None, None)], &[]),
        ],
    ))
    .await
    .expect("it is loaded");
    let loaded = load(&to, 2, dimension(&[], &[1, 2])).await;
    assert_eq!(loaded.removed, 1);
    assert!(
        loaded.notes.contains(
            &"1 row is gone from the source, or refused, and kept, because a foreign key points at it: from fact_order".to_owned()
        ),
        "{:?}",
        loaded.notes
    );
    assert_eq!(
        rows(&to, "select code from dim_order order by 1").await,
        ["a", "c"]
    );
    assert_eq!(rows(&to, "select order_id from fact_order").await, ["1"]);
    let all = load(
        &to,
        3,
        table("dim_order", Overwrite, &[(3, None, Some("c"))], &[]),
    )
    .await;
    assert_eq!((all.removed, all.notes.len()), (0, 2));
    assert_eq!(
        rows(&to, "select code from dim_order order by 1").await,
        ["a", "c"]
    );
}

#[tokio::test]
async fn parents_and_children_that_go_in_one_landing_go_in_the_right_order() {
    let url = database().await;
    execute(
        &url,
        "create schema star;
         create table star.parent (order_id int primary key, units int references star.parent, code text unique);
         create table star.child (order_id int primary key, units int references star.parent, code text);",
    )
    .await;
    let to = warehouse(&url);
    to.load(landing(
        1,
        vec![
            table(
                "parent",
                Upsert,
                &[
                    (1, None, Some("a")),
                    (2, Some(1), Some("b")),
                    (3, Some(2), Some("c")),
                    (4, None, Some("d")),
                ],
                &[],
            ),
            table(
                "child",
                Upsert,
                &[(10, Some(3), None), (11, Some(4), None)],
                &[],
            ),
        ],
    ))
    .await
    .expect("it is loaded");
    // 3 is pointed at by a child that goes; 4 by one that moves; 5 takes the unique code of 1.
    let loaded = to
        .load(landing(
            2,
            vec![
                table("parent", Upsert, &[(5, None, Some("a"))], &[1, 2, 3, 4]),
                table("child", Upsert, &[(11, Some(5), None)], &[10]),
            ],
        ))
        .await
        .expect("it is loaded");
    assert_eq!(counts(&loaded[0]), [1, 0, 4, 0]);
    assert_eq!(counts(&loaded[1]), [0, 1, 1, 0]);
    assert!(
        loaded.iter().all(|table| table.notes.is_empty()),
        "{loaded:?}"
    );
    assert_eq!(
        rows(&to, "select order_id, code from parent").await,
        ["5|a"]
    );
}

#[tokio::test]
async fn a_provided_table_that_does_not_fit_is_refused_with_the_reason() {
    let cases = [
        (
            "units int, code text",
            "has no column `order_id`, which is its key",
        ),
        (
            "order_id int, units boolean",
            "has the column `units` of type boolean, which does not hold Int32 exactly",
        ),
        (
            "order_id int, owner text not null",
            "has the column \"owner\", which must have a value, and the rows have none for it",
        ),
    ];
    for (columns, problem) in cases {
        let url = database().await;
        execute(
            &url,
            &format!("create schema star; create table star.dim_order ({columns})"),
        )
        .await;
        let error = warehouse(&url)
            .load(landing(
                1,
                vec![table("dim_order", Upsert, &[(1, None, None)], &[])],
            ))
            .await
            .expect_err(problem);
        assert_eq!(
            error.to_string(),
            format!("the table star.dim_order of the warehouse {problem}")
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let url = database().await;
    execute(
        &url,
        "create schema star; create table star.fact_order (order_id int, units int)",
    )
    .await;
    let error = warehouse(&url)
        .load(landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        ))
        .await
        .expect_err("nothing numbers the versions");
    assert_eq!(
        error.to_string(),
        "the table star.fact_order of the warehouse has no column `fact_order_record_id`, which is to number the versions of its rows"
    );
}

#[tokio::test]
async fn values_that_a_provided_column_cannot_hold_stop_the_load() {
    let url = database().await;
    execute(&url, PROVIDED).await;
    let to = warehouse(&url);
    let too_large = to
        .load(landing(
            1,
            vec![table("dim_order", Upsert, &[(70_000, None, None)], &[])],
        ))
        .await
        .expect_err("smallint is too small");
    assert_eq!(
        chain(&too_large),
        "the rows for dim_order could not be read: column `order_id` holds an integer beyond the range of smallint, in row 0 of the batch"
    );
    assert_eq!(too_large.kind(), ErrorKind::Data);
    let too_long = to
        .load(landing(
            1,
            vec![table("dim_order", Upsert, &[(1, None, Some("abcde"))], &[])],
        ))
        .await
        .expect_err("varchar(4) is too short");
    assert!(
        chain(&too_long).contains("value too long for type character varying(4)"),
        "{}",
        chain(&too_long)
    );
    assert_eq!(number(&url, "select count(*) from star.dim_order").await, 0);
    assert!(to.ledger().await.expect("an answer").through.is_empty());
}

#[tokio::test]
async fn columns_of_other_types_hold_the_same_values() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create domain star.label as varchar(20);
         create type star.kind as enum ('SALE', 'PURCHASE');
         create table star.dim_order (order_id bigint generated always as identity, units numeric,
             code star.kind, doubled int generated always as (1) stored);
         create table star.dim_label (order_id numeric(6), units float8, code star.label);
         create table star.dim_json (order_id int, units smallint, code json);",
    )
    .await;
    let to = warehouse(&url);
    let wrong = to
        .load(landing(
            1,
            vec![table("dim_label", Upsert, &[(1, None, None)], &[])],
        ))
        .await
        .expect_err("an integer in float8 is not among the exact pairs");
    assert!(
        wrong
            .to_string()
            .contains("`units` of type double precision"),
        "{wrong}"
    );
    execute(&url, "alter table star.dim_label drop column units").await;
    for (name, code) in [
        ("dim_order", "SALE"),
        ("dim_label", "label"),
        ("dim_json", r#"{"b": 1, "a": 2}"#),
    ] {
        let row = [(7, Some(3), Some(code))];
        assert_eq!(
            counts(&load(&to, 1, table(name, Upsert, &row, &[])).await),
            [1, 0, 0, 0]
        );
        assert_eq!(
            counts(&load(&to, 2, table(name, Upsert, &row, &[])).await),
            [0, 0, 0, 1]
        );
        assert_eq!(
            rows(&to, &format!("select order_id, code from {name}")).await,
            [format!("7|{code}")]
        );
    }
}
