//! What a project's lake and embedded warehouse hold, file by file: whatever happens to a run, a file that is
//! there stays there, byte for byte, and everything that a manifest names is there and is what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::digest::Digest;

use super::place::Place;
use super::world::World;

const LANDED: &str = "lake/ingestion/";
const PROCESSED: &str = "lake/processed/";

/// The files of a project folder as they were when last looked at.
#[derive(Debug)]
pub struct Inventory {
    place: Place,
    files: BTreeMap<String, Seen>,
    /// What manifests name, by path.
    named: BTreeMap<String, Named>,
    /// Manifests that were read: they never change.
    manifests: BTreeSet<String>,
}

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    identity: Identity,
    digest: Digest,
}

/// What differs when a file was written to: the kernel sets the time of change, and nobody can set it back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    File {
        file: u64,
        bytes: u64,
        changed: (i64, i64),
    },
    /// The store's own word for what is in it.
    Object(String),
}

impl Identity {
    fn of_file(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self::File {
            file: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// An object as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    sha256: String,
    manifest: String,
}

impl Inventory {
    /// The files below the project `folder`.
    ///
    /// # Errors
    /// When a manifest names what is not there.
    pub fn of(folder: &Path) -> Result<Self> {
        Self::at(Place::Folder(folder.to_owned()))
    }

    /// Those of a world: below its project, or in its bucket.
    ///
    /// # Errors
    /// As [`Inventory::of`].
    pub fn of_world(world: &World) -> Result<Self> {
        Self::at(world.place())
    }

    fn at(place: Place) -> Result<Self> {
        let mut inventory = Self {
            place,
            files: BTreeMap::new(),
            named: BTreeMap::new(),
            manifests: BTreeSet::new(),
        };
        inventory.look()?;
        Ok(inventory)
    }

    /// Looks again. Files may have been added.
    ///
    /// # Errors
    /// The first file that was changed or is gone, and the first named object that is not what its manifest says.
    pub fn look(&mut self) -> Result<()> {
        self.look_after(|_| false)
    }

    /// The same after objects were swept: those that `swept` says may be gone.
    ///
    /// # Errors
    /// As [`Inventory::look`].
    pub fn look_after(&mut self, swept: impl Fn(&str) -> bool) -> Result<()> {
        let found = self.found()?;
        for (path, before) in &self.files {
            match found.get(path) {
                Some(now) => ensure!(
                    now.digest == before.digest || is_replaced(path),
                    "{path} was written over"
                ),
                None => ensure!(is_passing(path) || swept(path), "{path} is gone"),
            }
        }
        self.files = found;
        self.read_manifests()?;
        for (path, named) in &self.named {
            let seen = self.files.get(path);
            let seen =
                seen.with_context(|| format!("{} names {path}, which is gone", named.manifest))?;
            ensure!(
                seen.digest.to_string() == named.sha256,
                "{} names {path} with another digest",
                named.manifest
            );
        }
        Ok(())
    }

    /// Everything in the lake that belongs to nothing: neither a record nor named by one, and not what a bucket shows with that
    /// it honours conditions.
    pub fn orphans(&self) -> BTreeSet<String> {
        let objects = self.files.keys().filter(|path| {
            (path.starts_with(LANDED) || path.starts_with(PROCESSED))
                && !path.contains("/_manifests/")
                && !path.ends_with("/_conditional")
        });
        objects
            .filter(|path| !self.named.contains_key(*path))
            .cloned()
            .collect()
    }

    /// Landing manifests that are committed.
    pub fn landings(&self) -> usize {
        let is_landing = |path: &&String| path.starts_with(LANDED) && path.contains("/_manifests/");
        self.files.keys().filter(is_landing).count()
    }

    /// Files that are there.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    fn found(&self) -> Result<BTreeMap<String, Seen>> {
        let mut found = BTreeMap::new();
        for (path, identity) in self.identities()? {
            let seen = match self.files.get(&path) {
                Some(seen) if seen.identity == identity => seen.clone(),
                _ => Seen {
                    identity,
                    digest: Digest::of(self.place.read(&path)?),
                },
            };
            found.insert(path, seen);
        }
        Ok(found)
    }

    fn identities(&self) -> Result<Vec<(String, Identity)>> {
        match &self.place {
            Place::Folder(base) => {
                let paths = self.place.paths()?.into_iter();
                paths
                    .map(|path| Ok((path.clone(), Identity::of_file(&base.join(path))?)))
                    .collect()
            }
            Place::Bucket(store, bucket) => {
                let listed = store.listed(bucket).into_iter();
                let tagged = listed.map(|(key, tag, _)| (key, Identity::Object(tag)));
                Ok(tagged.collect())
            }
        }
    }

    fn read_manifests(&mut self) -> Result<()> {
        let manifests = self.files.keys().filter(|path| {
            (path.starts_with(LANDED) || path.starts_with(PROCESSED))
                && path.contains("/_manifests/")
        });
        let new: Vec<String> = manifests
            .filter(|path| !self.manifests.contains(*path))
            .cloned()
            .collect();
        for path in new {
            let bytes = self.place.read(&path)?;
            let manifest: Value = serde_json::from_slice(&bytes)
                .with_context(|| format!("{path} is there and not whole"))?;
            let zone = if path.starts_with(LANDED) {
                LANDED
            } else {
                PROCESSED
            };
            self.name(&manifest, zone, &path);
            self.manifests.insert(path);
        }
        Ok(())
    }

    /// Notes the objects below `value`. What a processed manifest has under `landings` is landed.
    fn name(&mut self, value: &Value, zone: &str, manifest: &str) {
        match value {
            Value::Object(fields) => {
                if let (Some(Value::String(key)), Some(Value::String(sha256))) =
                    (fields.get("key"), fields.get("sha256"))
                {
                    let named = Named {
                        sha256: sha256.clone(),
                        manifest: manifest.to_owned(),
                    };
                    self.named.entry(format!("{zone}{key}")).or_insert(named);
                }
                for (name, below) in fields {
                    let zone = if name == "landings" { LANDED } else { zone };
                    self.name(below, zone, manifest);
                }
            }
            Value::Array(values) => values
                .iter()
                .for_each(|below| self.name(below, zone, manifest)),
            _ => {}
        }
    }
}

/// Files that are written over by design: Delta's pointer to its newest checkpoint, which is a hint.
fn is_replaced(path: &str) -> bool {
    path.ends_with("/_delta_log/_last_checkpoint")
}

/// Files in the making, which are gone when they have their name, and notes of runs in flight.
fn is_passing(path: &str) -> bool {
    let parts = path.split('/');
    path.contains("/_incomplete/")
        || path.contains("/_begun/")
        || parts
            .clone()
            .any(|part| part.starts_with(".draft-") || part.contains('#'))
}
