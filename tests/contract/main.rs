//! The modules as what they are delivered as: real components in the real sandbox.
//!
//! Each guest runs its cases natively in its own crate. Here the same files go through the component, so that
//! a transform means the same on both sides of the contract, and every module is tried on what each must hold to.

mod faults;
mod star;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tidemill::authoring::{Examination, FUEL_TOLERANCE_PERCENT, Manner};
use tidemill::cases::{self, Case, Outcome, compare};
use tidemill::sandbox::{CacheCounts, Compiler, Limits, MAX_CHUNK_ROWS, Module, Sandbox};
use tidemill_sdk::testing::CHUNK_ROWS;
use tidemill_tests::guests::{self, Guest};

/// The warehouse whose modules these are.
const WAREHOUSE: &str = "totesys";

/// The seed of generated rows.
const SEED: u64 = 1;

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

/// Gives each input whole, so that the sandbox cuts it as its limits say.
fn came(module: &Module, case: &Case) -> Result<Outcome> {
    Ok(cases::run(module, case, usize::MAX)?.outcome)
}

fn holds(module: &Module, file: &Path) -> Result<()> {
    let case = Case::read(file, &cases::shape(module.description()))?;
    let name = || format!("{} ({})", file.display(), case.title);
    let outcome = came(module, &case).with_context(name)?;
    compare(&case.expected, &outcome).with_context(name)
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
        let shape = cases::shape(module.description());
        let mut with_rows = 0;
        for file in &guest.cases {
            let mut case = Case::read(file, &shape)?;
            let outcome = came(&module, &case)?;
            let Outcome::Made(expected) = &mut case.expected else {
                continue;
            };
            let rejected = expected.rejects.pop();
            if let Some(reject) = rejected {
                let spoilt = Outcome::Made(expected.clone());
                assert!(compare(&spoilt, &outcome).is_err(), "{reject}");
                expected.rejects.push(reject);
            }
            if expected.output.num_rows() > 0 {
                expected.output = expected.output.slice(0, expected.output.num_rows() - 1);
                assert!(
                    compare(&case.expected, &outcome).is_err(),
                    "{}",
                    file.display()
                );
                with_rows += 1;
            }
        }
        assert!(with_rows > 0, "no case of {} expects a row", guest.name);
    }
    Ok(())
}

/// What each case takes is written in it. `TIDEMILL_UPDATE=1` writes it anew.
#[test]
fn every_case_costs_what_it_says() -> Result<()> {
    let update = tidemill_tests::variable("TIDEMILL_UPDATE").is_some();
    let mut faults = String::new();
    for guest in guests::all(WAREHOUSE)? {
        let mut examination = Examination::new(guest.component, cache(), Compiler::InProcess);
        let manner = Manner {
            native: None,
            update,
            fuel_tolerance_percent: FUEL_TOLERANCE_PERCENT,
        };
        for file in &guest.cases {
            let examined = examination.examine(file, &manner)?;
            let fault = match (examined.fuel_before, examined.fuel_fault) {
                _ if update => continue,
                (None, _) => "it says no fuel".to_owned(),
                (Some(_), Some(fault)) => fault,
                (Some(_), None) => continue,
            };
            faults.push_str(&format!("\n{}: {fault}", file.display()));
        }
    }
    assert!(
        faults.is_empty(),
        "{faults}\nTIDEMILL_UPDATE=1 writes them anew"
    );
    Ok(())
}

#[test]
fn every_module_holds_to_what_every_module_must() -> Result<()> {
    for guest in guests::all(WAREHOUSE)? {
        let mut examination = Examination::new(guest.component, cache(), Compiler::InProcess);
        let tried = examination.properties(&guest.cases, SEED)?;
        assert!(
            tried.broken.is_empty(),
            "{}: {:#?}",
            guest.name,
            tried.broken
        );
        assert!(tried.generated >= 10, "{}: {tried:?}", guest.name);
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
