//! The decoder against bytes that are put together by hand, so that it is not checked by its own encoder.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, i256};

use super::*;

/// A numeric as the server sends it.
fn numeric(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((digits.len() as u16).to_be_bytes());
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(2_u16.to_be_bytes());
    digits.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes
}

fn header() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0; 8]);
    bytes
}

fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = (fields.len() as i16).to_be_bytes().to_vec();
    for field in fields {
        match field {
            Some(field) => {
                bytes.extend((field.len() as i32).to_be_bytes());
                bytes.extend(*field);
            }
            None => bytes.extend((-1_i32).to_be_bytes()),
        }
    }
    bytes
}

fn stream(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header();
    rows.iter().for_each(|row| bytes.extend(row));
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn decode(schema: &SchemaRef, fragments: &[&[u8]]) -> Result<RecordBatch, CopyError> {
    let mut decoder = CopyDecoder::new(schema.clone(), &[])?;
    let mut batches = Vec::new();
    for fragment in fragments {
        decoder.push(fragment)?;
        while let Some(batch) = decoder.next_batch() {
            batches.push(batch);
        }
    }
    batches.extend(decoder.finish()?);
    concat_batches(schema, &batches).map_err(|error| broken(error.to_string()))
}

fn one_column(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("c", data_type, true)]))
}

/// Every type with its edges: the Arrow array and the fields that the server sends for it.
fn every_type() -> Vec<(ArrayRef, Vec<Vec<u8>>)> {
    let micros = |unix: i64| (unix - 946_684_800_000_000).to_be_bytes().to_vec();
    vec![
        (
            Arc::new(BooleanArray::from(vec![true, false])),
            vec![vec![1], vec![0]],
        ),
        (
            Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX])),
            vec![vec![0x80, 0], vec![0x7f, 0xff]],
        ),
        (
            Arc::new(Int32Array::from(vec![-2, i32::MAX])),
            vec![vec![0xff, 0xff, 0xff, 0xfe], vec![0x7f, 0xff, 0xff, 0xff]],
        ),
        (
            Arc::new(Int64Array::from(vec![i64::MIN, 4_294_967_295])),
            vec![i64::MIN.to_be_bytes().to_vec(), vec![0xff; 4]],
        ),
        (
            Arc::new(Float32Array::from(vec![-0.0, f32::INFINITY])),
            vec![vec![0x80, 0, 0, 0], vec![0x7f, 0x80, 0, 0]],
        ),
        (
            Arc::new(Float64Array::from(vec![0.1, f64::NEG_INFINITY])),
            vec![
                0.1_f64.to_be_bytes().to_vec(),
                vec![0xff, 0xf0, 0, 0, 0, 0, 0, 0],
            ],
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![123_456_789_i128, -5, 0, 1_000_000, 99])
                    .with_precision_and_scale(10, 2)
                    .expect("it fits"),
            ),
            vec![
                numeric(1, 0, &[123, 4567, 8900]),
                numeric(-1, 0x4000, &[500]),
                numeric(0, 0, &[]),
                numeric(1, 0, &[1]),
                numeric(-1, 0, &[9900]),
            ],
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![10_i128.pow(38) - 1])
                    .with_precision_and_scale(38, 37)
                    .expect("it fits"),
            ),
            vec![numeric(
                0,
                0,
                &[
                    9, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9000,
                ],
            )],
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![
                    i256::from_string(&"9".repeat(76)).expect("76 digits"),
                    i256::from_string(&format!("-1{}", "0".repeat(75))).expect("76 digits"),
                ])
                .with_precision_and_scale(76, 1)
                .expect("it fits"),
            ),
            vec![
                numeric(18, 0, &{
                    let mut digits = vec![9999; 20];
                    digits[0] = 999;
                    digits[19] = 9000;
                    digits
                }),
                numeric(18, 0x4000, &[100]),
            ],
        ),
        (
            Arc::new(StringArray::from(vec!["", "O'Keefe 🚢"])),
            vec![vec![], "O'Keefe 🚢".into()],
        ),
        (
            Arc::new(BinaryArray::from_vec(vec![b"", b"\x00\xff"])),
            vec![vec![], vec![0, 0xff]],
        ),
        (
            Arc::new(Date32Array::from(vec![0, -1, 10_957])),
            vec![
                (-10_957_i32).to_be_bytes().into(),
                (-10_958_i32).to_be_bytes().into(),
                vec![0; 4],
            ],
        ),
        (
            Arc::new(Time64MicrosecondArray::from(vec![0, 86_399_999_999])),
            vec![vec![0; 8], 86_399_999_999_i64.to_be_bytes().into()],
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![0, -1])),
            vec![micros(0), micros(-1)],
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![1_700_000_000_123_456]).with_timezone("UTC"),
            ),
            vec![micros(1_700_000_000_123_456)],
        ),
    ]
}

#[test]
fn every_type_is_decoded_with_and_without_nulls_however_the_bytes_are_cut() {
    for (expected, fields) in every_type() {
        let schema = one_column(expected.data_type().clone());
        let mut rows: Vec<Vec<u8>> = fields.iter().map(|f| row(&[Some(f)])).collect();
        rows.push(row(&[None]));
        let bytes = stream(&rows);
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            let batch = decode(&schema, &[left, right]).expect("the bytes are right");
            assert_eq!(&batch.column(0).slice(0, expected.len()), &expected);
            assert!(batch.column(0).is_null(expected.len()));
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let batch = decode(&schema, &single).expect("the bytes are right");
        assert_eq!(batch.num_rows(), rows.len());
    }
}

#[test]
fn a_stream_that_ends_anywhere_too_early_is_refused() {
    for (expected, fields) in every_type() {
        let schema = one_column(expected.data_type().clone());
        let rows: Vec<Vec<u8>> = fields.iter().map(|f| row(&[Some(f)])).collect();
        let bytes = stream(&rows);
        for end in 0..bytes.len() {
            decode(&schema, &[&bytes[..end]]).expect_err("it was cut");
        }
    }
}

#[test]
fn no_wrong_byte_makes_it_panic() {
    for (expected, fields) in every_type() {
        let schema = one_column(expected.data_type().clone());
        let rows: Vec<Vec<u8>> = fields.iter().map(|f| row(&[Some(f)])).collect();
        let bytes = stream(&rows);
        for position in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut wrong = bytes.clone();
                wrong[position] = value;
                // Some changes make another valid stream; none may do worse than an error.
                let _ = decode(&schema, &[&wrong]);
            }
        }
    }
}

#[test]
fn values_that_arrow_cannot_hold_are_named() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let decimal = DataType::Decimal128(4, 2);
    for (data_type, field, value) in [
        (
            DataType::Date32,
            i32::MAX.to_be_bytes().to_vec(),
            "infinity",
        ),
        (utc, i64::MIN.to_be_bytes().to_vec(), "-infinity"),
        (
            DataType::Timestamp(TimeUnit::Microsecond, None),
            (i64::MAX - 1).to_be_bytes().to_vec(),
            "a time after the year 294246",
        ),
        (
            DataType::Time64(TimeUnit::Microsecond),
            86_400_000_000_i64.to_be_bytes().to_vec(),
            "24:00:00",
        ),
        (decimal.clone(), numeric(0, 0xC000, &[]), "NaN"),
        (decimal.clone(), numeric(0, 0xF000, &[]), "-Infinity"),
        (
            decimal.clone(),
            numeric(0, 0, &[100]),
            "a number with more digits",
        ),
        (
            decimal.clone(),
            numeric(-1, 0, &[1]),
            "a number with more decimal places",
        ),
        (
            decimal.clone(),
            numeric(-2, 0, &[1]),
            "a number with more decimal places",
        ),
        (decimal, numeric(i16::MAX, 0, &[1]), "a number too large"),
        (DataType::Utf8, vec![0xff], "bytes that are not UTF-8"),
    ] {
        let bytes = stream(&[row(&[Some(&field)])]);
        match decode(&one_column(data_type), &[&bytes]) {
            Err(CopyError::Value {
                column: 0,
                value: found,
                ..
            }) => assert_eq!(found, value),
            other => panic!("{value}: {other:?}"),
        }
    }
}

#[test]
fn null_in_a_column_that_is_not_null_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int32, false)]));
    let error = decode(&schema, &[&stream(&[row(&[None])])]).expect_err("it is NULL");
    assert_eq!(
        error.to_string(),
        "column 0 holds NULL, which is not a value that its NOT NULL allows"
    );
}

#[test]
fn what_does_not_follow_the_format_is_refused() {
    let schema = one_column(DataType::Int32);
    let flags = |flags: u32| {
        let mut bytes = stream(&[]);
        bytes[11..15].copy_from_slice(&flags.to_be_bytes());
        bytes
    };
    let mut twice = stream(&[]);
    twice.push(0);
    for (bytes, reason) in [
        (
            b"PGDUMP".to_vec(),
            "it does not begin with the signature of a COPY",
        ),
        (flags(1 << 16), "its flags 0x00010000 are unknown"),
        (twice, "bytes follow the trailer"),
        (
            stream(&[row(&[None, None])]),
            "a row has 2 fields where 1 were asked for",
        ),
        (
            stream(&[vec![0, 1, 0xff, 0xff, 0xff, 0xfe]]),
            "a field has the length -2",
        ),
        (
            stream(&[row(&[Some(&[1, 2, 3])])]),
            "field 1 has 3 bytes, which is not the length of an integer",
        ),
    ] {
        let error = decode(&schema, &[&bytes]).expect_err(reason);
        assert_eq!(error.to_string(), reason);
    }
    decode(&schema, &[&flags(1)]).expect("flags that are not critical are passed over");
}

#[test]
fn a_header_extension_is_skipped() {
    let mut bytes = header();
    bytes[15..19].copy_from_slice(&3_u32.to_be_bytes());
    bytes.extend(b"abc");
    bytes.extend(row(&[Some(&7_i32.to_be_bytes())]));
    bytes.extend((-1_i16).to_be_bytes());
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        let batch = decode(&one_column(DataType::Int32), &[left, right]).expect("it is skipped");
        assert_eq!(batch.num_rows(), 1);
    }
}

#[test]
fn batches_have_at_most_8192_rows_and_rows_without_columns_are_counted() {
    for (schema, fields) in [
        (one_column(DataType::Boolean), vec![None]),
        (Arc::new(Schema::empty()), vec![]),
    ] {
        let rows = vec![row(&fields); 2 * BATCH_ROWS + 1];
        let mut decoder = CopyDecoder::new(schema, &[]).expect("the type is known");
        decoder.push(&stream(&rows)).expect("the bytes are right");
        let mut sizes = Vec::new();
        while let Some(batch) = decoder.next_batch() {
            sizes.push(batch.num_rows());
        }
        sizes.extend(decoder.finish().expect("it is whole").map(|b| b.num_rows()));
        assert_eq!(sizes, [BATCH_ROWS, BATCH_ROWS, 1]);
    }
}

#[test]
fn wide_rows_make_short_batches() {
    let wide = vec![b'x'; BATCH_BYTES / 2];
    let rows = vec![row(&[Some(&wide)]); 4];
    let mut decoder = CopyDecoder::new(one_column(DataType::Utf8), &[]).expect("the type is known");
    decoder.push(&stream(&rows)).expect("the bytes are right");
    let sizes: Vec<usize> = std::iter::from_fn(|| decoder.next_batch())
        .map(|b| b.num_rows())
        .collect();
    assert_eq!(sizes, [2, 2]);
}

#[test]
fn a_uuid_and_a_jsonb_become_the_text_that_the_server_writes_for_them() {
    let field = |name| Field::new(name, DataType::Utf8, true);
    let schema: SchemaRef = Arc::new(Schema::new(vec![field("u"), field("j")]));
    let uuid: Vec<u8> = (0..16).map(|n| n * 17).collect();
    let read = |uuid: &[u8], jsonb: &[u8]| {
        let mut decoder = CopyDecoder::new(schema.clone(), &[Form::Uuid, Form::Jsonb])?;
        decoder.push(&stream(&[
            row(&[Some(uuid), Some(jsonb)]),
            row(&[None, None]),
        ]))?;
        decoder.finish()
    };
    let batch = read(&uuid, b"\x01{\"a\": 1}").unwrap().unwrap();
    let text = |column: usize| -> Vec<Option<&str>> {
        let array = batch.column(column).as_any().downcast_ref::<StringArray>();
        array.unwrap().iter().collect()
    };
    assert_eq!(
        text(0),
        [Some("00112233-4455-6677-8899-aabbccddeeff"), None]
    );
    assert_eq!(text(1), [Some("{\"a\": 1}"), None]);
    let short = read(&uuid[1..], b"\x01{}").unwrap_err().to_string();
    assert_eq!(
        short,
        "field 1 has 15 bytes, which is not the length of a uuid"
    );
    let newer = read(&uuid, b"\x02{}").unwrap_err().to_string();
    assert_eq!(
        newer,
        "column 1 holds a jsonb of version 2, which is not a jsonb of version 1"
    );
    assert!(matches!(read(&uuid, b""), Err(CopyError::Format(_))));
}
