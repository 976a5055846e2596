//! `init` killed at everything that it changes: the next `init` completes the project.

use anyhow::Result;

use super::asked::Asked;
use super::table::Line;

/// Kills of `init`.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let mut survived = 0;
    while !asked.is_over() && tidemill_tests::beginning::kill_init(survived)? {
        survived += 1;
    }
    Ok(vec![Line {
        suite: "init",
        what: "init killed between two changes".into(),
        survived,
    }])
}
