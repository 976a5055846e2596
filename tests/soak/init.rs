//! `init` killed at everything that it changes: the next `init` completes the project.

use anyhow::Result;

use tidemill_tests::beginning::{kill_compiling, kill_init};

use super::asked::Asked;
use super::table::Line;

/// Of all changes that `init` makes, every so many-th is a case of its own.
const STRIDE: u64 = 3;

/// Kills of `init`.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let mut survived = 0;
    while !asked.is_over() && kill_init(STRIDE * survived)? {
        survived += 1;
    }
    println!("init        {survived:>5} kills");
    let compiling = match asked.is_over() {
        true => 0,
        false => kill_compiling()?,
    };
    let line = |what: &str, survived| Line {
        suite: "init",
        what: what.into(),
        survived,
    };
    Ok(vec![
        line("init killed between two changes", survived),
        line("init killed where compiled code is kept", compiling),
    ])
}
