//! The promotion log as it was read: which version is active, and which was promoted last of those that match.

use semver::Version;

use super::error::RegistryError;
use super::record::{self, Promotion};
use super::wanted::{Pick, Wanted};

/// Promotions, the oldest first, without a gap.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    promotions: Vec<Promotion>,
}

impl History {
    /// The number of the last promotion; 0 while there is none.
    pub(crate) fn newest(&self) -> u64 {
        self.promotions.last().map_or(0, |last| last.sequence)
    }

    /// Reads record `number`, whose key is `key`, and puts it at the end.
    ///
    /// # Errors
    /// `Data` when it is damaged or another record than its key says.
    pub(crate) fn append(
        &mut self,
        number: u64,
        key: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let promotion: Promotion = record::parse(key, bytes)?;
        if promotion.sequence != number {
            return Err(RegistryError::Damaged {
                object: key.to_owned(),
                reason: format!("it says that it is number {}", promotion.sequence),
            });
        }
        self.promotions.push(promotion);
        Ok(())
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
