//! Rows to bytes and back: what tidemill does once per value, and not once per batch.
//!
//! ```text
//! copy_out  what COPY TO of PostgreSQL sends ─▶ batches        rows   batches ─▶ a digest of each key and row
//! copy_in   batches ─▶ what COPY FROM takes                    order  digests ─▶ the order that sorts them
//! ```
//!
//! No I/O, no SQL, no policy: bytes and Arrow only. It is a crate of its own because the dev profile, in which
//! tidemill is built for the demo, the tests and daily work, optimises it fully, as it does Arrow and Parquet.
//! Rejected: that for the whole of tidemill, which takes twice as long to compile then.

pub mod copy_in;
pub mod copy_out;
pub mod order;
pub mod rows;
