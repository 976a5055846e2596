//! What becomes of a module that was built: pushed, promoted, rolled back.
//!
//! Pushing compares what a module makes with what the active version of it makes, because a version that is in the
//! registry is one that anybody may promote. A rollback is a promotion of an older version: the log only grows.

use bytes::Bytes;
use serde::Serialize;

use super::Pipeline;
use super::modules::{self, ModuleError};
use crate::contract::ModuleRef;
use crate::error::{Classify, ErrorKind, Result};
use crate::registry::{
    DescribedColumn, DescribedOutput, Descriptor, Pick, Promoter, Promotion, Pushed, Wanted,
};
use crate::sandbox::Module;

/// What a push did.
#[derive(Debug, Clone, Serialize)]
pub struct PushReport {
    /// What is in the registry now.
    pub module: ModuleRef,
    /// Whether it was not there before.
    pub is_new: bool,
    /// The version that is active.
    pub active: Option<String>,
    /// How its output differs from that of the active version.
    pub changes: Vec<OutputChange>,
}

/// A difference between what two versions make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputChange {
    /// "the column `location` is new".
    pub what: String,
    /// What the warehouse does about it when the version is used.
    pub consequence: String,
    /// Whether it must be asked for.
    pub breaking: bool,
}

/// What a promotion or a rollback did.
#[derive(Debug, Clone, Serialize)]
pub struct PromotionReport {
    /// What is active now.
    pub module: ModuleRef,
    /// Whether it was not before.
    pub changed: bool,
    /// The version that was active before.
    pub previous: Option<String>,
    /// The record of the promotion.
    pub promotion: Promotion,
}

/// Why a module cannot be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// Its output is not what tables and readers are used to.
    #[error("{module} makes something else than {active}, which is active: {changes}")]
    Breaking {
        /// What was to be pushed.
        module: String,
        /// The active version.
        active: String,
        /// Each with what the warehouse will do.
        changes: String,
    },
    /// A promotion names one version.
    #[error("`{0}` is no exact version")]
    Inexact(String),
    /// There is nothing to go back from.
    #[error("no version of {0} is active")]
    NeverActive(String),
    /// There is nothing to go back to.
    #[error("no version of {name} was active before {active}")]
    NothingBefore {
        /// The module.
        name: String,
        /// The version that is active.
        active: String,
    },
}

impl Classify for PublishError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Breaking { .. } => "push it with --breaking when that is meant".into(),
            Self::Inexact(_) => "write it like dim-staff@1.2.3".into(),
            Self::NeverActive(_) => "`tidemill module list` shows what there is".into(),
            Self::NothingBefore { name, .. } => {
                format!("promote another with `tidemill module promote {name}@VERSION`")
            }
        })
    }
}

impl Pipeline {
    /// Puts a module into the registry, under the name and version that it says itself.
    ///
    /// # Errors
    /// `Module` when it cannot be loaded; `Config` when the version is there with other bytes, or it makes something
    /// else than the active version and `breaking` is not said.
    pub async fn push(
        &self,
        component: Vec<u8>,
        parameters: Vec<u8>,
        breaking: bool,
    ) -> Result<PushReport> {
        let (component, parameters) = (Bytes::from(component), Bytes::from(parameters));
        let module = self
            .described(component.clone(), parameters.clone())
            .await?;
        let description = module.description();
        let name = &description.name;
        let known = self.registry.versions(name).await?;
        let is_known = known.iter().any(|v| v.to_string() == description.version);
        let active = self.registry.active(name).await?;
        let changes = match &active {
            // What is there already cannot be refused any more; other bytes are refused by the registry.
            Some(active) if !is_known => {
                let stored = self.registry.read(name, &active.version).await?;
                let changes = changes(&stored.record.descriptor, &description.into());
                refuse_breaking(&changes, module.reference(), active, breaking)?;
                changes
            }
            _ => Vec::new(),
        };
        let pushed = self
            .registry
            .push(&component, &parameters, description)
            .await?;
        Ok(PushReport {
            module: pushed.module().clone(),
            is_new: matches!(pushed, Pushed::New(_)),
            active: active.map(|active| active.version),
            changes,
        })
    }

    /// Makes an exact version the active one of its module, if it can be loaded.
    ///
    /// # Errors
    /// `Config` when there is no such version, `Data` when its bytes are damaged, `Module` when it cannot be loaded,
    /// `Conflict` when others promote at the same time.
    pub async fn promote(&self, wanted: &str, promoter: &Promoter) -> Result<PromotionReport> {
        let parsed: Wanted = wanted.parse()?;
        if !matches!(parsed.pick, Pick::Version(_) | Pick::Digest(_)) {
            return Err(PublishError::Inexact(wanted.to_owned()).into());
        }
        let module = self.registry.resolve(wanted).await?;
        self.activate(&module, promoter).await
    }

    /// Makes the version active again that was active before.
    ///
    /// # Errors
    /// `Config` when there is none; else as [`promote`](Self::promote).
    pub async fn roll_back(&self, name: &str, promoter: &Promoter) -> Result<PromotionReport> {
        let history = self.registry.history().await?;
        let mut standing = standing(&history, name);
        let active = standing
            .pop()
            .ok_or_else(|| PublishError::NeverActive(name.to_owned()))?;
        let before = standing.pop().ok_or_else(|| PublishError::NothingBefore {
            name: name.to_owned(),
            active: active.version.clone(),
        })?;
        self.activate(&before.module(), promoter).await
    }

    /// A module that nothing is known of but what it says itself.
    async fn described(&self, component: Bytes, parameters: Bytes) -> Result<Module> {
        let sandbox = self.sandbox.clone();
        let load = move || sandbox.load(&component, &parameters);
        let loaded = tokio::task::spawn_blocking(load).await;
        Ok(loaded.map_err(ModuleError::Lost)??)
    }

    async fn activate(&self, module: &ModuleRef, promoter: &Promoter) -> Result<PromotionReport> {
        let stored = self.registry.fetch(module).await?;
        let (component, parameters) = (stored.component, stored.parameters);
        modules::compile(&self.sandbox, component, parameters, module.clone()).await?;
        let before = self.registry.active(&module.name).await?;
        let promotion = self
            .registry
            .promote(&module.name, &module.version, promoter)
            .await?;
        Ok(PromotionReport {
            module: promotion.module(),
            changed: before.is_none_or(|before| before.sequence != promotion.sequence),
            previous: promotion.previous.clone(),
            promotion,
        })
    }
}

/// The promotions of a module that were not gone back from, the active one last. Promoting what stood below the
/// active version takes that away, so that a rollback of a rollback goes further back and not forth again.
fn standing<'h>(history: &'h [Promotion], name: &str) -> Vec<&'h Promotion> {
    let mut standing: Vec<&Promotion> = Vec::new();
    for promotion in history.iter().filter(|promotion| promotion.name == name) {
        let below = standing.iter().rev().nth(1);
        if below.is_some_and(|below| below.module() == promotion.module()) {
            standing.pop();
        } else {
            standing.push(promotion);
        }
    }
    standing
}

fn refuse_breaking(
    changes: &[OutputChange],
    module: &ModuleRef,
    active: &Promotion,
    breaking: bool,
) -> Result<(), PublishError> {
    let broken: Vec<String> = changes
        .iter()
        .filter(|change| change.breaking)
        .map(|change| format!("{}: {}", change.what, change.consequence))
        .collect();
    if broken.is_empty() || breaking {
        return Ok(());
    }
    Err(PublishError::Breaking {
        module: format!("{}@{}", module.name, module.version),
        active: active.version.clone(),
        changes: broken.join("; "),
    })
}

/// How the output of a version differs from that of the active one, and what the warehouses do about it: see
/// `match_columns` and `unfilled` of PostgreSQL, `merge` and `check_identity` of Delta.
fn changes(active: &Descriptor, pushed: &Descriptor) -> Vec<OutputChange> {
    const REFUSED: &str = "the warehouse refuses to load it into the table that is there";
    let (was, is) = (&active.output, &pushed.output);
    let mut changes = Vec::new();
    let mut broken = |what: String, consequence: &str| {
        changes.push(OutputChange {
            what,
            consequence: consequence.to_owned(),
            breaking: true,
        });
    };
    if was.table != is.table {
        broken(
            format!("the table is `{}` and was `{}`", is.table, was.table),
            "the old table stays as it is, and the project file must name the new one",
        );
    }
    if was.mode != is.mode {
        broken(
            format!("its mode is {} and was {}", is.mode, was.mode),
            REFUSED,
        );
    }
    if was.primary_key != is.primary_key {
        let (is, was) = (is.primary_key.join(", "), was.primary_key.join(", "));
        broken(format!("its key is ({is}) and was ({was})"), REFUSED);
    }
    if active.properties != pushed.properties {
        broken(
            "its properties are others".into(),
            "the numbers of versions or the view of the table may be others, or the load is refused",
        );
    }
    changes.extend(was.columns.iter().filter_map(|column| changed(column, is)));
    changes.extend(is.columns.iter().filter_map(|column| added(column, was)));
    changes
}

/// How a column of the active version differs in the pushed one.
fn changed(was: &DescribedColumn, output: &DescribedOutput) -> Option<OutputChange> {
    let name = &was.name;
    let (what, consequence) = match output.columns.iter().find(|column| column.name == *name) {
        None if was.nullable => (
            format!("the column `{name}` is gone"),
            "it stays in the table, and new rows have NULL in it",
        ),
        None => (
            format!("the column `{name}` is gone"),
            "PostgreSQL lets it be NULL from then on, Delta refuses the load",
        ),
        Some(is) if is.data_type != was.data_type => (
            format!(
                "the column `{name}` is {} and was {}",
                is.data_type, was.data_type
            ),
            "the warehouse refuses the load, unless its column holds both exactly",
        ),
        Some(is) if is.nullable && !was.nullable => (
            format!("the column `{name}` may be NULL and always had a value"),
            "the warehouse refuses NULL in the table that is there",
        ),
        Some(is) if !is.nullable && was.nullable => (
            format!("the column `{name}` always has a value and could be NULL"),
            "rows that are there keep their NULL",
        ),
        Some(_) => return None,
    };
    Some(OutputChange {
        what,
        consequence: consequence.to_owned(),
        breaking: true,
    })
}

/// A column that the active version does not have.
fn added(is: &DescribedColumn, output: &DescribedOutput) -> Option<OutputChange> {
    if output.columns.iter().any(|column| column.name == is.name) {
        return None;
    }
    let (kind, consequence) = match is.nullable {
        true => (
            "",
            "the warehouse adds it; rows that are there have NULL in it",
        ),
        false => (
            " and always has a value",
            "PostgreSQL adds it but lets it be NULL, for rows that are there have no value; Delta refuses the load",
        ),
    };
    Some(OutputChange {
        what: format!("the column `{}` is new{kind}", is.name),
        consequence: consequence.to_owned(),
        breaking: !is.nullable,
    })
}

#[cfg(test)]
mod tests;
