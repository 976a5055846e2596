//! Record batches as PostgreSQL's binary COPY, without I/O.
//!
//! ```text
//! header · ( field count · ( length · bytes )* )* · trailer        all integers big endian
//! ```
//!
//! An [`Encoder`] is made for fixed pairs of an Arrow column and a [`Wire`] form. What a pair cannot carry
//! exactly is refused when the pair is made ([`encodes`]) or, where it depends on the value, by an error that
//! names the column: nothing is rounded, cut or wrapped. SQL and sockets do not belong here.
//! Text COPY was rejected: every value would be escaped here and parsed by the server.

mod cells;
mod numeric;
#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};

use self::cells::{Cell, cells, put_cell};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// How the server wants the bytes of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric`.
    Numeric {
        /// Digits after the point that the column keeps; `None` keeps all.
        scale: Option<i32>,
    },
    /// `text` and everything whose binary form is its text: `varchar`, `char`, `json`, enums.
    Text,
    /// `jsonb`.
    Jsonb,
    /// `uuid`.
    Uuid,
    /// `bytea`.
    Bytea,
    /// `date`.
    Date,
    /// `time`.
    Time {
        /// Digits of a second that the column keeps: 0 to 6.
        digits: u32,
    },
    /// `timestamp`, or `timestamptz` when `zoned`.
    Timestamp {
        /// Whether values are instants. An instant is never stored as a wall clock, nor the other way round.
        zoned: bool,
        /// Digits of a second that the column keeps: 0 to 6.
        digits: u32,
    },
    /// A one-dimensional array.
    Array {
        /// The form of an element.
        element: Box<Wire>,
        /// The server's type of an element, which it checks.
        oid: u32,
    },
}

/// A value, or a column, that PostgreSQL cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A value.
    #[error("column `{column}` holds {problem}, in row {row} of the batch")]
    Value {
        /// The column.
        column: String,
        /// The row within its batch, from 0.
        row: usize,
        /// What it holds, without the value, which may be sensitive.
        problem: &'static str,
    },
    /// A batch is not of the schema that was declared for it.
    #[error("a batch has {found} where column `{column}` of {expected} was declared")]
    Shape {
        /// The column.
        column: String,
        /// The declared type.
        expected: String,
        /// What the batch has.
        found: String,
    },
}

/// Whether `wire` can carry values of `data_type` exactly, or refuse those it cannot.
pub fn encodes(data_type: &DataType, wire: &Wire) -> bool {
    cells(&new_empty_array(data_type), wire).is_some()
}

/// One column of the COPY.
#[derive(Debug, Clone)]
pub struct CopyColumn {
    /// Its name, for errors.
    pub name: String,
    /// Its position in the batches.
    pub index: usize,
    /// Its type in the batches.
    pub data_type: DataType,
    /// Its form on the wire.
    pub wire: Wire,
}

/// Encodes batches of one schema.
#[derive(Debug)]
pub struct Encoder {
    columns: Vec<CopyColumn>,
}

impl Encoder {
    /// An encoder of these columns, in their order.
    pub fn new(columns: Vec<CopyColumn>) -> Self {
        Self { columns }
    }

    /// Writes what stands before the first row.
    pub fn begin(out: &mut BytesMut) {
        out.put_slice(SIGNATURE);
        out.put_i32(0); // no flags
        out.put_i32(0); // no header extension
    }

    /// Writes what stands after the last row.
    pub fn end(out: &mut BytesMut) {
        out.put_i16(-1);
    }

    /// The rows of `batch`, to be written piece by piece.
    pub fn rows<'a>(&'a self, batch: &'a RecordBatch) -> Result<Rows<'a>, CopyError> {
        let columns = self
            .columns
            .iter()
            .map(|column| {
                let shape = |found: String| CopyError::Shape {
                    column: column.name.clone(),
                    expected: column.data_type.to_string(),
                    found,
                };
                let array = batch
                    .columns()
                    .get(column.index)
                    .ok_or_else(|| shape(format!("{} columns", batch.num_columns())))?;
                if array.data_type() != &column.data_type {
                    return Err(shape(array.data_type().to_string()));
                }
                let write = cells(array, &column.wire)
                    .ok_or_else(|| shape(format!("no {:?}", column.wire)))?;
                Ok(RowsColumn {
                    name: &column.name,
                    array,
                    write,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Rows {
            columns,
            next: 0,
            end: batch.num_rows(),
        })
    }
}

/// The rows of one batch on their way out.
pub struct Rows<'a> {
    columns: Vec<RowsColumn<'a>>,
    next: usize,
    end: usize,
}

struct RowsColumn<'a> {
    name: &'a str,
    array: &'a ArrayRef,
    write: Cell<'a>,
}

impl Rows<'_> {
    /// Writes rows until `out` holds `enough` bytes; false when there are no more.
    pub fn fill(&mut self, out: &mut BytesMut, enough: usize) -> Result<bool, CopyError> {
        // PostgreSQL's limit is 1 600 columns, so the count always fits.
        let count = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        while self.next < self.end && out.len() < enough {
            out.put_i16(count);
            for column in &self.columns {
                put_cell(column.array, &column.write, self.next, out).map_err(|problem| {
                    CopyError::Value {
                        column: column.name.to_owned(),
                        row: self.next,
                        problem,
                    }
                })?;
            }
            self.next += 1;
        }
        Ok(self.next < self.end)
    }
}
