//! Failures: what an error of a disk, a store or Delta means to the operator.

use std::error::Error;
use std::io;

use delta_kernel::Error as KernelError;

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
pub(super) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = source(error);
    }
    None
}

/// What an error comes from. Delta's kernel has it and does not say so where it is the disk or the store.
fn source<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<KernelError>() {
        Some(KernelError::ObjectStore(store)) => Some(store),
        Some(KernelError::IOError(disk)) => Some(disk),
        _ => error.source(),
    }
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
            next = source(error);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deltalake::DeltaTableError;
    use object_store::memory::InMemory;
    use object_store::path::Path as Key;

    use super::super::location::Bucket;
    use super::*;

    fn place() -> Location {
        Location::Bucket(Bucket {
            name: "lake".into(),
            objects: Arc::new(InMemory::new()),
            prefix: Key::from("star/dim_date"),
        })
    }

    fn kernel(error: KernelError) -> Cause {
        Box::new(DeltaTableError::KernelError(error))
    }

    #[test]
    fn a_store_that_fails_while_a_log_is_read_is_none_that_is_damaged() {
        let answer = "Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code>\
                      <Message>Please reduce your request rate.</Message><RequestId>42</RequestId></Error>";
        let failed = KernelError::ObjectStore(object_store::Error::Generic {
            store: "S3",
            source: answer.into(),
        });
        let error = of(&place(), "read", kernel(failed));
        let WarehouseError::Unavailable { cause, hint, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            cause.to_string(),
            "SlowDown: Please reduce your request rate. (request 42)"
        );
        assert!(hint.contains("fewer requests"), "{hint}");
    }

    #[test]
    fn an_entry_that_is_gone_is_damage() {
        let gone = KernelError::FileNotFound("00000000000000000007.json".into());
        let error = of(&place(), "read", kernel(gone));
        assert!(matches!(error, WarehouseError::Damaged { .. }), "{error:?}");
        let full = KernelError::IOError(io::Error::from(io::ErrorKind::StorageFull));
        let error = of(&place(), "read", kernel(full));
        assert!(
            matches!(error, WarehouseError::Unavailable { .. }),
            "{error:?}"
        );
    }
}
