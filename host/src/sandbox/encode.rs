//! From batches to the chunks that a guest is given.

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::limits::{Limits, MAX_CHUNK_BYTES, MAX_CHUNK_ROWS};

/// One stream towards a guest. Its buffer is used again for every chunk: fresh big buffers would spend
/// more time on page faults than on copying.
pub(super) struct ChunkWriter {
    stream: StreamWriter<Vec<u8>>,
    /// Whether what the buffer holds has been given away.
    sent: bool,
}

impl std::fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.stream.get_ref().len();
        f.debug_struct("ChunkWriter")
            .field("bytes", &bytes)
            .finish()
    }
}

impl ChunkWriter {
    /// A stream whose first chunk will begin with `schema`.
    pub(super) fn new(schema: &Schema) -> Result<Self, ArrowError> {
        Ok(Self {
            stream: StreamWriter::try_new(Vec::new(), schema)?,
            sent: false,
        })
    }

    /// The next chunk: as many of the first rows of `batch` as fit, and how many those are.
    pub(super) fn chunk(
        &mut self,
        batch: &RecordBatch,
        limits: &Limits,
    ) -> Result<(&Vec<u8>, usize), ArrowError> {
        if std::mem::replace(&mut self.sent, true) {
            self.stream.get_mut().clear();
        }
        let begin = self.stream.get_ref().len();
        let mut rows = fitting_rows(batch, limits);
        loop {
            self.stream.write(&batch.slice(0, rows))?;
            // The estimate is an average: rows of very different sizes may need another cut.
            if rows <= 1 || self.stream.get_ref().len() - begin <= MAX_CHUNK_BYTES {
                return Ok((self.stream.get_ref(), rows));
            }
            self.stream.get_mut().truncate(begin);
            rows /= 2;
        }
    }
}

/// How many rows of `batch` make a chunk of about the size that the limits ask for.
fn fitting_rows(batch: &RecordBatch, limits: &Limits) -> usize {
    let rows = batch.num_rows();
    let bytes: usize = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum();
    let by_bytes = (limits.chunk_bytes as u128 * rows as u128) / (bytes.max(1) as u128);
    let most = limits.chunk_rows.clamp(1, MAX_CHUNK_ROWS);
    let by_bytes = usize::try_from(by_bytes).unwrap_or(usize::MAX);
    by_bytes.clamp(1, most).min(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn cut(batch: &RecordBatch, limits: &Limits) -> (Vec<usize>, Vec<u8>) {
        let mut writer = ChunkWriter::new(&batch.schema()).expect("a plain schema");
        let (mut sizes, mut stream, mut from) = (Vec::new(), Vec::new(), 0);
        while from < batch.num_rows() {
            let rest = batch.slice(from, batch.num_rows() - from);
            let (chunk, rows) = writer.chunk(&rest, limits).expect("it encodes");
            assert!(rows == 1 || chunk.len() <= MAX_CHUNK_BYTES + 4096);
            stream.extend_from_slice(chunk);
            sizes.push(rows);
            from += rows;
        }
        (sizes, stream)
    }

    #[test]
    fn the_chunks_together_are_one_stream_of_the_same_rows() {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        let batch = RecordBatch::try_from_iter([("id", ids)]).expect("one column");
        let limits = Limits {
            chunk_rows: 300,
            ..Limits::default()
        };
        let (sizes, stream) = cut(&batch, &limits);
        assert_eq!(sizes, [300, 300, 300, 100]);
        let read: Vec<_> = StreamReader::try_new(stream.as_slice(), None)
            .expect("a schema comes first")
            .collect::<Result<_, _>>()
            .expect("it decodes");
        let whole = arrow::compute::concat_batches(&batch.schema(), &read).expect("one schema");
        assert_eq!(whole, batch);
    }

    #[test]
    fn a_few_huge_rows_do_not_make_a_huge_chunk() {
        let texts: Vec<String> = (0..64)
            .map(|n| "x".repeat(if n < 8 { 3 << 20 } else { 1 }))
            .collect();
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let batch = RecordBatch::try_from_iter([("text", texts)]).expect("one column");
        let limits = Limits {
            chunk_bytes: 64 << 20,
            ..Limits::default()
        };
        let (sizes, _) = cut(&batch, &limits);
        assert_eq!(sizes.iter().sum::<usize>(), 64);
        assert!(sizes.len() >= 4, "{sizes:?}");
    }
}
