//! Cases: what a table makes of its inputs, as Markdown files that people read and machines check.
//!
//! A case is one file. It says in a heading and a line of prose what it is about, then gives a table of rows
//! for each input and for what is expected of them:
//!
//! ```markdown
//! # A surname with an apostrophe
//!
//! It is kept as it is.
//!
//! ## input staff
//!
//! | staff_id | last_name |
//! |---------:|-----------|
//! |        1 | O'Keefe   |
//! |        2 | NULL      |
//!
//! ## deleted staff
//!
//! | staff_id |
//! |---------:|
//! |        3 |
//!
//! ## output
//!
//! | staff_id | last_name |
//! |---------:|-----------|
//! |        1 | O'Keefe   |
//!
//! ## retractions
//!
//! | staff_id |
//! |---------:|
//! |        3 |
//!
//! ## rejects
//!
//! | input | row | code          | message                                                         |
//! |-------|----:|---------------|-----------------------------------------------------------------|
//! | staff |   2 | missing-value | staff.last_name is NULL, and dim_staff.last_name must have a value |
//! ```
//!
//! A section that is left out has no rows. Each table names all columns, in any order. Values are read as the
//! declared type. `NULL` is no value; `""` is the empty text, `"NULL"` the text of four letters: whatever
//! stands in double quotes is the text between them, with `\"`, `\\`, `\n`, `\r` and `\t` escaped, and `\|`
//! is a bar anywhere. Rows count from 1, over the whole input, however it is cut.
//!
//! [`check_cases`] runs every case of a crate natively. To run the same cases in another way: [`Case::read`]
//! gives the inputs as batches, [`pieces`] cuts them, and [`Case::compare`] takes an [`Outcome`] however it
//! came about.

mod case;
mod compare;
mod run;
mod written;

pub use case::{Case, CaseError, CaseInput};
pub use compare::{Difference, Outcome, RejectedRow};
pub use run::{CHUNK_ROWS, check_cases, pieces, run};
