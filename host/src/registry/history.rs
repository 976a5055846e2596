//! The promotion log as it was read: which version is active, and which was promoted last of those that match.

use bytes::Bytes;
use semver::Version;

use super::error::RegistryError;
use super::record::{self, Promotion};
use super::wanted::{Pick, Wanted};
use crate::digest::Digest;

/// Promotions, the oldest first, without a gap.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    promotions: Vec<Promotion>,
    /// Their records.
    records: Vec<Bytes>,
    /// The digest of the last record.
    sha256: Option<Digest>,
}

impl History {
    /// The number of the last promotion; 0 while there is none.
    pub(crate) fn newest(&self) -> u64 {
        self.promotions.last().map_or(0, |last| last.sequence)
    }

    /// The digest of the record of the last promotion.
    pub(crate) fn newest_sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// The records, the oldest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Bytes> {
        self.records.iter()
    }

    /// Whether the digest of the last record stands for all of them. Early versions wrote none into a record.
    pub(crate) fn is_chained(&self) -> bool {
        let mut later = self.promotions.iter().skip(1);
        later.all(|promotion| promotion.after.is_some())
    }

    /// Reads record `number`, whose key is `key`, and puts it at the end.
    ///
    /// # Errors
    /// `Data` when it is damaged, another record than its key says, or does not follow the one before.
    pub(crate) fn append(
        &mut self,
        number: u64,
        key: &str,
        bytes: &Bytes,
    ) -> Result<(), RegistryError> {
        let promotion: Promotion = record::parse(key, bytes)?;
        self.check(number, &promotion)
            .map_err(|reason| RegistryError::Damaged {
                object: key.to_owned(),
                reason,
            })?;
        self.promotions.push(promotion);
        self.records.push(bytes.clone());
        self.sha256 = Some(Digest::of(bytes));
        Ok(())
    }

    /// What shows that a record was changed, or is not where it was written. Who writes every record after it anew, or
    /// takes away the last ones, is not found out: for that there are the rights on the zone.
    fn check(&self, number: u64, promotion: &Promotion) -> Result<(), String> {
        if promotion.sequence != number {
            return Err(format!("it says that it is number {}", promotion.sequence));
        }
        let begins_a_chain = promotion.format == 1 && promotion.after.is_none();
        let follows_format_1 = self.promotions.last().is_some_and(|last| last.format == 1);
        if begins_a_chain && (self.promotions.is_empty() || follows_format_1) {
            return Ok(());
        }
        if promotion.after != self.sha256 {
            return Err("the record before it is not the one that it follows".into());
        }
        let active = self.active(&promotion.name).map(|active| &active.version);
        match promotion.previous.as_ref() == active {
            true => Ok(()),
            false => Err("another version was active before it than it says".into()),
        }
    }

    /// The promotion that made the active version of `name` active.
    pub(crate) fn active(&self, name: &str) -> Option<&Promotion> {
        self.of(name).next()
    }

    /// The last promotion that is what `wanted` asks for.
    pub(crate) fn matching(&self, wanted: &Wanted) -> Option<&Promotion> {
        self.of(&wanted.name).find(|promotion| match &wanted.pick {
            Pick::Active => true,
            Pick::Range(range) => {
                Version::parse(&promotion.version).is_ok_and(|version| range.matches(&version))
            }
            Pick::Version(version) => {
                Version::parse(&promotion.version).is_ok_and(|promoted| promoted == *version)
            }
            Pick::Digest(digest) => promotion.digest == *digest,
        })
    }

    /// The promotions of `name`, the last first.
    fn of(&self, name: &str) -> impl Iterator<Item = &Promotion> {
        self.promotions
            .iter()
            .rev()
            .filter(move |promotion| promotion.name == name)
    }
}

impl From<History> for Vec<Promotion> {
    fn from(history: History) -> Self {
        history.promotions
    }
}
