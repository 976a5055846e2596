//! Arrow IPC streams in the shape of the contract: chunks in, chunks out.
//!
//! In: the buffers of a chunk are shared by the batches that are read from it, so nothing is copied. The
//! messages are told apart here and not by arrow-ipc's `StreamDecoder`: its dictionaries draw in Arrow's
//! concat kernels for every type, which more than doubled each module (2.35 MB against 1.0 MB), and a
//! dictionary is never landed. Out: each chunk is allocated once, at its final size, and every buffer is
//! copied into it once. A stream without rows is a stream without chunks: nothing is sent, not even the
//! schema. No stream is sent an end marker.

use std::collections::HashMap;

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::StreamEncoder;
#[cfg(any(test, target_arch = "wasm32"))]
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Message, root_as_message};
use arrow_schema::{Schema, SchemaRef};

use crate::failure::Failure;

/// The most rows of an outgoing chunk; the contract's limit.
const CHUNK_ROWS: usize = 65_536;
/// An outgoing chunk of more bytes is cut in two: pieces then lie around 1 MiB, an eighth of the limit.
const CHUNK_BYTES: usize = 3 << 19;

/// A schema as the contract carries it: a stream that holds no batch.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>, Failure> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// Reads the chunks of one stream, over all calls of a session.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// What the stream is, for messages.
    name: String,
    /// The declared schema.
    schema: SchemaRef,
    /// Whether the schema, which comes first, has come.
    begun: bool,
    /// Whether the marker of the end has come, which a sender may leave out.
    ended: bool,
}

impl Decoder {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Self {
        Self {
            name,
            schema,
            begun: false,
            ended: false,
        }
    }

    /// The batches of the next chunk, in order, under the declared schema.
    pub(crate) fn decode(&mut self, chunk: Vec<u8>) -> Result<Vec<RecordBatch>, Failure> {
        self.decode_buffer(Buffer::from_vec(chunk))
    }

    fn decode_buffer(&mut self, mut rest: Buffer) -> Result<Vec<RecordBatch>, Failure> {
        let mut batches = Vec::new();
        while !rest.is_empty() {
            if self.ended {
                return Err(self.unreadable("it goes on after its end"));
            }
            let head = self.head(&mut rest)?;
            if head.is_empty() {
                self.ended = true;
                continue;
            }
            let message =
                root_as_message(&head).map_err(|error| self.unreadable(&error.to_string()))?;
            let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
            let body = self.take(&mut rest, body)?;
            batches.extend(self.read(message, &body)?);
        }
        Ok(batches)
    }

    /// The head of the next message: after a marker and its length. Empty at the end of the stream.
    fn head(&self, rest: &mut Buffer) -> Result<Buffer, Failure> {
        let prefix = self.take(rest, 8)?;
        let &[0xff, 0xff, 0xff, 0xff, a, b, c, d] = prefix.as_slice() else {
            return Err(self.unreadable("a message does not begin with its marker"));
        };
        self.take(rest, u32::from_le_bytes([a, b, c, d]) as usize)
    }

    fn take(&self, rest: &mut Buffer, bytes: usize) -> Result<Buffer, Failure> {
        if bytes > rest.len() {
            return Err(self.unreadable("it ends within a message"));
        }
        let taken = rest.slice_with_length(0, bytes);
        rest.advance(bytes);
        Ok(taken)
    }

    fn read(
        &mut self,
        message: Message<'_>,
        body: &Buffer,
    ) -> Result<Option<RecordBatch>, Failure> {
        if let Some(schema) = message.header_as_schema() {
            if self.begun {
                return Err(self.unreadable("its schema comes twice"));
            }
            check_columns(&self.name, &self.schema, &fb_to_schema(schema))?;
            self.begun = true;
            return Ok(None);
        }
        let Some(batch) = message.header_as_record_batch() else {
            return Err(self.unreadable("it holds a message that is neither schema nor rows"));
        };
        if !self.begun {
            return Err(self.unreadable("its rows come before its schema"));
        }
        let (schema, version) = (self.schema.clone(), message.version());
        read_record_batch(body, batch, schema, &HashMap::new(), None, &version)
            .map(Some)
            .map_err(|error| self.unreadable(&error.to_string()))
    }

    fn unreadable(&self, why: &str) -> Failure {
        Failure::new(
            "unreadable-input",
            format!("{} is no Arrow IPC stream: {why}", self.name),
        )
    }
}

/// Writes the chunks of one stream, over all calls of a session.
pub(crate) struct Encoder {
    /// What the stream is, for messages.
    name: String,
    schema: SchemaRef,
    stream: StreamEncoder,
}

impl Encoder {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Result<Self, Failure> {
        let stream = StreamEncoder::try_new(&schema)?;
        Ok(Self {
            name,
            schema,
            stream,
        })
    }

    /// The chunks of some batches, and how many rows they hold.
    pub(crate) fn encode(
        &mut self,
        batches: &[RecordBatch],
    ) -> Result<(Vec<Vec<u8>>, u64), Failure> {
        let mut chunks = Vec::new();
        let mut rows = 0;
        for batch in batches {
            if batch.num_rows() == 0 {
                continue;
            }
            check_columns(&self.name, &self.schema, &batch.schema())?;
            let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
                .map_err(|error| {
                    Failure::new("output", format!("rows do not fit {}: {error}", self.name))
                })?;
            rows += batch.num_rows() as u64;
            self.cut(&batch, &mut chunks)?;
        }
        Ok((chunks, rows))
    }

    fn cut(&mut self, batch: &RecordBatch, chunks: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
        let rows = batch.num_rows();
        if rows > 1 && (rows > CHUNK_ROWS || bytes(batch)? > CHUNK_BYTES) {
            // Halves are measured again, so a few rows of many bytes end in chunks of their own.
            let half = rows / 2;
            self.cut(&batch.slice(0, half), chunks)?;
            return self.cut(&batch.slice(half, rows - half), chunks);
        }
        let buffers = self.stream.encode(batch)?;
        // A chunk of exactly its size: handing it to the host must not shrink it, which would copy it.
        let mut chunk = Vec::with_capacity(buffers.iter().map(Buffer::len).sum());
        for buffer in &buffers {
            chunk.extend_from_slice(buffer);
        }
        chunks.push(chunk);
        Ok(())
    }
}

fn bytes(batch: &RecordBatch) -> Result<usize, Failure> {
    let mut bytes = 0;
    for column in batch.columns() {
        bytes += column.to_data().get_slice_memory_size()?;
    }
    Ok(bytes)
}

/// Names and types must agree, in order; whether a column may be NULL is checked on the rows.
fn check_columns(name: &str, declared: &Schema, found: &Schema) -> Result<(), Failure> {
    let columns = |schema: &Schema| {
        schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let same = declared.fields().len() == found.fields().len()
        && declared
            .fields()
            .iter()
            .zip(found.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if same {
        return Ok(());
    }
    Err(Failure::new(
        "schema",
        format!(
            "{name} is declared as ({}) and came as ({})",
            columns(declared),
            columns(found)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, StringArray};
    use arrow_schema::{DataType, Field};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    fn batch(rows: usize, bytes_per_row: usize) -> RecordBatch {
        let ids = Int32Array::from_iter_values(0..rows as i32);
        let names = StringArray::from_iter_values((0..rows).map(|_| "x".repeat(bytes_per_row)));
        RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
    }

    fn encode(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new("out".to_owned(), schema()).unwrap();
        encoder.encode(batches).unwrap().0
    }

    #[test]
    fn chunks_are_cut_by_rows_and_by_bytes_and_come_back_whole() {
        for (rows, bytes_per_row, chunks_expected) in
            [(10, 3, 1), (65_536, 1, 1), (65_537, 1, 2), (4, 2 << 20, 4)]
        {
            let batch = batch(rows, bytes_per_row);
            let chunks = encode(std::slice::from_ref(&batch));
            assert_eq!(chunks.len(), chunks_expected, "{rows} rows");
            let mut decoder = decoder();
            let mut at = 0;
            for chunk in chunks {
                for back in decoder.decode(chunk).unwrap() {
                    assert_eq!(back, batch.slice(at, back.num_rows()));
                    at += back.num_rows();
                }
            }
            assert_eq!(at, rows);
        }
    }

    #[test]
    fn a_chunk_is_allocated_at_its_size() {
        for chunk in encode(&[batch(1_000, 10)]) {
            assert_eq!(chunk.len(), chunk.capacity());
        }
    }

    #[test]
    fn no_rows_are_no_chunks() {
        assert!(encode(&[]).is_empty());
        assert!(encode(&[batch(0, 0)]).is_empty());
    }

    const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

    fn decoder() -> Decoder {
        Decoder::new("the input staff".to_owned(), schema())
    }

    #[test]
    fn a_stream_of_a_schema_alone_is_read_with_and_without_its_end() {
        let whole = encode_schema(&schema()).unwrap();
        for length in [whole.len(), whole.len() - END_OF_STREAM.len()] {
            assert!(
                decoder()
                    .decode(whole[..length].to_vec())
                    .unwrap()
                    .is_empty()
            );
        }
        assert!(decoder().decode(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_stream_of_another_schema_is_a_failure_also_without_rows() {
        let other = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let failure = decoder()
            .decode(encode_schema(&other).unwrap())
            .unwrap_err();
        assert_eq!(
            failure.message,
            "the input staff is declared as (id Int32, name Utf8) and came as (id Int64)"
        );
    }

    #[test]
    fn buffers_of_an_aligned_chunk_are_shared() {
        let chunk = encode(&[batch(1_000, 10)]).remove(0);
        // Aligned as the allocator of a module aligns it.
        let mut aligned = arrow_buffer::MutableBuffer::new(chunk.len());
        aligned.extend_from_slice(&chunk);
        let buffer = Buffer::from(aligned);
        let range = buffer.as_ptr_range();
        let batches = decoder().decode_buffer(buffer).unwrap();
        for column in batches[0].columns() {
            for shared in column.to_data().buffers() {
                assert!(range.contains(&shared.as_ptr()));
            }
        }
    }

    #[test]
    fn a_chunk_cut_short_is_a_failure() {
        let chunk = encode(&[batch(100, 10)]).remove(0);
        for length in [1, 9, 100, chunk.len() - 1] {
            let failure = decoder().decode(chunk[..length].to_vec()).unwrap_err();
            assert_eq!(
                failure.message, "the input staff is no Arrow IPC stream: it ends within a message",
                "{length} bytes"
            );
        }
    }

    #[test]
    fn what_is_out_of_order_in_a_stream_is_a_failure() {
        let schema_alone = encode_schema(&schema()).unwrap();
        let without_end = &schema_alone[..schema_alone.len() - END_OF_STREAM.len()];
        let whole = encode(&[batch(3, 3)]).remove(0);
        let rows = &whole[without_end.len()..];
        for (chunk, why) in [
            (vec![7; 64], "a message does not begin with its marker"),
            (rows.to_vec(), "its rows come before its schema"),
            (
                [without_end, without_end].concat(),
                "its schema comes twice",
            ),
            ([&schema_alone, rows].concat(), "it goes on after its end"),
        ] {
            let failure = decoder().decode(chunk).unwrap_err();
            assert!(failure.message.ends_with(why), "{failure}");
        }
    }
}
