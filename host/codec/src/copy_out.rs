//! Decodes PostgreSQL's binary COPY format into Arrow batches.
//!
//! No I/O: bytes go in as they arrive, cut anywhere, and batches come out. The server is not trusted to
//! follow its own protocol: whatever it sends gives batches or a [`CopyError`], never a panic, and no
//! memory is set aside for bytes that have not arrived. The format is described in PostgreSQL's manual
//! under COPY, "Binary Format".
//!
//! Rows are gathered into blocks that stay near in memory. Of a block the fields are found first, row by row, and
//! then decoded column by column: the type of a column is looked at once per block and not once per value.

mod column;
pub mod numeric;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::column::Column;

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 8_192;

/// Bytes of values after which a batch is cut although it has fewer rows: wide rows must not multiply
/// the memory of a run by [`BATCH_ROWS`].
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Rows and bytes after which a block is decoded: what the second level of a cache holds.
const BLOCK_ROWS: usize = 1_024;
const BLOCK_BYTES: usize = 256 * 1024;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;

/// Flags of which a reader must understand each that is set; none exists any more.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// In which form the values of a column come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// In that of the Arrow type they become.
    #[default]
    Plain,
    /// As the 16 bytes of a uuid, which become its text.
    Uuid,
    /// As the text of a jsonb behind the version of its form.
    Jsonb,
}

/// What is wrong with the bytes of a COPY.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
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
    /// Before a row, or before the trailer.
    Row,
    /// Within a row: fields still to come.
    Fields(usize),
    /// Behind the trailer.
    End,
}

/// Where a field stands in its block; [`NULL`] as the length of one that has no value.
#[derive(Debug, Clone, Copy)]
struct Field {
    start: u32,
    length: u32,
}

const NULL: u32 = u32::MAX;

impl Field {
    fn is_null(self) -> bool {
        self.length == NULL
    }

    /// Its bytes, of those of its block.
    #[inline]
    fn of(self, block: &[u8]) -> &[u8] {
        let start = self.start as usize;
        let bytes = block.get(start..start.wrapping_add(self.length as usize));
        bytes.unwrap_or_default()
    }
}

/// The decoder of one COPY: its state between fragments, and the batch in the making.
pub struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    place: Place,
    /// The bytes of the block, and of what follows it so far.
    bytes: Vec<u8>,
    /// How many of them have been looked at.
    at: usize,
    /// Where the row begins that is looked at.
    row: usize,
    block_rows: usize,
    /// Rows of the batch in the making, those of the block included, and their bytes.
    batch_rows: usize,
    batch_bytes: usize,
    ready: VecDeque<RecordBatch>,
}

impl CopyDecoder {
    /// A decoder of rows that have the columns of `schema`, in its order, sent as `forms` says: all that it does
    /// not name are plain.
    ///
    /// # Errors
    /// [`CopyError::Format`] when the schema has a type that is never landed from PostgreSQL.
    pub fn new(schema: SchemaRef, forms: &[Form]) -> Result<Self, CopyError> {
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(position, field)| {
                let form = forms.get(position).copied().unwrap_or_default();
                Column::new(field.data_type(), form, field.is_nullable())
                    .ok_or_else(|| broken(format!("no decoder for {}", field.data_type())))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema,
            columns,
            place: Place::Header,
            bytes: Vec::new(),
            at: 0,
            row: 0,
            block_rows: 0,
            batch_rows: 0,
            batch_bytes: 0,
            ready: VecDeque::new(),
        })
    }

    /// Takes the next bytes of the stream; they may begin and end anywhere.
    ///
    /// # Errors
    /// What is wrong with them, or with those before: rows are decoded some at a time.
    pub fn push(&mut self, fragment: &[u8]) -> Result<(), CopyError> {
        self.bytes.extend_from_slice(fragment);
        while self.step()? {}
        Ok(())
    }

    /// The next batch that is full, in the order of the rows.
    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// The last batch, when the stream has ended.
    ///
    /// # Errors
    /// [`CopyError::Format`] when it ended before its trailer.
    pub fn finish(mut self) -> Result<Option<RecordBatch>, CopyError> {
        if self.place != Place::End {
            return Err(broken("the stream ends before its trailer"));
        }
        if self.batch_rows > 0 {
            self.cut()?;
        }
        Ok(self.ready.pop_back())
    }

    /// Looks at what comes next; false when it has not arrived.
    fn step(&mut self) -> Result<bool, CopyError> {
        match self.place {
            Place::Header => self.header(),
            Place::Extension(missing) => {
                let skipped = missing.min(self.bytes.len() - self.at);
                self.at += skipped;
                self.place = match missing - skipped {
                    0 => Place::Row,
                    left => Place::Extension(left),
                };
                if self.place == Place::Row {
                    return Ok(true);
                }
                self.forget();
                Ok(false)
            }
            Place::Row => self.begin_row(),
            Place::Fields(missing) => self.find_fields(missing),
            Place::End if self.at == self.bytes.len() => Ok(false),
            Place::End => Err(broken("bytes follow the trailer")),
        }
    }

    fn header(&mut self) -> Result<bool, CopyError> {
        let known = SIGNATURE.len().min(self.bytes.len());
        if self.bytes.get(..known) != SIGNATURE.get(..known) {
            return Err(broken("it does not begin with the signature of a COPY"));
        }
        let (Some(flags), Some(extension)) = (u32_at(&self.bytes, 11), u32_at(&self.bytes, 15))
        else {
            return Ok(false);
        };
        if flags & CRITICAL_FLAGS != 0 {
            return Err(broken(format!("its flags {flags:#010x} are unknown")));
        }
        self.at = HEADER_BYTES;
        self.place = Place::Extension(extension as usize);
        Ok(true)
    }

    fn begin_row(&mut self) -> Result<bool, CopyError> {
        let Some(count) = i16_at(&self.bytes, self.at) else {
            return Ok(false);
        };
        self.row = self.at;
        self.at += 2;
        if count == -1 {
            self.decode()?;
            self.place = Place::End;
            return Ok(true);
        }
        let expected = self.columns.len();
        if usize::try_from(count) != Ok(expected) {
            return Err(broken(format!(
                "a row has {count} fields where {expected} were asked for"
            )));
        }
        self.place = Place::Fields(expected);
        Ok(true)
    }

    /// Notes where the `missing` fields of a row stand, as far as they have arrived.
    fn find_fields(&mut self, missing: usize) -> Result<bool, CopyError> {
        let (mut at, mut left) = (self.at, missing);
        let first = self.columns.len() - missing;
        for column in self.columns.iter_mut().skip(first) {
            let Some(length) = i32_at(&self.bytes, at) else {
                break;
            };
            let start = at + 4;
            let (end, length) = match u32::try_from(length) {
                Ok(length) => (start + length as usize, length),
                Err(_) if length == -1 => (start, NULL),
                Err(_) => return Err(broken(format!("a field has the length {length}"))),
            };
            if end > self.bytes.len() {
                break;
            }
            let start = u32::try_from(start).map_err(|_| broken("a row has more than 4 GiB"))?;
            column.push(Field { start, length });
            (at, left) = (end, left - 1);
        }
        self.at = at;
        self.place = Place::Fields(left);
        if left > 0 {
            return Ok(false);
        }
        self.place = Place::Row;
        self.end_row()?;
        Ok(true)
    }

    /// Counts a row that is whole, and decodes it with those before when they are enough.
    fn end_row(&mut self) -> Result<(), CopyError> {
        self.block_rows += 1;
        self.batch_rows += 1;
        self.batch_bytes += self.at - self.row;
        if self.batch_rows == BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
            self.decode()?;
            self.cut()
        } else if self.block_rows == BLOCK_ROWS || self.at >= BLOCK_BYTES {
            self.decode()
        } else {
            Ok(())
        }
    }

    /// Adds the rows of the block to the batch in the making.
    fn decode(&mut self) -> Result<(), CopyError> {
        for (position, column) in self.columns.iter_mut().enumerate() {
            let appended = column.append(&self.bytes);
            appended.map_err(|misfit| misfit.at(position))?;
        }
        self.block_rows = 0;
        self.forget();
        Ok(())
    }

    /// Drops the bytes that have been looked at.
    fn forget(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
    }

    /// Closes the batch in the making.
    fn cut(&mut self) -> Result<(), CopyError> {
        let columns = self.columns.iter_mut().enumerate();
        let arrays = columns
            .map(|(position, column)| column.finish().map_err(|misfit| misfit.at(position)))
            .collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.batch_rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| broken(error.to_string()))?;
        self.ready.push_back(batch);
        self.batch_rows = 0;
        self.batch_bytes = 0;
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
