//! What a module may use: plain numbers that the sandbox's limits are filled from.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// What one module may use while it makes one table of one landing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsPlan {
    /// The module's own memory.
    pub memory_bytes: u64,
    /// How long its calls may take together.
    pub time: Duration,
    /// Rows that it may give back.
    pub output_rows: u64,
    /// Bytes that it may give back.
    pub output_bytes: u64,
    /// Log lines that are kept; later ones are dropped.
    pub log_lines: u64,
    /// Bytes of log lines that are kept.
    pub log_bytes: u64,
}

impl Default for LimitsPlan {
    /// Wide enough for a first landing of a large table, narrow enough that a module gone wild is stopped
    /// before it fills a small machine: lookups of a few million rows fit in 256 MiB, the slowest guest
    /// makes more than a million rows in a second, and nobody reads a log of more than a thousand lines.
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            time: Duration::from_secs(300),
            output_rows: 200_000_000,
            output_bytes: 64 * 1024 * MIB,
            log_lines: 1_000,
            log_bytes: MIB / 4,
        }
    }
}
