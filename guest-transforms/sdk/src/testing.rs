//! Cases: what a table makes of its inputs, as JSON files that people read and machines check.
//!
//! A case is one file, `cases/NAME.json` in the crate of the module; [`tidemill_case`] says what stands in one, and how
//! each type is written. [`check_cases`] runs every case of a crate natively, in chunks of several sizes, where a
//! debugger can follow it. `tidemill module test` runs the same files in the sandbox as well, compares what both gave,
//! writes expectations anew and cuts cases out of landed data.

mod run;

pub use run::{CHUNK_ROWS, check_cases, check_cases_with, pieces, run, shape};
pub use tidemill_case::{Case, CaseError, Made, Outcome, RejectedRow, compare};
