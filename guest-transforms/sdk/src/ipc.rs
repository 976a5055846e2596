//! Arrow IPC streams in the shape of the contract: chunks in, chunks out.
//!
//! In: the buffers of a chunk are shared by the batches that are read from it, so nothing is copied. Out: each
//! chunk is allocated once, at its final size, and every buffer is copied into it once.
//! A stream without rows is a stream without chunks: nothing is sent, not even the schema.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{StreamEncoder, StreamWriter};
use arrow_schema::{Schema, SchemaRef};

use crate::failure::Failure;

/// The most rows of an outgoing chunk; the contract's limit.
const CHUNK_ROWS: usize = 65_536;
/// An outgoing chunk of more bytes is cut in two: pieces then lie around 1 MiB, an eighth of the limit.
const CHUNK_BYTES: usize = 3 << 19;
/// The end of a stream: a continuation marker and a length of zero.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A schema as the contract carries it: a stream that holds no batch.
pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>, Failure> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// Reads the chunks of one stream, over all calls of a session.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Of which table, for messages.
    table: String,
    /// The declared schema.
    schema: SchemaRef,
    stream: StreamDecoder,
    schema_checked: bool,
}

impl Decoder {
    pub(crate) fn new(table: &str, schema: SchemaRef) -> Self {
        Self {
            table: table.to_owned(),
            schema,
            stream: StreamDecoder::new(),
            schema_checked: false,
        }
    }

    /// The batches of the next chunk, in order, under the declared schema.
    pub(crate) fn decode(&mut self, chunk: Vec<u8>) -> Result<Vec<RecordBatch>, Failure> {
        let mut buffer = Buffer::from_vec(chunk);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            let batch = self
                .stream
                .decode(&mut buffer)
                .map_err(|error| self.unreadable(&error.to_string()))?;
            self.check_schema()?;
            if let Some(batch) = batch {
                // The sender's schema may say NOT NULL where the declaration allows NULL.
                let columns = batch.columns().to_vec();
                batches.push(RecordBatch::try_new(self.schema.clone(), columns)?);
            }
        }
        Ok(batches)
    }

    /// Checks that the stream has ended between two messages.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if self.stream.finish().is_ok() {
            return Ok(());
        }
        // The decoder keeps a message without a body, such as the schema, until more bytes follow. The end of
        // the stream, which a sender may leave out, makes it look; a message cut short stays cut short.
        let mut end = Buffer::from(END_OF_STREAM.as_slice());
        self.stream
            .decode(&mut end)
            .and_then(|_| self.stream.decode(&mut end))
            .and_then(|_| self.stream.finish())
            .map_err(|_| self.unreadable("the stream ends within a message"))?;
        self.check_schema()
    }

    fn check_schema(&mut self) -> Result<(), Failure> {
        if self.schema_checked {
            return Ok(());
        }
        if let Some(schema) = self.stream.schema() {
            check_columns(&format!("the input {}", self.table), &self.schema, &schema)?;
            self.schema_checked = true;
        }
        Ok(())
    }

    fn unreadable(&self, why: &str) -> Failure {
        Failure::new(
            "unreadable-input",
            format!("a chunk of {} is no Arrow IPC: {why}", self.table),
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
    pub(crate) fn encode(&mut self, batches: &[RecordBatch]) -> Result<(Vec<Vec<u8>>, u64), Failure> {
        let mut chunks = Vec::new();
        let mut rows = 0;
        for batch in batches {
            if batch.num_rows() == 0 {
                continue;
            }
            check_columns(&self.name, &self.schema, &batch.schema())?;
            let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
                .map_err(|error| {
                    Failure::new(
                        "output",
                        format!("rows do not fit {}: {error}", self.name),
                    )
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
            let mut decoder = Decoder::new("in", schema());
            let mut back = Vec::new();
            for chunk in chunks {
                back.extend(decoder.decode(chunk).unwrap());
            }
            decoder.finish().unwrap();
            let back = arrow_select::concat::concat_batches(&schema(), &back).unwrap();
            assert_eq!(back, batch);
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

    #[test]
    fn a_stream_of_a_schema_alone_ends_well_with_and_without_its_end() {
        let whole = encode_schema(&schema()).unwrap();
        for length in [whole.len(), whole.len() - END_OF_STREAM.len()] {
            let mut decoder = Decoder::new("in", schema());
            assert!(decoder.decode(whole[..length].to_vec()).unwrap().is_empty());
            decoder.finish().unwrap();
        }
        Decoder::new("in", schema()).finish().unwrap();
    }

    #[test]
    fn a_stream_of_another_schema_is_a_failure_also_without_rows() {
        let other = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let chunk = encode_schema(&other).unwrap();
        let end = chunk.len() - END_OF_STREAM.len();
        let mut decoder = Decoder::new("staff", schema());
        decoder.decode(chunk[..end].to_vec()).unwrap();
        assert_eq!(
            decoder.finish().unwrap_err().message,
            "the input staff is declared as (id Int32, name Utf8) and came as (id Int64)"
        );
    }

    #[test]
    fn a_stream_cut_short_is_a_failure_at_its_end() {
        let chunk = encode(&[batch(100, 10)]).remove(0);
        for length in [1, 9, 100, chunk.len() - 1] {
            let mut decoder = Decoder::new("staff", schema());
            let cut = decoder
                .decode(chunk[..length].to_vec())
                .and_then(|_| decoder.finish());
            assert_eq!(cut.unwrap_err().code, "unreadable-input", "{length} bytes");
        }
    }

    #[test]
    fn rubbish_is_a_failure() {
        let mut decoder = Decoder::new("staff", schema());
        let failure = decoder.decode(vec![7; 64]).and_then(|_| decoder.finish());
        assert_eq!(failure.unwrap_err().code, "unreadable-input");
    }
}
