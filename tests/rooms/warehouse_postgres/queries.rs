//! Views, and questions with their answers.

use super::*;

#[tokio::test]
async fn a_second_name_is_a_view_with_a_current_one_beside_it() {
    let url = database().await;
    let to = warehouse(&url);
    let fact = |rows: &[OrderRow<'_>]| TableLoad {
        alias: Some("fact_orders".into()),
        record_id: Some("order_record_id".into()),
        ..table("fact_order", AppendVersions, rows, &[])
    };
    load(&to, 1, fact(&[(1, Some(1), None)])).await;
    let definition = "select sum(xmin::text::bigint)::bigint from pg_class
                       where relkind = 'v' and relnamespace = 'star'::regnamespace";
    let made = number(&url, definition).await;
    assert!(
        load(&to, 2, fact(&[(1, Some(2), None)]))
            .await
            .notes
            .is_empty()
    );
    assert_eq!(
        number(&url, definition).await,
        made,
        "views were made again"
    );
    assert_eq!(
        to.tables().await.expect("an answer"),
        [
            "fact_order",
            "fact_order_current",
            "fact_orders",
            "fact_orders_current"
        ]
    );
    assert_eq!(
        rows(
            &to,
            "select units from fact_orders order by order_record_id"
        )
        .await,
        ["1", "2"]
    );
    assert_eq!(
        rows(&to, "select * from fact_orders_current").await,
        ["2|1|2|-"]
    );
}

#[tokio::test]
async fn a_view_that_cannot_be_made_is_a_note() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create view star.fact_order_current as select 1 as mine;
         create table star.fact_order (fact_order_record_id serial primary key, order_id int, units int, code text)",
    )
    .await;
    let to = warehouse(&url);
    let loaded = load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
    assert_eq!(
        loaded.notes,
        ["`fact_order_current` was there already and is left as it is"]
    );
    execute(
        &url,
        "drop view star.fact_order_current; create role clerk_b login; grant usage on schema star to clerk_b;
         grant select, insert on star.fact_order to clerk_b;
         grant usage on star.fact_order_fact_order_record_id_seq to clerk_b;
         grant usage on schema tidemill to clerk_b; grant all on all tables in schema tidemill to clerk_b",
    )
    .await;
    let clerk = warehouse(&url.replace("postgres@", "clerk_b@"));
    let loaded = load(
        &clerk,
        2,
        table("fact_order", AppendVersions, &[(2, None, None)], &[]),
    )
    .await;
    assert_eq!(
        loaded.notes,
        ["the view `fact_order_current` could not be made: permission denied for schema star"]
    );
    assert_eq!(counts(&loaded), [1, 0, 0, 0]);
}

#[tokio::test]
async fn the_current_view_walks_the_index() {
    let url = database().await;
    let to = warehouse(&url);
    let many: Vec<OrderRow<'_>> = (0..20_000).map(|key| (key, None, None)).collect();
    load(&to, 1, table("fact_order", AppendVersions, &many, &[])).await;
    execute(&url, "analyze star.fact_order").await;
    let plan = rows(
        &to,
        "explain select * from fact_order_current where order_id = 77",
    )
    .await;
    assert!(
        plan.iter()
            .any(|line| line.contains("Index Scan using fact_order_order_id")),
        "{plan:#?}"
    );
}

#[tokio::test]
async fn a_query_answers_in_types_or_in_the_servers_text() {
    let url = database().await;
    let to = warehouse(&url);
    let batch = query(
        &to,
        "select 1::smallint as a, 1.50::numeric(10,2) as b, 1.50 + 1 as c, 'x'::varchar(3) as d,
                '{\"k\": 1}'::jsonb as e, '00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid as f,
                interval '1 day 2 hours' as g, array[1.5, null]::numeric(3,1)[] as h, inet '10.0.0.1' as g,
                null::int as i, timestamptz '2026-01-01 00:00:00+02' as j -- the end",
    )
    .await;
    let types: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(
        types,
        [
            "a Int16",
            "b Decimal128(10, 2)",
            "c Utf8",
            "d Utf8",
            "e Utf8",
            "f Utf8",
            "g Utf8",
            "h List(Decimal128(3, 1))",
            "g Utf8",
            "i Int32",
            "j Timestamp(µs, \"UTC\")",
        ]
    );
    let row = rows(
        &to,
        "select 1.50::numeric(10,2), 1.50 + 1, '{\"k\": 1}'::jsonb,
                '00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid, interval '1 day 2 hours',
                array[1.5, null]::numeric(3,1)[], inet '10.0.0.1', timestamptz '2026-01-01 00:00:00+02'",
    )
    .await;
    assert_eq!(
        row,
        [
            "1.50|2.50|{\"k\": 1}|00010203-0405-0607-0809-0a0b0c0d0e0f|1 day 02:00:00|[1.5, -]|10.0.0.1/32|2025-12-31T22:00:00Z"
        ]
    );
    assert_eq!(rows(&to, "show server_encoding;").await, ["UTF8"]);
    assert!(rows(&to, "show tables").await.is_empty());
}

#[tokio::test]
async fn a_large_answer_comes_in_batches() {
    let url = database().await;
    let to = warehouse(&url);
    let (_, mut batches) = to
        .query("select g from generate_series(1, 20000) g")
        .await
        .expect("it is a query");
    let mut sizes = Vec::new();
    while let Some(batch) = batches.next().await {
        sizes.push(batch.expect("it is read").num_rows());
    }
    assert_eq!(sizes, [8192, 8192, 3616]);
}

#[tokio::test]
async fn an_answer_that_is_left_ends_in_the_server_too() {
    let url = database().await;
    let to = warehouse(&url);
    let (_, mut endless) = to
        .query("select generate_series(1, 1000000000)")
        .await
        .expect("it is a query");
    assert!(endless.next().await.is_some());
    drop(endless);
    until_none(
        &url,
        "query like '%1000000000%' and pid <> pg_backend_pid()",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_query_is_answered_in_the_servers_words() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let cases = [
        (
            "select unit from dim_order",
            "column \"unit\" does not exist",
        ),
        (
            "delete from dim_order",
            "it is a statement without a result",
        ),
        (
            "delete from dim_order returning *",
            "cannot execute DELETE in a read-only transaction",
        ),
        (
            "select 1; drop table dim_order",
            "cannot insert multiple commands",
        ),
        ("select $1::int", "it has a parameter"),
        ("", "it is a statement without a result"),
    ];
    for (sql, expected) in cases {
        let error = match to.query(sql).await {
            Err(error) => error.to_string(),
            Ok((_, mut batches)) => match batches.next().await {
                Some(Err(error)) => error.to_string(),
                other => panic!("{sql} gave {other:?}"),
            },
        };
        assert!(error.starts_with("the query failed: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
}

#[test]
fn a_wrong_url_or_schema_is_refused_without_a_connection() {
    let refused = |url, schema| {
        PostgresWarehouse::new(url, schema)
            .expect_err("it is refused")
            .to_string()
    };
    assert_eq!(
        refused("postgresql://a:secret@db/x", "tidemill"),
        "the warehouse URL `postgresql://a:***@db/x` is not usable: the schema `tidemill` is kept for tidemill's own records"
    );
    assert!(!refused("postgresql://a:secret@db/x?y=1", "star").contains("secret"));
}
