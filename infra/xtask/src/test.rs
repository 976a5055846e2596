//! `cargo x test [ARGUMENT…]`: every test, with the modules, the binary and the server that they need.
//!
//! One build serves the demo and the tests. `cargo build --package tidemill` and `cargo test --workspace --exclude xtask`
//! choose the same features for everything they share, and both keep to the dev profile. xtask is tested by a call of
//! its own: with it among the packages, wasmtime gets other features and is built again. `TIDEMILL_GUESTS` is not set,
//! for the host's build script would see another environment than under plain `cargo build`, and embed the modules anew
//! each time.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::workspace::{Workspace, call, cargo};
use crate::{cargo_lambda, guests, minio, oci_registry, postgres};

/// Tests that ran.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Builds and runs the tests; `arguments` are the test harness's: names, `--nocapture`, `--test-threads 1`.
///
/// # Errors
/// When a test fails, or what the tests need cannot be had.
#[allow(clippy::print_stdout)]
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let postgres = postgres::programs()?;
    guests::run()?;
    let workspace = Workspace::load()?;
    let registry = oci_registry::program(workspace.target())?;
    let minio = minio::program(workspace.target())?;
    let emulator = cargo_lambda::program(workspace.target())?;
    let binary = binary(&workspace, &[])?;
    let threads = std::env::var_os("RUST_TEST_THREADS").unwrap_or_else(threads);
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for selection in [
        &["--workspace", "--exclude", "xtask"][..],
        &["--package", "xtask"],
    ] {
        let mut tests = cargo();
        tests
            .current_dir(workspace.root())
            .args(["test", "--locked", "--no-fail-fast"])
            .args(selection)
            .arg("--")
            .args(arguments)
            .env(postgres::VARIABLE, &postgres)
            .env(oci_registry::VARIABLE, &registry)
            .env(minio::VARIABLE, &minio)
            .env(cargo_lambda::VARIABLE, &emulator)
            .env("RUST_TEST_THREADS", &threads)
            .env("TIDEMILL_BIN", &binary)
            .env("TIDEMILL_XTASK", std::env::current_exe()?);
        if std::io::stdout().is_terminal() {
            tests.arg("--color=always");
        }
        if !watch(&mut tests, &mut tally)? {
            failures.push(format!("`{}` failed", call(&tests)));
        }
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(
        tally.passed > 0,
        "no test has such a name: {}",
        arguments.join(" ")
    );
    Ok(())
}

/// Tests at the same time: more than there are processors, for most of them wait for servers and disks half of their time.
fn threads() -> OsString {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    (2 * processors).to_string().into()
}

/// Builds the `tidemill` binary, with settings of cargo over those of the workspace, and says where it is.
pub(crate) fn binary(workspace: &Workspace, settings: &[&str]) -> Result<PathBuf> {
    let settings = settings.iter().flat_map(|setting| ["--config", setting]);
    let wanted: Vec<&str> = ["--bin", "tidemill"].into_iter().chain(settings).collect();
    built(workspace, &wanted)
}

/// Builds a binary of the package `tidemill`, which the arguments name, and says where it is.
pub(crate) fn built(workspace: &Workspace, arguments: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    build
        .current_dir(workspace.root())
        .args(["build", "--locked", "--package", "tidemill"])
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo build")?;
    ensure!(output.status.success(), "`{}` failed", call(&build));
    for line in output.stdout.split(|byte| *byte == b'\n') {
        // Only lines of cargo's own are JSON.
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        if let Some(file) = message.get("executable").and_then(Value::as_str) {
            return Ok(file.into());
        }
    }
    bail!("`{}` made no binary", call(&build))
}

/// Runs tests, passes their output on, and adds up what they say at their ends. Gives whether all was well.
fn watch(tests: &mut Command, tally: &mut Tally) -> Result<bool> {
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", call(tests)))?;
    let mut output = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let mut stdout = std::io::stdout().lock();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        stdout.flush()?;
        tally.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(child.wait()?.success())
}

impl Tally {
    /// Adds the counts of a line like `test result: ok. 12 passed; 0 failed; …`; other lines have none.
    fn add(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
        }
    }
}

/// The number before `word`.
fn count(result: &str, word: &str) -> u64 {
    result
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_all_test_binaries_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
            "test result: \u{1b}[31mFAILED\u{1b}[m. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s\n",
            "the test result: 5 passed\n",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 15,
                failed: 2
            }
        );
    }
}
