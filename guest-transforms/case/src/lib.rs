//! Cases of modules as JSON files: what a module makes of which rows.
//!
//! A case is one file, `cases/NAME.json` in the crate of the module. People read it in a review and write it by hand,
//! `cargo test` and `tidemill module test` check it, and a run that fails leaves one behind.
//!
//! ```json
//! {
//!   "format": 1,
//!   "title": "A surname with an apostrophe",
//!   "about": "It is kept as it is; who has none is refused.",
//!   "context": { "logical_time": "2022-11-03T14:20:52.187Z", "seed": 21 },
//!   "inputs": {
//!     "staff": {
//!       "columns":
//!         ["staff_id", "last_name"],
//!       "rows": [
//!         [1,          "O'Keefe"],
//!         [2,          null]
//!       ],
//!       "deleted": {
//!         "columns":
//!           ["staff_id"],
//!         "rows": [
//!           [3]
//!         ]
//!       }
//!     }
//!   },
//!   "output": {
//!     "columns":
//!       ["staff_id", "last_name"],
//!     "rows": [
//!       [1,          "O'Keefe"]
//!     ]
//!   },
//!   "retractions": { "columns": ["staff_id"], "rows": [[2], [3]] },
//!   "rejects": [
//!     {"input": "staff", "row": 2, "code": "missing-value", "message": "staff.last_name is NULL, …"}
//!   ],
//!   "fuel": 41230
//! }
//! ```
//!
//! What is left out has no rows, and the context is then the beginning of 1970 and the seed 0. A table names all of
//! its columns, in any order; values are read as the type that the module declares, see [`value`] for how each type is
//! written. Rows count from 1 over a whole input, however it is cut into chunks. In place of `output`, `retractions`
//! and `rejects` a case may expect a `failure`.
//!
//! Both the host and the SDK need this, and neither may know the other, so it is a crate: it knows Arrow and JSON, and
//! no sandbox, session or zone. [`Shape`] is all that it is told of a module.

use std::io;
use std::path::{Path, PathBuf};

mod case;
mod compare;
mod document;
mod table;
pub mod value;
mod write;

pub use case::{
    Case, CaseError, CaseInput, Context, Failed, FailureKind, InputShape, Made, Origin, Outcome,
    RejectedRow, Shape,
};
pub use compare::{Difference, compare, is_beyond_native};
pub use table::{batch, cells};

/// The cases in a folder, by name: its files that end in `.json`.
///
/// # Errors
/// The folder cannot be read: it is not there, for example.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The version of the format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
