//! What becomes of a module that was built: pushed, promoted, rolled back, listed.
//!
//! Pushing compares what a module makes with what the active version of it makes, and what it reads with what is
//! landed, because a version that is in the registry is one that anybody may promote. A rollback is a promotion of an
//! older version: the log only grows.

mod compatibility;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Pipeline;
use super::declared::check;
use super::inputs::{InputError, Landings};
use super::modules::{self, ModuleError};
use super::report::ModuleListing;
use super::sensitive;
use super::shadow::report::ShadowReport;
use super::survey;
use crate::builtin::BuiltinModule;
use crate::contract::{Description, ModuleRef};
use crate::error::{Classify, ErrorKind, Result};
use crate::registry::{Minisig, Pick, Promoter, Promotion, Pushed, Stored, Voucher, Wanted};
use crate::sandbox::Module;
pub use compatibility::OutputChange;
use compatibility::changes;

/// A module that is to be pushed.
#[derive(Debug, Clone, Default)]
pub struct Push {
    /// The component.
    pub component: Bytes,
    /// Its parameters; empty when it has none.
    pub parameters: Bytes,
    /// Who vouches for it.
    pub signatures: Vec<Minisig>,
    /// What it was said to be, where somebody said it: its component must say the same.
    pub said: Option<ModuleRef>,
    /// Whether the warehouse's table may change in a way that it cannot simply follow.
    pub breaking: bool,
    /// Whether it may read what has not been landed like that.
    pub unlanded: bool,
}

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
    /// What it reads and has not been landed like that.
    pub misfits: Vec<String>,
    /// What it reads that is sensitive and not granted: the project does not make its table before it is.
    pub ungranted: Option<String>,
    /// Who vouches for it.
    pub vouched_by: Voucher,
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
    /// What it reads that is sensitive and not granted: the project does not make its table before it is.
    pub ungranted: Option<String>,
    /// Who vouches for what is active now.
    pub vouched_by: Voucher,
    /// The record of the promotion.
    pub promotion: Promotion,
}

/// Why a module cannot be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// It is not what it was said to be.
    #[error("it is said to be {said}, and its component and parameters are {found}")]
    Other {
        /// What was said.
        said: String,
        /// What it says itself.
        found: String,
    },
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
    /// It could not be run on what is landed.
    #[error("{module} cannot be given what it reads: {}", misfits.join("; "))]
    Unlanded {
        /// What was to be pushed.
        module: String,
        /// What is not landed as it declares.
        misfits: Vec<String>,
    },
    /// A promotion names one version.
    #[error("`{0}` is no exact version")]
    Inexact(String),
    /// The report is of other versions.
    #[error(
        "the shadow report is of {tried} beside {beside}, and {module} is to take the place of {active}"
    )]
    OtherReport {
        /// The version that was tried.
        tried: String,
        /// The version that was in use then.
        beside: String,
        /// What is to be promoted.
        module: String,
        /// What is active now.
        active: String,
    },
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
        match self {
            Self::Other { .. } => ErrorKind::Data,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Other { .. } => {
                "do not use it; find out who put it there, and have it exported again".into()
            }
            Self::Breaking { .. } => "repeat it with --breaking when that is meant".into(),
            Self::Unlanded { .. } => {
                "repeat it with --unlanded when the source will have that before it is promoted"
                    .into()
            }
            Self::Inexact(_) => "write it like dim-staff@1.2.3".into(),
            Self::OtherReport { .. } => "make another with `tidemill module shadow`".into(),
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
    /// `Module` when it cannot be loaded; `Config` when nobody vouches for it whom the project trusts, the version is
    /// there with other bytes, it makes something else than the active version, or reads what is not landed, and
    /// neither was asked for; `Data` when its signature is wrong.
    pub async fn push(&self, push: Push) -> Result<PushReport> {
        let (component, parameters) = (&push.component, &push.parameters);
        let module = self
            .described(component.clone(), parameters.clone())
            .await?;
        let reference = module.reference();
        refuse_other(push.said.as_ref(), reference)?;
        let vouched_by = self
            .trust
            .admit(reference, component, parameters, &push.signatures)?;
        let known = self.registry.versions(&reference.name).await?;
        let active = self.registry.active(&reference.name).await?;
        let (mut changes, mut misfits) = Default::default();
        // What is there already cannot be refused any more; other bytes are refused by the registry.
        if !known.iter().any(|v| v.to_string() == reference.version) {
            changes = self.changes(&module, active.as_ref()).await?;
            refuse_breaking(&changes, reference, active.as_ref(), push.breaking)?;
            misfits = self.misfits(module.description()).await?;
            refuse_unlanded(&misfits, reference, push.unlanded)?;
        }
        let pushed = self
            .registry
            .push(component, parameters, module.description())
            .await?;
        for signature in push.signatures.iter().filter(|one| self.trust.keeps(one)) {
            self.registry.sign(pushed.module(), signature).await?;
        }
        Ok(PushReport {
            module: pushed.module().clone(),
            is_new: matches!(pushed, Pushed::New(_)),
            active: active.map(|active| active.version),
            changes,
            misfits,
            ungranted: self.ungranted(module.description()),
            vouched_by,
        })
    }

    /// What a module reads that is sensitive and not granted; `None` too where it is not known from which source it will
    /// read.
    fn ungranted(&self, description: &Description) -> Option<String> {
        let source = self.source_of(description)?;
        sensitive::warning(&self.plan, &source, description)
    }

    /// The source that a module would read in this project, where that is clear.
    fn source_of(&self, description: &Description) -> Option<String> {
        let transform = self.plan.transforms.get(&description.output.table);
        let named = transform.and_then(|transform| transform.source.as_deref());
        modules::source_of(&self.plan, named).ok()
    }

    /// How its output differs from that of the active version.
    async fn changes(
        &self,
        module: &Module,
        active: Option<&Promotion>,
    ) -> Result<Vec<OutputChange>> {
        let Some(active) = active else {
            return Ok(Vec::new());
        };
        let stored = self.registry.read(&active.name, &active.version).await?;
        Ok(changes(
            &stored.record.descriptor,
            &module.description().into(),
        ))
    }

    /// What a module reads and is not landed as it declares; nothing where nothing has been landed at all, or it is
    /// not known from which source it will read.
    async fn misfits(&self, description: &Description) -> Result<Vec<String>> {
        let Some(source) = self.source_of(description) else {
            return Ok(Vec::new());
        };
        let landings = Landings::new(self.landed.clone(), &source);
        let Some(newest) = landings.newest().await? else {
            return Ok(Vec::new());
        };
        let inputs = description.inputs.iter();
        let fits = inputs.map(|input| match newest.tables.get(input.table.as_str()) {
            Some(landed) => check(input, landed),
            None => Err(InputError::NotLanded(input.table.clone())),
        });
        Ok(fits
            .filter_map(std::result::Result::err)
            .map(|error| error.to_string())
            .collect())
    }

    /// Makes an exact version the active one of its module, if it can be loaded. Whoever decided it may have looked at
    /// the report of a shadow run.
    ///
    /// # Errors
    /// `Config` when there is no such version or the report is of others, `Data` when its bytes are damaged,
    /// `Module` when it cannot be loaded,
    /// `Conflict` when others promote at the same time.
    pub async fn promote(
        &self,
        wanted: &str,
        promoter: &Promoter,
        report: Option<&ShadowReport>,
    ) -> Result<PromotionReport> {
        let parsed: Wanted = wanted.parse()?;
        if !matches!(parsed.pick, Pick::Version(_) | Pick::Digest(_)) {
            return Err(PublishError::Inexact(wanted.to_owned()).into());
        }
        let module = self.registry.resolve(wanted).await?;
        let active = self.registry.active(&module.name).await?;
        if let Some(report) = report {
            fits(report, &module, active.as_ref())?;
        }
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

    /// Puts the built-in modules into the modules zone and promotes those that are not; gives how many were.
    ///
    /// # Errors
    /// `Module` when one does not load, `Unavailable` when the zone cannot be written.
    pub async fn install(
        &self,
        modules: &[BuiltinModule],
        who: &str,
        when: DateTime<Utc>,
    ) -> Result<usize> {
        let promoter = Promoter {
            who: who.to_owned(),
            when,
            why: "built into tidemill".to_owned(),
            shadow: None,
            rebuild: false,
        };
        // Compiling takes seconds a module on one core, the rest nothing.
        let compiled = modules.iter().map(|builtin| {
            let component = Bytes::from_static(builtin.bytes);
            let known = ModuleRef {
                name: builtin.name.clone(),
                version: builtin.version.clone(),
                digest: builtin.sha256,
            };
            modules::compile(&self.sandbox, component, Bytes::new(), known)
        });
        let compiled = futures::future::try_join_all(compiled).await?;
        let mut promoted = 0;
        for (builtin, module) in modules.iter().zip(compiled) {
            self.registry
                .push(builtin.bytes, &[], module.description())
                .await?;
            if self.registry.active(&builtin.name).await?.is_none() {
                self.registry
                    .promote(&builtin.name, &builtin.version, &promoter)
                    .await?;
                promoted += 1;
            }
        }
        Ok(promoted)
    }

    /// The module that is meant by `dim-staff@1`, its digest verified.
    ///
    /// # Errors
    /// `Config` when there is none, `Data` when its bytes are damaged.
    pub async fn module(&self, wanted: &str) -> Result<Stored> {
        let module = self.registry.resolve(wanted).await?;
        Ok(self.registry.fetch(&module).await?)
    }

    /// The numbers of the keys that say to have signed a module.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn signers(&self, module: &ModuleRef) -> Result<Vec<String>> {
        Ok(self.registry.signers(module).await?)
    }

    /// The signatures beside a module, of whatever keys.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer, `Data` when one is damaged.
    pub async fn signatures(&self, module: &ModuleRef) -> Result<Vec<Minisig>> {
        Ok(self.registry.signatures(module).await?)
    }

    /// The modules in the modules zone, by name and version.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn modules(&self) -> Result<Vec<ModuleListing>> {
        survey::modules(&self.registry, &self.trust).await
    }

    /// A module that nothing is known of but what it says itself.
    async fn described(&self, component: Bytes, parameters: Bytes) -> Result<Module> {
        let sandbox = self.sandbox.clone();
        let load = move || sandbox.load(&component, &parameters);
        let loaded = tokio::task::spawn_blocking(load).await;
        Ok(loaded.map_err(ModuleError::Lost)??)
    }

    async fn activate(&self, module: &ModuleRef, promoter: &Promoter) -> Result<PromotionReport> {
        let before = self.registry.active(&module.name).await?;
        let stored = self.registry.fetch(module).await?;
        let vouched_by = self.registry.voucher(&stored, &self.trust).await?;
        let (component, parameters) = (stored.component, stored.parameters);
        let loaded = modules::compile(&self.sandbox, component, parameters, module.clone()).await?;
        let promotion = self
            .registry
            .promote_over(before.as_ref(), &module.name, &module.version, promoter)
            .await?;
        Ok(PromotionReport {
            module: promotion.module(),
            changed: before.is_none_or(|before| before.sequence != promotion.sequence),
            previous: promotion.previous.clone(),
            ungranted: self.ungranted(loaded.description()),
            vouched_by,
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

/// Sees to it that a report is of what is to be done.
fn fits(
    report: &ShadowReport,
    module: &ModuleRef,
    active: Option<&Promotion>,
) -> Result<(), PublishError> {
    let (tried, beside) = (&report.candidate.module, &report.active.module);
    let is_beside = active.is_some_and(|active| active.module() == *beside);
    if tried == module && is_beside {
        return Ok(());
    }
    Err(PublishError::OtherReport {
        tried: tried.to_string(),
        beside: beside.to_string(),
        module: module.to_string(),
        active: active.map_or_else(|| "nothing".into(), |active| active.module().to_string()),
    })
}

fn refuse_other(said: Option<&ModuleRef>, found: &ModuleRef) -> Result<(), PublishError> {
    match said.filter(|said| *said != found) {
        Some(said) => Err(PublishError::Other {
            said: said.to_string(),
            found: found.to_string(),
        }),
        None => Ok(()),
    }
}

fn refuse_breaking(
    changes: &[OutputChange],
    module: &ModuleRef,
    active: Option<&Promotion>,
    breaking: bool,
) -> Result<(), PublishError> {
    let broken: Vec<String> = changes
        .iter()
        .filter(|change| change.breaking)
        .map(|change| format!("{}: {}", change.what, change.consequence))
        .collect();
    match active {
        Some(active) if !broken.is_empty() && !breaking => Err(PublishError::Breaking {
            module: format!("{}@{}", module.name, module.version),
            active: active.version.clone(),
            changes: broken.join("; "),
        }),
        _ => Ok(()),
    }
}

fn refuse_unlanded(
    misfits: &[String],
    module: &ModuleRef,
    unlanded: bool,
) -> Result<(), PublishError> {
    if misfits.is_empty() || unlanded {
        return Ok(());
    }
    Err(PublishError::Unlanded {
        module: format!("{}@{}", module.name, module.version),
        misfits: misfits.to_vec(),
    })
}

#[cfg(test)]
mod tests;
