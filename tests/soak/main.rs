//! `cargo x soak`: the tests of what may go wrong at any moment, at length. CI runs seeded samples of the same code.
//!
//! A suite is a file here and a line in [`SUITES`]. It goes on until it has survived what was asked of it, fails at
//! the first case that is not survived, and says how many were. Everything random follows from the seed.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod asked;
#[cfg(target_os = "linux")]
mod init;
mod kills;
#[cfg(target_os = "linux")]
mod points;
mod storms;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use asked::Asked;
use table::Line;

/// A suite: its name, and what runs it. It gives one line per kind of case.
struct Suite {
    name: &'static str,
    run: fn(&Asked) -> Result<Vec<Line>>,
}

/// Every suite, in the order in which they run.
const SUITES: &[Suite] = &[
    Suite {
        name: "kills",
        run: kills::run,
    },
    #[cfg(target_os = "linux")]
    Suite {
        name: "points",
        run: points::run,
    },
    #[cfg(target_os = "linux")]
    Suite {
        name: "init",
        run: init::run,
    },
    Suite {
        name: "storms",
        run: storms::run,
    },
];

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<()> {
    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
    let asked = Asked::read(std::env::args().skip(1), &names)?;
    println!("seed {}", asked.seed);
    let begin = Instant::now();
    let mut lines = Vec::new();
    for suite in SUITES.iter().filter(|suite| asked.wants(suite.name)) {
        let survived = (suite.run)(&asked);
        lines.extend(survived.with_context(|| format!("{} with seed {}", suite.name, asked.seed))?);
    }
    println!("\n{}", table::table(&asked, &lines, begin.elapsed()));
    ensure!(
        lines.iter().all(|line| line.survived > 0),
        "a suite had no case: give it more minutes"
    );
    Ok(())
}
