//! `completions`: for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Tidemill;
use super::answer::Answer;

/// Print a completion script for a shell.
///
/// Example: tidemill completions bash > ~/.local/share/bash-completion/completions/tidemill
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn answer(self) -> Answer {
        let mut script = Vec::new();
        let mut command = Tidemill::command();
        clap_complete::generate(self.shell, &mut command, "tidemill", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let facts = serde_json::json!({"shell": self.shell.to_string(), "script": script});
        Answer::new(script, &facts)
    }
}
