//! Sweeping in a bucket: the same, with a listing where a folder is read.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload};

use super::super::failure;
use super::super::location::{Bucket, Location};
use super::super::publication::Publication;
use super::{Delta, INTERVAL, MARK, rebuild, unneeded, versions};
use crate::warehouse::{Sweep, SweptFile, WarehouseError};

/// What asks the store for its time: it is overwritten, and its last writing is now.
const ASKED: &str = "_tidemill/sweeping";

/// Removes what has not been needed for `age`.
pub(super) async fn sweep(
    delta: &Delta,
    warehouse: &Bucket,
    publication: &Publication,
    age: Duration,
    how: Sweep,
) -> Result<Vec<SweptFile>, WarehouseError> {
    let unavailable = |cause: Error| failure::of(&delta.place, "sweep", Box::new(cause));
    let mark = warehouse.join("_tidemill").join(MARK);
    let now = now(warehouse).await.map_err(unavailable)?;
    if how == Sweep::WhenDue
        && let Some(last) = written(&mark).await.map_err(unavailable)?
        && now - last < INTERVAL
    {
        return Ok(Vec::new());
    }
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    let mut broom = Broom {
        warehouse,
        before: now - age,
        rehearsal: how == Sweep::Rehearsal,
        swept: Vec::new(),
    };
    for (name, version) in versions(publication) {
        for file in unneeded(delta, &name, version, now, age).await? {
            let file = warehouse.join(&name).join(&file);
            match file.objects.head(&file.prefix).await {
                Ok(object) => broom.object(object).await.map_err(unavailable)?,
                // Another host sweeps as well.
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
    }
    let rebuilds = warehouse.join("_tidemill").join(rebuild::FOLDER);
    let mut left = warehouse.objects.list(Some(&rebuilds.prefix));
    while let Some(object) = left.try_next().await.map_err(unavailable)? {
        broom.object(object).await.map_err(unavailable)?;
    }
    if !broom.rehearsal {
        let put = mark.objects.put(&mark.prefix, PutPayload::new());
        put.await.map_err(unavailable)?;
    }
    Ok(broom.swept)
}

/// The time, as the store says it.
async fn now(warehouse: &Bucket) -> object_store::Result<DateTime<Utc>> {
    let asked = warehouse.join(ASKED);
    asked.objects.put(&asked.prefix, PutPayload::new()).await?;
    Ok(asked.objects.head(&asked.prefix).await?.last_modified)
}

async fn written(object: &Bucket) -> object_store::Result<Option<DateTime<Utc>>> {
    match object.objects.head(&object.prefix).await {
        Ok(object) => Ok(Some(object.last_modified)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes objects that were created before a time.
struct Broom<'a> {
    warehouse: &'a Bucket,
    before: DateTime<Utc>,
    rehearsal: bool,
    swept: Vec<SweptFile>,
}

impl Broom<'_> {
    async fn object(&mut self, object: ObjectMeta) -> object_store::Result<()> {
        if object.last_modified >= self.before {
            return Ok(());
        }
        if !self.rehearsal {
            self.warehouse.objects.delete(&object.location).await?;
        }
        self.swept.push(SweptFile {
            folder: Location::Bucket(self.warehouse.clone()).to_string(),
            name: below(&object.location, &self.warehouse.prefix),
            bytes: object.size,
            written: object.last_modified,
        });
        Ok(())
    }
}

fn below(key: &Key, prefix: &Key) -> String {
    let key = key.as_ref();
    let below = key.strip_prefix(prefix.as_ref()).unwrap_or(key);
    below.trim_start_matches('/').to_owned()
}
