//! Where a world's lake and embedded warehouse are: files below a folder, or objects of a bucket under the same names.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tidemill::zone::{Opener, Zone};

use super::project::Project;
use super::store::{self, Store};
use super::world::{At, Lake};

/// A project's folder, or its bucket.
#[derive(Debug, Clone)]
pub enum Place {
    /// The folder of the project.
    Folder(PathBuf),
    /// A bucket of a server.
    Bucket(Arc<Store>, String),
}

impl Place {
    /// Where a project that has not run yet has its zones and its warehouse: in its folder, or in a bucket of its own.
    pub fn of(project: &mut Project, at: At) -> Self {
        match at {
            At::Folder | At::Postgres => Self::Folder(project.path().to_owned()),
            At::Bucket => {
                let lake = store::aside(Lake::fresh());
                for (name, value) in lake.environment() {
                    project.set(&name, &value);
                }
                project.set("TIDEMILL_WAREHOUSE__URL", &lake.warehouse());
                Self::Bucket(lake.store, lake.bucket)
            }
        }
    }

    /// Forgets what a machine keeps of a bucket, as another machine has never known it.
    pub fn forget(&self, project: &mut Project) {
        if let Self::Bucket(..) = self {
            let cache = project.path().join("another-cache").display().to_string();
            project.set("TIDEMILL_CACHE", &cache);
        }
    }

    /// The paths of everything in the lake and in an embedded warehouse.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn paths(&self) -> Result<BTreeSet<String>> {
        let mut paths = BTreeSet::new();
        match self {
            Self::Folder(base) => {
                for folder in ["lake", "warehouse"] {
                    let folder = base.join(folder);
                    if folder.exists() {
                        list(&folder, base, &mut paths)?;
                    }
                }
            }
            Self::Bucket(store, bucket) => {
                paths.extend(store.listed(bucket).into_iter().map(|(key, ..)| key));
            }
        }
        Ok(paths)
    }

    /// What is at a path.
    ///
    /// # Errors
    /// When nothing is.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => Ok(std::fs::read(folder.join(path))?),
            Self::Bucket(store, bucket) => store.bytes(bucket, path),
        }
        .with_context(|| format!("{path} was listed and is gone"))
    }

    /// Puts bytes at a path, over what is there.
    ///
    /// # Errors
    /// When they cannot be put there.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(path);
                std::fs::create_dir_all(path.parent().context("it is below a folder")?)?;
                if path.exists() {
                    // Objects are written once and for reading only.
                    std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
                }
                Ok(std::fs::write(path, bytes)?)
            }
            Self::Bucket(store, bucket) => store.put(bucket, path, bytes),
        }
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, path: &str) -> Result<()> {
        match self {
            Self::Folder(folder) => Ok(std::fs::remove_file(folder.join(path))?),
            Self::Bucket(store, bucket) => store.remove(bucket, path),
        }
    }

    /// Removes everything whose path begins so.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_all(&self, prefix: &str) -> Result<()> {
        for path in self.paths()? {
            if path.starts_with(prefix) {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Copies everything whose path begins so into a folder, under the same paths.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn copy_to(&self, prefix: &str, folder: &Path) -> Result<()> {
        let copy = Self::Folder(folder.to_owned());
        for path in self.paths()? {
            if path.starts_with(prefix) {
                copy.write(&path, &self.read(&path)?)?;
            }
        }
        Ok(())
    }

    /// The zone of this name: `modules`.
    ///
    /// # Errors
    /// When there can be none.
    pub fn zone(&self, name: &str) -> Result<Arc<dyn Zone>> {
        Ok(match self {
            Self::Folder(folder) => {
                Opener::new(folder, &Default::default()).open(&format!("file://./lake/{name}"))
            }
            Self::Bucket(store, bucket) => {
                Opener::new("/", &store.plan()).open(&format!("s3://{bucket}/lake/{name}"))
            }
        }?)
    }
}

fn list(folder: &Path, base: &Path, paths: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, base, paths)?;
        } else {
            paths.insert(path.strip_prefix(base)?.display().to_string());
        }
    }
    Ok(())
}
