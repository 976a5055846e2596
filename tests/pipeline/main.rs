//! The straight line from end to end: the real program, real servers, and a star that is compared with the
//! source by SQL that knows nothing of modules.
//!
//! ```text
//! World = totesys ──tidemill run──▶ warehouse          after every run: oracle, and every version of every fact
//! ```

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null where there is nothing"
)]

mod changes;
mod cursor;
mod days;
mod demo;
mod disturbance;
mod faults;
mod hostile;
mod hosts;
mod kills;
mod modules;
mod provided;
mod rebuild;
mod rejects;
mod schema;
mod servers;
mod snapshots;
mod sweep;
mod trace;
mod watch;

use tidemill_tests::world;
