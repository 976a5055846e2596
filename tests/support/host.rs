//! A host at work, while the test does something else.

use std::ffi::OsStr;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::project::{Project, Said};

/// The program in a process of its own. It is killed when the test gives up on it.
#[derive(Debug)]
pub struct Host {
    process: Option<Child>,
}

impl Host {
    /// Calls `tidemill` in the folder of `project` and does not wait for it.
    ///
    /// # Errors
    /// When there is no fresh binary.
    pub fn start(
        project: &Project,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self> {
        let mut command = project.command(arguments)?;
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self {
            process: Some(command.spawn()?),
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When what it said is no text.
    pub fn end(mut self) -> Result<Said> {
        let process = self.process.take().context("it is waited for once")?;
        let output = process.wait_with_output()?;
        Ok(Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// Checks that a call with `--output json` lost to another host, and says so and what to do.
///
/// # Errors
/// When it did anything else.
pub fn is_conflict(lost: &Said) -> Result<()> {
    ensure!(lost.code == Some(1), "it neither won nor lost: {lost:#?}");
    ensure!(lost.stdout.is_empty(), "it has a report: {lost:#?}");
    let error: Value = serde_json::from_str(&lost.stderr).with_context(|| format!("{lost:#?}"))?;
    let error = error.get("error").context("an error is an object")?;
    ensure!(
        error.get("kind").and_then(Value::as_str) == Some("conflict"),
        "{error:#}"
    );
    ensure!(error.get("hint").is_some_and(Value::is_string), "{error:#}");
    Ok(())
}
