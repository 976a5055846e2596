//! The one place where the program reads the clock.

use chrono::{DateTime, Utc};

/// Tells the time. A value, so that tests pass their own.
pub(super) type Clock = fn() -> DateTime<Utc>;

/// The time of this machine. Runs take it once, at their start; the source's own clock decides the rest.
#[allow(
    clippy::disallowed_methods,
    reason = "somebody has to read the clock once: everything below is told the time"
)]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}
