//! What a guest gives: the schemas of its description, and streams of rows.
//!
//! ```text
//! first byte   which declared schema; DESCRIPTION: the rest is a schema of the description
//! second byte  CHUNKS: the rest are chunks; else the rest makes good rows, and edits of their stream
//! ```

use std::sync::{Arc, OnceLock};

use arbitrary::{Result, Unstructured};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::ipc::writer::StreamWriter;

use super::{Target, no_words, values};
use crate::sandbox::fuzz::{describe, read, write};

pub(super) const TARGET: Target = Target {
    name: "guest-output",
    run,
    seeds,
    words: no_words,
};

const DESCRIPTION: u8 = 0xff;
const CHUNKS: u8 = 0;
/// What a session may give here.
const ROWS: u64 = 10_000;
const BYTES: u64 = 1 << 20;
/// Edits of one good stream at most.
const MOST_EDITS: usize = 6;

fn run(input: &[u8]) {
    let Some((&selector, rest)) = input.split_first() else {
        return;
    };
    if selector == DESCRIPTION {
        return description(rest);
    }
    let schema = schemas(selector);
    match rest.split_first() {
        Some((&CHUNKS, stream)) => check(schema, cut(stream)),
        Some((_, recipe)) => {
            if let Ok(chunks) = edited(&mut Unstructured::new(recipe), schema) {
                check(schema, chunks);
            }
        }
        None => {}
    }
}

/// A description is refused, or the schema in it can be written and read again.
fn description(bytes: &[u8]) {
    if let Ok(described) = describe(bytes) {
        let schema = &described.output.schema;
        assert!(!schema.fields().is_empty());
        for field in schema.fields() {
            let notation = field.data_type().to_string();
            assert_eq!(
                notation.parse().ok().as_ref(),
                Some(field.data_type()),
                "{notation}"
            );
        }
        let again = describe(&schema_message(schema)).expect("what was accepted is accepted again");
        assert_eq!(again, described);
    }
}

/// The stream is refused, or what it gave is valid, of the declared schema, and survives writing and reading.
fn check(schema: &SchemaRef, chunks: Vec<Vec<u8>>) {
    let Ok(given) = read(schema, chunks, ROWS, BYTES) else {
        return;
    };
    let mut before = 0;
    for (at, batch) in &given {
        assert_eq!(*at, before);
        before += batch.num_rows() as u64;
        valid(schema, batch);
    }
    assert!(before <= ROWS);
    let batches: Vec<RecordBatch> = given.into_iter().map(|(_, batch)| batch).collect();
    let again = read(schema, write(schema, &batches), u64::MAX, u64::MAX)
        .expect("what was accepted is accepted again");
    let again: Vec<RecordBatch> = again.into_iter().map(|(_, batch)| batch).collect();
    assert_eq!(again, batches);
}

fn valid(schema: &SchemaRef, batch: &RecordBatch) {
    assert_eq!(batch.schema_ref(), schema);
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        assert_eq!(column.len(), batch.num_rows());
        assert!(field.is_nullable() || column.null_count() == 0);
        let checked = column.to_data().validate_full();
        assert!(checked.is_ok(), "{}: {checked:?}", field.name());
    }
}

/// Chunks that each begin with their length in two bytes; the last is what is left.
fn cut(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (chunk, after) = after.split_at(length);
        chunks.push(chunk.to_vec());
        rest = after;
    }
    chunks
}

/// Good rows as chunks, in which some bytes are then others.
fn edited(input: &mut Unstructured<'_>, schema: &SchemaRef) -> Result<Vec<Vec<u8>>> {
    let edits = input.int_in_range(0..=MOST_EDITS)?;
    let edits = (0..edits)
        .map(|_| input.arbitrary::<(u8, u16, u64, u8)>())
        .collect::<Result<Vec<_>>>()?;
    let batches = (0..input.int_in_range(1..=2)?)
        .map(|_| values::batch(input, schema))
        .collect::<Result<Vec<_>>>()?;
    let mut chunks = write(schema, &batches);
    for (chunk, at, value, width) in edits {
        let count = chunks.len();
        let Some(chunk) = chunks.get_mut(usize::from(chunk) % count.max(1)) else {
            continue;
        };
        let at = usize::from(at) % chunk.len().max(1);
        let width = 1 << (width % 4);
        for (byte, new) in chunk
            .iter_mut()
            .skip(at)
            .zip(value.to_le_bytes())
            .take(width)
        {
            *byte = new;
        }
    }
    Ok(chunks)
}

/// The schemas that a module may have declared: every kind of type, each kind of nesting.
fn schemas(selector: u8) -> &'static SchemaRef {
    static SCHEMAS: OnceLock<Vec<SchemaRef>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let item = |of, nullable| Arc::new(Field::new_list_field(of, nullable));
        let pair = Fields::from(vec![
            Field::new("first", DataType::Int64, false),
            Field::new("second", DataType::Utf8, true),
        ]);
        let of = |types: &[(DataType, bool)]| -> SchemaRef {
            let fields = types
                .iter()
                .zip('a'..)
                .map(|((data_type, nullable), name)| {
                    Field::new(name, data_type.clone(), *nullable)
                });
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        vec![
            of(&[(DataType::Int32, false)]),
            of(&[(DataType::Int64, false), (DataType::Utf8, true)]),
            of(&[
                (DataType::Utf8, false),
                (DataType::Binary, true),
                (DataType::Boolean, false),
            ]),
            of(&[
                (DataType::Int32, false),
                (DataType::Date32, false),
                (DataType::Time64(TimeUnit::Microsecond), false),
                (DataType::Decimal128(10, 2), false),
                (
                    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                    true,
                ),
            ]),
            of(&[
                (DataType::Decimal256(60, 9), true),
                (DataType::FixedSizeBinary(5), false),
            ]),
            of(&[(DataType::List(item(DataType::Int16, false)), true)]),
            of(&[(
                DataType::List(item(DataType::List(item(DataType::Utf8, true)), false)),
                false,
            )]),
            of(&[
                (DataType::Struct(pair.clone()), true),
                (DataType::Float64, true),
            ]),
            of(&[(DataType::List(item(DataType::Struct(pair), true)), false)]),
            of(&[
                (DataType::UInt64, false),
                (DataType::Int8, true),
                (DataType::Float32, false),
            ]),
        ]
    });
    let at = usize::from(selector) % schemas.len();
    schemas.get(at).expect("the index is below the length")
}

/// The stream that holds a schema and nothing else, as a description gives it.
fn schema_message(schema: &Schema) -> Vec<u8> {
    let stream = StreamWriter::try_new(Vec::new(), schema).expect("every schema can be written");
    stream.get_ref().clone()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for selector in 0..10_u8 {
        let schema = schemas(selector);
        seeds.push([&[DESCRIPTION][..], &schema_message(schema)].concat());
        for seed in 0..6_u8 {
            let noise: Vec<u8> = (0..200_u8)
                .map(|n| n.wrapping_mul(seed.wrapping_mul(37)).wrapping_add(seed))
                .collect();
            // Without and with edits.
            seeds.push([&[selector, 1][..], &noise].concat());
            let Ok(batch) = values::batch(&mut Unstructured::new(&noise), schema) else {
                continue;
            };
            let mut stream = vec![selector, CHUNKS];
            for chunk in write(schema, &[batch.clone(), batch]) {
                stream.extend((chunk.len() as u16).to_le_bytes());
                stream.extend(chunk);
            }
            seeds.push(stream);
        }
    }
    seeds
}
