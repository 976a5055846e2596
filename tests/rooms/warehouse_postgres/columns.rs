//! The columns of a table: their types, and those that come and go.

use super::*;

#[tokio::test]
async fn a_module_with_a_new_column_extends_our_table() {
    let url = database().await;
    let to = warehouse(&url);
    let narrow = orders(&[(1, Some(1), Some("a"))])
        .project(&[0, 2])
        .expect("two columns");
    load(&to, 1, table_of("fact_order", AppendVersions, narrow)).await;
    let wide = load(
        &to,
        2,
        table(
            "fact_order",
            AppendVersions,
            &[(1, Some(5), Some("a"))],
            &[],
        ),
    )
    .await;
    assert_eq!(counts(&wide), [1, 0, 0, 0]);
    assert_eq!(rows(&to, FACT).await, ["1|-|a", "1|5|a"]);
    assert_eq!(rows(&to, CURRENT).await, ["2|1|5|a"]);
    assert!(wide.notes.is_empty(), "{:?}", wide.notes);
}

#[tokio::test]
async fn a_module_that_lost_a_column_leaves_it_null() {
    let url = database().await;
    let to = warehouse(&url);
    let schema = Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int32, false),
        Field::new("units", DataType::Int32, false),
    ]));
    let column = |value: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
    let wide = RecordBatch::try_new(schema, vec![column(1), column(5)]).expect("two columns");
    let narrow = |key| {
        orders(&[(key, None, None)])
            .project(&[0])
            .expect("one column")
    };
    load(&to, 1, table_of("dim_order", Upsert, wide)).await;
    let loaded = load(&to, 2, table_of("dim_order", Upsert, narrow(2))).await;
    assert_eq!(counts(&loaded), [1, 0, 0, 0]);
    let unchanged = load(&to, 3, table_of("dim_order", Upsert, narrow(1))).await;
    assert_eq!(counts(&unchanged), [0, 0, 0, 1]);
    assert_eq!(
        rows(&to, "select order_id, units from dim_order order by 1").await,
        ["1|5", "2|-"]
    );
}

#[tokio::test]
async fn every_type_arrives_and_comes_back() {
    let url = database().await;
    let to = warehouse(&url);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let utc: Arc<str> = "UTC".into();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("order_id", Arc::new(Int32Array::from(vec![1, 2]))),
        (
            "big",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(-1_234_567_890), None])
                    .with_precision_and_scale(10, 2)
                    .expect("ten digits"),
            ),
        ),
        ("paid", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (
            "name",
            Arc::new(StringArray::from(vec![Some("O'Keefe, \\ ß"), None])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None])),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        (
            "at",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(29_111_000_001),
                None,
            ])),
        ),
        (
            "clock",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
        ),
        (
            "instant",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone(utc)),
        ),
        ("list", Arc::new(list)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), *name != "order_id"))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let sent = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("one length");
    load(&to, 1, table_of("dim_type", Upsert, sent.clone())).await;
    let names: Vec<&str> = sent
        .schema_ref()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let got = query(
        &to,
        &format!("select {} from dim_type order by 1", names.join(", ")),
    )
    .await;
    for (name, (sent, got)) in names.iter().zip(sent.columns().iter().zip(got.columns())) {
        assert_eq!(sent.data_type(), got.data_type(), "{name}");
        assert_eq!(sent, got, "{name}");
    }
    let declared = rows(
        &to,
        "select format_type(atttypid, atttypmod) from pg_attribute
          where attrelid = 'star.dim_type'::regclass and attnum between 1 and 11 order by attnum",
    )
    .await;
    assert_eq!(
        declared,
        [
            "integer",
            "bigint",
            "numeric(10,2)",
            "boolean",
            "text",
            "bytea",
            "date",
            "time without time zone",
            "timestamp without time zone",
            "timestamp with time zone",
            "integer[]",
        ]
    );
    let again = load(&to, 2, table_of("dim_type", Upsert, sent)).await;
    assert_eq!(counts(&again), [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_type_without_an_exact_form_is_refused_before_anything_is_written() {
    let url = database().await;
    let to = warehouse(&url);
    let schema = Schema::new(vec![
        Field::new("order_id", DataType::Int32, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
    ]);
    let nanoseconds = RecordBatch::new_empty(Arc::new(schema));
    let error = to
        .load(landing(
            1,
            vec![
                table("dim_order", Upsert, &[(1, None, None)], &[]),
                table_of("dim_time", Upsert, nanoseconds),
            ],
        ))
        .await
        .expect_err("nanoseconds are lost");
    assert_eq!(
        error.to_string(),
        "the table star.dim_time of the warehouse cannot have the column `at`: PostgreSQL has no exact type for Timestamp(ns): PostgreSQL keeps microseconds"
    );
    assert_eq!(
        number(
            &url,
            "select count(*) from pg_namespace where nspname in ('star', 'tidemill')"
        )
        .await,
        0
    );
}
