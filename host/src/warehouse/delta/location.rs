//! Places: where a warehouse is, or one of its tables: a folder, or the keys of a bucket that begin alike.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::{StorageConfig, default_logstore};
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use url::Url;

use crate::warehouse::WarehouseError;

/// A folder, or what stands for one.
#[derive(Debug, Clone)]
pub(super) enum Location {
    /// An absolute path.
    Folder(PathBuf),
    /// Objects under a prefix.
    Bucket(Bucket),
}

/// The objects of a bucket whose keys begin alike.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// All of the bucket.
    pub(super) objects: Arc<dyn ObjectStore>,
    /// What the keys begin with.
    pub(super) prefix: Key,
}

impl Location {
    /// What is called `name` in there: a file or a folder, some folders down where there are slashes.
    pub(super) fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.join(name)),
            Self::Bucket(bucket) => Self::Bucket(bucket.join(name)),
        }
    }

    /// Its URL as one of a folder, by which Delta knows a table.
    pub(super) fn url(&self) -> Result<Url, WarehouseError> {
        let refused = |reason: &str| WarehouseError::Url {
            url: self.to_string(),
            reason: reason.into(),
        };
        match self {
            Self::Folder(path) => {
                Url::from_directory_path(path).map_err(|()| refused("it is not an absolute path"))
            }
            Self::Bucket(bucket) => {
                let mut url = bucket.root()?;
                let parts = bucket.prefix.parts();
                let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
                url.path_segments_mut()
                    .map_err(|()| refused("it names no bucket"))?
                    .clear()
                    .extend(parts)
                    .push("");
                Ok(url)
            }
        }
    }

    /// The Delta table that is there, not opened yet.
    pub(super) fn table(&self, url: &Url) -> DeltaResult<DeltaTable> {
        match self {
            Self::Folder(_) => DeltaTableBuilder::from_url(url.clone())?.build(),
            Self::Bucket(bucket) => {
                let all = Arc::clone(&bucket.objects);
                let below = Arc::new(PrefixStore::new(all.clone(), bucket.prefix.clone()));
                let settings = StorageConfig::default();
                Ok(DeltaTable::new(default_logstore(
                    below, all, url, &settings,
                )))
            }
        }
    }
}

impl Bucket {
    pub(super) fn join(&self, name: &str) -> Self {
        let joined = match self.prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        // Not part by part: that encodes what is not ASCII, and Delta, which knows the URL, looks for what is not encoded.
        Self {
            prefix: Key::parse(&joined).unwrap_or_else(|_| Key::from(joined)),
            ..self.clone()
        }
    }

    /// Whether there is an object of just this key.
    pub(super) async fn exists(&self) -> object_store::Result<bool> {
        match self.objects.head(&self.prefix).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The URL of the bucket itself.
    pub(super) fn root(&self) -> Result<Url, WarehouseError> {
        let url = format!("s3://{}/", self.name);
        Url::parse(&url).map_err(|cause| WarehouseError::Url {
            url,
            reason: cause.to_string(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.name, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn a_place_in_a_bucket_has_the_url_of_a_folder() {
        let place = Location::Bucket(Bucket {
            name: "lake".into(),
            objects: Arc::new(InMemory::new()),
            prefix: Key::parse("the star/of ß").expect("a key"),
        });
        let table = place.join("dim_staff");
        assert_eq!(table.to_string(), "s3://lake/the star/of ß/dim_staff");
        let url = table.url().expect("a URL");
        assert_eq!(url.as_str(), "s3://lake/the%20star/of%20%C3%9F/dim_staff/");
        let Location::Bucket(bucket) = table else {
            unreachable!("it was one");
        };
        // As Delta finds it.
        let path = url.path().trim_end_matches('/');
        assert_eq!(Key::from_url_path(path).expect("a key"), bucket.prefix);
    }
}
