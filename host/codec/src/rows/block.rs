//! A block of rows in their encoding, written column by column: the type of a column is looked at once per
//! block, and where each cell goes is known before the first byte is written.

use std::ops::Range;

use arrow::buffer::NullBuffer;

use super::values::Values;

/// Bytes of a column's tag.
const TAG: usize = 4;

/// Bytes of the length of a text.
const LENGTH: usize = 4;

/// The encoding of some rows; its memory is used again for the next.
#[derive(Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// Where the next cell of each row goes.
    next: Vec<usize>,
    list: Vec<u8>,
}

impl Block {
    /// Encodes `rows` of `columns` in the place of what was there.
    pub(super) fn encode(&mut self, columns: &[([u8; TAG], Values<'_>)], rows: Range<usize>) {
        self.ends.clear();
        self.ends.resize(rows.len(), 0);
        for (_, values) in columns {
            self.measure(values, rows.clone());
        }
        self.next.clear();
        let mut end = 0;
        for row in &mut self.ends {
            self.next.push(end);
            end += *row;
            *row = end;
        }
        self.bytes.resize(end, 0);
        for (tag, values) in columns {
            self.place(*tag, values, rows.clone());
        }
    }

    /// The bytes of each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let row = self.bytes.get(from..*end).unwrap_or_default();
            from = *end;
            row
        })
    }

    /// Adds the length of every cell of a column to that of its row.
    fn measure(&mut self, values: &Values<'_>, rows: Range<usize>) {
        let nulls = values.nulls();
        let lengths = self.ends.iter_mut().zip(rows);
        let lengths = lengths.filter(|(_, row)| nulls.is_none_or(|nulls| nulls.is_valid(*row)));
        match values {
            Values::Text(array) => {
                lengths.for_each(|(end, row)| *end += TAG + LENGTH + array.value(row).len());
            }
            Values::Bytes(array) => {
                lengths.for_each(|(end, row)| *end += TAG + LENGTH + array.value(row).len());
            }
            Values::Fixed(array) => {
                let width = TAG + LENGTH + array.value_length().unsigned_abs() as usize;
                lengths.for_each(|(end, _)| *end += width);
            }
            Values::List(_) => {
                for (end, row) in lengths {
                    self.list.clear();
                    values.encode(row, &mut self.list);
                    *end += TAG + self.list.len();
                }
            }
            other => {
                let width = TAG + other.width();
                lengths.for_each(|(end, _)| *end += width);
            }
        }
    }

    fn place(&mut self, tag: [u8; TAG], values: &Values<'_>, rows: Range<usize>) {
        let mut cells = Cells {
            bytes: &mut self.bytes,
            next: &mut self.next,
            nulls: values.nulls(),
            first: rows.start,
            tag,
        };
        let long = |value: i64| value.to_le_bytes();
        match values {
            Values::Bool(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::I8(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::I16(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::I32(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::I64(a) => cells.fixed(|row| long(a.value(row))),
            Values::U32(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::U64(a) => cells.fixed(|row| a.value(row).to_le_bytes()),
            Values::F32(a) => cells.fixed(|row| a.value(row).to_bits().to_le_bytes()),
            Values::F64(a) => cells.fixed(|row| a.value(row).to_bits().to_le_bytes()),
            Values::D128(a) => cells.fixed(|row| a.value(row).to_le_bytes()),
            Values::D256(a) => cells.fixed(|row| a.value(row).to_le_bytes()),
            Values::Date(a) => cells.fixed(|row| long(a.value(row).into())),
            Values::Time(a) => cells.fixed(|row| long(a.value(row))),
            Values::Timestamp(a) => cells.fixed(|row| long(a.value(row))),
            Values::Text(a) => cells.sized(|row| a.value(row).as_bytes()),
            Values::Bytes(a) => cells.sized(|row| a.value(row)),
            Values::Fixed(a) => cells.sized(|row| a.value(row)),
            Values::List(_) => cells.lists(values, &mut self.list),
        }
    }
}

/// The cells of one column on their way into a block.
struct Cells<'a> {
    bytes: &'a mut [u8],
    next: &'a mut [usize],
    nulls: Option<&'a NullBuffer>,
    /// The row of the batch that is the first of the block.
    first: usize,
    tag: [u8; TAG],
}

impl Cells<'_> {
    /// Cells of `N` bytes.
    fn fixed<const N: usize>(&mut self, value: impl Fn(usize) -> [u8; N]) {
        let (tag, bytes) = (self.tag, &mut *self.bytes);
        let mut put = |row: usize, next: &mut usize| {
            let end = *next + TAG + N;
            if let Some(cell) = bytes.get_mut(*next..end) {
                let (into_tag, into_value) = cell.split_at_mut(TAG);
                into_tag.copy_from_slice(&tag);
                into_value.copy_from_slice(&value(row));
            }
            *next = end;
        };
        // Twice, so that a column without NULL has a loop without a question in it.
        match self.nulls {
            None => {
                for (row, next) in self.next.iter_mut().enumerate() {
                    put(self.first + row, next);
                }
            }
            Some(nulls) => {
                for (row, next) in self.next.iter_mut().enumerate() {
                    if nulls.is_valid(self.first + row) {
                        put(self.first + row, next);
                    }
                }
            }
        }
    }

    /// Cells whose length stands before them.
    fn sized<'v>(&mut self, value: impl Fn(usize) -> &'v [u8]) {
        for (row, next) in self.next.iter_mut().enumerate() {
            let row = self.first + row;
            if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let value = value(row);
            let end = *next + TAG + LENGTH + value.len();
            if let Some(cell) = self.bytes.get_mut(*next..end) {
                let (tag, rest) = cell.split_at_mut(TAG);
                let (length, text) = rest.split_at_mut(LENGTH);
                tag.copy_from_slice(&self.tag);
                // A length beyond 32 bits cannot be: Arrow's own offsets in these arrays are 32 bits wide.
                length.copy_from_slice(&(value.len() as u32).to_le_bytes());
                text.copy_from_slice(value);
            }
            *next = end;
        }
    }

    fn lists(&mut self, values: &Values<'_>, list: &mut Vec<u8>) {
        for (row, next) in self.next.iter_mut().enumerate() {
            let row = self.first + row;
            if !values.is_valid(row) {
                continue;
            }
            list.clear();
            values.encode(row, list);
            let end = *next + TAG + list.len();
            if let Some(cell) = self.bytes.get_mut(*next..end) {
                let (tag, rest) = cell.split_at_mut(TAG);
                tag.copy_from_slice(&self.tag);
                rest.copy_from_slice(list);
            }
            *next = end;
        }
    }
}
