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
/// How often a body that breaks off is asked for. The client itself sends only requests again, not bodies.
const ATTEMPTS: u32 = 6;

/// The whole object.
pub(super) async fn whole(zone: &S3Zone, key: &str) -> Result<Bytes, ZoneError> {
    let mut attempt = 0;
    let (length, version) = loop {
        let answer = get(zone, key, None, None).await?;
        let length = super::unsigned(answer.content_length);
        if length > WHOLE {
            break (length, answer.e_tag);
        }
        let request = request(&answer);
        match answer.body.collect().await {
            Ok(body) => return Ok(body.into_bytes()),
            Err(error) if attempt + 1 < ATTEMPTS => {
                tracing::debug!(key, attempt, error = %error, "an answer broke off");
                pause(attempt).await;
                attempt += 1;
            }
            Err(error) => {
                return Err(zone.failed("read", key, Refusal::broken(&error, request)));
            }
        }
    };
    in_pieces(zone, key, length, version).await
}

/// Some bytes of an object.
pub(super) async fn range(zone: &S3Zone, key: &str, range: Range<u64>) -> Result<Bytes, ZoneError> {
    let length = range.end.saturating_sub(range.start);
    let room = usize::try_from(length).map_err(|_| too_short(zone, key, range.end))?;
    if room == 0 {
        return Ok(Bytes::new());
    }
    let piece = Piece {
        from: range.start,
        room: BytesMut::zeroed(room),
    };
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
}

impl Piece {
    /// Fills the memory, goes on where an answer broke off.
    async fn fill(
        mut self,
        zone: &S3Zone,
        key: &str,
        version: Option<&str>,
    ) -> Result<BytesMut, ZoneError> {
        let mut filled = 0;
        for attempt in 0.. {
            match self.go_on(zone, key, version, &mut filled).await? {
                None => break,
                Some(refusal) if attempt + 1 >= ATTEMPTS => {
                    return Err(zone.failed("read", key, refusal));
                }
                Some(_) => pause(attempt).await,
            }
        }
        Ok(self.room)
    }

    /// Asks for what is missing and puts it in its place; gives why the answer broke off, if it did.
    async fn go_on(
        &mut self,
        zone: &S3Zone,
        key: &str,
        version: Option<&str>,
        filled: &mut usize,
    ) -> Result<Option<Refusal>, ZoneError> {
        let end = self.from + self.room.len() as u64;
        let wanted = format!("bytes={}-{}", self.from + *filled as u64, end - 1);
        let mut answer = get(zone, key, Some(wanted), version).await?;
        let request = request(&answer);
        loop {
            match answer.body.try_next().await {
                Ok(Some(bytes)) => {
                    let place = self.room.get_mut(*filled..*filled + bytes.len());
                    let place = place.ok_or_else(|| ZoneError::Damaged {
                        object: zone.object(key),
                        reason: "the store sent more than was asked for".into(),
                    })?;
                    place.copy_from_slice(&bytes);
                    *filled += bytes.len();
                }
                Ok(None) if *filled == self.room.len() => return Ok(None),
                Ok(None) => return Err(too_short(zone, key, end)),
                Err(error) => return Ok(Some(Refusal::broken(&error, request))),
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
