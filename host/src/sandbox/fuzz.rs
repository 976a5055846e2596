//! What [`crate::fuzzing`] may see of this room: both directions of the boundary without a guest between them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::binding::types;
use super::decode::{Budget, ChunkReader};
use super::encode::ChunkWriter;
use super::error::{Breach, Stream};
use super::keys::Keys;
use super::{Limits, describe};
use crate::contract::Description;

/// Keys that are remembered here.
const KEYS: usize = 1_000;

/// The description of a module with one column of each input and output as `schema` says it.
pub(crate) fn describe(schema: &[u8]) -> Result<Description, String> {
    describe::check(types::Description {
        name: "fuzzed".into(),
        version: "1.0.0".into(),
        inputs: vec![types::Input {
            table: "input".into(),
            schema: schema.to_vec(),
            key: Vec::new(),
            delivery: types::Delivery::Current,
            role: types::Role::Streamed,
        }],
        output: types::Output {
            table: "output".into(),
            schema: schema.to_vec(),
            primary_key: Vec::new(),
            mode: types::LoadMode::Overwrite,
        },
        properties: Vec::new(),
    })
}

/// What a session makes of chunks that a module with this output gave; its first column is the key.
pub(crate) fn read(
    schema: &SchemaRef,
    chunks: Vec<Vec<u8>>,
    rows: u64,
    bytes: u64,
) -> Result<Vec<(u64, RecordBatch)>, Breach> {
    let mut reader = ChunkReader::new(Stream::Rows, schema.clone());
    let mut budget = Budget::new(rows, bytes);
    let mut batches = Vec::new();
    for chunk in chunks {
        batches.extend(reader.read(chunk, &mut budget)?);
    }
    let first = schema.fields().iter().take(1);
    let key: Vec<String> = first
        .filter(|field| !field.is_nullable() && !field.data_type().is_nested())
        .map(|field| field.name().clone())
        .collect();
    if let Ok(mut keys) = Keys::new(schema, &key, KEYS) {
        for (before, batch) in &batches {
            // A key that comes twice is not a defect of the reader.
            let _ = keys.note(Stream::Rows, *before, batch);
        }
    }
    Ok(batches)
}

/// The chunks of `batches`, as a guest is given them; of no batches, the schema alone.
pub(crate) fn write(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut writer = ChunkWriter::new(schema).expect("every declared schema can be written");
    if batches.is_empty() {
        let none = RecordBatch::new_empty(schema.clone());
        let (chunk, _) = writer.chunk(&none, &limits).expect("it can be written");
        return vec![chunk.clone()];
    }
    batches
        .iter()
        .map(|batch| {
            let (chunk, rows) = writer.chunk(batch, &limits).expect("it can be written");
            assert_eq!(rows, batch.num_rows(), "a few rows are one chunk");
            chunk.clone()
        })
        .collect()
}
