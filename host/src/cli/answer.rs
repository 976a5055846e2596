//! What a verb gives back: the same facts for people and for programs, and how the program ends.

use std::process::ExitCode;

use serde::Serialize;

use crate::pipeline::report::TableFailure;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    /// Usage or configuration.
    Usage,
    /// Done, with rows refused or checks failed.
    Flawed,
    /// `plan` or `module shadow` found differences.
    Changes,
    Interrupted,
}

impl Exit {
    /// The code that scripts see.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Flawed => 3,
            Self::Changes => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What a verb found or did.
#[derive(Debug)]
pub(super) struct Answer {
    /// For people, with its last line end.
    pub(super) text: String,
    /// For programs; `None` where the verb has written its data already.
    pub(super) json: Option<String>,
    /// Events of OpenLineage, one a line: of `lineage` only.
    pub(super) events: Option<String>,
    /// Tables that failed while others went on.
    pub(super) failures: Vec<TableFailure>,
    pub(super) exit: Exit,
}

impl Answer {
    /// An answer that went well.
    pub(super) fn new(text: String, facts: &impl Serialize) -> Self {
        // Reports are plain structs with text keys, for which serialising cannot fail. They are written
        // out here and not kept as a `Value`, which would make floats of decimals.
        let json = serde_json::to_string_pretty(facts).unwrap_or_default();
        Self {
            text,
            json: Some(json),
            events: None,
            failures: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// An answer whose data has been written already.
    pub(super) fn written() -> Self {
        Self {
            text: String::new(),
            json: None,
            events: None,
            failures: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// The same answer with another end.
    pub(super) fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}
