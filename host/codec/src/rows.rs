//! Digests of keys and of rows, as the index keeps them. They are persisted, so the encoding below is a format.
//!
//! A row is encoded as the cells that are not NULL, in the order of their column names; a cell is the
//! first four bytes of the BLAKE3 of its column's name, then its value: integers and booleans as eight
//! little-endian bytes whatever their width, decimals as sixteen or thirty-two, times as eight, floats by
//! their bits, texts and bytes after their length in four bytes, lists as their length and then their
//! items each after a byte that tells NULL. The digest is the first sixteen bytes of the BLAKE3 of that.
//!
//! So a column that is added and is NULL everywhere, columns in another order and a widened integer leave
//! every digest as it was, and nothing is landed again for them. Arrow's own row format would be quicker to
//! use but promises no stability between versions: an upgrade would look like a change of every row.

mod block;
mod hash;
mod values;

use arrow::array::FixedSizeBinaryArray;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

use self::block::Block;
use self::values::Values;

/// The digest of a key or of a row: 128 bits.
pub type Digest128 = [u8; 16];

/// Digests as a column.
pub fn digest_array(digests: &[Digest128]) -> FixedSizeBinaryArray {
    let bytes = Buffer::from_vec(digests.as_flattened().to_vec());
    FixedSizeBinaryArray::new(16, bytes, None)
}

/// A batch that cannot be digested.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A column is not there.
    #[error("the rows have no column `{0}`, which is part of the key")]
    NoColumn(String),
    /// The type of a column is none that a source lands.
    #[error("column `{column}` has the type {data_type}, which no source lands")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
}

/// Digests rows of one schema.
#[derive(Debug, Clone)]
pub struct Digester {
    /// Positions of key columns, by column name.
    key: Vec<Cell>,
    /// Positions of all columns, by column name.
    row: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    column: usize,
    tag: [u8; 4],
}

impl Digester {
    /// A digester for rows of `schema` that `key` identifies.
    ///
    /// # Errors
    /// `Config` when a key column is not in the schema.
    pub fn new(schema: &Schema, key: &[String]) -> Result<Self, RowsError> {
        let all: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        Ok(Self {
            key: cells(schema, key)?,
            row: cells(schema, &all)?,
        })
    }

    /// One digest of the key per row.
    ///
    /// # Errors
    /// `Bug` when a column has a type that no source lands.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Vec<Digest128>, RowsError> {
        digest(batch, &self.key)
    }

    /// One digest of the whole row per row.
    ///
    /// # Errors
    /// As [`Digester::keys`].
    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<Digest128>, RowsError> {
        digest(batch, &self.row)
    }
}

fn cells(schema: &Schema, names: &[String]) -> Result<Vec<Cell>, RowsError> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let column = schema
                .index_of(name)
                .map_err(|_| RowsError::NoColumn(name.clone()))?;
            let [a, b, c, d, ..] = *blake3::hash(name.as_bytes()).as_bytes();
            let tag = [a, b, c, d];
            Ok(Cell { column, tag })
        })
        .collect()
}

/// Rows that are encoded before they are hashed: their bytes should still be near when they are.
const BLOCK_ROWS: usize = 512;

fn digest(batch: &RecordBatch, cells: &[Cell]) -> Result<Vec<Digest128>, RowsError> {
    let schema = batch.schema_ref();
    let columns = cells
        .iter()
        .map(|cell| {
            let values = Values::of(batch.column(cell.column)).ok_or_else(|| RowsError::Type {
                column: schema.field(cell.column).name().clone(),
                data_type: batch.column(cell.column).data_type().clone(),
            })?;
            Ok((cell.tag, values))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut digests = Vec::with_capacity(batch.num_rows());
    let mut block = Block::default();
    for from in (0..batch.num_rows()).step_by(BLOCK_ROWS) {
        let rows = from..(from + BLOCK_ROWS).min(batch.num_rows());
        block.encode(&columns, rows);
        hash::append(block.rows(), &mut digests);
    }
    Ok(digests)
}

#[cfg(test)]
mod tests;
