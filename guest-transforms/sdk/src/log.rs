//! The one thing that a module may ask of the host: to write a line to its log.
//!
//! As a component the line goes to the host, which bounds their number and size. Natively there is no host, so
//! the lines go to stderr, where a failing test shows them.

#[cfg(target_arch = "wasm32")]
use crate::bindings::tidemill::transform::log::{Level as HostLevel, write as host_write};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For whoever writes the module.
    Debug,
    /// What happened.
    Info,
    /// What someone should look at.
    Warn,
    /// What failed.
    Error,
}

/// Writes one line to the log.
#[cfg(target_arch = "wasm32")]
pub fn write(level: Level, message: &str) {
    let level = match level {
        Level::Debug => HostLevel::Debug,
        Level::Info => HostLevel::Info,
        Level::Warn => HostLevel::Warn,
        Level::Error => HostLevel::Error,
    };
    host_write(level, message);
}

/// Writes one line to the log.
#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::print_stderr)]
pub fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// Writes a line for whoever writes the module.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes what happened.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes what someone should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes what failed.
pub fn error(message: &str) {
    write(Level::Error, message);
}
