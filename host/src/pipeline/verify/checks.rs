//! What there is to check, in an order in which later runs only ever add at the end.

use std::collections::{BTreeMap, HashSet};

use super::position::Segment;
use crate::digest::Digest;
use crate::error::{Classify as _, ErrorKind, Result};
use crate::manifest::{
    LandingManifest, ManifestError, ManifestLog, Object, ProcessedManifest, Transform,
};
use crate::pipeline::inputs::Reader;
use crate::run::RunId;

/// One thing to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// A manifest that cannot be read, and why.
    Unreadable(String),
    /// What a landing brought.
    Landing { source: String, sequence: u64 },
    /// The transform of that number of a processed manifest.
    Transform { sequence: u64, number: usize },
}

/// What a transform was made of and what it gave: two manifests may name the same.
type Output = (Digest, Vec<String>);

/// The checks, listed segment by segment.
pub(super) struct Listing<'a> {
    reader: &'a Reader,
    sources: &'a [String],
    only: Option<&'a RunId>,
    /// By log, the newest manifest that is listed.
    through: BTreeMap<String, u64>,
    seen: HashSet<Output>,
    pub(super) checks: Vec<Check>,
}

/// The name of the log of processed manifests: no source can have it.
const PROCESSED: &str = "";

impl<'a> Listing<'a> {
    pub(super) fn new(reader: &'a Reader, sources: &'a [String], only: Option<&'a RunId>) -> Self {
        Self {
            reader,
            sources,
            only,
            through: BTreeMap::new(),
            seen: HashSet::new(),
            checks: Vec::new(),
        }
    }

    /// Forgets what was listed.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.reader, self.sources, self.only);
    }

    /// Lists everything that is not listed yet.
    ///
    /// # Errors
    /// `Unavailable` when a zone does not answer.
    pub(super) async fn rest(&mut self) -> Result<Segment> {
        let mut through = BTreeMap::new();
        for source in self.sources {
            let log = self.landings(source);
            let newest = self.newest(log.newest_number().await)?;
            through.insert(source.clone(), newest);
        }
        let newest = self.newest(self.processed().newest_number().await)?;
        through.insert(PROCESSED.to_owned(), newest);
        let sha256 = self.segment(&through).await?;
        Ok(Segment { through, sha256 })
    }

    /// Lists what lies between what is listed and `through`, and gives the digest of its manifests.
    ///
    /// # Errors
    /// `Unavailable` when a zone does not answer.
    pub(super) async fn segment(&mut self, through: &BTreeMap<String, u64>) -> Result<Digest> {
        let mut digests = Vec::new();
        for (log, through) in through {
            let listed = self.through.insert(log.clone(), *through).unwrap_or(0);
            for sequence in listed + 1..=*through {
                let digest = match log.as_str() {
                    PROCESSED => self.list_processed(sequence).await?,
                    source => self.list_landing(source, sequence).await?,
                };
                digests.push(digest);
            }
        }
        Ok(Digest::of_parts(
            digests.iter().map(|digest| digest.as_bytes().as_slice()),
        ))
    }

    async fn list_landing(&mut self, source: &str, sequence: u64) -> Result<Digest> {
        let read = self.landings(source).read_with_digest(sequence).await;
        let Some((manifest, digest)) = self.readable(read)? else {
            return Ok(Digest::of(""));
        };
        if self.is_wanted(&manifest.run) {
            let source = source.to_owned();
            self.checks.push(Check::Landing { source, sequence });
        }
        Ok(digest)
    }

    async fn list_processed(&mut self, sequence: u64) -> Result<Digest> {
        let read = self.processed().read_with_digest(sequence).await;
        let Some((manifest, digest)) = self.readable(read)? else {
            return Ok(Digest::of(""));
        };
        if self.is_wanted(&manifest.run) {
            for (number, transform) in manifest.transforms().enumerate() {
                if self.seen.insert(output(&transform)) {
                    self.checks.push(Check::Transform { sequence, number });
                }
            }
        }
        Ok(digest)
    }

    /// A manifest; what is wrong with it is listed instead.
    fn readable<T>(&mut self, read: std::result::Result<T, ManifestError>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error.into()),
            Err(error) => {
                let error: crate::Error = error.into();
                let said = super::check::said(&error);
                self.checks.push(Check::Unreadable(said));
                Ok(None)
            }
        }
    }

    fn newest(&mut self, newest: std::result::Result<Option<u64>, ManifestError>) -> Result<u64> {
        Ok(self.readable(newest)?.flatten().unwrap_or(0))
    }

    fn is_wanted(&self, run: &RunId) -> bool {
        self.only.is_none_or(|only| only == run)
    }

    fn landings(&self, source: &str) -> ManifestLog<LandingManifest> {
        ManifestLog::new(self.reader.landed.clone(), source)
    }

    fn processed(&self) -> ManifestLog<ProcessedManifest> {
        ManifestLog::new(self.reader.processed.clone(), "")
    }
}

fn output(transform: &Transform<'_>) -> Output {
    let made = transform.made;
    let objects = [&made.rows, &made.retractions, &made.rejects];
    let keys = objects.into_iter().flatten().map(|o: &Object| &o.key);
    (made.inputs_sha256, keys.cloned().collect())
}
