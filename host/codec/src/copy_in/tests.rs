//! Round trips per type, with and without NULL, through a decoder that knows only PostgreSQL's documentation.

use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal32Array, Decimal64Array,
    Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray,
    ListArray, StringArray, StringViewArray, Time32MillisecondArray, Time32SecondArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema, TimeUnit, i256};
use bytes::Buf;

use super::*;

mod times;

type Values = Vec<Option<Vec<u8>>>;

fn batch(column: ArrayRef) -> RecordBatch {
    let field = Field::new("x", column.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).expect("one column")
}

fn encoder(data_type: DataType, wire: Wire) -> Encoder {
    Encoder::new(vec![CopyColumn {
        name: "x".into(),
        index: 0,
        data_type,
        wire,
    }])
}

/// Encodes one column and reads the COPY back, value by value.
fn copy(column: impl Array + 'static, wire: Wire) -> Result<Values, CopyError> {
    let column: ArrayRef = Arc::new(column);
    let encoder = encoder(column.data_type().clone(), wire);
    let mut out = BytesMut::new();
    Encoder::begin(&mut out);
    let batch = batch(column);
    assert!(!encoder.rows(&batch)?.fill(&mut out, usize::MAX)?);
    Encoder::end(&mut out);
    Ok(parse(&out))
}

fn parse(mut copy: &[u8]) -> Values {
    assert_eq!(copy.copy_to_bytes(11).as_ref(), b"PGCOPY\n\xff\r\n\0");
    assert_eq!((copy.get_i32(), copy.get_i32()), (0, 0));
    let mut values = Vec::new();
    loop {
        match copy.get_i16() {
            -1 => break,
            fields => assert_eq!(fields, 1),
        }
        let length = copy.get_i32();
        values.push((length >= 0).then(|| copy.copy_to_bytes(length as usize).to_vec()));
    }
    assert!(copy.is_empty());
    values
}

fn refusal(column: impl Array + 'static, wire: Wire) -> String {
    copy(column, wire).expect_err("it is refused").to_string()
}

/// A `numeric` in decimal notation.
fn numeric(value: &Option<Vec<u8>>) -> Option<String> {
    let mut raw = value.as_deref()?;
    let (count, weight) = (raw.get_i16(), i32::from(raw.get_i16()));
    let (sign, scale) = (raw.get_u16(), raw.get_i16() as usize);
    let groups: Vec<u16> = (0..count).map(|_| raw.get_u16()).collect();
    assert!(raw.is_empty());
    assert_ne!(groups.first(), Some(&0), "a leading group of zeros");
    assert_ne!(groups.last(), Some(&0), "a trailing group of zeros");
    let digit_group = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        index.and_then(|i| groups.get(i).copied()).unwrap_or(0)
    };
    let lowest = -(scale.div_ceil(4) as i32);
    let digits: String = (lowest..=weight.max(0))
        .rev()
        .map(|power| format!("{:04}", digit_group(power)))
        .collect();
    let (whole, fraction) = digits.split_at(digits.len() - (-lowest * 4) as usize);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if sign == 0x4000 { "-" } else { "" };
    Some(match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{}", &fraction[..scale]),
    })
}

const ANY: Wire = Wire::Numeric { scale: None };

fn numerics(column: impl Array + 'static) -> Vec<Option<String>> {
    let values = copy(column, ANY).expect("it is exact");
    values.iter().map(numeric).collect()
}

fn texts_of(expected: &[Option<&str>]) -> Vec<Option<String>> {
    expected.iter().map(|text| text.map(Into::into)).collect()
}

#[test]
fn booleans_are_one_byte() {
    let values = copy(
        BooleanArray::from(vec![Some(true), None, Some(false)]),
        Wire::Bool,
    );
    assert_eq!(
        values.expect("it is exact"),
        [Some(vec![1]), None, Some(vec![0])]
    );
}

#[test]
fn every_integer_fits_the_type_declared_for_it() {
    let narrow: [(ArrayRef, i64); 4] = [
        (
            Arc::new(Int8Array::from(vec![Some(i8::MIN), None])),
            i8::MIN.into(),
        ),
        (
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None])),
            i16::MIN.into(),
        ),
        (
            Arc::new(UInt8Array::from(vec![Some(u8::MAX), None])),
            u8::MAX.into(),
        ),
        (Arc::new(Int32Array::from(vec![Some(7), None])), 7),
    ];
    for (array, value) in narrow {
        let expected = [Some((value as i16).to_be_bytes().to_vec()), None];
        assert_eq!(copy(array, Wire::Int2).expect("it fits"), expected);
    }
    let middle: [(ArrayRef, i64); 2] = [
        (
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None])),
            i32::MIN.into(),
        ),
        (
            Arc::new(UInt16Array::from(vec![Some(u16::MAX), None])),
            u16::MAX.into(),
        ),
    ];
    for (array, value) in middle {
        let expected = [Some((value as i32).to_be_bytes().to_vec()), None];
        assert_eq!(copy(array, Wire::Int4).expect("it fits"), expected);
    }
    let wide: [(ArrayRef, i64); 2] = [
        (
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
            i64::MIN,
        ),
        (
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
            u32::MAX.into(),
        ),
    ];
    for (array, value) in wide {
        let expected = [Some(value.to_be_bytes().to_vec()), None];
        assert_eq!(copy(array, Wire::Int8).expect("it fits"), expected);
    }
    assert_eq!(
        numerics(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
        texts_of(&[Some("18446744073709551615"), None, Some("0")])
    );
}

#[test]
fn an_integer_that_does_not_fit_names_its_column() {
    assert_eq!(
        refusal(Int32Array::from(vec![1, 32_768]), Wire::Int2),
        "column `x` holds an integer beyond the range of smallint, in row 1 of the batch"
    );
    assert_eq!(
        refusal(Int64Array::from(vec![i64::MAX]), Wire::Int4),
        "column `x` holds an integer beyond the range of integer, in row 0 of the batch"
    );
    assert_eq!(
        refusal(UInt64Array::from(vec![u64::MAX]), Wire::Int8),
        "column `x` holds an integer beyond the range of bigint, in row 0 of the batch"
    );
}

#[test]
fn floats_keep_their_bits() {
    let values = [1.5, f64::NAN, f64::INFINITY, -0.0];
    let expected: Vec<_> = values
        .iter()
        .map(|v| Some(v.to_be_bytes().to_vec()))
        .collect();
    let array = Float64Array::from(values.to_vec());
    assert_eq!(copy(array, Wire::Float8).expect("it is exact"), expected);
    let array = Float32Array::from(vec![Some(0.1), None]);
    assert_eq!(
        copy(array.clone(), Wire::Float4).expect("it is exact"),
        [Some(0.1_f32.to_be_bytes().to_vec()), None]
    );
    assert_eq!(
        copy(array, Wire::Float8).expect("it is exact"),
        [Some(f64::from(0.1_f32).to_be_bytes().to_vec()), None]
    );
    assert!(!encodes(&DataType::Float64, &Wire::Float4));
}

#[test]
fn decimals_of_every_scale_are_exact() {
    let value = 1_234_567_890_123_456_789_i128;
    let digits = value.to_string();
    for scale in 0..=22_i8 {
        for sign in [1, -1] {
            let array = Decimal128Array::from(vec![Some(value * sign), None])
                .with_precision_and_scale(38, scale)
                .expect("38 digits");
            let padded = format!(
                "{digits:0>width$}",
                width = usize::from(scale.unsigned_abs()) + 1
            );
            let (whole, fraction) =
                padded.split_at(padded.len() - usize::from(scale.unsigned_abs()));
            let minus = if sign < 0 { "-" } else { "" };
            let expected = match scale {
                0 => format!("{minus}{whole}"),
                _ => format!("{minus}{whole}.{fraction}"),
            };
            assert_eq!(numerics(array), [Some(expected), None]);
        }
    }
}

#[test]
fn a_negative_scale_means_zeros() {
    for (scale, expected) in [(-1, "-420"), (-4, "-420000"), (-6, "-42000000")] {
        let array = Decimal128Array::from(vec![-42])
            .with_precision_and_scale(5, scale)
            .expect("five digits");
        assert_eq!(numerics(array), [Some(expected.into())]);
    }
}

#[test]
fn zeros_and_the_largest_decimals_are_exact() {
    let array = Decimal128Array::from(vec![0, 10_i128.pow(38) - 1, 1, 10_000, 100_000_000])
        .with_precision_and_scale(38, 2)
        .expect("38 digits");
    assert_eq!(
        numerics(array),
        texts_of(&[
            Some("0.00"),
            Some("999999999999999999999999999999999999.99"),
            Some("0.01"),
            Some("100.00"),
            Some("1000000.00"),
        ])
    );
    let nines = "9".repeat(76);
    let largest = i256::from_string(&nines).expect("76 digits");
    let array = Decimal256Array::from(vec![Some(largest), Some(-largest), None])
        .with_precision_and_scale(76, 3)
        .expect("76 digits");
    let (whole, fraction) = nines.split_at(73);
    assert_eq!(
        numerics(array),
        [
            Some(format!("{whole}.{fraction}")),
            Some(format!("-{whole}.{fraction}")),
            None
        ]
    );
    let array = Decimal256Array::from(vec![i256::MIN]);
    assert_eq!(
        refusal(array, ANY),
        "column `x` holds a number of more than 76 digits, in row 0 of the batch"
    );
}

#[test]
fn small_decimals_are_exact_too() {
    let array = Decimal32Array::from(vec![Some(-12_345), None])
        .with_precision_and_scale(9, 3)
        .expect("nine digits");
    assert_eq!(numerics(array), texts_of(&[Some("-12.345"), None]));
    let array = Decimal64Array::from(vec![Some(12_345), None])
        .with_precision_and_scale(18, 3)
        .expect("18 digits");
    assert_eq!(numerics(array), texts_of(&[Some("12.345"), None]));
}

#[test]
fn a_column_with_fewer_digits_after_the_point_is_refused() {
    let two = Wire::Numeric { scale: Some(2) };
    assert!(encodes(&DataType::Decimal128(10, 2), &two));
    assert!(!encodes(&DataType::Decimal128(10, 3), &two));
    assert!(encodes(&DataType::Decimal128(10, 0), &Wire::Int4));
    assert!(!encodes(&DataType::Decimal128(10, 2), &Wire::Int4));
}

#[test]
fn texts_and_bytes_of_every_layout_are_themselves() {
    let arrays: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec![Some("O'Keefe, ß"), None, Some("")])),
        Arc::new(LargeStringArray::from(vec![
            Some("O'Keefe, ß"),
            None,
            Some(""),
        ])),
        Arc::new(StringViewArray::from(vec![
            Some("O'Keefe, ß"),
            None,
            Some(""),
        ])),
    ];
    for array in arrays {
        assert_eq!(
            copy(array, Wire::Text).expect("it is exact"),
            [Some("O'Keefe, ß".as_bytes().to_vec()), None, Some(vec![])]
        );
    }
    let value: &[u8] = &[0, 255, 39];
    let arrays: [ArrayRef; 3] = [
        Arc::new(BinaryArray::from(vec![Some(value), None])),
        Arc::new(LargeBinaryArray::from(vec![Some(value), None])),
        Arc::new(BinaryViewArray::from(vec![Some(value), None])),
    ];
    for array in arrays {
        assert_eq!(
            copy(array, Wire::Bytea).expect("it is exact"),
            [Some(value.to_vec()), None]
        );
    }
}

#[test]
fn a_zero_byte_in_a_text_is_refused_by_its_column() {
    let error = copy(StringArray::from(vec!["a\0b"]), Wire::Text).expect_err("it is refused");
    assert_eq!(
        error.to_string(),
        "column `x` holds a text with a zero byte, which PostgreSQL cannot store, in row 0 of the batch"
    );
    assert!(matches!(error, CopyError::Value { .. }));
}

#[test]
fn json_and_uuids_have_forms_of_their_own() {
    assert_eq!(
        copy(StringArray::from(vec![Some("{}"), None]), Wire::Jsonb).expect("it is exact"),
        [Some(b"\x01{}".to_vec()), None]
    );
    let uuid: Vec<u8> = (0..16).collect();
    let text = "00010203-0405-0607-0809-0A0B0C0D0E0F";
    assert_eq!(
        copy(StringArray::from(vec![Some(text), None]), Wire::Uuid).expect("it is exact"),
        [Some(uuid.clone()), None]
    );
    let fixed = FixedSizeBinaryArray::try_from_iter([uuid.clone()].into_iter()).expect("16 bytes");
    assert_eq!(copy(fixed, Wire::Uuid).expect("it is exact"), [Some(uuid)]);
    for wrong in [
        "",
        "0001020304050607-0809-0A0B-0C0D0E0F0",
        "+0010203-0405-0607-0809-0A0B0C0D0E0F",
    ] {
        assert_eq!(
            refusal(StringArray::from(vec![wrong]), Wire::Uuid),
            "column `x` holds a text that is not a UUID, in row 0 of the batch"
        );
    }
}

/// Dimensions, has NULLs, element type, length and first index where there are elements, then elements.
fn int4_array(elements: &[Option<i32>]) -> Option<Vec<u8>> {
    let mut raw = BytesMut::new();
    raw.put_i32(i32::from(!elements.is_empty()));
    raw.put_i32(i32::from(elements.contains(&None)));
    raw.put_u32(23);
    if !elements.is_empty() {
        raw.put_i32(elements.len() as i32);
        raw.put_i32(1);
    }
    for element in elements {
        match element {
            Some(element) => {
                raw.put_i32(4);
                raw.put_i32(*element);
            }
            None => raw.put_i32(-1),
        }
    }
    Some(raw.to_vec())
}

#[test]
fn lists_are_arrays_of_one_dimension() {
    let lists = || {
        vec![
            Some(vec![Some(1), None, Some(3)]),
            None,
            Some(vec![]),
            Some(vec![Some(4)]),
        ]
    };
    let expected = [
        int4_array(&[Some(1), None, Some(3)]),
        None,
        int4_array(&[]),
        int4_array(&[Some(4)]),
    ];
    let wire = Wire::Array {
        element: Box::new(Wire::Int4),
        oid: 23,
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists());
    assert_eq!(
        copy(list.clone(), wire.clone()).expect("it is exact"),
        expected
    );
    assert_eq!(
        copy(list.slice(2, 2), wire.clone()).expect("it is exact"),
        expected[2..]
    );
    let large = LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists());
    assert_eq!(copy(large, wire).expect("it is exact"), expected);
}

#[test]
fn rows_are_written_piece_by_piece() {
    let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..100));
    let encoder = encoder(DataType::Int32, Wire::Int4);
    let batch = batch(array);
    let mut rows = encoder.rows(&batch).expect("the declared shape");
    let mut whole = BytesMut::new();
    Encoder::begin(&mut whole);
    let mut pieces = 0;
    loop {
        let mut piece = BytesMut::new();
        let more = rows.fill(&mut piece, 64).expect("it is exact");
        assert!(piece.len() < 64 + 10);
        whole.extend_from_slice(&piece);
        pieces += 1;
        if !more {
            break;
        }
    }
    Encoder::end(&mut whole);
    assert_eq!(pieces, 15);
    let values = parse(&whole);
    assert_eq!(values.len(), 100);
    assert_eq!(values[99], Some(99_i32.to_be_bytes().to_vec()));
}

#[test]
fn a_batch_of_another_shape_is_a_defect_and_not_a_panic() {
    let encoder = encoder(DataType::Int64, Wire::Int8);
    let other = batch(Arc::new(Int32Array::from(vec![1])));
    let error = encoder.rows(&other).err().expect("it is refused");
    assert_eq!(
        error.to_string(),
        "a batch has Int32 where column `x` of Int64 was declared"
    );
    assert!(matches!(error, CopyError::Shape { .. }));
    let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(encoder.rows(&empty).is_err());
}
