//! Artefacts in a folder: an OCI image layout, for machines without a registry.
//!
//! ```text
//! oci-layout               says that it is one
//! index.json               the manifests, each with its tag; written last, whole or not at all
//! blobs/sha256/<digest>    manifests, configs and components
//! ```

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::error::OciError;
use super::manifest::{Descriptor, INDEX, Index, MANIFEST, MANIFEST_BYTES, REF_NAME};
use super::reference::is_tag;
use super::{Blob, Store};
use crate::digest::Digest;
use crate::printable;

/// The file that says what the folder is, and what it says.
const MARK: &str = "oci-layout";
const MARK_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
/// The longest tag of others that is repeated.
const SHOWN_BYTES: usize = 130;

/// A tag in a folder.
#[derive(Debug, Clone)]
pub struct Folder {
    folder: PathBuf,
    tag: Option<String>,
}

impl Folder {
    /// The artefact of that tag, or the only one.
    ///
    /// # Errors
    /// `Config` when it can be no tag.
    pub fn new(folder: PathBuf, tag: Option<String>) -> Result<Self, OciError> {
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(OciError::Reference {
                text: printable::line(tag, SHOWN_BYTES),
                reason: "a tag is made of letters, digits, . _ and -".into(),
            });
        }
        Ok(Self { folder, tag })
    }

    fn blob_file(&self, digest: &Digest) -> PathBuf {
        self.folder
            .join("blobs")
            .join("sha256")
            .join(digest.to_string())
    }

    /// The list of manifests; `None` where nothing is there yet.
    fn index(&self) -> Result<Option<Index>, OciError> {
        let none = |reason: String| OciError::NoLayout {
            folder: self.folder.clone(),
            reason,
        };
        let file = self.folder.join(INDEX_FILE);
        let Some(bytes) = read(&file, MANIFEST_BYTES, &none)? else {
            return match self.folder.join(MARK).exists() || !self.folder.exists() {
                true => Ok(None),
                false if is_empty(&self.folder) => Ok(None),
                false => Err(none(format!("it has no {INDEX_FILE}"))),
            };
        };
        let index = serde_json::from_slice(&bytes);
        let index = index.map_err(|e| none(format!("{INDEX_FILE} is unreadable: {e}")))?;
        Ok(Some(index))
    }

    /// The manifest of this tag among those of the folder.
    fn chosen<'i>(&self, index: &'i Index) -> Result<Option<&'i Descriptor>, OciError> {
        let all = index.manifests.as_slice();
        match (&self.tag, all) {
            (Some(tag), all) => {
                let is_it = |one: &&Descriptor| one.annotations.get(REF_NAME) == Some(tag);
                Ok(all.iter().find(is_it))
            }
            (None, [one]) => Ok(Some(one)),
            (None, []) => Ok(None),
            (None, several) => Err(OciError::Several {
                folder: self.folder.clone(),
                tags: several.iter().map(tag_of).collect(),
            }),
        }
    }

    fn find(&self) -> Result<Option<Bytes>, OciError> {
        let Some(index) = self.index()? else {
            return Ok(None);
        };
        let Some(descriptor) = self.chosen(&index)? else {
            return Ok(None);
        };
        let blob = Blob::of(descriptor, &self.place(), "manifest", MANIFEST_BYTES)?;
        self.get(&blob).map(Some)
    }

    fn get(&self, blob: &Blob) -> Result<Bytes, OciError> {
        let lost = |reason: String| OciError::malformed(&self.place(), reason);
        let bytes = read(&self.blob_file(&blob.digest), blob.bytes, &lost)?;
        let bytes = bytes.ok_or_else(|| lost(format!("it has no blob {}", blob.name())))?;
        blob.check(&self.place(), &bytes)?;
        Ok(bytes.into())
    }

    fn put(&self, bytes: &[u8]) -> Result<(), OciError> {
        let blob = Blob {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
        };
        // One that is there and whole stays; one that is damaged is mended.
        match self.get(&blob) {
            Ok(_) => Ok(()),
            Err(_) => write(&self.blob_file(&blob.digest), bytes),
        }
    }

    /// Keeps other exports into this folder waiting: each writes the whole list.
    fn alone(&self) -> Result<std::fs::File, OciError> {
        let file = self.folder.join(MARK);
        if !file.exists() {
            write(&file, MARK_TEXT.as_bytes())?;
        }
        let locked = std::fs::File::open(&file).and_then(|mark| mark.lock().map(|()| mark));
        locked.map_err(|cause| OciError::File {
            verb: "read",
            file,
            cause,
        })
    }

    fn name(&self, bytes: &Bytes) -> Result<(), OciError> {
        self.put(bytes)?;
        let _alone = self.alone()?;
        let tag = self.tag.clone().unwrap_or_default();
        let named = Descriptor::of(MANIFEST, bytes).annotated(REF_NAME, tag.clone());
        let mut index = self.index()?.unwrap_or_else(|| Index {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests: Vec::new(),
            others: serde_json::Map::new(),
        });
        let mut all = index.manifests.iter_mut();
        match all.find(|one| one.annotations.get(REF_NAME) == Some(&tag)) {
            Some(one) => *one = named,
            None => index.manifests.push(named),
        }
        let text = serde_json::to_vec(&index)
            .expect("an index has text keys and nothing that cannot be JSON");
        write(&self.folder.join(INDEX_FILE), &text)
    }
}

#[async_trait]
impl Store for Folder {
    fn place(&self) -> String {
        let folder = self.folder.display();
        match &self.tag {
            Some(tag) => format!("{tag} in {folder}"),
            None => format!("artefact in {folder}"),
        }
    }

    async fn manifest(&self) -> Result<Option<Bytes>, OciError> {
        self.find()
    }

    async fn blob(&self, blob: &Blob) -> Result<Bytes, OciError> {
        self.get(blob)
    }

    async fn put_blob(&self, bytes: &Bytes) -> Result<(), OciError> {
        self.put(bytes)
    }

    async fn put_manifest(&self, manifest: &Bytes) -> Result<(), OciError> {
        self.name(manifest)
    }
}

fn tag_of(descriptor: &Descriptor) -> String {
    let tag = descriptor.annotations.get(REF_NAME);
    printable::line(tag.unwrap_or(&descriptor.digest), SHOWN_BYTES)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The bytes of a file; `None` where there is none. What is longer than `limit` is not read.
fn read(
    file: &Path,
    limit: u64,
    wrong: &dyn Fn(String) -> OciError,
) -> Result<Option<Vec<u8>>, OciError> {
    let failed = |cause| OciError::File {
        verb: "read",
        file: file.to_owned(),
        cause,
    };
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut bytes = Vec::new();
    let mut limited = opened.take(limit.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(wrong(format!("{} has more than {limit} bytes", name(file)))),
        false => Ok(Some(bytes)),
    }
}

fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Writes a file so that it is there whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> Result<(), OciError> {
    let write = || -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(file);
        std::fs::create_dir_all(folder)?;
        let mut new = tempfile::Builder::new()
            .prefix(".tidemill-")
            .permissions(PermissionsExt::from_mode(0o666))
            .tempfile_in(folder)?;
        new.write_all(bytes)?;
        new.as_file().sync_all()?;
        new.persist(file).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|cause| OciError::File {
        verb: "write",
        file: file.to_owned(),
        cause,
    })
}
