//! Reading: objects back into batches, each verified before its first row.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{Zone, ZoneError};
use super::{BATCH_ROWS, BatchStream};
use crate::digest::Digest;

/// Reads a whole object and checks it against its digest.
///
/// # Errors
/// `Data` when it is missing or not what it was.
pub async fn read_verified(zone: &dyn Zone, key: &str, sha256: Digest) -> Result<Bytes, ZoneError> {
    let bytes = zone.read(key).await?;
    let found = {
        let bytes = bytes.clone();
        tokio::task::spawn_blocking(move || Digest::of(&bytes))
            .await
            .map_err(|join| ZoneError::Unavailable {
                action: "read",
                object: key.to_owned(),
                cause: Box::new(join),
            })?
    };
    if found == sha256 {
        return Ok(bytes);
    }
    Err(ZoneError::Damaged {
        object: format!("{}/{key}", zone.url()),
        reason: format!("its sha256 is {} and not {}", found.short(), sha256.short()),
    })
}

/// The same of what this machine may have kept, and keeps from now on.
///
/// # Errors
/// As [`read_verified`].
pub async fn read_kept(zone: &dyn Zone, key: &str, sha256: Digest) -> Result<Bytes, ZoneError> {
    let Some(kept) = zone.kept() else {
        return read_verified(zone, key, sha256).await;
    };
    let name = sha256.to_string();
    if let Some(bytes) = kept.find(&name).await
        && Digest::of(&bytes) == sha256
    {
        return Ok(bytes);
    }
    let bytes = read_verified(zone, key, sha256).await?;
    kept.keep(&name, bytes.clone()).await;
    Ok(bytes)
}

/// The rows of Parquet bytes that have been verified, `columns` of them or all.
///
/// # Errors
/// `Data` when they are not Parquet.
pub fn decode(
    object: &str,
    bytes: Bytes,
    columns: Option<&[String]>,
) -> Result<impl Iterator<Item = Result<RecordBatch, ZoneError>> + Send + use<>, ZoneError> {
    let damaged = |reason: String| ZoneError::Damaged {
        object: object.to_owned(),
        reason,
    };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .map_err(|error| damaged(error.to_string()))?
        .with_batch_size(BATCH_ROWS);
    if let Some(columns) = columns {
        let roots = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| columns.contains(field.name()))
            .map(|(index, _)| index)
            .collect::<Vec<_>>();
        let mask = parquet::arrow::ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let reader = builder
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    let object = object.to_owned();
    Ok(reader.map(move |batch| {
        batch.map_err(|error: ArrowError| ZoneError::Damaged {
            object: object.clone(),
            reason: error.to_string(),
        })
    }))
}

/// An object to read: its key and the digest that a manifest records.
pub type Verified = (String, Digest);

/// The rows of several objects, one after the other, each verified as a whole before its first row.
pub fn read(
    zone: Arc<dyn Zone>,
    objects: Vec<Verified>,
    columns: Option<Vec<String>>,
) -> BatchStream {
    stream::iter(objects)
        .then(move |(key, sha256)| {
            let zone = zone.clone();
            let columns = columns.clone();
            async move {
                let bytes = read_verified(zone.as_ref(), &key, sha256).await?;
                let object = format!("{}/{key}", zone.url());
                decode(&object, bytes, columns.as_deref()).map(stream::iter)
            }
        })
        .try_flatten()
        .boxed()
}
