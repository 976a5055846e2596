//! What an HTTP request that went wrong means, and bodies of a limited size.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use serde::Deserialize;

use super::error::OciError;
use crate::printable;

/// How much of a refusal is read, and how much of that is told.
const REFUSAL_BYTES: u64 = 64 << 10;
const SHOWN_BYTES: usize = 200;

/// What it means that a request got no answer. Its URL is not told: parts of it may be secrets of the registry.
pub(super) fn of(registry: &str, cause: reqwest::Error) -> OciError {
    let registry = registry.to_owned();
    if let Some(tls) = tls(&cause) {
        return OciError::Tls {
            registry,
            reason: tls.to_string(),
            is_plain: is_plain(tls),
        };
    }
    let cause = cause.without_url();
    match cause.is_connect() {
        true => OciError::Unreachable { registry, cause },
        false => OciError::Broken { registry, cause },
    }
}

/// Whether a request failed because a certificate is not trusted, or TLS went wrong in another way than by not being
/// spoken at all.
pub(super) fn is_of_tls(cause: &reqwest::Error) -> bool {
    tls(cause).is_some_and(|tls| !is_plain(tls))
}

fn is_plain(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidMessage(_))
}

/// The error of TLS beneath, which an error of I/O wraps.
fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>();
        let wrapped = wrapped.and_then(|io| io.get_ref());
        let inner = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner.or_else(|| error.downcast_ref()) {
            return Some(tls);
        }
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What the registry said with a status that is no success.
pub(super) async fn refusal(registry: &str, mut response: Response) -> OciError {
    #[derive(Deserialize)]
    struct Said {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status().as_u16();
    let body = bounded(registry, &mut response, REFUSAL_BYTES).await;
    let body = body.ok().flatten().unwrap_or_default();
    let said = serde_json::from_slice::<Said>(&body).ok();
    let first = said.and_then(|said| said.errors.into_iter().next());
    let said = first.map(|one| match one.message.is_empty() {
        true => one.code,
        false => one.message,
    });
    OciError::Refused {
        registry: registry.to_owned(),
        status,
        said: said.map_or_else(String::new, |said| {
            format!(": {}", printable::line(&said, SHOWN_BYTES))
        }),
    }
}

/// A body; `None` when it is longer than `limit`, of which no more is read.
pub(super) async fn bounded(
    registry: &str,
    response: &mut Response,
    limit: u64,
) -> Result<Option<Bytes>, OciError> {
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Ok(None);
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| of(registry, e))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.freeze()))
}
