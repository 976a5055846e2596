//! The log of one kind of manifest in one zone.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Deserialize;

use super::{Manifest, ManifestError};
use crate::digest::Digest;
use crate::zone::log::NumberedLog;
use crate::zone::{Zone, ZoneError};

/// The manifests of one kind in one zone, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct ManifestLog<M> {
    zone: Arc<dyn Zone>,
    log: NumberedLog,
    manifest: PhantomData<fn() -> M>,
}

impl<M: Manifest> ManifestLog<M> {
    /// The log below `prefix`, which is empty for the zone itself.
    pub fn new(zone: Arc<dyn Zone>, prefix: &str) -> Self {
        let folder = match prefix {
            "" => "_manifests".to_owned(),
            prefix => format!("{prefix}/_manifests"),
        };
        Self {
            log: NumberedLog::new(zone.clone(), folder),
            zone,
            manifest: PhantomData,
        }
    }

    /// The newest manifest, `None` while there is none.
    ///
    /// # Errors
    /// `Data` when it is damaged, `Config` when a later version wrote it, `Unavailable`.
    pub async fn newest(&self) -> Result<Option<M>, ManifestError> {
        match self.log.newest().await? {
            None => Ok(None),
            Some(number) => self.read(number).await.map(Some),
        }
    }

    /// Asks again what is newest, see [`NumberedLog::look_again`].
    pub fn look_again(&self) {
        self.log.look_again();
    }

    /// The manifest of that number.
    ///
    /// # Errors
    /// As [`ManifestLog::newest`], and `Data` when there is none or it says that it is another.
    pub async fn read(&self, number: u64) -> Result<M, ManifestError> {
        Ok(self.read_with_digest(number).await?.0)
    }

    /// The manifest of that number, `None` while nobody has committed it.
    ///
    /// # Errors
    /// As [`ManifestLog::newest`].
    pub async fn find(&self, number: u64) -> Result<Option<M>, ManifestError> {
        match self.read(number).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(ManifestError::Zone(ZoneError::Missing { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of the newest manifest, `None` while there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_number(&self) -> Result<Option<u64>, ManifestError> {
        Ok(self.log.newest().await?)
    }

    /// The manifest of that number with the digest of its bytes.
    ///
    /// # Errors
    /// As [`ManifestLog::read`].
    pub async fn read_with_digest(&self, number: u64) -> Result<(M, Digest), ManifestError> {
        let bytes = self.log.read(number).await?;
        let manifest: M = parse(&bytes, || self.name(number))?;
        let said = manifest.sequence();
        if said != number {
            let other = format!("it says that it is number {said}");
            return Err(ManifestError::Damaged {
                manifest: self.name(number),
                cause: serde::de::Error::custom(other),
            });
        }
        Ok((manifest, Digest::of(&bytes)))
    }

    /// Commits `manifest` under its own number, which is the one after the newest.
    ///
    /// # Errors
    /// `Conflict` when another run has committed that number; nothing was written then.
    pub async fn commit(&self, manifest: &M) -> Result<(), ManifestError> {
        let number = manifest.sequence();
        let bytes = print(manifest, || self.name(number))?;
        match self.log.append(number, bytes.into()).await {
            Ok(_) => Ok(()),
            Err(ZoneError::Exists { object }) => Err(ManifestError::Taken { manifest: object }),
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self, number: u64) -> String {
        format!("{}/{}", self.zone.url(), self.log.key(number))
    }
}

/// The manifest in `bytes`, which is called `name`. The format is looked at first, because a later one may have other
/// fields.
pub(super) fn parse<M: Manifest>(
    bytes: &[u8],
    name: impl Fn() -> String,
) -> Result<M, ManifestError> {
    #[derive(Deserialize)]
    struct Formatted {
        format: u64,
    }
    let damaged = |cause| ManifestError::Damaged {
        manifest: name(),
        cause,
    };
    let Formatted { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > u64::from(M::KNOWN) {
        return Err(ManifestError::TooNew {
            manifest: name(),
            found: format,
            known: M::KNOWN,
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// The manifest as bytes: indented, for the person who opens the file.
pub(super) fn print<M: Manifest>(
    manifest: &M,
    name: impl Fn() -> String,
) -> Result<Vec<u8>, ManifestError> {
    serde_json::to_vec_pretty(manifest).map_err(|cause| ManifestError::Damaged {
        manifest: name(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use chrono::DateTime;

    use super::*;
    use crate::error::{Classify as _, ErrorKind};
    use crate::manifest::{FORMAT, LandingManifest};
    use crate::run::RunId;
    use crate::zone::memory::MemoryZone;

    fn manifest(sequence: u64, run: u32) -> LandingManifest {
        LandingManifest {
            format: FORMAT,
            sequence,
            run: RunId::new(DateTime::UNIX_EPOCH, run),
            source: "totesys".into(),
            tidemill: "0.1.0".into(),
            writer: "parquet-1".into(),
            logical_time: DateTime::UNIX_EPOCH,
            tables: BTreeMap::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn log() -> (Arc<MemoryZone>, ManifestLog<LandingManifest>) {
        let zone = Arc::new(MemoryZone::default());
        (zone.clone(), ManifestLog::new(zone, "totesys"))
    }

    #[tokio::test]
    async fn the_newest_manifest_is_the_last_that_was_committed() {
        let (_, log) = log();
        assert_eq!(log.newest().await.unwrap(), None);
        log.commit(&manifest(1, 1)).await.unwrap();
        log.commit(&manifest(2, 2)).await.unwrap();
        assert_eq!(log.newest().await.unwrap(), Some(manifest(2, 2)));
    }

    #[tokio::test]
    async fn of_two_runs_that_commit_the_same_number_one_is_told_of_the_other() {
        let (_, log) = log();
        log.commit(&manifest(1, 1)).await.unwrap();
        let error = log.commit(&manifest(1, 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(log.newest().await.unwrap(), Some(manifest(1, 1)));
    }

    #[tokio::test]
    async fn a_manifest_of_a_later_version_is_named_as_such() {
        let (zone, log) = log();
        let key = "totesys/_manifests/0000000001.json";
        zone.create(
            key,
            bytes::Bytes::from_static(br#"{"format": 9, "what": "ever"}"#),
        )
        .await
        .unwrap();
        let error = log.newest().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory:///totesys/_manifests/0000000001.json has format 9, and this version reads up to 2"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn a_damaged_manifest_is_an_error_and_not_an_empty_history() {
        let (zone, log) = log();
        zone.create(
            "totesys/_manifests/0000000001.json",
            bytes::Bytes::from_static(b"{\"format\""),
        )
        .await
        .unwrap();
        assert!(matches!(
            log.newest().await,
            Err(ManifestError::Damaged { .. })
        ));
    }

    #[tokio::test]
    async fn a_manifest_under_the_number_of_another_is_damaged() {
        let (zone, log) = log();
        log.commit(&manifest(1, 1)).await.unwrap();
        let bytes = zone
            .read("totesys/_manifests/0000000001.json")
            .await
            .unwrap();
        zone.create("totesys/_manifests/0000000002.json", bytes)
            .await
            .unwrap();
        let error = log.newest().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "it says that it is number 1");
    }
}
