//! Which tables a landing reads, which it leaves out, and which it stops.

use super::super::schema::{Admitted, Candidate, Verdict};
use super::super::window::{self, Asked};
use super::{ExtractError, Extraction, Step};
use crate::config::SourcePlan;
use crate::error::Result;
use crate::manifest::{LandedTable, LandingManifest};
use crate::pipeline::report::TableFailure;
use crate::run::Stage;
use crate::source::{Discovered, Snapshot};
use crate::table::{KeyOrigin, Table, TableName};
use crate::watermark::{Position, Window};

/// What becomes of the tables of a source.
#[derive(Default)]
pub(super) struct Choice<'m> {
    /// Those that are read.
    pub(super) steps: Vec<Step<'m>>,
    /// Those that are stopped, or gone.
    pub(super) failures: Vec<TableFailure>,
    /// Those that are new where new tables are not taken.
    pub(super) left_out: Vec<String>,
    /// Those that are to be landed, in this run or in another.
    pub(super) wanted: Vec<TableName>,
}

/// Why a column is landed as text that would not have to be.
const ASKED_FOR: &str = "the project file asks for it";

/// The tables that the project takes from a source, with the keys it declares and the columns it wants as text.
pub(in crate::pipeline) fn taken(
    plan: &SourcePlan,
    mut discovered: Vec<Discovered>,
) -> Vec<Discovered> {
    discovered.retain(|d| plan.takes(d.table.name.as_str()));
    for found in &mut discovered {
        let Some(declared) = plan.tables.get(found.table.name.as_str()) else {
            continue;
        };
        if let Some(key) = declared.key.clone() {
            found.table.key = key;
            found.table.key_origin = KeyOrigin::Declared;
        }
        for column in &mut found.table.columns {
            if declared.text.contains(&column.name) {
                column.land_as_text(ASKED_FOR);
            }
        }
    }
    discovered
}

/// A column of `table` that is marked sensitive and that it neither has nor had: a mark that protects nothing.
pub(in crate::pipeline) fn check_marks(
    plan: &SourcePlan,
    table: &Table,
    landed: Option<&LandedTable>,
) -> Result<(), ExtractError> {
    let had = |name: &str| {
        let mut columns = landed
            .iter()
            .flat_map(|l| l.table.columns.iter().chain(&l.dropped));
        columns.any(|column| column.name == name)
    };
    let marks = plan.sensitive_of(table.name.as_str()).iter();
    let mut unknown = marks.filter(|name| table.column(name).is_none() && !had(name));
    match unknown.next() {
        Some(name) => Err(ExtractError::NoSensitiveColumn(name.clone())),
        None => Ok(()),
    }
}

/// The tables of which columns are marked sensitive and that the source neither gives nor gave.
pub(in crate::pipeline) fn marked_nowhere<'p>(
    plan: &'p SourcePlan,
    discovered: &[Discovered],
    previous: Option<&LandingManifest>,
) -> Vec<&'p String> {
    let is_known = |name: &str| {
        discovered.iter().any(|d| d.table.name.as_str() == name)
            || previous.is_some_and(|landing| landing.tables.contains_key(name))
    };
    let marked = plan.tables.iter().filter(|(_, t)| !t.sensitive.is_empty());
    marked
        .map(|(name, _)| name)
        .filter(|name| plan.takes(name) && !is_known(name))
        .collect()
}

/// Whether `table` is to be landed although it has never been: it is named, or was there when its source was
/// landed first.
pub(in crate::pipeline) fn is_expected(
    plan: &SourcePlan,
    previous: Option<&LandingManifest>,
    table: &TableName,
) -> bool {
    plan.names(table.as_str()) || previous.is_none_or(|landing| landing.waiting.contains(table))
}

/// The tables that were landed before and are gone, each with its name now where the source tells; those that
/// the project leaves out are not meant.
pub(in crate::pipeline) fn gone<'m>(
    plan: &SourcePlan,
    position: &Position,
    discovered: &[Discovered],
    previous: Option<&'m LandingManifest>,
) -> Vec<(&'m TableName, Option<TableName>)> {
    let landed = previous.iter().flat_map(|manifest| &manifest.tables);
    let gone = landed.filter(|(table, _)| {
        plan.takes(table.as_str()) && discovered.iter().all(|d| d.table.name != **table)
    });
    let renamed_to = |landed: &LandedTable| {
        let relation = landed.identity.as_ref()?.relation;
        let now = discovered.iter().find(|d| {
            d.identity
                .as_ref()
                .is_some_and(|now| now.relation == relation)
        })?;
        landed
            .position
            .is_same_database(position)
            .then(|| now.table.name.clone())
    };
    gone.map(|(table, landed)| (table, renamed_to(landed)))
        .collect()
}

impl Extraction<'_> {
    /// Decides about every table that was discovered.
    ///
    /// # Errors
    /// `Config` when there is none, or one that was asked for is not among them.
    pub(super) fn choose<'m>(
        &self,
        snapshot: &dyn Snapshot,
        discovered: &[Discovered],
        previous: Option<&'m LandingManifest>,
    ) -> Result<Choice<'m>> {
        self.check_scope(discovered)?;
        let mut choice = Choice {
            failures: self.missing(snapshot, discovered, previous),
            ..Choice::default()
        };
        for found in discovered {
            let name = &found.table.name;
            let landed = previous.and_then(|m| m.tables.get(name));
            let candidate = Candidate {
                found,
                landed,
                position: snapshot.position(),
                policy: self.plan.on_schema_change_of(name.as_str()),
                expected: is_expected(self.plan, previous, name),
                accepted: self.scope.accept.iter().any(|table| table == name.as_str()),
            };
            let verdict = candidate.judge();
            if matches!(verdict, Verdict::Land(_)) {
                choice.wanted.push(name.clone());
            }
            if !self.is_in_scope(name) {
                continue;
            }
            if let (Verdict::Land(_), Err(error)) =
                (&verdict, check_marks(self.plan, &found.table, landed))
            {
                let failure = TableFailure::new(name.as_str(), Stage::Extract, &error.into());
                choice.failures.push(failure);
                continue;
            }
            match verdict {
                Verdict::Land(admitted) => choice.steps.push(Step {
                    window: self.window(snapshot, &admitted, landed),
                    admitted: *admitted,
                    previous: landed,
                }),
                Verdict::LeaveOut => choice.left_out.push(name.as_str().to_owned()),
                Verdict::Stop(error) => {
                    let failure = TableFailure::new(name.as_str(), Stage::Extract, &error.into());
                    choice.failures.push(failure);
                }
            }
        }
        Ok(choice)
    }

    fn check_scope(&self, discovered: &[Discovered]) -> Result<(), ExtractError> {
        if discovered.is_empty() {
            return Err(ExtractError::Empty(self.name.to_owned()));
        }
        let accepted = self.scope.accept.iter().filter(|_| self.is_only);
        let mut named = self.scope.tables.iter().chain(accepted);
        let unknown = named.find(|name| discovered.iter().all(|d| d.table.name.as_str() != **name));
        match unknown {
            None => Ok(()),
            Some(unknown) => Err(ExtractError::NoTable {
                source_name: self.name.to_owned(),
                table: unknown.clone(),
            }),
        }
    }

    /// What is accepted by name is read as well.
    fn is_in_scope(&self, table: &TableName) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == table.as_str());
        self.scope.tables.is_empty() || named(&self.scope.tables) || named(&self.scope.accept)
    }

    fn window(
        &self,
        snapshot: &dyn Snapshot,
        admitted: &Admitted,
        landed: Option<&LandedTable>,
    ) -> Window {
        let table = &admitted.table;
        window::choose(
            table,
            landed,
            self.plan.cursor_of(table.name.as_str()),
            &Asked {
                compare: self.scope.full || self.scope.reconcile,
                schema: admitted.compare.clone(),
                interval: self.plan.reconcile,
                now: snapshot.clock(),
            },
            |previous| snapshot.changes_since(table, previous),
        )
    }

    /// Tables that were landed before and are gone, unless the project leaves them out; and those of which it marks columns
    /// and that never were.
    fn missing(
        &self,
        snapshot: &dyn Snapshot,
        discovered: &[Discovered],
        previous: Option<&LandingManifest>,
    ) -> Vec<TableFailure> {
        if !self.scope.tables.is_empty() {
            return Vec::new();
        }
        let gone = gone(self.plan, snapshot.position(), discovered, previous);
        let gone = gone.into_iter().map(|(table, renamed_to)| {
            let error = ExtractError::gone(renamed_to);
            TableFailure::new(table.as_str(), Stage::Extract, &error.into())
        });
        let nowhere = marked_nowhere(self.plan, discovered, previous);
        let nowhere = nowhere.into_iter().map(|table| {
            let error = ExtractError::NoSensitiveTable;
            TableFailure::new(table, Stage::Extract, &error.into())
        });
        gone.chain(nowhere).collect()
    }
}
