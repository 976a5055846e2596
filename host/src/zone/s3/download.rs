//! Reading: small objects in one request, large ones in pieces side by side.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::ZoneError;
use super::{Refusal, S3Zone, pause};

/// Objects up to this size come in one answer.
const WHOLE: u64 = 16 * 1024 * 1024;
/// The others come in pieces of this size,
const PIECE: u64 = 8 * 1024 * 1024;
/// so many at a time: besides the object itself, memory holds what is in the sockets.
const PIECES: usize = 4;
/// How often a body that breaks off before its first byte is asked for. The client itself sends only requests again.
const ATTEMPTS: u32 = 6;

/// The whole object.
pub(super) async fn whole(zone: &S3Zone, key: &str) -> Result<Bytes, ZoneError> {
    let answer = get(zone, key, None, None).await?;
    let length = super::unsigned(answer.content_length);
    let version = answer.e_tag.clone();
    if length > WHOLE {
        drop(answer);
        return in_pieces(zone, key, length, version).await;
    }
    let mut piece = Piece {
        is_whole: true,
        ..Piece::of(zone, key, 0..length)?
    };
    let whole = match piece.take(zone, key, answer).await? {
        None => piece.room,
        Some(_) => piece.fill(zone, key, version.as_deref()).await?,
    };
    Ok(whole.freeze())
}

/// Some bytes of an object.
pub(super) async fn range(zone: &S3Zone, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let piece = Piece::of(zone, key, range)?;
    Ok(piece.fill(zone, key, None).await?.freeze())
}

async fn in_pieces(
    zone: &S3Zone,
    key: &str,
    length: u64,
    version: Option<String>,
) -> Result<Bytes, ZoneError> {
    let room = usize::try_from(length).map_err(|_| too_short(zone, key, length))?;
    let mut rest = BytesMut::zeroed(room);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let size = rest.len().min(PIECE as usize);
        let from = length - rest.len() as u64;
        pieces.push(Piece {
            from,
            room: rest.split_to(size),
            filled: 0,
            is_whole: false,
        });
    }
    let version = version.as_deref();
    let filled: Vec<BytesMut> = stream::iter(pieces)
        .map(|piece| piece.fill(zone, key, version))
        .buffered(PIECES)
        .try_collect()
        .await?;
    let mut whole = BytesMut::new();
    // They lie side by side: nothing is copied.
    filled.into_iter().for_each(|piece| whole.unsplit(piece));
    Ok(whole.freeze())
}

/// A part of an object and the memory that it goes into.
struct Piece {
    from: u64,
    room: BytesMut,
    /// How much of it is there.
    filled: usize,
    /// Whether it is all of the object.
    is_whole: bool,
}

impl Piece {
    fn of(zone: &S3Zone, key: &str, range: Range<u64>) -> Result<Self, ZoneError> {
        let length = usize::try_from(range.end.saturating_sub(range.start));
        Ok(Self {
            from: range.start,
            room: BytesMut::zeroed(length.map_err(|_| too_short(zone, key, range.end))?),
            filled: 0,
            is_whole: false,
        })
    }

    /// Fills the memory, goes on where an answer broke off.
    async fn fill(
        mut self,
        zone: &S3Zone,
        key: &str,
        version: Option<&str>,
    ) -> Result<BytesMut, ZoneError> {
        let mut attempt = 0;
        loop {
            let before = self.filled;
            let end = self.from + self.room.len() as u64;
            let wanted = match (self.is_whole, before) {
                // With the checksum of all of it, which a part would come without.
                (true, 0) => None,
                _ => Some(format!("bytes={}-{}", self.from + before as u64, end - 1)),
            };
            let answer = get(zone, key, wanted, version).await?;
            match self.take(zone, key, answer).await? {
                None => return Ok(self.room),
                Some(refusal) if self.filled == before && attempt + 1 >= ATTEMPTS => {
                    return Err(zone.failed("read", key, refusal));
                }
                // Only an answer that brings nothing counts.
                Some(_) if self.filled > before => attempt = 0,
                Some(_) => attempt += 1,
            }
            pause(attempt).await;
        }
    }

    /// Puts the bytes of an answer in their place; gives why it broke off, if it did.
    async fn take(
        &mut self,
        zone: &S3Zone,
        key: &str,
        mut answer: GetObjectOutput,
    ) -> Result<Option<Refusal>, ZoneError> {
        let end = self.from + self.room.len() as u64;
        let request = request(&answer);
        loop {
            match answer.body.try_next().await {
                Ok(Some(bytes)) => {
                    let place = self.room.get_mut(self.filled..self.filled + bytes.len());
                    let place = place.ok_or_else(|| ZoneError::Damaged {
                        object: zone.object(key),
                        reason: "the store sent more than was asked for".into(),
                    })?;
                    place.copy_from_slice(&bytes);
                    self.filled += bytes.len();
                }
                Ok(None) if self.filled == self.room.len() => return Ok(None),
                Ok(None) => return Err(too_short(zone, key, end)),
                Err(error) => {
                    // All of it came, and it is not what its checksum says: nothing of it is kept.
                    if self.filled == self.room.len() {
                        self.filled = 0;
                    }
                    return Ok(Some(Refusal::broken(&error, request)));
                }
            }
        }
    }
}

async fn get(
    zone: &S3Zone,
    key: &str,
    range: Option<String>,
    version: Option<&str>,
) -> Result<GetObjectOutput, ZoneError> {
    let wanted = range.clone();
    let get = zone.client().await.get_object();
    let answer = get
        .bucket(zone.bucket())
        .key(zone.full("read", key)?)
        .set_range(range)
        .set_if_match(version.map(str::to_owned))
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .map_err(Refusal::from);
    answer.map_err(|refusal| match (refusal.status, wanted) {
        (Some(416), Some(wanted)) => ZoneError::Damaged {
            object: zone.object(key),
            reason: format!("it ends before {wanted}"),
        },
        (Some(412), _) => ZoneError::Damaged {
            object: zone.object(key),
            reason: "it was replaced while it was read".into(),
        },
        _ => zone.failed("read", key, refusal),
    })
}

/// What the store calls the request.
fn request(answer: &GetObjectOutput) -> Option<String> {
    use aws_sdk_s3::operation::RequestId as _;
    answer.request_id().map(str::to_owned)
}

fn too_short(zone: &S3Zone, key: &str, end: u64) -> ZoneError {
    ZoneError::Damaged {
        object: zone.object(key),
        reason: format!("it ends before byte {end}"),
    }
}
