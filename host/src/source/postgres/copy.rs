//! Decodes PostgreSQL's binary COPY format into Arrow batches.
//!
//! No I/O: bytes go in as they arrive, cut anywhere, and batches come out. The server is not trusted to
//! follow its own protocol: whatever it sends gives batches or a [`CopyError`], never a panic, and no
//! memory is set aside for bytes that have not arrived. The format is described in PostgreSQL's manual
//! under COPY, "Binary Format".

mod column;
mod numeric;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::column::Column;
use super::types::Wire;

/// Rows in a batch, at most.
pub(super) const BATCH_ROWS: usize = 8_192;

/// Bytes of values after which a batch is cut although it has fewer rows: wide rows must not multiply
/// the memory of a run by [`BATCH_ROWS`].
const BATCH_BYTES: usize = 8 * 1024 * 1024;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;

/// Flags of which a reader must understand each that is set; none exists any more.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// What is wrong with the bytes of a COPY.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyError {
    /// They do not follow the format.
    #[error("{0}")]
    Format(String),
    /// A value has no place in its column's Arrow type.
    #[error("column {column} holds {value}, which is not a {expected}")]
    Value {
        /// The column's position, from 0.
        column: usize,
        /// What was found.
        value: String,
        /// What would fit.
        expected: String,
    },
}

fn broken(reason: impl Into<String>) -> CopyError {
    CopyError::Format(reason.into())
}

/// Where the decoder is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the signature.
    Header,
    /// In the header's extension, which is skipped: bytes still to come.
    Extension(usize),
    /// Before or within a row.
    Rows,
    /// Behind the trailer.
    End,
}

/// How far the row at the start of the buffer has been looked at.
///
/// It is remembered between fragments, so that a row that arrives in many is looked at once.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    /// Fields whose end is known.
    fields: usize,
    /// Where the next field's length is; 0 before the row's field count was read.
    offset: usize,
}

/// What stands at the start of the buffer.
enum Head {
    /// A whole row, of so many bytes.
    Row(usize),
    /// The trailer.
    Trailer,
    /// Less than either.
    Partial,
}

/// The decoder of one COPY: its state between fragments, and the batch in the making.
pub(super) struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    place: Place,
    /// Bytes of an unfinished header or row.
    rest: Vec<u8>,
    scan: Scan,
    rows: usize,
    bytes: usize,
    ready: std::collections::VecDeque<RecordBatch>,
}

impl CopyDecoder {
    /// A decoder of rows that have the columns of `schema`, in its order, sent as `wires` says.
    ///
    /// # Errors
    /// [`CopyError::Format`] when the schema has a type that is never landed from PostgreSQL.
    pub(super) fn new(schema: SchemaRef, wires: &[Wire]) -> Result<Self, CopyError> {
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(position, field)| {
                let wire = wires.get(position).copied().unwrap_or_default();
                Column::new(field.data_type(), wire, field.is_nullable())
                    .ok_or_else(|| broken(format!("no decoder for {}", field.data_type())))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema,
            columns,
            place: Place::Header,
            rest: Vec::new(),
            scan: Scan::default(),
            rows: 0,
            bytes: 0,
            ready: std::collections::VecDeque::new(),
        })
    }

    /// Takes the next bytes of the stream; they may begin and end anywhere.
    pub(super) fn push(&mut self, fragment: &[u8]) -> Result<(), CopyError> {
        if self.rest.is_empty() {
            let used = self.consume(fragment)?;
            self.rest
                .extend_from_slice(fragment.get(used..).unwrap_or_default());
        } else {
            self.rest.extend_from_slice(fragment);
            let rest = std::mem::take(&mut self.rest);
            let used = self.consume(&rest)?;
            self.rest = rest;
            self.rest.drain(..used);
        }
        Ok(())
    }

    /// The next batch that is full, in the order of the rows.
    pub(super) fn next_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// The last batch, when the stream has ended.
    ///
    /// # Errors
    /// [`CopyError::Format`] when it ended before its trailer.
    pub(super) fn finish(mut self) -> Result<Option<RecordBatch>, CopyError> {
        if self.place != Place::End {
            return Err(broken("the stream ends before its trailer"));
        }
        if self.rows > 0 {
            self.cut()?;
        }
        Ok(self.ready.pop_back())
    }

    /// Decodes what is whole at the start of `bytes`, and says how many bytes that was.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, CopyError> {
        let mut used = 0;
        loop {
            let left = bytes.get(used..).unwrap_or_default();
            let step = match self.place {
                Place::Header => self.header(left)?,
                Place::Extension(missing) => {
                    let skipped = missing.min(left.len());
                    self.place = if skipped == missing {
                        Place::Rows
                    } else {
                        Place::Extension(missing - skipped)
                    };
                    Some(skipped).filter(|&skipped| skipped > 0 || missing == 0)
                }
                Place::Rows => self.row(left)?,
                Place::End if left.is_empty() => None,
                Place::End => return Err(broken("bytes follow the trailer")),
            };
            match step {
                Some(step) => used += step,
                None => return Ok(used),
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Option<usize>, CopyError> {
        let known = SIGNATURE.len().min(bytes.len());
        if bytes.get(..known) != SIGNATURE.get(..known) {
            return Err(broken("it does not begin with the signature of a COPY"));
        }
        let (Some(flags), Some(extension)) = (u32_at(bytes, 11), u32_at(bytes, 15)) else {
            return Ok(None);
        };
        if flags & CRITICAL_FLAGS != 0 {
            return Err(broken(format!("its flags {flags:#010x} are unknown")));
        }
        self.place = Place::Extension(extension as usize);
        Ok(Some(HEADER_BYTES))
    }

    fn row(&mut self, bytes: &[u8]) -> Result<Option<usize>, CopyError> {
        match self.head(bytes)? {
            Head::Partial => Ok(None),
            Head::Trailer => {
                self.place = Place::End;
                Ok(Some(2))
            }
            Head::Row(length) => {
                self.append(bytes.get(..length).unwrap_or_default())?;
                self.scan = Scan::default();
                if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES {
                    self.cut()?;
                }
                Ok(Some(length))
            }
        }
    }

    /// Finds the end of the row at the start of `bytes`, going on where the last look ended.
    fn head(&mut self, bytes: &[u8]) -> Result<Head, CopyError> {
        if self.scan.offset == 0 {
            let Some(count) = i16_at(bytes, 0) else {
                return Ok(Head::Partial);
            };
            if count == -1 {
                return Ok(Head::Trailer);
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                let expected = self.columns.len();
                return Err(broken(format!(
                    "a row has {count} fields where {expected} were asked for"
                )));
            }
            self.scan.offset = 2;
        }
        while self.scan.fields < self.columns.len() {
            let Some(length) = i32_at(bytes, self.scan.offset) else {
                return Ok(Head::Partial);
            };
            let length = match length {
                -1 => 0,
                length => usize::try_from(length)
                    .map_err(|_| broken(format!("a field has the length {length}")))?,
            };
            let end = self.scan.offset + 4 + length;
            if end > bytes.len() {
                return Ok(Head::Partial);
            }
            self.scan = Scan {
                fields: self.scan.fields + 1,
                offset: end,
            };
        }
        Ok(Head::Row(self.scan.offset))
    }

    /// Appends one whole row to the batch in the making.
    fn append(&mut self, row: &[u8]) -> Result<(), CopyError> {
        let short = || broken("a row is shorter than its fields");
        let mut offset = 2;
        for (position, column) in self.columns.iter_mut().enumerate() {
            let length = i32_at(row, offset).ok_or_else(short)?;
            offset += 4;
            let field = match usize::try_from(length) {
                Err(_) => None,
                Ok(length) => {
                    let field = row.get(offset..offset + length).ok_or_else(short)?;
                    offset += length;
                    Some(field)
                }
            };
            column.append(field).map_err(|misfit| misfit.at(position))?;
        }
        self.rows += 1;
        self.bytes += row.len();
        Ok(())
    }

    /// Closes the batch in the making.
    fn cut(&mut self) -> Result<(), CopyError> {
        let columns = self.columns.iter_mut().enumerate();
        let arrays = columns
            .map(|(position, column)| column.finish().map_err(|misfit| misfit.at(position)))
            .collect::<Result<_, _>>()?;
        let options =
            arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| broken(error.to_string()))?;
        self.ready.push_back(batch);
        self.rows = 0;
        self.bytes = 0;
        Ok(())
    }
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_be_bytes)
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    array_at(bytes, offset).map(i32::from_be_bytes)
}

fn i16_at(bytes: &[u8], offset: usize) -> Option<i16> {
    array_at(bytes, offset).map(i16::from_be_bytes)
}

#[cfg(test)]
mod tests;
