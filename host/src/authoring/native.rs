//! A crate's own tests, by cargo: the same cases without a sandbox, and whatever else its author tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Serialize;
use tempfile::TempDir;
use tidemill_component::{Toolchain, Workspace};

use super::error::AuthoringError;
use crate::cases::{Case, Outcome, Shape};

/// The folder into which the SDK writes what came of each case; it compares nothing then.
const OUTCOMES: &str = "TIDEMILL_OUTCOMES";
/// The one case that the SDK is to run.
const CASE: &str = "TIDEMILL_CASE";
/// How much of what the tests say is shown.
const SAID_BYTES: usize = 16 * 1024;

/// What the crate's own tests said.
#[derive(Debug, Serialize)]
pub struct Native {
    /// Whether all of them passed.
    pub passed: bool,
    /// What was said, when one did not.
    pub said: String,
    #[serde(skip)]
    outcomes: TempDir,
}

impl Native {
    /// Runs the tests of the crate in `folder`; of its cases only `case` where one is named. What cargo says while it
    /// compiles goes to stderr. Blocks its thread until they are done.
    ///
    /// # Errors
    /// `Config` when there is no such crate or no cargo.
    pub fn run(
        toolchain: &Toolchain,
        folder: &Path,
        case: Option<&Path>,
    ) -> Result<Self, AuthoringError> {
        let workspace = Workspace::read(toolchain, folder)?;
        let package = workspace.module_in(folder)?;
        let outcomes = tempfile::tempdir().map_err(|cause| AuthoringError::Write {
            file: std::env::temp_dir(),
            cause,
        })?;
        let mut cargo = toolchain.cargo();
        cargo
            .current_dir(folder)
            .args(["test", "--package", &package.name])
            .env(OUTCOMES, outcomes.path())
            .env_remove(CASE)
            .stderr(Stdio::inherit());
        if let Some(case) = case {
            cargo.env(CASE, case);
        }
        let program = cargo.get_program().to_string_lossy().into_owned();
        let output = cargo
            .output()
            .map_err(|cause| tidemill_component::BuildError::Program { program, cause })?;
        let passed = output.status.success();
        let said = String::from_utf8_lossy(&output.stdout);
        let from = said.ceil_char_boundary(said.len().saturating_sub(SAID_BYTES));
        let said = said.get(from..).unwrap_or_default().trim().to_owned();
        Ok(Self {
            passed,
            said: if passed { String::new() } else { said },
            outcomes,
        })
    }

    /// What came of a case; `None` when the crate's tests did not run it.
    pub fn outcome(&self, case: &Path, shape: &Shape) -> Option<Outcome> {
        let file: PathBuf = self.outcomes.path().join(case.file_name()?);
        let case = Case::read(&file, shape).ok()?;
        Some(case.expected)
    }
}
