//! The modules as what they are delivered as: real components in the real sandbox.
//!
//! Each guest runs its cases natively in its own crate. Here the same files go through the component, so that
//! a transform means the same on both sides of the contract.

mod component;
mod star;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tidemill::sandbox::{CacheCounts, Limits, MAX_CHUNK_ROWS, Module, Sandbox};
use tidemill_sdk::testing::{CHUNK_ROWS, Case};
use tidemill_tests::guests::{self, Guest};

/// The warehouse whose modules these are.
const WAREHOUSE: &str = "totesys";

/// The folder of the modules' compiled code. It outlives the test: compiling eleven modules takes many times as
/// long as all of their cases.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-modules")
}

fn sandbox(limits: Limits) -> Result<Sandbox> {
    Sandbox::new(limits, &cache()).context("the sandbox does not start")
}

fn load(sandbox: &Sandbox, guest: &Guest) -> Result<Module> {
    let module = sandbox.load(&guest.component, b"");
    module.with_context(|| format!("{} does not load", guest.name))
}

/// The sizes of chunks in rows: those of the native run, and as large as a chunk may be, which no case fills.
fn chunk_rows() -> impl Iterator<Item = usize> {
    CHUNK_ROWS.into_iter().chain([MAX_CHUNK_ROWS])
}

#[test]
fn every_case_of_every_module_holds_through_its_component() -> Result<()> {
    let guests = guests::all(WAREHOUSE)?;
    let mut faults = String::new();
    for rows in chunk_rows() {
        let sandbox = sandbox(Limits {
            chunk_rows: rows,
            ..Limits::default()
        })?;
        for guest in &guests {
            let module = load(&sandbox, guest)?;
            for case in &guest.cases {
                if let Err(fault) = holds(&module, case) {
                    let fault = format!("{fault:#}");
                    faults.push_str(&format!("\nin chunks of {rows}: {}\n", fault.trim_end()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
    Ok(())
}

fn holds(module: &Module, file: &Path) -> Result<()> {
    let case = Case::read(file, &component::description(module))?;
    let name = || format!("{} ({})", file.display(), case.title);
    let outcome = component::run(module, &case).with_context(name)?;
    case.compare(&outcome).with_context(name)
}

/// Without this, a module without cases would hold all of them.
#[test]
fn every_module_has_cases() -> Result<()> {
    for guest in guests::all(WAREHOUSE)? {
        assert!(!guest.cases.is_empty(), "{} has no case", guest.name);
    }
    Ok(())
}

/// Without this, a run that gives nothing would hold every case that expects nothing.
#[test]
fn a_case_that_expects_something_else_does_not_hold() -> Result<()> {
    let sandbox = sandbox(Limits::default())?;
    for guest in guests::all(WAREHOUSE)? {
        let module = load(&sandbox, &guest)?;
        let description = component::description(&module);
        let mut with_rows = 0;
        for file in &guest.cases {
            let mut case = Case::read(file, &description)?;
            let outcome = component::run(&module, &case)?;
            if case.output.num_rows() > 0 {
                case.output = case.output.slice(0, case.output.num_rows() - 1);
                assert!(case.compare(&outcome).is_err(), "{}", file.display());
                with_rows += 1;
            }
            if let Some(reject) = case.rejects.pop() {
                assert!(case.compare(&outcome).is_err(), "{reject}");
            }
        }
        assert!(with_rows > 0, "no case of {} expects a row", guest.name);
    }
    Ok(())
}

#[test]
fn every_module_declares_what_the_star_schema_says() -> Result<()> {
    let sandbox = sandbox(Limits::default())?;
    let mut declared = String::new();
    for guest in guests::all(WAREHOUSE)? {
        declared.push_str(&star::declaration(load(&sandbox, &guest)?.description()));
    }
    assert_eq!(star::differences(star::EXPECTED, &declared), "");
    Ok(())
}

#[test]
fn all_modules_start_from_the_compiled_cache() -> Result<()> {
    let guests = guests::all(WAREHOUSE)?;
    let all = guests.len() as u64;
    assert_eq!(all, 11);
    let start = || -> Result<CacheCounts> {
        let sandbox = sandbox(Limits::default())?;
        for guest in &guests {
            load(&sandbox, guest)?;
        }
        Ok(sandbox.cache_counts())
    };
    let first = start()?;
    assert_eq!(first.loaded + first.compiled + first.replaced, all);
    let expected = CacheCounts {
        loaded: all,
        ..CacheCounts::default()
    };
    assert_eq!(start()?, expected);
    Ok(())
}
