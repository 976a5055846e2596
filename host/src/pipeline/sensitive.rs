//! Columns that are marked sensitive: which modules may read them, and what stands for their values where some are shown.
//!
//! A module reaches the sandbox as a [`Granted`], which is made here only: whoever runs one on rows has asked. The values
//! go where they are needed, into zones, modules and the warehouse. They stay out of what people send each other: errors,
//! logs, reports and examples. There they are [`PLACEHOLDER`], the same for every value, because a digest of a short
//! value is as good as the value to whoever tries them all. NULL stays NULL.

mod stand_in;

use std::collections::BTreeSet;
use std::ops::Deref;

use super::report::{GrantState, PlannedGrant};
use crate::config::{Plan, SourceColumn};
use crate::contract::{Description, ModuleRef};
use crate::error::{Classify, ErrorKind};
use crate::registry::Descriptor;
use crate::sandbox::Module;
pub(super) use stand_in::StandIns;

/// What stands for a value that is not shown.
pub(super) const PLACEHOLDER: &str = "(sensitive)";

/// A module that may read everything that it declares, in the place it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    module: Module,
    sensitive: Vec<SourceColumn>,
}

impl Deref for Granted {
    type Target = Module;

    fn deref(&self) -> &Module {
        &self.module
    }
}

impl Granted {
    /// A module that makes `table` from `source`, if the project file grants it every sensitive column that it reads.
    ///
    /// # Errors
    /// `Config` when it does not.
    pub(super) fn new(
        plan: &Plan,
        table: &str,
        source: &str,
        module: Module,
    ) -> Result<Self, NotGranted> {
        let sensitive = read_by(plan, source, module.description());
        let missing = not_granted(plan, table, &sensitive);
        if !missing.is_empty() {
            return Err(NotGranted {
                transform: table.to_owned(),
                module: Box::new(module.reference().clone()),
                line: line(plan, table, &missing),
                missing,
                reads: sensitive,
            });
        }
        let module = match sensitive.is_empty() {
            true => module,
            false => module.withholding_words(),
        };
        Ok(Self { module, sensitive })
    }

    /// The sensitive columns that it reads.
    pub(super) fn sensitive(&self) -> &[SourceColumn] {
        &self.sensitive
    }

    /// The columns of its output that may hold what it read of sensitive columns. The host knows what enters a module and
    /// not what becomes of it inside: so these are all, where it reads any.
    pub(super) fn hidden(&self) -> BTreeSet<String> {
        let output = &self.module.description().output.schema;
        let names = output.fields().iter().map(|field| field.name().clone());
        match self.sensitive.is_empty() {
            true => BTreeSet::new(),
            false => names.collect(),
        }
    }

    /// The message of a reject as it may be shown.
    pub(super) fn message<'m>(&self, message: &'m str) -> &'m str {
        match self.sensitive.is_empty() {
            true => message,
            false => PLACEHOLDER,
        }
    }
}

/// A module would read sensitive columns that the project file does not grant it.
#[derive(Debug, thiserror::Error)]
#[error("{module} reads what is marked sensitive and not granted to it: {}", names(.missing))]
pub(crate) struct NotGranted {
    /// The warehouse table.
    pub(super) transform: String,
    /// What was to make it.
    pub(super) module: Box<ModuleRef>,
    /// What it reads without a grant.
    missing: Vec<SourceColumn>,
    /// Every sensitive column that it reads.
    pub(super) reads: Vec<SourceColumn>,
    /// What the project file would have to say.
    line: String,
}

impl Classify for NotGranted {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "if it may read that, write {} below [transform.{}] in the project file",
            self.line, self.transform
        ))
    }
}

/// The sensitive columns that a module of this description reads from `source`.
pub(super) fn read_by(plan: &Plan, source: &str, description: &Description) -> Vec<SourceColumn> {
    let Some(marks) = plan.sources.get(source) else {
        return Vec::new();
    };
    let inputs = description.inputs.iter();
    let read = inputs.flat_map(|input| {
        let marked = marks.sensitive_of(&input.table);
        let names = input.schema.fields().iter().map(|field| field.name());
        let read = names.filter(|name| marked.contains(name));
        read.map(|name| SourceColumn {
            source: source.to_owned(),
            table: input.table.clone(),
            column: name.clone(),
        })
    });
    read.collect()
}

/// The same of a module that the registry describes.
pub(super) fn read_of(plan: &Plan, source: &str, descriptor: &Descriptor) -> Vec<SourceColumn> {
    let Some(marks) = plan.sources.get(source) else {
        return Vec::new();
    };
    let inputs = descriptor.inputs.iter();
    let read = inputs.flat_map(|input| {
        let marked = marks.sensitive_of(&input.table);
        let columns = input.columns.iter();
        let read = columns.filter(|column| marked.contains(&column.name));
        read.map(|column| SourceColumn {
            source: source.to_owned(),
            table: input.table.clone(),
            column: column.name.clone(),
        })
    });
    read.collect()
}

/// What a module of this description would have to be granted before it makes its table; one sentence for all of it.
pub(super) fn warning(plan: &Plan, source: &str, description: &Description) -> Option<String> {
    let table = &description.output.table;
    let missing = not_granted(plan, table, &read_by(plan, source, description));
    (!missing.is_empty()).then(|| {
        format!(
            "it reads {}, which is marked sensitive: {table} stops until {} stands below [transform.{table}] in the project file",
            names(&missing),
            line(plan, table, &missing)
        )
    })
}

/// The grants of one warehouse table; `reads` is `None` where its module cannot be loaded.
pub(super) fn planned(
    plan: &Plan,
    table: &str,
    reads: Option<&[SourceColumn]>,
) -> Vec<PlannedGrant> {
    let written = plan.transforms.get(table).map_or(&[][..], |t| &t.grants);
    let read: Vec<String> = reads
        .iter()
        .copied()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let marked = |grant: &String| plan.sensitive().any(|column| column.to_string() == *grant);
    let state = |grant: &String| match reads {
        _ if !marked(grant) => GrantState::NotSensitive,
        None => GrantState::Unknown,
        Some(_) if read.contains(grant) => GrantState::Used,
        Some(_) => GrantState::Unused,
    };
    let planned = |column: &String, state| PlannedGrant {
        column: column.clone(),
        state,
    };
    let grants: BTreeSet<&String> = written.iter().collect();
    let missing = read.iter().filter(|column| !written.contains(column));
    let missing = missing.map(|column| planned(column, GrantState::Missing));
    let grants = grants.into_iter().map(|grant| planned(grant, state(grant)));
    grants.chain(missing).collect()
}

fn not_granted(plan: &Plan, table: &str, reads: &[SourceColumn]) -> Vec<SourceColumn> {
    let missing = reads.iter().filter(|column| !plan.grants(table, column));
    missing.cloned().collect()
}

/// The line of the project file that grants `missing` besides what is granted already.
fn line(plan: &Plan, table: &str, missing: &[SourceColumn]) -> String {
    let granted = plan.transforms.get(table).map_or(&[][..], |t| &t.grants);
    let all = granted.iter().cloned();
    let all = all.chain(missing.iter().map(ToString::to_string));
    let quoted: Vec<String> = all.map(|column| format!("{column:?}")).collect();
    format!("grants = [{}]", quoted.join(", "))
}

fn names(columns: &[SourceColumn]) -> String {
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    names.join(", ")
}
