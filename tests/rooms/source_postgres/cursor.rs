//! The column cursor: watermarks and what lies behind them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_is_the_highest_value_that_is_not_in_the_future() {
    let server = Server::shared();
    let client = server.database("cursor").await;
    run(
        &client,
        "CREATE TABLE t (id int, at timestamp, tz timestamptz, small int2, label text);
         INSERT INTO t VALUES (1, '2022-11-03 14:20:51.563001', '2022-11-03 14:20:51+02', 1, ''),
                              (2, '2022-11-03 14:20:51.563', '2022-11-03 10:00:00+00', 7, ''),
                              (3, now() + '1 day', now() + '1 day', NULL, ''), (4, NULL, NULL, 2, ''),
                              (5, '-infinity', '-infinity', 3, '');
         CREATE TABLE empty (LIKE t)",
    )
    .await;
    let snapshot = snapshot(&server.url("cursor")).await;
    let table = table(&*snapshot, "t").await;
    let value = async |column: &str| {
        let watermark = snapshot.watermark(&table, column).await.expect(column);
        watermark.expect(column).value
    };
    let at = 1_667_485_251_563_001;
    assert_eq!(value("at").await, CursorValue::Timestamp(at));
    assert_eq!(
        value("tz").await,
        CursorValue::TimestampTz(1_667_478_051_000_000)
    );
    assert_eq!(value("small").await, CursorValue::Integer(7));
    assert_eq!(value("id").await, CursorValue::Integer(5));
    let error = snapshot
        .watermark(&table, "label")
        .await
        .expect_err("it is text");
    assert_eq!(error.kind(), ErrorKind::Config);
    let empty = super::table(&*snapshot, "empty").await;
    assert_eq!(
        snapshot.watermark(&empty, "at").await.expect("it reads"),
        None
    );
    // The infinite value has no place in Arrow, and would stop the row that has it.
    let mut finite = table.clone();
    finite
        .columns
        .retain(|column| !matches!(column.data_type, DataType::Timestamp(..)));
    for (column, from, expected) in [
        ("at", CursorValue::Timestamp(at), vec![1, 3, 4]),
        ("at", CursorValue::Timestamp(at - 1), vec![1, 2, 3, 4]),
        (
            "tz",
            CursorValue::TimestampTz(1_667_478_051_000_000),
            vec![1, 3, 4],
        ),
        ("small", CursorValue::Integer(3), vec![2, 3, 5]),
    ] {
        let selection = Selection::SinceCursor {
            column: column.into(),
            from,
        };
        let rows = read(&*snapshot, &finite, &selection).await.expect(column);
        let mut ids = ids(&rows);
        ids.sort_unstable();
        assert_eq!(ids, expected, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_column_without_a_zone_is_never_ahead() {
    let server = Server::shared();
    for (n, zone) in ["Pacific/Kiritimati", "Etc/GMT+12"].into_iter().enumerate() {
        let name = format!("zone{n}");
        let client = server.database(&name).await;
        run(
            &client,
            &format!(
                "ALTER DATABASE {name} SET TimeZone = '{zone}'; SET TimeZone = '{zone}';
                 CREATE TABLE t AS SELECT g AS id, localtimestamp - g * '1 hour'::interval AS at
                   FROM generate_series(-30, 30) g"
            ),
        )
        .await;
        let snapshot = snapshot(&server.url(&name)).await;
        let table = table(&*snapshot, "t").await;
        let watermark = snapshot.watermark(&table, "at").await.expect("it reads");
        let Some(CursorValue::Timestamp(at)) = watermark.map(|w| w.value) else {
            panic!("there are rows of the past");
        };
        let utc = snapshot.clock().timestamp_micros();
        let row = client
            .query_one(
                "SELECT (extract(epoch FROM localtimestamp) * 1000000)::int8",
                &[],
            )
            .await
            .expect("it runs");
        let local: i64 = row.get(0);
        let hour = 3_600_000_000;
        let limit = utc.min(local);
        assert!(at <= limit && at > limit - hour, "{zone}: {at} {limit}");
    }
}
