//! How rows are encoded: settings with a name, which manifests record.
//!
//! A change of the bytes that the same rows give is a new name. The earlier ones stay, because what they wrote
//! is replayed with them.

use std::collections::HashSet;

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use super::GROUP_ROWS;

/// The name of the settings that are used for new objects.
pub const WRITER: &str = Settings::Second.name();

/// A text column gets a dictionary when its values come back that often in its first batch.
const REPEATS: usize = 4;

/// The largest dictionary of a text column of one row group. One that outgrows it is not worth its look-ups.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// The writer settings by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Settings {
    /// `parquet-1`: a dictionary for every column, plain values where it overflows.
    First,
    /// `parquet-2`: differences of numbers and lengths of texts, a dictionary only for texts that repeat.
    /// Of a table of mixed columns it takes a quarter of the time and half of the bytes of the first.
    #[default]
    Second,
}

impl Settings {
    /// The settings that a manifest names; `None` for those of a later version.
    pub fn named(name: &str) -> Option<Self> {
        [Self::First, Self::Second]
            .into_iter()
            .find(|settings| settings.name() == name)
    }

    /// Their name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "parquet-1",
            Self::Second => "parquet-2",
        }
    }

    /// The properties of an object that begins with the rows of `first`.
    pub(super) fn properties(self, first: &RecordBatch) -> WriterProperties {
        let common = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(format!("tidemill {}", self.name()))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        match self {
            Self::First => common.build(),
            Self::Second => second(common.set_dictionary_enabled(false), first).build(),
        }
    }
}

fn second(mut properties: WriterPropertiesBuilder, first: &RecordBatch) -> WriterPropertiesBuilder {
    for (field, values) in first.schema_ref().fields().iter().zip(first.columns()) {
        let column = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            DataType::Utf8 | DataType::Binary => {
                properties = properties
                    .set_column_encoding(column.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
                if repeats(values.as_ref()) {
                    properties = properties
                        .set_column_dictionary_enabled(column.clone(), true)
                        .set_column_dictionary_page_size_limit(column, DICTIONARY_BYTES);
                }
            }
            // Digests: nothing makes them smaller.
            DataType::FixedSizeBinary(_) => {
                properties = properties.set_column_compression(column, Compression::UNCOMPRESSED);
            }
            data_type if is_stored_as_integer(data_type) => {
                properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
    }
    properties
}

/// Whether Parquet's own type for it is INT32 or INT64.
fn is_stored_as_integer(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _) => *precision <= 18,
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(_, _) => true,
        other => other.is_integer(),
    }
}

/// Whether values come back: what they say of the first rows is taken to hold for the rest.
fn repeats(values: &dyn Array) -> bool {
    let present = values.len() - values.null_count();
    let most = present / REPEATS;
    match values.data_type() {
        DataType::Utf8 => few(
            values
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::as_bytes),
            most,
        ),
        DataType::Binary => few(values.as_binary::<i32>().iter().flatten(), most),
        _ => false,
    }
}

/// Whether there are values, and at most `most` different ones.
fn few<'a>(values: impl Iterator<Item = &'a [u8]>, most: usize) -> bool {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for value in values {
        seen.insert(value);
        if seen.len() > most {
            return false;
        }
    }
    !seen.is_empty()
}
