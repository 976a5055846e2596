//! Zones: what every zone promises, in a folder and in a bucket of a real S3 server; and the whole job on buckets.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON gives null where there is nothing"
)]

mod job;
mod pretender;
mod promises;
mod store;

use std::sync::Arc;

use anyhow::Result;
use tidemill::config::Secret;
use tidemill::config::{StoreCredentials, StorePlan};
use tidemill::zone::{Opener, Zone};
use tidemill_tests::store::{SECRET, Store, USER};

/// What the program would know of a store from its environment.
fn plan(store: &Store) -> StorePlan {
    StorePlan {
        region: Some("us-east-1".into()),
        endpoint: Some(store.endpoint()),
        credentials: Some(StoreCredentials {
            id: USER.into(),
            key: Secret::new(SECRET),
            token: None,
        }),
        ..StorePlan::default()
    }
}

/// A zone in a bucket of its own.
async fn bucket(store: &Store) -> Result<Arc<dyn Zone>> {
    let bucket = store.fresh_bucket().await;
    Ok(Opener::new("/", &plan(store)).open(&format!("s3://{bucket}/a/zone"))?)
}
