//! The figures of `cargo x bench`: what tidemill costs beside the least that the same work can cost here and now.
//!
//! Both sides of a comparison are measured in one process, by turns, and the best of several rounds counts: a
//! ratio says something on any machine, seconds only beside the name of one.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod extract;
mod idle;
mod module;
mod stopwatch;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "arguments: [module|extract|idle]… [--rows N]";

/// How many rows a table has unless `--rows` says otherwise.
const ROWS: usize = 1_000_000;

/// What is asked for.
struct Asked {
    names: Vec<String>,
    rows: usize,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut names, mut rows) = (Vec::new(), ROWS);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--rows" => {
                    let number = arguments.next().context(USAGE)?.replace('_', "");
                    rows = number.parse().context(USAGE)?;
                }
                "module" | "extract" | "idle" => names.push(argument),
                _ => bail!(USAGE),
            }
        }
        Ok(Self { names, rows })
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let asked = Asked::read(std::env::args().skip(1))?;
    if asked.wants("module") {
        module::measure(asked.rows)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if asked.wants("extract") {
        runtime.block_on(extract::measure(asked.rows))?;
    }
    if asked.wants("idle") {
        runtime.block_on(idle::measure())?;
    }
    Ok(())
}
