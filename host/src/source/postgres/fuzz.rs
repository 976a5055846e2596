//! What [`crate::fuzzing`] may see of this room: the decoder of COPY.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_codec::copy_out::CopyDecoder;

/// The batches of a stream that comes in `fragments`.
pub(crate) fn decode(schema: &SchemaRef, fragments: &[&[u8]]) -> Result<Vec<RecordBatch>, String> {
    let mut decoder = CopyDecoder::new(schema.clone(), &[]).map_err(|e| e.to_string())?;
    let mut batches = Vec::new();
    for fragment in fragments {
        decoder.push(fragment).map_err(|e| e.to_string())?;
        batches.extend(std::iter::from_fn(|| decoder.next_batch()));
    }
    batches.extend(decoder.finish().map_err(|e| e.to_string())?);
    Ok(batches)
}
