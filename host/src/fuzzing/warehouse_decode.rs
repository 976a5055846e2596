//! What a PostgreSQL warehouse answers to a query: binary values, and what its own encoder wrote.
//!
//! ```text
//! first byte   VALUES: a type of the server, a modifier, then values; else a column that is written and read
//! ```

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use arrow::array::Array as _;
use arrow::datatypes::{DataType, Field, Schema};
use tokio_postgres::types::Type;

use super::{Target, no_words, values};
use crate::warehouse::postgres::fuzz::{decode, encode, fields, numbers_agree};

pub(super) const TARGET: Target = Target {
    name: "warehouse-decode",
    run,
    seeds,
    words: no_words,
};

const VALUES: u8 = 0;
const MOST_VALUES: usize = 8;

/// Every type that is read in its binary form.
const TYPES: &[Type] = &[
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::JSONB,
    Type::UUID,
    Type::BYTEA,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::UUID_ARRAY,
    Type::BOOL_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::BYTEA_ARRAY,
    Type::JSONB_ARRAY,
    // Those that are not, and are refused.
    Type::INTERVAL,
    Type::INET,
];

fn run(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else {
        return;
    };
    let mut input = Unstructured::new(rest);
    let _ = match kind {
        VALUES => hostile(&mut input),
        _ => survives(&mut input),
    };
}

/// Values are refused, or make a valid array of their number.
fn hostile(input: &mut Unstructured<'_>) -> Result<()> {
    let of = input.choose(TYPES)?;
    let modifier = match input.arbitrary()? {
        true => ((input.int_in_range(0..=80)? << 16) | input.int_in_range(0..=0x7ff)?) + 4,
        false => input.arbitrary()?,
    };
    let mut values = Vec::new();
    for _ in 0..MOST_VALUES {
        if input.is_empty() {
            break;
        }
        let length = usize::from(input.arbitrary::<u8>()?);
        values.push(match length {
            0xff => None,
            length => Some(input.bytes(length.min(input.len()))?),
        });
    }
    if let Some(Ok(array)) = decode(of, modifier, &values) {
        assert_eq!(array.len(), values.len());
        let checked = array.to_data().validate_full();
        assert!(checked.is_ok(), "{of}: {checked:?}");
    }
    values
        .iter()
        .flatten()
        .for_each(|value| numbers_agree(value));
    Ok(())
}

/// What the encoder can write as a column of its own making, the decoder reads as the same column.
fn survives(input: &mut Unstructured<'_>) -> Result<()> {
    let element = values::scalar_type(input)?;
    let data_type = match input.ratio(1, 3)? {
        true => DataType::List(Arc::new(Field::new_list_field(element, true))),
        false => element,
    };
    let field = Field::new("c", data_type.clone(), true);
    let batch = values::batch(input, &Arc::new(Schema::new(vec![field])))?;
    let Ok(stream) = encode(&batch) else {
        return Ok(());
    };
    let values = fields(&stream).expect("what was written has its form");
    let (of, modifier) = server_type(&data_type);
    let read = decode(&of, modifier, &values)
        .expect("what is loaded can be queried")
        .expect("what was written can be read");
    let column = batch.column(0);
    assert_eq!(read.data_type(), column.data_type());
    assert_eq!(&read, column);
    Ok(())
}

/// The type and the modifier by which the server tells of a column that is made for `data_type`.
fn server_type(data_type: &DataType) -> (Type, i32) {
    let digits = |precision: u8, scale: i8| ((i32::from(precision) << 16) | i32::from(scale)) + 4;
    match data_type {
        DataType::Boolean => (Type::BOOL, -1),
        DataType::Int16 => (Type::INT2, -1),
        DataType::Int32 => (Type::INT4, -1),
        DataType::Int64 => (Type::INT8, -1),
        DataType::Float32 => (Type::FLOAT4, -1),
        DataType::Float64 => (Type::FLOAT8, -1),
        DataType::Utf8 => (Type::TEXT, -1),
        DataType::Binary => (Type::BYTEA, -1),
        DataType::Date32 => (Type::DATE, -1),
        DataType::Time64(_) => (Type::TIME, 6),
        DataType::Timestamp(_, None) => (Type::TIMESTAMP, 6),
        DataType::Timestamp(_, Some(_)) => (Type::TIMESTAMPTZ, 6),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (Type::NUMERIC, digits(*precision, *scale))
        }
        DataType::List(item) => {
            let (element, modifier) = server_type(item.data_type());
            (array_of(&element), modifier)
        }
        other => unreachable!("no column is made for {other}"),
    }
}

fn array_of(element: &Type) -> Type {
    let kind = tokio_postgres::types::Kind::Array(element.clone());
    Type::new(format!("_{}", element.name()), 0, kind, "pg_catalog".into())
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for seed in 0..180_u8 {
        let noise: Vec<u8> = (0..120_u8)
            .map(|n| {
                n.wrapping_mul(seed)
                    .wrapping_add(seed.rotate_left(3) ^ (n >> 2))
            })
            .collect();
        seeds.push([&[1], noise.as_slice()].concat());
        seeds.push([&[VALUES, seed], noise.as_slice()].concat());
    }
    for bytes in [
        // 12.34 as numeric, twice; an empty array; an array of two integers.
        &[
            7, 1, 10, 0, 2, 0, 12, 0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0d, 0x48,
        ][..],
        &[
            7, 0, 0xff, 0xff, 0xff, 0xff, 12, 0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x0d, 0x48,
        ],
        &[16, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23],
        &[
            16, 0, 0, 0, 0, 0, 36, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0,
            0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 9,
        ],
    ] {
        seeds.push([&[VALUES], bytes].concat());
    }
    seeds
}
