//! The program as three functions of AWS Lambda: real processes, a runtime interface that kills at the deadline, a real
//! store and a real warehouse.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON gives null where there is nothing"
)]
#![allow(clippy::print_stdout, reason = "figures that a person looks at")]

mod account;
mod cold;
mod days;
mod deadline;
mod events;
mod secrets;
mod sharing;

use std::time::Duration;

/// More than any of these calls takes on a busy machine.
const LONG: Duration = Duration::from_secs(300);
