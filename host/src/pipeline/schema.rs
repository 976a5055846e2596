//! What becomes of a table whose schema changed: the policy of the project file. Pure rules, no I/O.
//!
//! | change | evolve | freeze | reject |
//! |---|---|---|---|
//! | table or column added | landed | left out | stops |
//! | column widened | landed | stops | stops |
//! | declared otherwise and landed alike, labels, nullability, order, kind | landed | landed | stops |
//! | column dropped, replaced or retyped; a key where there was none | stops | stops | stops |
//! | another key; table dropped | stops for good | | |
//!
//! What stops a table stops it before a row of it is read, and what was landed stays. Accepted by name it goes
//! on: rows are compared with what has been landed, and where digests of the two schemas cannot be compared the
//! whole table is landed anew, so that nothing is ever put together from two types. History stays as it was
//! landed. Another key cannot be accepted, because what is gone under the old one could not be told.
//!
//! Rejected: casting landed rows to the new type, which is a guess at what the source's own conversion did.

use super::extract::ExtractError;
use crate::config::OnSchemaChange;
use crate::manifest::LandedTable;
use crate::source::Discovered;
use crate::table::{Column, Identity, SchemaChange, Table, between, is_digested_alike};
use crate::watermark::{CompareReason, Position};

/// A table of the source and what decides about it.
pub(super) struct Candidate<'a> {
    /// As the source has it.
    pub(super) found: &'a Discovered,
    /// As it was landed last.
    pub(super) landed: Option<&'a LandedTable>,
    /// Where the source is.
    pub(super) position: &'a Position,
    /// What the project file says.
    pub(super) policy: OnSchemaChange,
    /// Whether it is to be landed although it has never been: by name, or at the first landing of its source.
    pub(super) expected: bool,
    /// Whether its changes were accepted by name.
    pub(super) accepted: bool,
}

/// What becomes of a table.
pub(super) enum Verdict {
    /// It is landed.
    Land(Box<Admitted>),
    /// It is new, and new tables are not taken.
    LeaveOut,
    /// It stays as it was landed.
    Stop(ExtractError),
}

/// A table as it is to be landed.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// With the columns that are taken.
    pub(super) table: Table,
    pub(super) identity: Option<Identity>,
    /// What is different from the last landing.
    pub(super) changes: Vec<SchemaChange>,
    /// What the source has and is not landed.
    pub(super) ignored: Vec<SchemaChange>,
    /// Columns that were landed once and are not any more.
    pub(super) dropped: Vec<Column>,
    /// Why every row must be compared; `None` where ids and cursors still tell what changed.
    pub(super) compare: Option<CompareReason>,
    /// Whether every row is landed again: digests of the two schemas cannot be compared.
    pub(super) anew: bool,
}

impl Candidate<'_> {
    /// Decides. What is said of a table that stops is in the error.
    pub(super) fn judge(&self) -> Verdict {
        let Some(landed) = self.landed else {
            return match self.policy {
                _ if self.expected || self.accepted => Verdict::Land(self.first()),
                OnSchemaChange::Evolve => Verdict::Land(self.first()),
                OnSchemaChange::Freeze => Verdict::LeaveOut,
                OnSchemaChange::Reject => Verdict::Stop(self.stopped(&[SchemaChange::TableAdded])),
            };
        };
        let identities = self.identities(landed);
        let changes = self.changes();
        let key_changed = changes.iter().find_map(|change| match change {
            SchemaChange::KeyChanged { before, after } => Some((before, after)),
            _ => None,
        });
        if let Some((before, after)) = key_changed
            && !landed.table.key.is_empty()
        {
            let (before, after) = (before.join(", "), after.join(", "));
            return Verdict::Stop(ExtractError::KeyChanged { before, after });
        }
        let stops =
            |change: &SchemaChange| !self.accepted && effect(self.policy, change) == Effect::Stops;
        if changes.iter().any(stops) {
            return Verdict::Stop(self.stopped(&changes));
        }
        let is_moved = identities.is_some_and(|(before, now)| before.relation != now.relation);
        Verdict::Land(Box::new(self.admitted(landed, changes, is_moved)))
    }

    /// What differs from the last landing.
    pub(super) fn changes(&self) -> Vec<SchemaChange> {
        match self.landed {
            None => vec![SchemaChange::TableAdded],
            Some(landed) => between(&landed.table, &self.found.table, self.identities(landed)),
        }
    }

    fn identities<'a>(&'a self, landed: &'a LandedTable) -> Option<(&'a Identity, &'a Identity)> {
        let same = landed.position.is_same_database(self.position);
        landed
            .identity
            .as_ref()
            .zip(self.found.identity.as_ref())
            .filter(|_| same)
    }

    fn first(&self) -> Box<Admitted> {
        Box::new(Admitted {
            table: self.found.table.clone(),
            identity: self.found.identity.clone(),
            changes: vec![SchemaChange::TableAdded],
            ignored: Vec::new(),
            dropped: Vec::new(),
            compare: None,
            anew: false,
        })
    }

    fn admitted(
        &self,
        landed: &LandedTable,
        changes: Vec<SchemaChange>,
        is_moved: bool,
    ) -> Admitted {
        let is_frozen = self.policy == OnSchemaChange::Freeze && !self.accepted;
        let mut table = match is_frozen {
            true => frozen(&landed.table, &self.found.table),
            false => self.found.table.clone(),
        };
        // The same columns in another order are the same key, and the index has them in this one.
        if table.key.len() == landed.table.key.len() {
            table.key.clone_from(&landed.table.key);
        }
        let (ignored, changes): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .filter(|change| !is_frozen || *change != SchemaChange::ColumnsReordered)
            .partition(|change| is_frozen && effect(self.policy, change) == Effect::IsLeftOut);
        let compare = match changes.iter().any(may_change_rows) {
            true => Some(CompareReason::SchemaChanged),
            false => is_moved.then_some(CompareReason::OtherTable),
        };
        let gone = landed.table.columns.iter().chain(&landed.dropped);
        let dropped = gone.filter(|column| table.column(&column.name).is_none());
        Admitted {
            anew: is_anew(landed, &table),
            dropped: dropped.cloned().collect(),
            identity: self.found.identity.clone(),
            table,
            changes,
            ignored,
            compare,
        }
    }

    fn stopped(&self, changes: &[SchemaChange]) -> ExtractError {
        ExtractError::SchemaChanged {
            table: self.found.table.name.as_str().to_owned(),
            changes: listed(changes),
            policy: self.policy,
        }
    }
}

/// Changes as one sentence.
pub(super) fn listed(changes: &[SchemaChange]) -> String {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    changes.join(", ")
}

/// What a policy makes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    IsLanded,
    IsLeftOut,
    Stops,
}

fn effect(policy: OnSchemaChange, change: &SchemaChange) -> Effect {
    use SchemaChange as C;
    match (policy, change) {
        (OnSchemaChange::Reject, _) => Effect::Stops,
        (
            _,
            C::TableDropped { .. }
            | C::KeyChanged { .. }
            | C::ColumnDropped { .. }
            | C::ColumnReplaced { .. }
            | C::ColumnRetyped { .. },
        ) => Effect::Stops,
        (OnSchemaChange::Evolve, _) => Effect::IsLanded,
        (OnSchemaChange::Freeze, C::TableAdded | C::ColumnAdded { .. }) => Effect::IsLeftOut,
        (OnSchemaChange::Freeze, C::ColumnWidened { .. }) => Effect::Stops,
        (
            OnSchemaChange::Freeze,
            C::KindChanged { .. }
            | C::ColumnRedeclared { .. }
            | C::TypeRemade { .. }
            | C::NullabilityChanged { .. }
            | C::ColumnsReordered,
        ) => Effect::IsLanded,
    }
}

/// Whether rows may have other digests after the change although no transaction wrote them.
fn may_change_rows(change: &SchemaChange) -> bool {
    !matches!(
        change,
        SchemaChange::NullabilityChanged { .. } | SchemaChange::ColumnsReordered
    )
}

/// The columns that were landed, as the source has them now.
fn frozen(landed: &Table, found: &Table) -> Table {
    let columns = landed
        .columns
        .iter()
        .filter_map(|column| found.column(&column.name));
    Table {
        columns: columns.cloned().collect(),
        ..found.clone()
    }
}

/// Whether a digest of `landed` says nothing about a row of `table`.
fn is_anew(landed: &LandedTable, table: &Table) -> bool {
    if landed.table.key.is_empty() && !table.key.is_empty() {
        return true;
    }
    let known = landed.table.columns.iter().chain(&landed.dropped);
    let mut shared = known.filter_map(|old| Some((old, table.column(&old.name)?)));
    shared.any(|(old, new)| !is_digested_alike(&old.data_type, &new.data_type))
}

#[cfg(test)]
mod tests;
