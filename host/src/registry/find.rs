//! What a name means: the modules, versions and digests that there are, and the one that was meant where there is none.

use semver::Version;

use super::error::RegistryError;
use super::record::{self, ModuleRecord};
use super::wanted::{self, Pick, Wanted};
use super::{Registry, key};
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::zone::ZoneError;

impl Registry {
    /// What a project file means by `dim-staff@1`.
    ///
    /// # Errors
    /// `Config` when nothing matches; the hint says what there is.
    pub async fn resolve(&self, wanted: &str) -> Result<ModuleRef, RegistryError> {
        let wanted: Wanted = wanted.parse()?;
        match &wanted.pick {
            Pick::Version(version) => {
                // What was promoted is known by its digest.
                if let Some(promotion) = self.known().await?.matching(&wanted) {
                    return Ok(promotion.module());
                }
                let record = self.existing(&wanted.name, &version.to_string()).await?;
                Ok(record.module())
            }
            Pick::Digest(digest) => self.with_digest(&wanted, *digest).await,
            Pick::Active | Pick::Range(_) => self.promoted(&wanted).await,
        }
    }

    /// The versions of a module that are stored, the highest last.
    ///
    /// # Errors
    /// `Config` when `name` is no name.
    pub async fn versions(&self, name: &str) -> Result<Vec<Version>, RegistryError> {
        wanted::check_name(name)?;
        let prefix = format!("{name}/");
        let entries = self.zone.list(&prefix).await?;
        let mut versions: Vec<Version> = entries
            .iter()
            .filter_map(|entry| {
                entry
                    .key
                    .strip_prefix(&prefix)?
                    .strip_suffix("/module.json")
            })
            .filter_map(|version| Version::parse(version).ok())
            .collect();
        versions.sort();
        Ok(versions)
    }

    /// The names of all modules, sorted.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn names(&self) -> Result<Vec<String>, RegistryError> {
        let entries = self.zone.list("").await?;
        let mut names: Vec<String> = entries
            .iter()
            .filter(|entry| entry.key.ends_with("/module.json"))
            .filter_map(|entry| Some(entry.key.split_once('/')?.0.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The last promotion that matches.
    async fn promoted(&self, wanted: &Wanted) -> Result<ModuleRef, RegistryError> {
        let history = self.known().await?;
        if let Some(promotion) = history.matching(wanted) {
            return Ok(promotion.module());
        }
        if self.versions(&wanted.name).await?.is_empty() {
            return Err(self.unknown(&wanted.name).await?);
        }
        let active = history.active(&wanted.name);
        Err(RegistryError::NotPromoted {
            name: wanted.name.clone(),
            wanted: wanted.to_string(),
            active: active.map(|active| active.version.clone()),
        })
    }

    async fn with_digest(
        &self,
        wanted: &Wanted,
        digest: Digest,
    ) -> Result<ModuleRef, RegistryError> {
        if let Some(promotion) = self.known().await?.matching(wanted) {
            return Ok(promotion.module());
        }
        let name = &wanted.name;
        let versions = self.versions(name).await?;
        for version in &versions {
            let record = self.existing(name, &version.to_string()).await?;
            if record.digest == digest {
                return Ok(record.module());
            }
        }
        if versions.is_empty() {
            return Err(self.unknown(name).await?);
        }
        Err(RegistryError::UnknownDigest {
            name: name.clone(),
            digest,
        })
    }

    /// The error for a name that does not exist, with the one that was probably meant.
    async fn unknown(&self, name: &str) -> Result<RegistryError, RegistryError> {
        let names = self.names().await?;
        let nearest = names
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(&known, name), known))
            .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 3)
            .min();
        Ok(RegistryError::UnknownModule {
            name: name.to_owned(),
            nearest: nearest.map(|(_, known)| known),
        })
    }

    /// The record of a version that must exist.
    pub(super) async fn existing(
        &self,
        name: &str,
        version: &str,
    ) -> Result<ModuleRecord, RegistryError> {
        if let Some(record) = self.record(name, version).await? {
            return Ok(record);
        }
        let known = self.versions(name).await?;
        if known.is_empty() {
            return Err(self.unknown(name).await?);
        }
        Err(RegistryError::UnknownVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            known: known.iter().map(ToString::to_string).collect(),
        })
    }

    pub(super) async fn record(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Option<ModuleRecord>, RegistryError> {
        wanted::check_name(name)?;
        wanted::check_version(version)?;
        let key = key(name, version, "module.json");
        let bytes = match self.zone.read(&key).await {
            Ok(bytes) => bytes,
            Err(ZoneError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let key = format!("{}/{key}", self.zone.url());
        let record: ModuleRecord = record::parse(&key, &bytes)?;
        if record.name != name || record.version != version {
            return Err(RegistryError::Damaged {
                object: key,
                reason: format!("it is the record of {}@{}", record.name, record.version),
            });
        }
        Ok(Some(record))
    }
}
