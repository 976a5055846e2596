//! The figures of `cargo x bench`: what tidemill costs beside the least that the same work can cost here and now.
//!
//! Both sides of a comparison are measured in one process, by turns, and the best of several rounds counts: a
//! ratio says something on any machine, seconds only beside the name of one.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod chunk;
mod cost;
mod daily;
mod extract;
mod idle;
mod memory;
mod module;
mod peers;
mod pipe;
mod shadow;
mod stopwatch;
mod store;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str =
    "arguments: [module|chunk|shadow|extract|run|memory|idle|daily|store]… [--rows N] [--days N]";

/// Of each benchmark, how many rows there are unless `--rows` says otherwise.
const MODULE_ROWS: usize = 1_000_000;
const TABLE_ROWS: usize = 4_000_000;
const MANY_ROWS: usize = 40_000_000;

/// How many days pass in `daily` unless `--days` says otherwise.
const DAYS: usize = 365;

/// What is asked for.
struct Asked {
    names: Vec<String>,
    rows: Option<usize>,
    days: usize,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut names, mut rows, mut days) = (Vec::new(), None, DAYS);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--rows" | "--days" => {
                    let number = arguments.next().context(USAGE)?.replace('_', "");
                    let number = number.parse().context(USAGE)?;
                    match argument.as_str() {
                        "--rows" => rows = Some(number),
                        _ => days = number,
                    }
                }
                "module" | "chunk" | "shadow" | "extract" | "run" | "memory" | "idle" | "daily"
                | "store" => {
                    names.push(argument);
                }
                _ => bail!(USAGE),
            }
        }
        Ok(Self { names, rows, days })
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
    let rows = |usual: usize| asked.rows.unwrap_or(usual);
    if asked.wants("module") {
        module::measure(rows(MODULE_ROWS))?;
    }
    if asked.wants("chunk") {
        chunk::measure(rows(MODULE_ROWS))?;
    }
    if asked.wants("shadow") {
        shadow::measure(rows(MODULE_ROWS))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if asked.wants("extract") {
        runtime.block_on(extract::measure(rows(TABLE_ROWS)))?;
    }
    if asked.wants("run") {
        runtime.block_on(pipe::measure(rows(TABLE_ROWS)))?;
    }
    if asked.wants("memory") {
        runtime.block_on(memory::measure(rows(MANY_ROWS)))?;
    }
    if asked.wants("idle") {
        runtime.block_on(idle::measure())?;
    }
    if asked.wants("daily") {
        runtime.block_on(daily::measure(asked.days))?;
    }
    if asked.wants("store") {
        runtime.block_on(store::measure())?;
    }
    Ok(())
}
