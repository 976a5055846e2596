//! Zones: what every zone promises, in a folder and in a bucket of a real S3 server; and the whole job on buckets.

#![allow(
    clippy::disallowed_methods,
    reason = "what a store says of the time is compared with this machine's clock"
)]
#![allow(
    clippy::print_stdout,
    reason = "how many requests a run made is worth reading where a test fails"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "JSON gives null where there is nothing"
)]

mod away;
mod checksums;
mod delta;
mod job;
#[cfg(target_os = "linux")]
mod large;
mod pretender;
mod promises;
mod regions;
mod rights;
mod secrets;
mod store;
mod storm;
mod uploads;

use std::sync::Arc;

use anyhow::Result;
use tidemill::zone::{Opener, Zone};
use tidemill_tests::store::Store;

/// A zone in a bucket of its own.
async fn bucket(store: &Store) -> Result<Arc<dyn Zone>> {
    let bucket = store.fresh_bucket().await;
    Ok(Opener::new("/", &store.plan()).open(&format!("s3://{bucket}/a/zone"))?)
}
