use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, Field};

use super::*;

/// Writes every value of an array, reads them back, and gives the texts.
fn round_trip(array: ArrayRef) -> Vec<String> {
    let field = Field::new("c", array.data_type().clone(), true);
    let texts: Vec<String> = (0..array.len()).map(|row| json(&array, row)).collect();
    let cells: Vec<&str> = texts.iter().map(String::as_str).collect();
    for cell in &cells {
        let parsed = serde_json::from_str::<serde_json::Value>(cell);
        assert!(parsed.is_ok(), "{cell} is no JSON");
    }
    let read = column(&field, &cells).unwrap_or_else(|fault| panic!("{texts:?}: {fault:?}"));
    assert_eq!(read.data_type(), array.data_type());
    let again: Vec<String> = (0..read.len()).map(|row| json(&read, row)).collect();
    assert_eq!(again, texts);
    // Floats are no numbers that equal themselves; their texts have shown all of their bits.
    if !array.data_type().is_floating() {
        assert_eq!(&read, &array, "{texts:?}");
    }
    texts
}

fn values<T: ArrowPrimitiveType>(values: &[T::Native]) -> ArrayRef {
    let with_null = values.iter().copied().map(Some).chain([None]);
    Arc::new(with_null.collect::<PrimitiveArray<T>>())
}

#[test]
fn integers_come_back_and_other_readers_need_not_round_them() {
    round_trip(values::<Int8Type>(&[i8::MIN, 0, i8::MAX]));
    round_trip(values::<Int16Type>(&[i16::MIN, 0, i16::MAX]));
    round_trip(values::<Int32Type>(&[i32::MIN, 0, i32::MAX]));
    round_trip(values::<UInt8Type>(&[0, u8::MAX]));
    round_trip(values::<UInt16Type>(&[0, u16::MAX]));
    round_trip(values::<UInt32Type>(&[0, u32::MAX]));
    round_trip(values::<UInt64Type>(&[0, u64::MAX]));
    let texts = round_trip(values::<Int64Type>(&[i64::MIN, 1 << 53, (1 << 53) + 1]));
    assert_eq!(
        texts,
        [
            "\"-9223372036854775808\"",
            "9007199254740992",
            "\"9007199254740993\"",
            "null"
        ]
    );
}

#[test]
fn floats_come_back_with_every_bit() {
    let odd = f64::from_bits(0x7ff8_0000_0000_0001);
    let texts = round_trip(values::<Float64Type>(&[
        0.1,
        -0.0,
        f64::MIN_POSITIVE / 2.0,
        f64::MAX,
        f64::NAN,
        odd,
        f64::INFINITY,
        f64::NEG_INFINITY,
        // A reader of JSON that is off by one unit in the last place reads another number here.
        9_007_199_254_740_993.0,
        5e-324,
    ]));
    assert_eq!(
        texts[..7],
        [
            "0.1",
            "-0.0",
            "1.1125369292536007e-308",
            "1.7976931348623157e308",
            "\"NaN\"",
            "\"NaN(7ff8000000000001)\"",
            "\"Infinity\""
        ]
    );
    round_trip(values::<Float32Type>(&[
        0.1,
        f32::MIN,
        f32::NAN,
        f32::from_bits(1),
    ]));
    let half = <Float16Type as ArrowPrimitiveType>::Native::from_f32;
    round_trip(values::<Float16Type>(&[
        half(0.1),
        half(-65504.0),
        half(f32::INFINITY),
    ]));
}

#[test]
fn decimals_keep_all_of_their_places() {
    let decimal = |array: PrimitiveArray<Decimal128Type>, digits, scale| -> ArrayRef {
        Arc::new(
            array
                .with_precision_and_scale(digits, scale)
                .expect("a decimal"),
        )
    };
    let cents = PrimitiveArray::from(vec![Some(1250), Some(-5), Some(0), None]);
    let texts = round_trip(decimal(cents, 10, 2));
    assert_eq!(texts, ["\"12.50\"", "\"-0.05\"", "\"0.00\"", "null"]);
    let thousands = PrimitiveArray::from(vec![Some(12), Some(-7), Some(0)]);
    let texts = round_trip(decimal(thousands, 5, -3));
    assert_eq!(texts, ["\"12000\"", "\"-7000\"", "\"0\""]);
    let small = PrimitiveArray::from(vec![Some(10_i128.pow(38) - 1)]);
    round_trip(decimal(small, 38, 38));
    let large =
        PrimitiveArray::<Decimal256Type>::from(vec![Some(i256::MAX / i256::from(10)), None]);
    round_trip(Arc::new(
        large.with_precision_and_scale(76, 4).expect("a decimal"),
    ));
    round_trip(Arc::new(
        PrimitiveArray::<Decimal32Type>::from(vec![999_999_999, -1])
            .with_precision_and_scale(9, 3)
            .expect("a decimal"),
    ));
    round_trip(Arc::new(
        PrimitiveArray::<Decimal64Type>::from(vec![-99_i64])
            .with_precision_and_scale(18, 18)
            .expect("a decimal"),
    ));
}

#[test]
fn times_are_read_by_people_and_beyond_every_calendar_by_machines() {
    let texts = round_trip(values::<Date32Type>(&[
        0,
        19_299,
        -719_162,
        2_932_896,
        2_932_897,
        i32::MIN,
    ]));
    assert_eq!(
        texts[..5],
        [
            "\"1970-01-01\"",
            "\"2022-11-03\"",
            "\"0001-01-01\"",
            "\"9999-12-31\"",
            "2932897"
        ]
    );
    round_trip(values::<Date64Type>(&[86_400_000, 1, -1, i64::MAX]));
    let texts = round_trip(values::<Time64MicrosecondType>(&[
        51_652_187_000,
        0,
        86_400_000_000,
        -1,
    ]));
    assert_eq!(
        texts[..4],
        ["\"14:20:52.187\"", "\"00:00:00\"", "86400000000", "-1"]
    );
    round_trip(values::<Time64NanosecondType>(&[1, 86_399_999_999_999]));
    round_trip(values::<Time32SecondType>(&[86_399]));
    round_trip(values::<Time32MillisecondType>(&[86_399_999]));
    let micros = values::<TimestampMicrosecondType>(&[1_667_485_252_187_000, -1, i64::MIN]);
    let texts = round_trip(micros);
    assert_eq!(
        texts[..3],
        [
            "\"2022-11-03 14:20:52.187\"",
            "\"1969-12-31 23:59:59.999999\"",
            "-9223372036854775808"
        ]
    );
    let zoned = PrimitiveArray::<TimestampMillisecondType>::from(vec![1_667_485_252_187]);
    let texts = round_trip(Arc::new(zoned.with_timezone("Europe/London")));
    assert_eq!(texts, ["\"2022-11-03T14:20:52.187Z\""]);
    round_trip(values::<TimestampSecondType>(&[i64::MAX]));
    round_trip(values::<TimestampNanosecondType>(&[i64::MAX, 1]));
    round_trip(values::<DurationNanosecondType>(&[i64::MIN]));
    round_trip(values::<IntervalYearMonthType>(&[-14]));
    round_trip(values::<IntervalDayTimeType>(&[IntervalDayTime::new(
        -1, 5,
    )]));
    round_trip(values::<IntervalMonthDayNanoType>(&[
        IntervalMonthDayNano::new(1, -2, i64::MIN),
    ]));
}

#[test]
fn texts_and_bytes_come_back_whatever_stands_in_them() {
    let all: Vec<Option<&str>> = vec![
        Some(""),
        Some("NULL"),
        Some("null"),
        None,
        Some(" blank "),
        Some("O'Keefe"),
        Some("\"\\|\n\r\t"),
        Some("\u{0}\u{1f}\u{7f}"),
        Some("Zürich 🦀 \u{202e}"),
        Some("007"),
    ];
    round_trip(Arc::new(StringArray::from(all.clone())));
    round_trip(Arc::new(LargeStringArray::from(all)));
    let bytes: Vec<Option<&[u8]>> = vec![Some(b""), Some(&[0, 255]), None];
    assert_eq!(
        round_trip(Arc::new(BinaryArray::from(bytes.clone())))[1],
        "\"00ff\""
    );
    round_trip(Arc::new(LargeBinaryArray::from(bytes)));
    let fixed =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1, 2]), None].into_iter(), 2);
    round_trip(Arc::new(fixed.expect("two bytes each")));
    round_trip(Arc::new(BooleanArray::from(vec![
        Some(true),
        None,
        Some(false),
    ])));
}

#[test]
fn nested_values_come_back() {
    let numbers = || Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])) as ArrayRef;
    let item = || Arc::new(Field::new("item", DataType::Int32, true));
    let lists = ListArray::new(
        item(),
        OffsetBuffer::from_lengths([2, 0, 0, 1]),
        numbers(),
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    let lists = round_trip(Arc::new(lists));
    assert_eq!(lists, ["[1, null]", "[]", "null", "[3]"]);
    let fixed = FixedSizeListArray::new(item(), 3, numbers(), None);
    assert_eq!(round_trip(Arc::new(fixed)), ["[1, null, 3]"]);
    let parts = vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), numbers()),
        (
            Arc::new(Field::new("b\"", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x"), None, Some("")])) as ArrayRef,
        ),
    ];
    let texts = round_trip(Arc::new(StructArray::from(parts)));
    assert_eq!(texts[1], r#"{"a": null, "b\"": null}"#);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    maps.keys().append_value("k");
    maps.values().append_null();
    maps.append(true).expect("an entry");
    maps.append(false).expect("no entry");
    assert_eq!(
        round_trip(Arc::new(maps.finish())),
        [r#"[["k", null]]"#, "null"]
    );
}

fn fault(data_type: DataType, cells: &[&str]) -> (usize, String) {
    let field = Field::new("c", data_type, false);
    let fault = column(&field, cells).expect_err("it is no such value");
    (fault.row, fault.message)
}

#[test]
fn what_is_no_value_of_its_column_is_told_with_its_row() {
    let told = |data_type: DataType, cell: &str| fault(data_type, &[cell]).1;
    assert_eq!(fault(DataType::Int32, &["1", "null"]).0, 1);
    assert_eq!(told(DataType::Int8, "128"), "128 is no value of Int8");
    assert_eq!(told(DataType::Int32, "1.0"), "1.0 is no value of Int32");
    assert_eq!(
        told(DataType::Utf8, "7"),
        "7 is no text: write it in quotes"
    );
    assert_eq!(
        told(DataType::Boolean, "\"true\""),
        "\"true\" is neither true nor false"
    );
    let money = DataType::Decimal128(4, 2);
    assert_eq!(
        told(money.clone(), "\"1.234\""),
        "\"1.234\" has more than 2 decimal places"
    );
    assert_eq!(told(money.clone(), "123"), "\"123\" has more than 4 digits");
    assert!(column(&Field::new("c", money, true), &["1.2300", "\"-0\"", "12.5"]).is_ok());
    for cell in ["\"2022-2-3\"", "\"2022-02-30\"", "\"10000-01-01\"", "\"\""] {
        assert!(
            told(DataType::Date32, cell).contains("is no value of Date32"),
            "{cell}"
        );
    }
    let time = DataType::Time64(TimeUnit::Microsecond);
    for cell in [
        "\"24:00:00\"",
        "\"1:00:00\"",
        "\"01:00\"",
        "\"01:00:00.1234567\"",
        "\"01:00:00.\"",
    ] {
        assert!(
            told(time.clone(), cell).contains("is no value of"),
            "{cell}"
        );
    }
    // With a zone it ends with a Z, and without it does not.
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert!(told(local, "\"2022-11-03T14:20:52Z\"").contains("is no value of"));
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, false)));
    assert_eq!(fault(list, &["[1]", "[2, null]"]).0, 1);
}

#[test]
fn an_instant_is_any_number_of_microseconds() {
    for micros in [0, -1, 1_700_000_000_000_000, i64::MIN, i64::MAX] {
        assert_eq!(instant(&instant_text(micros)), Some(micros));
    }
    assert_eq!(instant("yesterday"), None);
}
