//! The least rights that a stage needs of buckets, keys and secrets, as a policy of IAM.
//!
//! ```text
//! Plan + Role ──rights──▶ what each zone is asked for ──statements──▶ Policy ──▶ JSON of version 2012-10-17
//! ```
//!
//! The file `rights` is what the code of the stages asks of their zones, and has to change with it: tests run every stage as a
//! user that has its policy and nothing else. What a stage asks for only in order to tidy up behind itself is not among
//! it: no stage may remove what is landed or made. That is for `tidemill sweep`, which has a policy of its own.
//!
//! Plain data in, plain data out: nobody is asked, so that a policy can be printed before there is a bucket.

mod rights;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::config::Plan;
use crate::error::{Classify, ErrorKind};
use rights::{Place, Rights};

/// The version of the language in which policies are written.
const LANGUAGE: &str = "2012-10-17";
/// What a policy may hold that is managed by itself, in characters that are no blanks.
const MANAGED: usize = 6_144;

/// Who gets a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Lands what changed in the sources.
    Extract,
    /// Runs the modules over what is landed.
    Transform,
    /// Loads what is made into the warehouse.
    Load,
    /// Does all three.
    Run,
    /// Does all three by a timetable.
    Serve,
    /// Removes what no manifest names. No other role may.
    Sweep,
    /// Reads everything and makes it again: also for replay, lineage, trace, runs, plan and module shadow.
    Verify,
    /// Tries whether zones can be written.
    Doctor,
    /// Pushes, signs and promotes modules.
    Publish,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extract => "extract",
            Self::Transform => "transform",
            Self::Load => "load",
            Self::Run => "run",
            Self::Serve => "serve",
            Self::Sweep => "sweep",
            Self::Verify => "verify",
            Self::Doctor => "doctor",
            Self::Publish => "publish",
        })
    }
}

/// A policy of IAM. As JSON it is what AWS takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The version of the language.
    pub version: &'static str,
    /// What is allowed, and in which case what is not.
    #[serde(rename = "Statement")]
    pub statements: Vec<Statement>,
    /// What nobody could know who has only the project file.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Something that is allowed or denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name: letters and digits.
    pub sid: String,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// The actions, sorted.
    #[serde(rename = "Action")]
    pub actions: Vec<&'static str>,
    /// What they are done to, sorted.
    #[serde(rename = "Resource")]
    pub resources: Vec<String>,
    /// By operator and key, when it holds.
    #[serde(rename = "Condition", skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    /// What it is for, as a sentence without its full stop.
    #[serde(skip)]
    pub purpose: &'static str,
}

/// Whether a statement allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The role needs nothing that IAM gives.
    #[error("{role} needs no policy: {reason}")]
    Nothing {
        /// The role.
        role: Role,
        /// What the project has instead of buckets.
        reason: String,
    },
    /// A URL names no bucket.
    #[error("`{url}` names no bucket")]
    NoBucket {
        /// The URL.
        url: String,
    },
    /// A URL names no object.
    #[error("`{url}` names no object")]
    NoObject {
        /// The URL.
        url: String,
    },
}

impl Classify for PolicyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nothing { .. } => {
                "policies are for zones in buckets: ingestion = \"s3://bucket/prefix\" under [lake]"
                    .into()
            }
            Self::NoBucket { .. } => "write it as s3://bucket/prefix".into(),
            Self::NoObject { .. } => "write it as s3://bucket/prefix/tidemill.toml".into(),
        })
    }
}

/// The least that `role` needs for the project of `plan`, whose file functions read from the object `project`, if not from
/// their bundle.
///
/// # Errors
/// `Config` when it needs nothing that IAM gives, or a URL names no bucket or no object.
pub fn of(plan: &Plan, role: Role, project: Option<&str>) -> Result<Policy, PolicyError> {
    let mut rights = Rights::of(plan, role)?;
    rights.project = match project {
        Some(url) => Some(Place::of_object(url).ok_or_else(|| {
            let url = url.to_owned();
            PolicyError::NoObject { url }
        })?),
        None => None,
    };
    let statements = statements::of(plan, &rights);
    if statements.is_empty() {
        let reason = rights.notes.join("; ");
        return Err(PolicyError::Nothing { role, reason });
    }
    let mut policy = Policy {
        version: LANGUAGE,
        statements,
        notes: rights.notes,
    };
    let length = policy.length();
    if length > MANAGED {
        policy.notes.push(format!(
            "it has {length} characters, and a policy that is managed by itself may have {MANAGED}: put it into the role"
        ));
    }
    Ok(policy)
}

impl Policy {
    /// How AWS measures it.
    fn length(&self) -> usize {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.chars().filter(|c| !c.is_whitespace()).count()
    }
}
