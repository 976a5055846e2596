//! What the model says happened: changes, grouped as the application commits them.

use chrono::NaiveDateTime;

use super::super::rows::{Row, Table};

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert(Row),
    /// A row that differs.
    Update {
        /// As it was.
        before: Row,
        /// As it is; the same key.
        after: Row,
    },
    /// A row that is gone.
    Delete(Row),
    /// A row that the database itself changes by ON DELETE SET NULL. It is not to be applied.
    SetNull {
        /// As it was.
        before: Row,
        /// As it is; `last_updated` did not move.
        after: Row,
    },
}

impl Change {
    /// The table.
    pub fn table(&self) -> Table {
        match self {
            Self::Insert(row) | Self::Delete(row) => row.table(),
            Self::Update { after, .. } | Self::SetNull { after, .. } => after.table(),
        }
    }
}

/// Why something was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// An order, its transaction and its payment.
    Deal,
    /// The payments that fell due are marked as paid.
    Payday,
    /// A new design.
    NewDesign,
    /// A field changed while `last_updated` stayed as it was.
    SilentEdit,
    /// Something that the schema allows and that has a switch.
    Odd(super::Oddity),
}

/// One database transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The application's clock.
    pub at: NaiveDateTime,
    /// Why.
    pub event: Event,
    /// What, in an order that foreign keys allow.
    pub changes: Vec<Change>,
}
