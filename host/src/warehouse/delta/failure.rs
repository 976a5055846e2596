//! Failures: what an error of a disk, a store or Delta means to the operator.

use std::error::Error;
use std::io;

use super::location::Location;
use super::objects::{NoRegion, Unconditional};
use crate::connection::aws;
use crate::warehouse::WarehouseError;

type Cause = Box<dyn Error + Send + Sync>;

/// What stops the table or the record at `place`: the disk or the store, or files that are not what they were.
pub(super) fn of(place: &Location, action: &str, cause: Cause) -> WarehouseError {
    let is_missing = find::<io::Error>(cause.as_ref())
        .is_some_and(|disk| disk.kind() == io::ErrorKind::NotFound)
        || find::<object_store::Error>(cause.as_ref()).is_some_and(is_missing);
    let is_outside = find::<io::Error>(cause.as_ref()).is_some()
        || find::<object_store::Error>(cause.as_ref()).is_some();
    match is_outside && !is_missing {
        true => unavailable(place, action, cause),
        false => WarehouseError::Damaged {
            record: place.to_string(),
            cause,
        },
    }
}

/// The disk or the store did not do it.
pub(super) fn unavailable(place: &Location, action: &str, cause: Cause) -> WarehouseError {
    if let Location::Folder(_) = place {
        return WarehouseError::Folder {
            path: place.to_string(),
            action: action.to_owned(),
            cause,
        };
    }
    let (target, action) = (place.to_string(), action.to_owned());
    if find::<Unconditional>(cause.as_ref()).is_some() {
        return WarehouseError::Refused {
            target,
            action,
            cause,
            hint: "use a store that honours `If-None-Match: *` on PutObject, as Amazon S3 and MinIO do"
                .into(),
        };
    }
    let said = Said::of(cause.as_ref());
    let hint = match find::<NoRegion>(cause.as_ref()) {
        Some(_) => aws::REGION_HINT,
        None => aws::hint(said.code.as_deref(), said.status),
    };
    WarehouseError::Unavailable {
        target,
        action,
        hint: hint.into(),
        cause: match said.code.is_some() {
            true => Box::new(said),
            false => cause,
        },
    }
}

fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !Said::of(error).is("NoSuchBucket")
}

/// The error of a kind in a chain of them.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What a store said, out of a text that has all of its answer.
#[derive(Debug, Default, thiserror::Error)]
#[error("{}: {message} (request {})", code.as_deref().unwrap_or("no code"), request.as_deref().unwrap_or("unknown"))]
pub(super) struct Said {
    code: Option<String>,
    status: Option<u16>,
    message: String,
    request: Option<String>,
}

impl Said {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut text = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            text.push_str(&error.to_string());
            next = error.source();
        }
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (value, _) = rest.split_once(&format!("</{name}>"))?;
            Some(value.to_owned())
        };
        let status = text
            .split_once("status code: ")
            .and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        Self {
            code: element("Code"),
            status,
            message: element("Message").unwrap_or_default(),
            request: element("RequestId"),
        }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}
