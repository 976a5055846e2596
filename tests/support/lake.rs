//! The lake of a project in buckets: who may do what there, what it holds, and that nothing that was committed ever
//! changes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::digest::Digest;

use super::project::Project;
use super::store::{self, SECRET, Store, USER};
use super::users::User;

/// A zone: a bucket, and what keys begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// Empty, or with a slash at its end.
    pub prefix: String,
}

impl Place {
    /// Its URL.
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }
}

/// The three zones of a project, each in a bucket of its own, and what was seen of them and of a warehouse that is in
/// a bucket, too.
#[derive(Debug)]
pub struct Lake {
    store: Arc<Store>,
    /// Landed rows.
    pub ingestion: Place,
    /// Rows as modules made them.
    pub processed: Place,
    /// Modules and promotions.
    pub modules: Place,
    /// The bucket of the warehouse.
    warehouse: Option<String>,
    /// By bucket and key.
    objects: BTreeMap<String, Seen>,
    /// Digests of what manifests name, by bucket and key.
    named: BTreeMap<String, Named>,
    /// Manifests that were read: they never change.
    manifests: BTreeSet<String>,
}

/// An object as it was found.
#[derive(Debug, Clone)]
struct Seen {
    /// The store's own word for what is in it.
    tag: String,
    digest: Digest,
}

#[derive(Debug, Clone)]
struct Named {
    sha256: String,
    manifest: String,
}

impl Lake {
    /// Puts the zones of `project`, which has not run yet, into new buckets of `store`.
    ///
    /// # Errors
    /// When its modules cannot be read.
    pub async fn of(project: &mut Project, store: &Arc<Store>) -> Result<Self> {
        let place = |bucket, prefix: &str| Place {
            bucket,
            prefix: prefix.to_owned(),
        };
        let lake = Self {
            ingestion: place(store.fresh_bucket().await, ""),
            processed: place(store.fresh_bucket().await, "totesys/processed/"),
            modules: place(store.fresh_bucket().await, "totesys/"),
            warehouse: None,
            store: store.clone(),
            objects: BTreeMap::new(),
            named: BTreeMap::new(),
            manifests: BTreeSet::new(),
        };
        let folder = project.path().join("lake/modules");
        lake.carry(&folder, &folder).await?;
        std::fs::remove_dir_all(project.path().join("lake"))?;
        for (zone, place) in [
            ("INGESTION", &lake.ingestion),
            ("PROCESSED", &lake.processed),
            ("MODULES", &lake.modules),
        ] {
            project.set(&format!("TIDEMILL_LAKE__{zone}"), &place.url());
        }
        lake.enter(project, &store.endpoint(), None);
        Ok(lake)
    }

    /// From here on the objects of a warehouse in this bucket are looked at, too.
    pub fn with_warehouse(mut self, bucket: &str) -> Self {
        self.warehouse = Some(bucket.to_owned());
        self
    }

    /// From here on the program finds the store at `endpoint`, as this user or as who may do everything.
    pub fn enter(&self, project: &mut Project, endpoint: &str, user: Option<&User>) {
        let (name, secret) = match user {
            Some(user) => (user.name.as_str(), user.secret.as_str()),
            None => (USER, SECRET),
        };
        for (variable, value) in store::environment(endpoint, name, secret) {
            project.set(&variable, &value);
        }
    }

    /// Puts files of the modules folder into the bucket.
    async fn carry(&self, folder: &Path, base: &Path) -> Result<()> {
        let client = self.store.client();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(base)?.display().to_string();
                let bytes = std::fs::read(&path)?;
                client
                    .put_object()
                    .bucket(&self.modules.bucket)
                    .key(format!("{}{key}", self.modules.prefix))
                    .body(bytes.into())
                    .send()
                    .await?;
            }
        }
        Ok(())
    }

    /// Looks at every object.
    ///
    /// # Errors
    /// The first that was written over, the first committed one that is gone, and the first named one that is not what
    /// its manifest says.
    pub async fn look(&mut self) -> Result<()> {
        let found = self.found()?;
        for (path, before) in &self.objects {
            match found.get(path) {
                Some(now) => ensure!(
                    now.digest == before.digest || is_replaced(path),
                    "{path} was written over"
                ),
                None => ensure!(!self.is_committed(path), "{path} is gone"),
            }
        }
        self.objects = found;
        self.read_manifests()?;
        for (path, named) in &self.named {
            let seen = self.objects.get(path);
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

    /// Every object that is there; those are read whose tag is new.
    fn found(&self) -> Result<BTreeMap<String, Seen>> {
        let zones = [&self.ingestion, &self.processed, &self.modules].map(|place| &place.bucket);
        let mut found = BTreeMap::new();
        for bucket in zones.into_iter().chain(&self.warehouse) {
            for (key, tag, _) in self.store.listed(bucket) {
                let path = format!("{bucket}/{key}");
                let seen = match self.objects.get(&path).filter(|seen| seen.tag == tag) {
                    Some(seen) => seen.clone(),
                    None => Seen {
                        tag,
                        digest: Digest::of(self.read(&path)?),
                    },
                };
                found.insert(path, seen);
            }
        }
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let (bucket, key) = path.split_once('/').context("a bucket and a key")?;
        let bytes = self.store.bytes(bucket, key);
        bytes.with_context(|| format!("{path} was listed and cannot be read"))
    }

    /// Whether it may never go. What a warehouse has is removed by sweeping only.
    fn is_committed(&self, path: &str) -> bool {
        let of_warehouse = |bucket: &String| path.starts_with(&format!("{bucket}/"));
        self.named.contains_key(path)
            || self.manifests.contains(path)
            || self.warehouse.as_ref().is_some_and(of_warehouse)
    }

    fn read_manifests(&mut self) -> Result<()> {
        let is_manifest = |path: &&String| {
            path.contains("_manifests/")
                && [&self.ingestion, &self.processed]
                    .iter()
                    .any(|zone| path.starts_with(&format!("{}/{}", zone.bucket, zone.prefix)))
        };
        let all = self.objects.keys().filter(is_manifest);
        let new: Vec<String> = all
            .filter(|path| !self.manifests.contains(*path))
            .cloned()
            .collect();
        for path in new {
            let manifest: Value = serde_json::from_slice(&self.read(&path)?)
                .with_context(|| format!("{path} is there and not whole"))?;
            let zone = match path.starts_with(&format!("{}/", self.ingestion.bucket)) {
                true => self.ingestion.clone(),
                false => self.processed.clone(),
            };
            self.name(&manifest, &zone, &path, false);
            self.manifests.insert(path);
        }
        Ok(())
    }

    /// Landing manifests that were seen.
    pub fn landings(&self) -> usize {
        let bucket = format!("{}/", self.ingestion.bucket);
        let manifests = self.manifests.iter();
        manifests.filter(|path| path.starts_with(&bucket)).count()
    }

    /// Objects that were seen.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// Rows and indexes that no manifest names.
    pub fn orphans(&self) -> BTreeSet<&str> {
        let is_orphan = |path: &&str| path.ends_with(".parquet") && !self.named.contains_key(*path);
        self.objects().filter(is_orphan).collect()
    }

    /// Notes the objects below `value`. What a processed manifest has under the `landings` of its `inputs` is landed.
    fn name(&mut self, value: &Value, zone: &Place, manifest: &str, is_input: bool) {
        match value {
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str);
                if let (Some(key), Some(sha256)) = (text("key"), text("sha256")) {
                    let named = Named {
                        sha256: sha256.to_owned(),
                        manifest: manifest.to_owned(),
                    };
                    let path = format!("{}/{}{key}", zone.bucket, zone.prefix);
                    self.named.entry(path).or_insert(named);
                }
                let landed = self.ingestion.clone();
                for (name, below) in fields {
                    let is_input = is_input || name == "inputs";
                    let is_landed = is_input && name == "landings";
                    let zone = if is_landed { &landed } else { zone };
                    self.name(below, zone, manifest, is_input);
                }
            }
            Value::Array(values) => {
                for below in values {
                    self.name(below, zone, manifest, is_input);
                }
            }
            _ => {}
        }
    }
}

/// Delta's pointer to its newest checkpoint, which is a hint, is written over by design.
fn is_replaced(path: &str) -> bool {
    path.ends_with("/_delta_log/_last_checkpoint")
}
