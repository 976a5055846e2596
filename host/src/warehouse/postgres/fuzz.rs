//! What [`crate::fuzzing`] may see of this room: how rows are written and values are read.

use arrow::array::RecordBatch;
use bytes::BytesMut;

pub(crate) use super::decode::fuzz::{decode, numbers_agree};
use super::types::declare;
use crate::warehouse::copy::{CopyColumn, Encoder};

/// The batch as the stream that loads it into a table of our own making.
pub(crate) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, String> {
    let schema = batch.schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let declared = declare(field.data_type())?;
        Ok(CopyColumn {
            name: field.name().clone(),
            index,
            data_type: field.data_type().clone(),
            wire: declared.wire.ok_or("nothing is loaded into it")?,
        })
    });
    let encoder = Encoder::new(columns.collect::<Result<_, String>>()?);
    let mut stream = BytesMut::new();
    Encoder::begin(&mut stream);
    let mut rows = encoder.rows(batch).map_err(|e| e.to_string())?;
    while rows
        .fill(&mut stream, usize::MAX)
        .map_err(|e| e.to_string())?
    {}
    Encoder::end(&mut stream);
    Ok(stream.to_vec())
}

/// The fields of a stream of one column, without what frames them.
pub(crate) fn fields(stream: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    const HEADER_BYTES: usize = 19;
    let mut rest = stream.get(HEADER_BYTES..)?;
    let mut fields = Vec::new();
    loop {
        let (count, after) = rest.split_first_chunk::<2>()?;
        match i16::from_be_bytes(*count) {
            -1 => return after.is_empty().then_some(fields),
            1 => {}
            _ => return None,
        }
        let (length, after) = after.split_first_chunk::<4>()?;
        rest = match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => {
                fields.push(None);
                after
            }
            Ok(length) => {
                let (field, after) = after.split_at_checked(length)?;
                fields.push(Some(field));
                after
            }
        };
    }
}
