//! A project folder of a test's own, and what `tidemill` says in it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use tempfile::TempDir;
use tidemill::config::StorePlan;
use tidemill::zone::{Opener, Zone};

use super::binary;
use super::mounts::Mounts;

/// A folder that is removed with it.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// The disks that the program sees.
    mounts: Option<Arc<Mounts>>,
}

/// What a call said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Project {
    /// A folder with nothing in it.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn empty() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("tidemill-project-")
            .tempdir()?;
        Ok(Self {
            folder,
            environment: Vec::new(),
            mounts: None,
        })
    }

    /// A folder with this project file.
    ///
    /// # Errors
    /// As [`Project::empty`].
    pub fn with_file(toml: &str) -> Result<Self> {
        let project = Self::empty()?;
        std::fs::write(project.path().join("tidemill.toml"), toml)?;
        Ok(project)
    }

    /// The folder that `tidemill init --example totesys` makes, reading from `source` and loading into
    /// `warehouse` where they are given.
    ///
    /// # Errors
    /// When `init` does.
    pub fn totesys(source: Option<&str>, warehouse: Option<&str>) -> Result<Self> {
        Self::totesys_with(source, warehouse, Vec::new())
    }

    /// The same with variables, which `init` has, too: it puts modules into the project's registry.
    ///
    /// # Errors
    /// When `init` does.
    pub fn totesys_with(
        source: Option<&str>,
        warehouse: Option<&str>,
        variables: Vec<(String, String)>,
    ) -> Result<Self> {
        let mut project = Self::empty()?;
        project.environment = variables;
        for (name, url) in [("TOTESYS_URL", source), ("WAREHOUSE_URL", warehouse)] {
            project
                .environment
                .extend(url.map(|url| (name.to_owned(), url.to_owned())));
        }
        project.done(["init", "--example", "totesys"])?;
        Ok(project)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable for every later call.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The variables that every call has.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Takes a variable away that was set.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(set, _)| set != name);
    }

    /// A zone in a folder, whose path may be below this one.
    ///
    /// # Errors
    /// When the URL is none of a zone.
    pub fn zone(&self, url: &str) -> Result<Arc<dyn Zone>> {
        let opener = Opener::new(self.path(), &StorePlan::default());
        Ok(opener.open(url)?)
    }

    /// From here on the program sees these disks.
    pub fn enter(&mut self, mounts: Arc<Mounts>) {
        self.mounts = Some(mounts);
    }

    /// A call in this folder that has not been made yet.
    ///
    /// # Errors
    /// When there is no fresh binary.
    pub fn command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Command> {
        let mut command = binary::command()?;
        command.current_dir(self.path()).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(match &self.mounts {
            Some(mounts) => mounts.command(&command),
            None => command,
        })
    }

    /// Calls `tidemill` and waits for it.
    ///
    /// # Errors
    /// When there is no fresh binary.
    pub fn call(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Said> {
        let mut command = self.command(arguments)?;
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().with_context(|| format!("{command:?}"))?;
        Ok(Said {
            code: status.code(),
            stdout: String::from_utf8(stdout).context("stdout is not UTF-8")?,
            stderr: String::from_utf8(stderr).context("stderr is not UTF-8")?,
        })
    }

    /// Calls `tidemill`, waits, and gives its stdout.
    ///
    /// # Errors
    /// With everything it said, unless it exits with 0.
    pub fn done(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        let said = self.call(arguments)?;
        ensure!(
            said.code == Some(0),
            "exit code {:?}\n{}\n{}",
            said.code,
            said.stdout,
            said.stderr
        );
        Ok(said.stdout)
    }

    /// `text` as it would be on any machine, at any time: for snapshots.
    pub fn masked(&self, text: &str) -> String {
        let folder = self.path().display().to_string();
        masked(&text.replace(&folder, "[folder]"))
    }
}

/// What differs from run to run, each with the mask that a snapshot shows in its place.
const MASKS: [(&str, &str); 9] = [
    (r"\d{8}T\d{9}Z-[0-9a-f]{8}", "[run]"),
    (r"\b[0-9a-f]{64}\b", "[sha256]"),
    (
        r"sha256 is [0-9a-f]{12} and not [0-9a-f]{12}",
        "sha256 is [sha256] and not [sha256]",
    ),
    (r"\b\d{4}/\d{2}/\d{2}\b", "[date]"),
    (
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)",
        "[time]",
    ),
    (r#""elapsed_ms": ?\d+"#, r#""elapsed_ms": 0"#),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    (r"\b\d+(\.\d+)? ?(µs|ms|s)\b", "[elapsed]"),
    (r"\b[\d.]+ ?[kMG]?i?B/s", "[speed]"),
];

/// `text` with everything masked that differs from run to run.
pub fn masked(text: &str) -> String {
    MASKS.iter().fold(text.to_owned(), |text, (pattern, mask)| {
        let pattern = Regex::new(pattern).expect("the patterns are constants that compile");
        pattern.replace_all(&text, *mask).into_owned()
    })
}
