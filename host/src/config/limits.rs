//! What a module may use: plain numbers that the sandbox's limits are filled from.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;
/// What a module of Arrow kernels needs for the lookups of a small company.
const LEAST: u64 = 64 * MIB;
/// A quarter of the disk of a function that asks for no larger one: half is for compiled modules, a quarter for what is kept of
/// stores.
const TEMPORARY: u64 = 128 * MIB;
/// What it takes to make one table: a module with its memory, chunks on both sides, a writer with its row group.
const ONE_TABLE: u64 = 384 * MIB;

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
    /// What the whole process may use, where that is known: a function's memory.
    pub process_bytes: Option<u64>,
    /// Bytes of temporary files at the same time; `None` for as many as there is room for.
    pub temporary_bytes: Option<u64>,
}

impl LimitsPlan {
    /// The defaults of a process that may use `process_bytes`. An eighth is for one module: two of them run at the same
    /// time, and rows on their way, the readers and writers of Parquet and the program itself take the rest.
    pub fn within(process_bytes: Option<u64>) -> Self {
        let wide = Self::default();
        let share = process_bytes.map_or(u64::MAX, |bytes| (bytes / 8).max(LEAST));
        Self {
            memory_bytes: wide.memory_bytes.min(share),
            process_bytes,
            temporary_bytes: process_bytes.map(|_| TEMPORARY),
            ..wide
        }
    }

    /// How many tables are made at the same time on this many cores.
    pub fn at_once(&self, cores: usize) -> usize {
        let fit = self
            .process_bytes
            .map_or(u64::MAX, |bytes| bytes / ONE_TABLE);
        usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .clamp(1, cores.max(1))
    }
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
            process_bytes: None,
            temporary_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_function_runs_one_small_module_at_a_time() {
        for (memory, module, at_once) in [
            (128, 64, 1),
            (512, 64, 1),
            (1024, 128, 2),
            (2048, 256, 2),
            (10_240, 256, 2),
        ] {
            let limits = LimitsPlan::within(Some(memory * MIB));
            assert_eq!(limits.memory_bytes, module * MIB, "{memory}");
            assert_eq!(limits.at_once(2), at_once, "{memory}");
        }
        assert_eq!(LimitsPlan::within(None), LimitsPlan::default());
        assert_eq!(LimitsPlan::default().at_once(8), 8);
    }
}
