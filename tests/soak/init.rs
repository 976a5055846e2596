//! `init` killed at everything that it changes, in a folder and in a bucket: the next `init` completes the project.

use anyhow::Result;

use tidemill_tests::beginning::{kill_compiling, kill_init};
use tidemill_tests::world::{At, Lake};

use super::asked::Asked;
use super::table::Line;

/// Of all changes that `init` makes, every so many-th is a case of its own.
const STRIDE: u64 = 3;

/// Kills of `init`.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let (in_folders, in_buckets) = (asked.is_at(At::Folder), asked.is_at(At::Bucket));
    let mut survived = 0;
    while in_folders && !asked.is_over() && kill_init(STRIDE * survived, None)? {
        survived += 1;
    }
    if in_folders {
        println!("init        {survived:>5} kills");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut in_a_bucket = 0;
    while in_buckets && !asked.is_over() {
        let lake = runtime.block_on(Lake::fresh());
        if !kill_init(STRIDE * in_a_bucket, Some(&lake))? {
            break;
        }
        in_a_bucket += 1;
    }
    if in_buckets {
        println!("init        {in_a_bucket:>5} kills in a bucket");
    }
    let compiling = match in_folders && !asked.is_over() {
        true => kill_compiling()?,
        false => 0,
    };
    let line = |what: &str, survived| Line {
        suite: "init",
        what: what.into(),
        survived,
    };
    let mut lines = Vec::new();
    if in_folders {
        lines.push(line("init killed between two changes", survived));
        lines.push(line("init killed where compiled code is kept", compiling));
    }
    if in_buckets {
        let what = "in a bucket, init killed between two changes";
        lines.push(line(what, in_a_bucket));
    }
    Ok(lines)
}
