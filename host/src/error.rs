//! The one error of the library, and what an operator does about it.
//!
//! Every room has its own small error enum. It says here, by [`Classify`], which kind it is and what to
//! do next; `?` then turns it into an [`Error`], and the pipeline adds the stage and the table.

use std::fmt;

use crate::run::Stage;

/// What the operator does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Settings are wrong: fix them.
    Config,
    /// A server or a disk did not answer: try again.
    Unavailable,
    /// A module misbehaved: fix it or roll it back.
    Module,
    /// The data is not what it was declared to be: look at the rows.
    Data,
    /// Another run won: nothing was written, run again.
    Conflict,
    /// A defect of tidemill: report it.
    Bug,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Conflict)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Unavailable => "unavailable",
            Self::Module => "module",
            Self::Data => "data",
            Self::Conflict => "conflict",
            Self::Bug => "bug",
        })
    }
}

/// A room's error that knows its kind and its hint.
pub trait Classify: std::error::Error + Send + Sync + 'static {
    /// What the operator does about it.
    fn kind(&self) -> ErrorKind;

    /// The next step, in the imperative, without a final full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The error of the library: a room's error with the stage and the table it happened at.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    stage: Option<Stage>,
    table: Option<String>,
    hint: Option<String>,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// The result of the library's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the operator does about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stage of the straight line, where one was running.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The table, where the error concerns one.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// The next step, in the imperative.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same error, said to have happened in `stage`. The first stage that was said stays.
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage.get_or_insert(stage);
        self
    }

    /// The same error, said to concern `table`. The first table that was said stays.
    pub fn on(mut self, table: impl Into<String>) -> Self {
        self.table.get_or_insert_with(|| table.into());
        self
    }

    /// The same error with another next step.
    pub fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error with its causes, in one line.
    pub fn story(&self) -> String {
        let mut story = self.to_string();
        for cause in self.causes() {
            story.push_str(": ");
            story.push_str(&cause);
        }
        story
    }

    /// The texts of the causes, the nearest first, without those that say what the one above has said already.
    pub fn causes(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut above = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            let text = one_line(&inner.to_string());
            if !above.ends_with(&text) {
                texts.push(text.clone());
            }
            above = text;
            cause = inner.source();
        }
        texts
    }

    /// The room's error beneath, where it is of type `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.cause.downcast_ref::<E>()
    }
}

/// A server's error has lines for details and hints of its own; some libraries add a backtrace, which concerns
/// nobody who runs tidemill.
fn one_line(text: &str) -> String {
    let is_frame = |line: &str| {
        let number = line.trim_start().split(':').next().unwrap_or_default();
        line.starts_with(' ') && number.parse::<u32>().is_ok()
    };
    let lines: Vec<&str> = text.lines().take_while(|line| !is_frame(line)).collect();
    lines.join("; ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stage) = self.stage {
            write!(f, "{stage}: ")?;
        }
        if let Some(table) = &self.table {
            write!(f, "{table}: ")?;
        }
        write!(f, "{}", self.cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl<E: Classify> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            kind: error.kind(),
            stage: None,
            table: None,
            hint: error.hint(),
            cause: Box::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct DiskFull;

    impl Classify for DiskFull {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Unavailable
        }
        fn hint(&self) -> Option<String> {
            Some("free some space".into())
        }
    }

    #[test]
    fn a_cause_is_one_line_without_a_backtrace() {
        for (text, line) in [
            ("the disk is full", "the disk is full"),
            ("no\nHINT: yes", "no; HINT: yes"),
            (
                "Json error: cut\n   0: a::b\n             at c.rs:1\n  12: d",
                "Json error: cut",
            ),
        ] {
            assert_eq!(one_line(text), line);
        }
    }

    #[test]
    fn the_first_stage_and_table_stay() {
        let error = Error::from(DiskFull)
            .on("staff")
            .at(Stage::Extract)
            .on("department")
            .at(Stage::Load);
        assert_eq!(error.to_string(), "extract: staff: the disk is full");
        assert_eq!(error.hint(), Some("free some space"));
        assert!(error.kind().is_retryable());
    }
}
