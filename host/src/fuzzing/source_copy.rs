//! What a PostgreSQL source sends: binary COPY, cut anywhere.
//!
//! ```text
//! first byte   BYTES: columns, cuts, then the stream itself; else columns, cuts, and good rows from the rest
//! ```

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{Target, no_words, values};
use crate::source::fuzz::decode;
use crate::warehouse::postgres::fuzz::encode;

pub(super) const TARGET: Target = Target {
    name: "source-copy",
    run,
    seeds,
    words: no_words,
};

const BYTES: u8 = 0;
const MOST_COLUMNS: usize = 5;
const MOST_CUTS: usize = 6;

fn run(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else {
        return;
    };
    let mut input = Unstructured::new(rest);
    let Ok((schema, cuts)) = frame(&mut input) else {
        return;
    };
    if kind == BYTES {
        check(&schema, &cuts, input.take_rest());
    } else if let Ok(batch) = values::batch(&mut input, &schema) {
        survives(&schema, &cuts, &batch);
    }
}

/// Columns, and where the stream is cut.
fn frame(input: &mut Unstructured<'_>) -> Result<(SchemaRef, Vec<usize>)> {
    let fields = (0..input.int_in_range(0..=MOST_COLUMNS)?)
        .map(|number| {
            let data_type = values::scalar_type(input)?;
            Ok(Field::new(
                format!("c{number}"),
                data_type,
                input.arbitrary()?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let cuts = (0..input.int_in_range(0..=MOST_CUTS)?)
        .map(|_| Ok(usize::from(input.arbitrary::<u8>()?)))
        .collect::<Result<Vec<_>>>()?;
    Ok((Arc::new(Schema::new(fields)), cuts))
}

/// The stream is refused, or its rows are valid; and that however it is cut.
fn check(schema: &SchemaRef, cuts: &[usize], stream: &[u8]) {
    let whole = decode(schema, &[stream]);
    let pieces = decode(schema, &pieces(cuts, stream));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(joined(schema, whole), joined(schema, pieces)),
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        _ => panic!("whole {whole:?}, in pieces {pieces:?}"),
    }
    for batch in whole.iter().flatten() {
        for column in batch.columns() {
            assert_eq!(
                column
                    .to_data()
                    .validate_full()
                    .err()
                    .map(|e| e.to_string()),
                None
            );
        }
    }
}

/// What the warehouse's encoder can write, the source's decoder reads as the same rows.
fn survives(schema: &SchemaRef, cuts: &[usize], batch: &RecordBatch) {
    let Ok(stream) = encode(batch) else {
        return;
    };
    check(schema, cuts, &stream);
    let read = decode(schema, &[&stream]).expect("what was written can be read");
    assert_eq!(&joined(schema, &read), batch);
}

fn joined(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(schema, batches).expect("they are of one schema")
}

fn pieces<'s>(cuts: &[usize], mut stream: &'s [u8]) -> Vec<&'s [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = stream.split_at((*cut).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for seed in 0..120_u8 {
        let noise: Vec<u8> = (0..250_u8)
            .map(|n| {
                n.wrapping_mul(seed)
                    .wrapping_add(seed.rotate_left(3) ^ (n >> 3))
            })
            .collect();
        seeds.push([&[1], noise.as_slice()].concat());
        let mut input = Unstructured::new(&noise);
        let Ok((schema, _)) = frame(&mut input) else {
            continue;
        };
        let used = noise.len() - input.len();
        let Ok(batch) = values::batch(&mut input, &schema) else {
            continue;
        };
        if let Ok(stream) = encode(&batch) {
            let head = noise.get(..used).unwrap_or_default();
            seeds.push([&[BYTES], head, &stream].concat());
        }
    }
    seeds
}
