//! `cargo x check [NAME…]`: everything that is wrong with the code and can be told without running it.
//!
//! Every check runs, whatever the others found, and what failed stands once more at the end. The quick ones come first.
//! Spelling is not checked: the dictionary of `typos` takes 45 seconds of compiling, which every first `cargo x` would wait
//! for, and `typos-cli` takes minutes. xtask is checked by a call of its own: built together with it, wasmtime would get
//! other features and be built twice.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::workspace::{Workspace, cargo};
use crate::{fuzz, guests, manifests, packages, rooms, tidy, wit};

/// One check.
struct Check {
    name: &'static str,
    run: fn(&Workspace) -> Result<()>,
}

/// In the order in which they run. The modules are among them because the host embeds them: it cannot be read without.
const CHECKS: &[Check] = &[
    Check {
        name: "format",
        run: |workspace| {
            workspace.cargo(&["fmt", "--all", "--check"])?;
            fuzz::format(workspace.root(), &["--check"])
        },
    },
    Check {
        name: "rooms",
        run: |workspace| rooms::check(workspace.root()),
    },
    Check {
        name: "wit",
        run: |workspace| wit::check(workspace.root()),
    },
    Check {
        name: "packages",
        run: packages::check,
    },
    Check {
        name: "tidy",
        run: |workspace| tidy::check(workspace.root()),
    },
    Check {
        name: "manifests",
        run: manifests::check,
    },
    Check {
        name: "guests",
        run: |_| guests::run(),
    },
    Check {
        name: "clippy-guests",
        run: clippy_guests,
    },
    Check {
        name: "clippy-xtask",
        run: clippy_xtask,
    },
    Check {
        name: "clippy",
        run: clippy,
    },
    Check {
        name: "doc",
        run: doc,
    },
];

/// Runs the checks of these names, or all.
///
/// # Errors
/// When a check failed, with the names of those that did.
#[allow(clippy::print_stderr)]
pub(crate) fn run(names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(
            CHECKS.iter().any(|check| check.name == *name),
            "there is no check `{name}`; there are {}",
            CHECKS
                .iter()
                .map(|check| check.name)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let workspace = Workspace::load()?;
    let mut failures = Vec::new();
    for check in CHECKS {
        if !names.is_empty() && !names.contains(&check.name) {
            continue;
        }
        eprintln!("── {}", check.name);
        let started = Instant::now();
        let result = (check.run)(&workspace);
        let seconds = started.elapsed().as_secs_f32();
        match result {
            Ok(()) => eprintln!("   good, {seconds:.1} s"),
            Err(error) => {
                eprintln!("   failed, {seconds:.1} s");
                failures.push((check.name, format!("{error:#}")));
            }
        }
    }
    for (name, error) in &failures {
        eprintln!("\n── {name} failed; alone: cargo x check {name}\n{error}");
    }
    let failed: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
    ensure!(failed.is_empty(), "checks failed: {}", failed.join(", "));
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    workspace.cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--exclude",
        "xtask",
        "--all-targets",
        "--",
        "-Dwarnings",
    ])
}

fn clippy_xtask(workspace: &Workspace) -> Result<()> {
    workspace.cargo(&[
        "clippy",
        "--locked",
        "--package",
        "xtask",
        "--all-targets",
        "--",
        "-Dwarnings",
    ])
}

/// The SDK and the modules as they are inside the sandbox: half of the SDK is compiled there only.
fn clippy_guests(workspace: &Workspace) -> Result<()> {
    let mut arguments = vec!["clippy", "--locked", "--lib"];
    // The profile that the guests are built with, so that proc macros and build scripts are there already.
    arguments.extend(["--profile", "guest", "--target", "wasm32-unknown-unknown"]);
    for folder in ["guest-transforms", "tests/guests"] {
        for name in workspace.members_below(folder) {
            arguments.extend(["--package", name]);
        }
    }
    arguments.extend(["--", "-Dwarnings"]);
    workspace.cargo(&arguments)
}

fn doc(workspace: &Workspace) -> Result<()> {
    for selection in [
        &["--workspace", "--exclude", "xtask"][..],
        &["--package", "xtask"],
    ] {
        workspace.run(
            cargo()
                .args(["doc", "--locked", "--no-deps"])
                .args(selection)
                .env("RUSTDOCFLAGS", "-Dwarnings"),
        )?;
    }
    Ok(())
}
