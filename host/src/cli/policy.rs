//! `policy`: the least rights of a stage, as a policy of IAM.

use std::fmt::Write as _;

use clap::Args;

use super::answer::Answer;
use super::invocation::{Invocation, Output};
use super::text::Paint;
use crate::policy::{self, Effect, Role, Statement};

/// Print the least IAM policy by which a stage of this project does its work.
///
/// What it holds follows from the project file: zones that are buckets, the key of [lake.s3], and the secrets that the
/// settings of the stage refer to. As text each statement is explained, with --output json it is the policy itself.
/// No stage may write over or remove what is landed or made; only sweep may remove what no manifest names. For a store
/// that is not Amazon's the conditions are left out that only Amazon knows.
///
/// Example: tidemill policy extract --output json > extract.json
#[derive(Debug, Args)]
pub(super) struct Policy {
    /// Who gets the policy.
    #[arg(value_name = "STAGE", value_enum)]
    role: Role,
    /// The object that functions read the project file from (TIDEMILL_PROJECT), where it is not in their bundle.
    #[arg(long, value_name = "s3://BUCKET/KEY")]
    function_project: Option<String>,
}

impl Policy {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let policy = policy::of(
            &call.plan().await?,
            self.role,
            self.function_project.as_deref(),
        )?;
        if call.output() == Output::Json {
            // The answer is the policy and has no room for them.
            for note in &policy.notes {
                tracing::warn!(note, "the policy is not all that there is to say");
            }
        }
        let text = told(self.role, &policy, call.paint());
        Ok(Answer::new(text, &policy))
    }
}

fn told(role: Role, policy: &policy::Policy, paint: Paint) -> String {
    let mut text = format!("what the role of `tidemill {role}` may do, and nothing else\n");
    for statement in &policy.statements {
        text.push('\n');
        text.push_str(&explained(statement, paint));
    }
    for note in &policy.notes {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "\n{} {note}\n", paint.doubtful("note:"));
    }
    text
}

fn explained(statement: &Statement, paint: Paint) -> String {
    let denies = match statement.effect {
        Effect::Allow => String::new(),
        Effect::Deny => format!(" {}", paint.doubtful("denies")),
    };
    let mut text = format!(
        "{}{denies}\n  {}\n",
        paint.strong(&statement.sid),
        statement.purpose
    );
    let _ = writeln!(text, "  {}", statement.actions.join(", "));
    for resource in &statement.resources {
        let _ = writeln!(text, "    {}", paint.faint(resource));
    }
    for (operator, keys) in &statement.conditions {
        for (key, value) in keys {
            let _ = writeln!(text, "    if {operator} {key} {value}");
        }
    }
    text
}
