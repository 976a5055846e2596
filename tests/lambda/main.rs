//! The bundle as three functions of AWS Lambda: real processes of what `cargo x bundle` made, a runtime interface that kills at
//! the deadline, one that others wrote, a real store and a real warehouse.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON gives null where there is nothing"
)]
#![allow(clippy::print_stdout, reason = "figures that a person looks at")]

mod account;
mod cold;
mod days;
mod deadline;
mod emulator;
mod events;
mod metrics;
mod parts;
mod promotion;
mod secrets;
mod sharing;

use std::time::Duration;

/// More than any of these calls takes on a busy machine.
const LONG: Duration = Duration::from_secs(300);
