//! Writing: parts are sent while the object is still being made, and nothing of it is seen before the last request.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, MultipartUpload,
};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, JoinSet};

use super::super::{Entry, ObjectWriter, Written, ZoneError};
use super::store::Promise;
use super::{
    CONFLICTS, NOTE, Outcome, PROOF, Refusal, S3Zone, WRITE, moment, pause, unsigned, word,
};
use crate::digest::Digest;

use async_trait::async_trait;

/// The size of a part. A store takes ten thousand: objects of 80 GB, a thousand times the largest that is written.
const PART: usize = 8 * 1024 * 1024;
/// Parts on their way at a time, of one object: with the one that is gathered, its memory.
const SENDING: usize = 2;

/// An object in the making.
pub(super) struct Upload {
    zone: S3Zone,
    key: String,
    /// What the object will carry, by which it is known as ours.
    word: String,
    gathered: BytesMut,
    hasher: Sha256,
    bytes: u64,
    /// Once there is more than one part.
    parts: Option<Parts>,
    failed: bool,
}

/// Parts that are sent or on their way. Dropped before it is completed, the store is told to forget them.
struct Parts {
    zone: S3Zone,
    full: String,
    /// What the store calls the upload; `None` when it is completed or forgotten.
    id: Option<String>,
    begun: i32,
    sending: JoinSet<Result<CompletedPart, Refusal>>,
    sent: Vec<CompletedPart>,
}

impl Upload {
    pub(super) fn new(zone: S3Zone, key: &str) -> Self {
        Self {
            zone,
            key: key.to_owned(),
            word: word(),
            gathered: BytesMut::new(),
            hasher: Sha256::new(),
            bytes: 0,
            parts: None,
            failed: false,
        }
    }

    /// Sends the first `size` bytes that are gathered as a part.
    async fn send(&mut self, size: usize) -> Result<(), ZoneError> {
        let part = self.gathered.split_to(size).freeze();
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => self.begin().await?,
        };
        let sent = parts.send(part).await;
        self.parts = Some(parts);
        sent.map_err(|refusal| self.zone.failed("create", &self.key, refusal))
    }

    async fn begin(&self) -> Result<Parts, ZoneError> {
        prove(&self.zone).await?;
        let begun = Parts::begin(&self.zone, &self.key, &self.word).await?;
        begun.map_err(|refusal| self.zone.failed("create", &self.key, refusal))
    }

    async fn take(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        self.bytes += bytes.len() as u64;
        self.hasher.update(&bytes);
        self.gathered.extend_from_slice(&bytes);
        while self.gathered.len() > PART {
            self.send(PART).await?;
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), ZoneError> {
        let rest = self.gathered.len();
        if self.parts.is_none() {
            return self
                .zone
                .put(&self.key, self.gathered.split().freeze())
                .await;
        }
        self.send(rest).await?;
        let Some(mut parts) = self.parts.take() else {
            return Ok(());
        };
        let all = parts.all().await;
        all.map_err(|refusal| self.zone.failed("create", &self.key, refusal))?;
        for attempt in 0.. {
            let completed = parts.complete().await;
            let outcome = self
                .zone
                .outcome(&self.key, &self.word, attempt, completed)
                .await;
            match outcome? {
                Outcome::Created => break,
                Outcome::Again => pause(attempt).await,
            }
        }
        parts.id = None;
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ZoneError> {
        if self.failed {
            return Err(ZoneError::Unavailable {
                action: "create",
                object: self.zone.object(&self.key),
                cause: "an earlier write to it failed".into(),
            });
        }
        let taken = self.take(bytes).await;
        self.failed = taken.is_err();
        taken
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, ZoneError> {
        self.write(Bytes::new()).await?;
        self.publish().await?;
        let sha256: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
        Ok(Written {
            bytes: self.bytes,
            sha256: Digest::from(sha256),
        })
    }
}

/// Makes sure that the bucket refuses to complete an upload in parts of what exists.
///
/// # Errors
/// `Config` when it does not.
async fn prove(zone: &S3Zone) -> Result<(), ZoneError> {
    // It makes the object that is to be refused.
    zone.prove().await?;
    let failed = |refusal| zone.failed("create", PROOF, refusal);
    let proving = async {
        for attempt in 0.. {
            let mut parts = Parts::begin(zone, PROOF, &word()).await?.map_err(failed)?;
            let note = Bytes::from_static(NOTE);
            parts.send(note).await.map_err(failed)?;
            parts.all().await.map_err(failed)?;
            match parts.complete().await {
                Err(refusal) if refusal.status == Some(412) => return Ok(()),
                Err(refusal) if refusal.status == Some(409) && attempt < CONFLICTS => {
                    pause(attempt).await;
                }
                Err(refusal) if refusal.status != Some(501) => return Err(failed(refusal)),
                Ok(()) | Err(_) => break,
            }
        }
        Err(zone.unconditional())
    };
    let bucket = zone.bucket();
    zone.store
        .prove(bucket, Promise::RefusesComplete, proving)
        .await
}

impl Parts {
    async fn begin(
        zone: &S3Zone,
        key: &str,
        word: &str,
    ) -> Result<Result<Self, Refusal>, ZoneError> {
        let full = zone.full("create", key)?;
        let (encryption, service_key) = zone.encryption();
        let create = zone.client().await.create_multipart_upload();
        let begun = create
            .bucket(zone.bucket())
            .key(&full)
            .metadata(WRITE, word)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(service_key)
            .send()
            .await;
        Ok(begun.map_err(Refusal::from).map(|begun| Self {
            zone: zone.clone(),
            full,
            id: begun.upload_id,
            begun: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
        }))
    }

    /// Begins to send a part, when few enough are on the way.
    async fn send(&mut self, part: Bytes) -> Result<(), Refusal> {
        while self.sending.len() >= SENDING {
            self.next().await?;
        }
        self.begun += 1;
        let (zone, full, number) = (self.zone.clone(), self.full.clone(), self.begun);
        let id = self.id.clone();
        self.sending.spawn(async move {
            let upload = zone.client().await.upload_part();
            let sent = upload
                .bucket(zone.bucket())
                .key(full)
                .set_upload_id(id)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .body(ByteStream::from(part))
                .send()
                .await?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag)
                .set_checksum_crc64_nvme(sent.checksum_crc64_nvme)
                .build())
        });
        Ok(())
    }

    async fn next(&mut self) -> Result<(), Refusal> {
        let lost = |error: JoinError| Refusal::broken(&error, None);
        if let Some(sent) = self.sending.join_next().await {
            self.sent.push(sent.map_err(lost)??);
        }
        Ok(())
    }

    /// Waits for all parts.
    async fn all(&mut self) -> Result<(), Refusal> {
        while !self.sending.is_empty() {
            self.next().await?;
        }
        self.sent.sort_by_key(CompletedPart::part_number);
        Ok(())
    }

    /// Makes the parts an object, unless one of that key exists.
    async fn complete(&self) -> Result<(), Refusal> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.sent.clone()))
            .build();
        let complete = self.zone.client().await.complete_multipart_upload();
        complete
            .bucket(self.zone.bucket())
            .key(&self.full)
            .set_upload_id(self.id.clone())
            .checksum_type(ChecksumType::FullObject)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await?;
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        self.sending.abort_all();
        let (zone, full) = (self.zone.clone(), std::mem::take(&mut self.full));
        // If that does not happen any more, the sweep does it by age.
        runtime.spawn(async move {
            if let Err(refusal) = forget(&zone, &full, &id).await {
                tracing::debug!(key = full, %refusal, "an unfinished upload stays until it is swept");
            }
        });
    }
}

/// Tells the store to forget the parts of an upload.
async fn forget(zone: &S3Zone, full: &str, id: &str) -> Result<(), Refusal> {
    let abort = zone.client().await.abort_multipart_upload();
    match abort
        .bucket(zone.bucket())
        .key(full)
        .upload_id(id)
        .send()
        .await
        .map_err(Refusal::from)
    {
        Err(refusal) if refusal.status != Some(404) => Err(refusal),
        _ => Ok(()),
    }
}

/// Uploads that nobody finished, begun before `before`.
pub(super) async fn sweep(
    zone: &S3Zone,
    before: DateTime<Utc>,
    rehearsal: bool,
) -> Result<Vec<Entry>, ZoneError> {
    let mut unfinished = Vec::new();
    let (mut after_key, mut after_id) = (None, None);
    loop {
        let list = zone.client().await.list_multipart_uploads();
        let listed = list
            .bucket(zone.bucket())
            .prefix(&zone.place.prefix)
            .set_key_marker(after_key)
            .set_upload_id_marker(after_id)
            .send()
            .await;
        let listed = listed.map_err(|error| zone.failed("list", "", error.into()))?;
        for upload in listed.uploads.unwrap_or_default() {
            unfinished.extend(sweep_one(zone, upload, before, rehearsal).await?);
        }
        if listed.is_truncated != Some(true) {
            break;
        }
        (after_key, after_id) = (listed.next_key_marker, listed.next_upload_id_marker);
    }
    unfinished.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(unfinished)
}

async fn sweep_one(
    zone: &S3Zone,
    upload: MultipartUpload,
    before: DateTime<Utc>,
    rehearsal: bool,
) -> Result<Option<Entry>, ZoneError> {
    let created = upload.initiated.and_then(moment);
    let (Some(full), Some(id), Some(created)) = (upload.key, upload.upload_id, created) else {
        return Ok(None);
    };
    let Some(key) = full
        .strip_prefix(&zone.place.prefix)
        .filter(|_| created < before)
    else {
        return Ok(None);
    };
    let parts = zone.client().await.list_parts();
    let parts = parts.bucket(zone.bucket()).key(&full).upload_id(&id);
    let bytes = match parts.send().await.map_err(Refusal::from) {
        Ok(parts) => parts
            .parts
            .unwrap_or_default()
            .iter()
            .map(|part| unsigned(part.size))
            .sum(),
        // Somebody else was faster.
        Err(refusal) if refusal.status == Some(404) => return Ok(None),
        Err(refusal) => return Err(zone.failed("list", key, refusal)),
    };
    if !rehearsal {
        let forgotten = forget(zone, &full, &id).await;
        forgotten.map_err(|refusal| zone.failed("delete", key, refusal))?;
    }
    Ok(Some(Entry {
        key: key.to_owned(),
        bytes,
        created,
    }))
}
