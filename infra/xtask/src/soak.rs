//! `cargo x soak [SUITE…] [--kills N] [--seed S] [--minutes M] [--at-once N]`: everything that may go wrong at any moment, at length.
//!
//! Kills and storms, which are faults on the way to a store of objects, are the suites of `tests/soak`. Mutations and faults
//! are tests that `cargo x test` has as well: of mutations there are a hundred times as many here, of faults all. In the dev
//! profile, as the figures of `cargo x bench`: what is killed is the binary that the tests have, too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{Workspace, call, cargo, succeed};
use crate::{guests, minio, postgres, test};

/// A suite that is a test with another name.
struct Tested {
    suite: &'static str,
    package: &'static str,
    /// What cargo is told of where it is.
    target: &'static [&'static str],
    test: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

const TESTED: [Tested; 2] = [
    Tested {
        suite: "mutations",
        package: "tidemill",
        target: &["--lib"],
        test: "sandbox::tests::mutations::",
        environment: &[("TIDEMILL_MUTATIONS", "1000000")],
    },
    Tested {
        suite: "faults",
        package: "tidemill-tests",
        target: &["--test", "pipeline"],
        test: "faults::",
        environment: &[],
    },
];

/// Runs the suites of these names, or all.
///
/// # Errors
/// When something does not build, or a case is not survived.
#[allow(clippy::print_stdout)]
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (tested, rest): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .partition(|argument| TESTED.iter().any(|tested| tested.suite == **argument));
    let postgres = postgres::programs()?;
    guests::run()?;
    let workspace = Workspace::load()?;
    let minio = minio::program(workspace.target())?;
    let binary = test::binary(&workspace, &[])?;
    let prepared = |mut command: Command| {
        command
            .current_dir(workspace.root())
            .env(postgres::VARIABLE, &postgres)
            .env(minio::VARIABLE, &minio)
            .env("TIDEMILL_BIN", &binary);
        command
    };
    let names_kills = rest.iter().any(|argument| is_name(argument));
    let mut lines = Vec::new();
    for suite in &TESTED {
        if tested.contains(&suite.suite) || (tested.is_empty() && !names_kills) {
            lines.push(suite.run(prepared(cargo()), workspace.root())?);
        }
    }
    if tested.is_empty() || names_kills {
        let mut kills = prepared(cargo());
        kills
            .args(["bench", "--locked", "--quiet", "--profile", "dev"])
            .args(["--package", "tidemill-tests", "--bench", "soak", "--"])
            .args(rest);
        succeed(&mut kills)?;
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Whether an argument is neither an option nor its number.
fn is_name(argument: &str) -> bool {
    argument.starts_with(|c: char| c.is_ascii_alphabetic())
}

impl Tested {
    /// Runs the test, and gives what it survived.
    fn run(&self, mut cargo: Command, root: &Path) -> Result<String> {
        cargo
            .current_dir(root)
            .args(["test", "--locked", "--quiet", "--package", self.package])
            .args(self.target)
            .args(["--", "--nocapture", self.test])
            .envs(self.environment.iter().copied())
            // Decoders of others panic by the thousand, and are caught.
            .env("RUST_BACKTRACE", "0");
        let output = cargo
            .output()
            .with_context(|| format!("cannot run `{}`", call(&cargo)))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`{}` failed:\n{said}\n{}",
            call(&cargo),
            String::from_utf8_lossy(&output.stderr)
        );
        let survived = survived(&said, self.suite);
        ensure!(survived > 0, "`{}` survived nothing:\n{said}", call(&cargo));
        Ok(format!("{:<10}{survived:>10} survived", self.suite))
    }
}

/// The sum of what is said on lines like `10 faults survived`.
fn survived(said: &str, suite: &str) -> u64 {
    let counts = said.lines().filter_map(|line| {
        // The harness writes dots before what a test prints.
        let (before, _) = line.split_once(&format!(" {suite} survived"))?;
        before.trim_start_matches('.').parse::<u64>().ok()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_survived_is_added_up() {
        let said = "\nrunning 3 tests\n7 faults survived\n.12 faults survived\n..\n1 mutations survived: seed 1\n";
        assert_eq!(survived(said, "faults"), 19);
        assert_eq!(survived(said, "mutations"), 1);
        assert_eq!(survived("test result: ok", "faults"), 0);
    }

    #[test]
    fn options_and_their_numbers_name_no_suite() {
        assert!(is_name("kills"));
        assert!(!is_name("--kills") && !is_name("1000"));
    }
}
