//! The registry: name and version to verified bytes, and the promotion log.
//!
//! ```text
//! <name>/<version>/module.wasm        the component
//! <name>/<version>/parameters.bin     its parameters, where it has any
//! <name>/<version>/module.json        digests and descriptor; written last
//! <name>/<version>/signatures/…       one object for each key that signed it
//! _promotions/0000000012.json         append-only; the active version is the last one that names it
//! ```
//!
//! A version never changes: pushing the same bytes again is no error, other bytes are. A range such as
//! `dim-staff@1` means what was promoted *last* within it. The highest promoted version was rejected:
//! promoting an older version again, which is how one rolls back, would change nothing.
//!
//! This room knows zones and digests. It neither runs modules nor trusts what is stored: bytes are given
//! out only when their digest is the recorded one.

mod error;
mod find;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod history;
mod near;
mod record;
mod signatures;
mod trust;
mod wanted;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex;

use crate::contract::{Description, ModuleRef};
use crate::digest::Digest;
use crate::zone::log::NumberedLog;
use crate::zone::{Zone, ZoneError};

pub use error::RegistryError;
use history::History;
pub use record::{
    Blob, DescribedColumn, DescribedInput, DescribedOutput, Descriptor, FORMAT, ModuleRecord,
    PROMOTION_FORMAT, Promotion, Signature,
};
pub use trust::{Minisig, PublicKey, Trust, Voucher, statement};
pub use wanted::{Pick, Wanted};

/// Where the promotions are. No module can have this name.
const PROMOTIONS: &str = "_promotions";
/// Promotions that are read at the same time: they are small and far away.
const READS: usize = 16;
/// How often a promotion takes the next number when another one was faster.
const ATTEMPTS: usize = 10;

/// The modules zone. Shared by every task that needs modules.
#[derive(Debug)]
pub struct Registry {
    zone: Arc<dyn Zone>,
    log: NumberedLog,
    /// The promotions read so far: they never change, so only new ones are asked for.
    known: Mutex<History>,
    /// Whether that is all that this value will ever know.
    is_fixed: bool,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The version is new.
    New(ModuleRef),
    /// The version was there with the same bytes.
    AlreadyThere(ModuleRef),
}

impl Pushed {
    /// What is in the registry now.
    pub fn module(&self) -> &ModuleRef {
        match self {
            Self::New(module) | Self::AlreadyThere(module) => module,
        }
    }
}

/// A module out of the registry, its digest verified.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What `module.json` says.
    pub record: ModuleRecord,
    /// The component.
    pub component: Bytes,
    /// Its parameters; empty when it has none.
    pub parameters: Bytes,
}

impl Stored {
    /// Name, version and digest.
    pub fn module(&self) -> ModuleRef {
        self.record.module()
    }
}

/// Who promotes a version, when and why.
#[derive(Debug, Clone)]
pub struct Promoter {
    /// A user or a role.
    pub who: String,
    /// The host's clock.
    pub when: DateTime<Utc>,
    /// In their own words.
    pub why: String,
    /// The digest of the shadow report that they looked at.
    pub shadow: Option<Digest>,
    /// Whether the tables of the module are to be made anew from all of their history.
    pub rebuild: bool,
}

impl Registry {
    /// The registry in `zone`.
    pub fn new(zone: Arc<dyn Zone>) -> Self {
        Self {
            log: NumberedLog::new(zone.clone(), PROMOTIONS),
            zone,
            known: Mutex::default(),
            is_fixed: false,
        }
    }

    /// The registry as it is at this moment: what is promoted later does not show in it, and nothing is asked for again.
    ///
    /// # Errors
    /// `Unavailable`, and `Data` when the log of promotions is damaged.
    pub async fn as_of_now(&self) -> Result<Self, RegistryError> {
        Ok(Self {
            zone: self.zone.clone(),
            log: self.log.clone(),
            known: Mutex::new(self.known().await?),
            is_fixed: true,
        })
    }

    /// Stores a module under the name and version of its `description`.
    ///
    /// # Errors
    /// `Config` when that version exists with other bytes, or the name cannot become a path.
    pub async fn push(
        &self,
        component: &[u8],
        parameters: &[u8],
        description: &Description,
    ) -> Result<Pushed, RegistryError> {
        let record = record::of(component, parameters, description)?;
        let module = record.module();
        let (name, version) = (&record.name, &record.version);
        if let Some(found) = self.record(name, version).await? {
            return found
                .same_as(&record)
                .map(|()| Pushed::AlreadyThere(module));
        }
        self.store(&record, "module.wasm", component).await?;
        if record.parameters.is_some() {
            self.store(&record, "parameters.bin", parameters).await?;
        }
        let key = key(name, version, "module.json");
        match self.zone.create(&key, record::print(&record).into()).await {
            Ok(_) => Ok(Pushed::New(module)),
            Err(ZoneError::Exists { .. }) => {
                let found = self.existing(name, version).await?;
                found
                    .same_as(&record)
                    .map(|()| Pushed::AlreadyThere(module))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a version the active one of its module. Promoting what is active changes nothing.
    ///
    /// # Errors
    /// `Config` when there is no such version, `Conflict` when another one is promoted meanwhile.
    pub async fn promote(
        &self,
        name: &str,
        version: &str,
        promoter: &Promoter,
    ) -> Result<Promotion, RegistryError> {
        let seen = self.active(name).await?;
        self.promote_over(seen.as_ref(), name, version, promoter)
            .await
    }

    /// [`promote`](Self::promote), if the active version is still the one that was `seen`: what somebody looked at
    /// before it decided, perhaps for minutes.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub async fn promote_over(
        &self,
        seen: Option<&Promotion>,
        name: &str,
        version: &str,
        promoter: &Promoter,
    ) -> Result<Promotion, RegistryError> {
        let module = self.existing(name, version).await?.module();
        for _ in 0..ATTEMPTS {
            let history = self.known().await?;
            let previous = history.active(name);
            if let Some(active) = previous.filter(|active| active.module() == module) {
                return Ok(active.clone());
            }
            if previous.map(|p| p.sequence) != seen.map(|p| p.sequence) {
                return Err(RegistryError::Overtaken {
                    module: module.to_string(),
                    active: previous.map(|active| (active.version.clone(), active.who.clone())),
                });
            }
            let promotion = Promotion {
                format: match promoter.rebuild {
                    true => PROMOTION_FORMAT,
                    false => record::PLAIN_PROMOTION_FORMAT,
                },
                sequence: history.newest() + 1,
                name: module.name.clone(),
                version: module.version.clone(),
                digest: module.digest,
                who: promoter.who.clone(),
                when: promoter.when,
                why: promoter.why.clone(),
                previous: previous.map(|active| active.version.clone()),
                shadow: promoter.shadow,
                after: history.newest_sha256(),
                rebuild: promoter.rebuild,
            };
            let bytes = record::print(&promotion);
            match self.log.append(promotion.sequence, bytes.into()).await {
                Ok(_) => return Ok(promotion),
                // Another one took the number: read it, and take the next.
                Err(ZoneError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contended {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }

    /// The promotion that made the active version of `name` active.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn active(&self, name: &str) -> Result<Option<Promotion>, RegistryError> {
        Ok(self.known().await?.active(name).cloned())
    }

    /// The last promotion that is what a project file means by `dim-staff@1`; `None` of a version that was named by
    /// its number or its digest and never promoted.
    ///
    /// # Errors
    /// `Config` when `wanted` names nothing, `Data` when a record is damaged.
    pub async fn promotion(&self, wanted: &str) -> Result<Option<Promotion>, RegistryError> {
        let wanted: Wanted = wanted.parse()?;
        Ok(self.known().await?.matching(&wanted).cloned())
    }

    /// Every promotion, the oldest first.
    ///
    /// # Errors
    /// `Data` when a record is damaged.
    pub async fn history(&self) -> Result<Vec<Promotion>, RegistryError> {
        Ok(self.known().await?.into())
    }

    /// A module's bytes, when they are what its record says.
    ///
    /// # Errors
    /// `Config` when there is no such version, `Data` when the bytes are not those that were pushed.
    pub async fn read(&self, name: &str, version: &str) -> Result<Stored, RegistryError> {
        let record = self.existing(name, version).await?;
        let component = self.zone.read(&key(name, version, "module.wasm")).await?;
        let parameters = match record.parameters {
            Some(_) => {
                self.zone
                    .read(&key(name, version, "parameters.bin"))
                    .await?
            }
            None => Bytes::new(),
        };
        let found = Digest::of_parts([component.as_ref(), parameters.as_ref()]);
        if found != record.digest {
            return Err(RegistryError::Damaged {
                object: format!("{}/{name}/{version}", self.zone.url()),
                reason: format!("its digest is {found} instead of {}", record.digest),
            });
        }
        Ok(Stored {
            record,
            component,
            parameters,
        })
    }

    /// The bytes of exactly that module: what was resolved or promoted, and nothing that was put in its
    /// place since.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn fetch(&self, module: &ModuleRef) -> Result<Stored, RegistryError> {
        let stored = self.read(&module.name, &module.version).await?;
        if stored.record.digest != module.digest {
            return Err(RegistryError::Damaged {
                object: format!("{}/{}/{}", self.zone.url(), module.name, module.version),
                reason: format!(
                    "its digest is {} instead of {}",
                    stored.record.digest, module.digest
                ),
            });
        }
        Ok(stored)
    }

    /// Everything that was promoted so far.
    async fn known(&self) -> Result<History, RegistryError> {
        let mut known = self.known.lock().await;
        if self.is_fixed {
            return Ok(known.clone());
        }
        let newest = self.log.newest_after(known.newest()).await?.unwrap_or(0);
        if known.newest() == 0
            && let Some(kept) = self.kept_history().await
            && self.begins_with(&kept, newest).await?
        {
            *known = kept;
        }
        let read = known.newest();
        let new: Vec<(u64, Bytes)> = futures::stream::iter(read + 1..=newest)
            .map(|number| async move { Ok::<_, ZoneError>((number, self.log.read(number).await?)) })
            .buffered(READS)
            .try_collect()
            .await?;
        for (number, bytes) in new {
            let key = format!("{}/{}", self.zone.url(), self.log.key(number));
            known.append(number, &key, &bytes)?;
        }
        if known.newest() > read {
            self.keep_history(&known).await;
        }
        Ok(known.clone())
    }

    /// Stores bytes that belong to a record which is not written yet. They may be there from a push that
    /// was cut off, or from one that runs at the same time; then they must be the same.
    async fn store(
        &self,
        record: &ModuleRecord,
        file: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let key = key(&record.name, &record.version, file);
        match self.zone.create(&key, Bytes::copy_from_slice(bytes)).await {
            Err(ZoneError::Exists { .. }) if self.zone.read(&key).await? == bytes => Ok(()),
            Err(ZoneError::Exists { .. }) => Err(RegistryError::Immutable {
                name: record.name.clone(),
                version: record.version.clone(),
                found: None,
                pushed: record.digest,
            }),
            created => Ok(created.map(|_| ())?),
        }
    }
}

fn key(name: &str, version: &str, file: &str) -> String {
    format!("{name}/{version}/{file}")
}
