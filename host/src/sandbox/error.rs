//! What can go wrong with a module, and what the operator does about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::processor::Processor;
use crate::contract::{Description, ModuleRef};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};

/// What [`Breach::TooMuch`] calls the rows of a session: the project file has a limit for them.
pub(super) const ROWS: &str = "rows of output";
/// And the bytes.
pub(super) const BYTES: &str = "bytes of output";

/// Where in its life a module was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Instantiation and `describe`.
    Describe,
    /// Instantiation and `open`.
    Open,
    /// `push`.
    Push,
    /// `retract`.
    Retract,
    /// `end-of-input`.
    EndOfInput,
    /// `finish`.
    Finish,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describe",
            Self::Open => "open",
            Self::Push => "push",
            Self::Retract => "retract",
            Self::EndOfInput => "end-of-input",
            Self::Finish => "finish",
        })
    }
}

/// Which module an error is about: by its digest alone until it has said its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It has not been described, or lied about itself.
    Unnamed(Digest),
    /// It has been described.
    Named(Arc<ModuleRef>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed(digest) => write!(f, "({})", digest.short()),
            Self::Named(module) => module.fmt(f),
        }
    }
}

impl Identity {
    /// The description, when it says the name and the version that are known.
    pub(super) fn agrees(&self, said: Description) -> Result<Description, String> {
        match self {
            Self::Named(known) if (&known.name, &known.version) != (&said.name, &said.version) => {
                Err(format!(
                    "it calls itself {}@{}, and is kept as {}@{}",
                    said.name, said.version, known.name, known.version
                ))
            }
            _ => Ok(said),
        }
    }
}

/// An error of the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The bytes are no module for this host. Nothing of it has run.
    #[error("module {module} is refused")]
    Refused {
        /// Which module.
        module: Identity,
        /// Why.
        #[source]
        reason: Refusal,
    },
    /// The module broke a rule and was thrown away.
    #[error("module {module} was stopped in {phase}")]
    Stopped {
        /// Which module.
        module: Identity,
        /// Where.
        phase: Phase,
        /// What it did.
        #[source]
        breach: Box<Breach>,
    },
    /// The module said that it cannot go on.
    #[error("module {module} gave up in {phase}: {message} [{code}]")]
    Failure {
        /// Which module.
        module: Identity,
        /// Where.
        phase: Phase,
        /// Short and stable.
        code: String,
        /// Its own words, made printable.
        message: String,
    },
    /// A batch or a call that the module did not declare: the fault of the caller.
    #[error("module {module} cannot be given this: {reason}")]
    Misuse {
        /// Which module.
        module: Identity,
        /// What is wrong with the call.
        reason: String,
    },
    /// The folder of compiled code cannot be trusted or used.
    #[error("the module cache {path} is not usable: {reason}")]
    Cache {
        /// The folder.
        path: String,
        /// Why.
        reason: String,
        /// The system's error.
        #[source]
        cause: Option<std::io::Error>,
    },
    /// This program does not compile for another processor.
    #[error("this program does not compile modules for {processor}")]
    Foreign {
        /// For which.
        processor: Processor,
        /// The engine's words.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A folder of compiled code cannot be filled.
    #[error("compiled code cannot be written to {path}")]
    Unwritten {
        /// The folder.
        path: String,
        /// The system's error.
        #[source]
        cause: std::io::Error,
    },
    /// The process that compiles modules cannot be run.
    #[error("module {module} cannot be compiled: its process does not run")]
    Compiler {
        /// Which module.
        module: Identity,
        /// The system's error.
        #[source]
        cause: std::io::Error,
    },
    /// The engine does not work on this machine.
    #[error("the WebAssembly engine cannot be set up")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why bytes are no module for this host.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many bytes.
    #[error("its {what} {bytes} bytes, more than the limit of {limit}")]
    Size {
        /// "component has" or "parameters have".
        what: &'static str,
        /// How many.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A core module.
    #[error("it is a core WebAssembly module, not a component")]
    CoreModule,
    /// Not WebAssembly, or an invalid component.
    #[error("it is not a valid WebAssembly component: {0}")]
    Invalid(String),
    /// Compiling it takes too much.
    #[error("compiling it takes more than {limit}")]
    Compiling {
        /// "60s of processor time", "1.0 GiB of memory".
        limit: String,
    },
    /// It is put together from too many parts.
    #[error("it makes {found} instances of components; a module may make {limit}")]
    Composed {
        /// How many stand in it. One may stand for many: an instance may make others.
        found: usize,
        /// How many may stand in it.
        limit: usize,
    },
    /// It asks for something that the contract does not offer.
    #[error("it imports `{0}`; a module may import nothing but `{log}`", log = super::LOG)]
    Import(String),
    /// It exports nothing of the contract.
    #[error("it does not export `{transform}`", transform = super::TRANSFORM)]
    NoTransform,
    /// It speaks another version of the contract.
    #[error("it speaks contract version {found}; this host speaks {spoken}", spoken = super::CONTRACT)]
    Contract {
        /// The version that it exports.
        found: String,
    },
    /// The functions or types of its interfaces are not those of the contract.
    #[error("its interface differs from the contract: {0}")]
    Interface(String),
}

/// What a module did that it must not do.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// It stopped itself.
    #[error("it trapped: {0}")]
    Trap(String),
    /// What it passed cannot be taken: a pointer outside of its memory, text that is no UTF-8.
    #[error("it breaks the contract: {0}")]
    Contract(String),
    /// It took too long.
    #[error("it ran longer than {}", humantime::format_duration(*.limit))]
    Time {
        /// How long it may.
        limit: Duration,
    },
    /// It executed too many instructions.
    #[error("it used more than {limit} units of fuel")]
    Fuel {
        /// How many it may.
        limit: u64,
    },
    /// It wanted too much memory.
    #[error("it asked for more memory than {}", bytesize::ByteSize(*.limit_bytes as u64))]
    Memory {
        /// How much it may have.
        limit_bytes: usize,
    },
    /// It made too much of something else.
    #[error("it made more than {limit} {what}")]
    TooMuch {
        /// "rows", "bytes of output" and so on.
        what: &'static str,
        /// How much it may make.
        limit: u64,
    },
    /// Its description of itself makes no sense.
    #[error("its description is wrong: {0}")]
    Description(String),
    /// Its bytes are no Arrow stream.
    #[error("its {stream} are no valid Arrow stream: {reason}")]
    Stream {
        /// Which stream.
        stream: Stream,
        /// What the decoder says.
        reason: String,
    },
    /// Its stream has another schema than the declared one.
    #[error("the schema of its {stream} differs from the declared one: {difference}")]
    Schema {
        /// Which stream.
        stream: Stream,
        /// The first difference.
        difference: String,
    },
    /// A value that the declared schema does not allow.
    #[error(
        "column `{column}` of its {stream} is declared {declared}, but row {row} holds {found}"
    )]
    Value {
        /// Which stream.
        stream: Stream,
        /// The path of the column.
        column: String,
        /// "NOT NULL", "Decimal128(10, 2)".
        declared: String,
        /// The row, counted over the session.
        row: u64,
        /// "NULL", "more digits".
        found: &'static str,
    },
    /// A key that came before. The key itself is a row value and stays out of errors and logs.
    #[error("the primary key ({columns}) of row {row} of its {stream} came before in its {before}")]
    DuplicateKey {
        /// The key columns.
        columns: String,
        /// Which stream.
        stream: Stream,
        /// The row, counted over the session.
        row: u64,
        /// Where the same key came before.
        before: Stream,
    },
    /// A reject that points at nothing, or has no proper code.
    #[error("its reject {number} {reason}")]
    Reject {
        /// The reject within the step, from 0.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Counts that do not match what was given.
    #[error("it counts {claimed} {what}, but there are {actual}")]
    Counts {
        /// "rows in", "rows out" and so on.
        what: &'static str,
        /// What it says.
        claimed: u64,
        /// What is true.
        actual: u64,
    },
}

/// One of the two streams that a session gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Of the output.
    Rows,
    /// Of keys that are gone.
    Retractions,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "rows",
            Self::Retractions => "retractions",
        })
    }
}

impl Classify for SandboxError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } | Self::Stopped { .. } | Self::Failure { .. } => ErrorKind::Module,
            Self::Misuse { .. } => ErrorKind::Bug,
            Self::Cache { .. } | Self::Foreign { .. } => ErrorKind::Config,
            Self::Engine(_) | Self::Compiler { .. } | Self::Unwritten { .. } => {
                ErrorKind::Unavailable
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused { reason, .. } => return Some(reason.hint().into()),
            Self::Stopped { breach, .. } => return Some(breach.hint().into()),
            Self::Failure { .. } => {
                "read the module's own words above; fix its input, or promote another version"
            }
            Self::Misuse { .. } => "report this: the host gave a module what it did not declare",
            Self::Cache { .. } => {
                "use a folder that only you may write, or delete it: it is filled again"
            }
            Self::Compiler { .. } => {
                "check that this user may start processes, and that there is memory for one more"
            }
            Self::Engine(_) => "check that this machine allows executable memory",
            Self::Foreign { .. } => {
                "compile on a machine of that kind, or with a program that was built with the feature `all-arch`"
            }
            Self::Unwritten { .. } => "check that there is room, and that you may write there",
        };
        Some(hint.into())
    }
}

impl Refusal {
    fn hint(&self) -> &'static str {
        match self {
            Self::Size { .. } => "make it smaller",
            Self::Compiling { .. } => {
                "promote another version; code that compiles this slowly is not written by a person"
            }
            Self::Composed { .. } => "put it together as one component",
            Self::CoreModule | Self::Invalid(_) | Self::NoTransform | Self::Interface(_) => {
                "build it as a component with the SDK of this version of tidemill"
            }
            Self::Import(_) => {
                "remove what needs it: a transform has no clock, no files and no network"
            }
            Self::Contract { .. } => "build it again with the SDK of this version of tidemill",
        }
    }
}

impl Breach {
    fn hint(&self) -> &'static str {
        match self {
            Self::Time { .. } => {
                "raise limits.time in the project file if the module is honest, or promote another version"
            }
            Self::Memory { .. } => {
                "raise limits.memory in the project file if the module is honest, or promote another version"
            }
            Self::TooMuch { what, .. } if *what == ROWS => {
                "raise limits.output_rows in the project file if the module is honest, or promote another version"
            }
            Self::TooMuch { what, .. } if *what == BYTES => {
                "raise limits.output in the project file if the module is honest, or promote another version"
            }
            Self::Fuel { .. } | Self::TooMuch { .. } => {
                "make the module give less, or promote the version before it; the table catches up on the next run"
            }
            _ => {
                "fix the module, or promote the version before it; the table catches up on the next run"
            }
        }
    }
}
