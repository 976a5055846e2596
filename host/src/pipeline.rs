//! The straight line: the only room that knows several others.
//!
//! ```text
//! Pipeline::extract ──▶ landing manifest   ──▶ Pipeline::transform ──▶ processed manifest ──▶ Pipeline::load
//! ```

mod index;
mod landing;
pub mod report;
mod rows;

/// A written object as a manifest names it.
fn object(part: crate::zone::parquet::Part) -> crate::manifest::Object {
    crate::manifest::Object {
        key: part.key,
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256,
    }
}
