//! The straight line: the only room that knows several others.
//!
//! ```text
//! Pipeline::extract ──▶ landing manifest   ──▶ Pipeline::transform ──▶ processed manifest ──▶ Pipeline::load
//! ```

pub mod report;
