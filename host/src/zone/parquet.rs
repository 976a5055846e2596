//! Parquet objects in a zone: rows in, one or several immutable objects out, and back.
//!
//! The writer settings are fixed and have a name, so that the same rows in the same batches give the same
//! bytes: a replay compares digests, and uses the [`Settings`] that the manifest names. An object is at most
//! [`PART_ROWS`] rows, so that a reader may hold one whole: it checks the digest that the manifest records
//! before it decodes a single byte.

mod encode;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::pin::Pin;

use arrow::record_batch::RecordBatch;
use futures::stream::Stream;

pub use self::read::{Verified, decode, read, read_kept, read_verified};
pub use self::settings::{Settings, WRITER};
pub use self::write::{Part, PartWriter};
use super::ZoneError;

/// Rows in one object. A million rows of a fact are some 20 MB.
pub const PART_ROWS: u64 = 1 << 20;

/// Rows in one row group: large enough to compress, small enough to read a few keys without the rest.
const GROUP_ROWS: usize = 1 << 17;

/// Rows in one batch that a reader gives.
pub const BATCH_ROWS: usize = 8_192;

/// Batches of one or several objects, in order.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, ZoneError>> + Send>>;
