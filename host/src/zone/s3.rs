//! A zone in a bucket: exclusive creation by `If-None-Match: *`, which the store itself checks.
//!
//! ```text
//! s3://bucket/prefix ── put, complete: If-None-Match: * ──▶ 200 it is ours │ 412 it exists │ no answer ─▶ whose is it?
//! ```
//!
//! Every object carries a word of chance of the call that wrote it. When an answer is lost, or a request that the
//! client sent again finds the object there, that word tells our own write from another host's, exactly: comparing the
//! bytes would not, for two hosts may write the same. A listing is used for sweeping only.
//!
//! Many stores that speak this protocol ignore the condition. So a bucket is put to the test before the first object
//! is created in it, once per process: an object that exists is created again, and the store has to refuse. The same
//! before the first object in parts, for some know the condition of a put only. An idle run creates nothing and asks
//! nothing.

mod download;
mod refusal;
mod store;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime as StoreTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Entry, ObjectWriter, PAGE, Page, Written, Zone, ZoneError};
use crate::config::Encryption;
use crate::connection::aws::pause;
use crate::digest::Digest;

pub(super) use refusal::Refusal;
use store::Promise;
pub use store::Store;

/// The metadata of an object that names the call that wrote it.
const WRITE: &str = "tidemill-write";
/// The object by which a store shows that it refuses to create what exists.
const PROOF: &str = "_conditional";
/// What is in it, for whoever finds it.
const NOTE: &[u8] =
    b"tidemill makes sure by this object that the store refuses to create what exists.\n";
/// How often a write is begun again because another one was under way.
const CONFLICTS: u32 = 5;

/// A zone under a prefix of a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Zone {
    place: Arc<Place>,
    store: Arc<Store>,
}

#[derive(Debug)]
struct Place {
    url: String,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// What became of a conditional write.
enum Outcome {
    Created,
    /// Another write of the same key was under way.
    Again,
}

impl S3Zone {
    /// The zone at `location`, which is the URL without its scheme: `bucket/prefix`.
    ///
    /// # Errors
    /// `Config` when it names no bucket.
    pub fn new(location: &str, store: Arc<Store>) -> Result<Self, ZoneError> {
        let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let reason = match bucket {
            "" => Some("it names no bucket"),
            bucket if !bucket.chars().all(is_bucket) => Some("its bucket is no name of a bucket"),
            _ if !prefix.is_empty() && !is_plain(prefix) => {
                Some("its prefix has empty or dotted parts")
            }
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(ZoneError::Url {
                url: format!("s3://{location}"),
                reason: reason.into(),
            });
        }
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(Self {
            place: Arc::new(Place {
                url: format!("s3://{bucket}{slash}{prefix}"),
                bucket: bucket.to_owned(),
                prefix: format!("{prefix}{slash}"),
            }),
            store,
        })
    }

    async fn client(&self) -> &Client {
        self.store.client().await
    }

    fn bucket(&self) -> &str {
        &self.place.bucket
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.place.url)
    }

    /// The key within the bucket.
    fn full(&self, action: &'static str, key: &str) -> Result<String, ZoneError> {
        if is_plain(key) && !key.contains('\0') {
            return Ok(format!("{}{key}", self.place.prefix));
        }
        Err(ZoneError::Unavailable {
            action,
            object: self.object(key),
            cause: "the key is not a relative path of plain names".into(),
        })
    }

    /// What a request that failed means for the object.
    fn failed(&self, action: &'static str, key: &str, refusal: Refusal) -> ZoneError {
        let object = self.object(key);
        match refusal.status {
            Some(404) if !refusal.is("NoSuchBucket") && !refusal.is("NoSuchUpload") => {
                ZoneError::Missing { object }
            }
            Some(412) => ZoneError::Exists { object },
            _ => ZoneError::Unavailable {
                action,
                object,
                cause: Box::new(refusal),
            },
        }
    }

    /// Creates an object in one request.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ZoneError> {
        self.prove().await?;
        let word = word();
        for attempt in 0.. {
            let sent = self
                .put_once(&self.full("create", key)?, bytes.clone(), &word)
                .await;
            match self.outcome(key, &word, attempt, sent).await? {
                Outcome::Created => break,
                Outcome::Again => pause(attempt).await,
            }
        }
        Ok(())
    }

    async fn put_once(&self, full: &str, bytes: Bytes, word: &str) -> Result<(), Refusal> {
        let (encryption, key) = self.encryption();
        let put = self.client().await.put_object();
        put.bucket(self.bucket())
            .key(full)
            .if_none_match("*")
            .metadata(WRITE, word)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .body(ByteStream::from(bytes))
            .send()
            .await?;
        Ok(())
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.store.plan().encryption {
            None => (None, None),
            Some(Encryption::Store) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Service(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    /// What became of the conditional write that carried `word`.
    async fn outcome(
        &self,
        key: &str,
        word: &str,
        attempt: u32,
        sent: Result<(), Refusal>,
    ) -> Result<Outcome, ZoneError> {
        let Err(refusal) = sent else {
            return Ok(Outcome::Created);
        };
        // Refused although it is ours: the client asked again because the first answer was lost. Or no answer came.
        let is_open =
            refusal.status == Some(412) || refusal.is("NoSuchUpload") || refusal.is_no_answer();
        if is_open && self.is_ours(key, word).await.unwrap_or(false) {
            return Ok(Outcome::Created);
        }
        if refusal.status == Some(409) && attempt < CONFLICTS {
            return Ok(Outcome::Again);
        }
        // After a conflict a store may have forgotten the parts: another write was faster then.
        if refusal.is("NoSuchUpload") && self.size(key).await?.is_some() {
            let object = self.object(key);
            return Err(ZoneError::Exists { object });
        }
        Err(self.failed("create", key, refusal))
    }

    /// Whether an object is there and was written by the call of this word.
    async fn is_ours(&self, key: &str, word: &str) -> Result<bool, ZoneError> {
        let head = self.client().await.head_object();
        let head = head.bucket(self.bucket()).key(self.full("read", key)?);
        let found = head.send().await.map_err(Refusal::from);
        let found = found.map_err(|refusal| self.failed("read", key, refusal))?;
        let written = found
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get(WRITE));
        Ok(written.is_some_and(|written| !word.is_empty() && written == word))
    }

    /// Makes sure that the bucket refuses to create what exists.
    ///
    /// # Errors
    /// `Config` when it does not.
    async fn prove(&self) -> Result<(), ZoneError> {
        let proving = async {
            let full = self.full("create", PROOF)?;
            // The first of all creates it; from then on the first answer is the proof.
            let mut created = 0;
            for attempt in 0.. {
                match self
                    .put_once(&full, Bytes::from_static(NOTE), &word())
                    .await
                {
                    Ok(()) if created == 0 => created += 1,
                    Err(refusal) if refusal.status == Some(412) => return Ok(()),
                    // Another host proves it at the same time.
                    Err(refusal) if refusal.status == Some(409) && attempt < CONFLICTS => {
                        pause(attempt).await;
                    }
                    Err(refusal) if refusal.status != Some(501) => {
                        return Err(self.failed("create", PROOF, refusal));
                    }
                    Ok(()) | Err(_) => break,
                }
            }
            Err(self.unconditional())
        };
        let bucket = self.bucket();
        self.store.prove(bucket, Promise::RefusesPut, proving).await
    }

    fn unconditional(&self) -> ZoneError {
        ZoneError::Unconditional {
            zone: self.place.url.clone(),
        }
    }

    /// The size of an object after a head that was refused: the answer to a get has a body that says why. And it may not be
    /// refused at all, for the client sets its clock by every answer.
    async fn size_or_why(&self, key: &str) -> Result<Option<u64>, ZoneError> {
        let get = self.client().await.get_object();
        let get = get.bucket(self.bucket()).key(self.full("read", key)?);
        match get.range("bytes=0-0").send().await.map_err(Refusal::from) {
            Ok(found) => {
                let range = found.content_range.as_deref();
                let size = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                Ok(Some(size.unwrap_or_else(|| unsigned(found.content_length))))
            }
            // It has no first byte.
            Err(refusal) if refusal.status == Some(416) => Ok(Some(0)),
            Err(refusal) => match self.failed("read", key, refusal) {
                ZoneError::Missing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Makes sure that a bucket whose objects are missing is there: a head has no body that says which of both is not.
    async fn prove_existence(&self, key: &str) -> Result<(), ZoneError> {
        let proving = async {
            let get = self.client().await.get_object();
            let get = get.bucket(self.bucket()).key(self.full("read", key)?);
            match get.range("bytes=0-0").send().await.map_err(Refusal::from) {
                Err(refusal) if refusal.is("NoSuchBucket") => {
                    Err(self.failed("read", key, refusal))
                }
                // Whatever else it is, the bucket answers.
                _ => Ok(()),
            }
        };
        let bucket = self.bucket();
        self.store.prove(bucket, Promise::Exists, proving).await
    }
}

#[async_trait]
impl Zone for S3Zone {
    fn url(&self) -> &str {
        &self.place.url
    }

    fn memory(&self) -> Option<&super::log::Memory> {
        Some(self.store.memory())
    }

    fn kept(&self) -> Option<&super::kept::Kept> {
        self.store.kept()
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, ZoneError> {
        let written = Written {
            bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
        };
        self.put(key, bytes).await?;
        Ok(written)
    }

    async fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, ZoneError> {
        self.full("create", key)?;
        self.prove().await?;
        Ok(Box::new(upload::Upload::new(self.clone(), key)))
    }

    async fn read(&self, key: &str) -> Result<Bytes, ZoneError> {
        let whole = download::whole(self, key).await?;
        self.store.saw(self.bucket(), Promise::Exists).await;
        Ok(whole)
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
        download::range(self, key, range).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ZoneError> {
        let head = self.client().await.head_object();
        let head = head.bucket(self.bucket()).key(self.full("read", key)?);
        match head.send().await.map_err(Refusal::from) {
            Ok(found) => {
                self.store.saw(self.bucket(), Promise::Exists).await;
                Ok(Some(unsigned(found.content_length)))
            }
            Err(refusal) if refusal.is_mute() => self.size_or_why(key).await,
            Err(refusal) => match self.failed("read", key, refusal) {
                ZoneError::Missing { .. } => {
                    self.prove_existence(key).await?;
                    Ok(None)
                }
                error => Err(error),
            },
        }
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, ZoneError> {
        let list = self.client().await.list_objects_v2();
        let after = after.map(|after| format!("{}{after}", self.place.prefix));
        let listed = list
            .bucket(self.bucket())
            .prefix(format!("{}{prefix}", self.place.prefix))
            .set_start_after(after)
            .max_keys(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .send()
            .await;
        let listed = listed.map_err(|error| self.failed("list", prefix, error.into()))?;
        self.store.saw(self.bucket(), Promise::Exists).await;
        let more = listed.is_truncated == Some(true);
        let objects = listed.contents.unwrap_or_default();
        let entries = objects.into_iter().filter_map(|object| {
            Some(Entry {
                key: object.key?.strip_prefix(&self.place.prefix)?.to_owned(),
                bytes: unsigned(object.size),
                created: moment(object.last_modified?)?,
            })
        });
        Ok(Page {
            entries: entries.collect(),
            more,
        })
    }

    async fn delete(&self, key: &str) -> Result<(), ZoneError> {
        let delete = self.client().await.delete_object();
        let delete = delete.bucket(self.bucket()).key(self.full("delete", key)?);
        match delete.send().await.map_err(Refusal::from) {
            Ok(_) => Ok(()),
            Err(refusal) => match self.failed("delete", key, refusal) {
                ZoneError::Missing { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn sweep_unfinished(
        &self,
        before: DateTime<Utc>,
        rehearsal: bool,
    ) -> Result<Vec<Entry>, ZoneError> {
        upload::sweep(self, before, rehearsal).await
    }
}

/// Whether a path has parts that are names, and nothing else.
fn is_plain(path: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(is_name)
}

/// A word that no other call has.
fn word() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness no word is sent by which a write could be taken for ours that is another's: at worst a run
    // says of its own write that another was faster, and the next finds it.
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => String::new(),
    }
}

fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

fn moment(time: StoreTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>
    From<SdkError<E, HttpResponse>> for Refusal
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        Self::of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePlan;

    fn zone(location: &str) -> Result<S3Zone, ZoneError> {
        S3Zone::new(location, Arc::new(Store::new(StorePlan::default())))
    }

    #[test]
    fn a_location_is_a_bucket_and_a_prefix() {
        let at = |location: &str| {
            let zone = zone(location).expect("it is one");
            let full = zone.full("read", "a/b").expect("a key");
            (zone.url().to_owned(), zone.bucket().to_owned(), full)
        };
        let told = |url: &str, full: &str| (url.to_owned(), "lake".to_owned(), full.to_owned());
        assert_eq!(at("lake"), told("s3://lake", "a/b"));
        assert_eq!(at("lake/"), told("s3://lake", "a/b"));
        assert_eq!(at("lake/x/y/"), told("s3://lake/x/y", "x/y/a/b"));
    }

    #[test]
    fn a_location_that_is_none_is_refused() {
        for (location, reason) in [
            ("", "it names no bucket"),
            ("/x", "it names no bucket"),
            ("a b/x", "its bucket is no name of a bucket"),
            ("lake/x//y", "its prefix has empty or dotted parts"),
            ("lake/../y", "its prefix has empty or dotted parts"),
        ] {
            let error = zone(location).expect_err("it is none").to_string();
            assert!(error.ends_with(reason), "{error}");
        }
    }

    #[test]
    fn a_key_cannot_leave_the_zone() {
        let zone = zone("lake/x").expect("a zone");
        for key in ["../a", "a/../b", "/a", "", "a//b", "."] {
            assert!(zone.full("read", key).is_err(), "{key}");
        }
    }
}
