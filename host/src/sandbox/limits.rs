//! How much one session of a module may use.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one session may use, and how input is cut for it.
///
/// The defaults let every honest module of a table of some ten million rows through and stop a runaway
/// one before it disturbs its neighbours. Every limit fails the run of that one table with a message that
/// names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The size of a component. 32 MiB: a guest with Arrow kernels has 1 to 3 MiB, an SQL engine 20 MiB.
    pub component_bytes: usize,
    /// The size of the parameters. 1 MiB: the text of a query or a table of codes.
    pub parameters_bytes: usize,
    /// The processor time of compiling. 60 s: a guest with Arrow kernels takes one or two, an SQL engine
    /// twenty.
    pub compile_time: Duration,
    /// The memory of compiling. 1 GiB.
    pub compile_memory_bytes: usize,
    /// All linear memories of a session together. 1 GiB: a lookup of a few million rows fits; four
    /// sessions at once fit the smallest machine that also holds a warehouse.
    pub memory_bytes: usize,
    /// The time of one call. 60 s: a chunk of 65 536 rows takes milliseconds, and a `finish` that sorts
    /// ten million rows takes seconds.
    pub call_time: Duration,
    /// The time of all calls of a session. 14 min: under the 15 min that a function in the cloud may
    /// run, so that the error is ours and says which module it was.
    pub session_time: Duration,
    /// The fuel of a session, one unit per instruction: the limit that is the same on every machine.
    /// 10^13, which is beyond `session_time` on any processor of today: set it lower where a run that
    /// fails on one machine shall fail on all.
    pub fuel: u64,
    /// What one call may give back. 256 MiB: a dimension that is made at `finish` comes in one piece.
    pub step_bytes: usize,
    /// Rows, retractions and rejects of a session. 200 million.
    pub output_rows: u64,
    /// Bytes of rows and retractions of a session. 64 GiB.
    pub output_bytes: u64,
    /// Bytes of the rejects of a session, which are kept in memory until it ends. 256 MiB: more than a
    /// million of them.
    pub reject_bytes: usize,
    /// Keys that must be remembered one by one to see that none comes twice. Integers are remembered
    /// in a bitmap, others by 16 bytes each; 32 million of the latter take about 1 GiB, and a bitmap may
    /// take no more.
    pub remembered_keys: usize,
    /// Log lines of a session. 1 000: enough to see what is wrong, too few to fill a log.
    pub log_lines: u32,
    /// Bytes of all log lines of a session. 256 KiB.
    pub log_bytes: usize,
    /// Rows of an input chunk. See the figures in `sandbox/engine.rs`.
    pub chunk_rows: usize,
    /// Bytes of an input chunk, aimed at. See the figures in `sandbox/engine.rs`.
    pub chunk_bytes: usize,
}

/// The most rows that a chunk to a guest ever holds.
pub const MAX_CHUNK_ROWS: usize = 65_536;
/// The most bytes that a chunk to a guest ever holds, unless a single row is larger.
pub const MAX_CHUNK_BYTES: usize = 8 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 32 * MIB,
            parameters_bytes: MIB,
            compile_time: Duration::from_secs(60),
            compile_memory_bytes: 1024 * MIB,
            memory_bytes: 1024 * MIB,
            call_time: Duration::from_secs(60),
            session_time: Duration::from_secs(14 * 60),
            fuel: 10_000_000_000_000,
            step_bytes: 256 * MIB,
            output_rows: 200_000_000,
            output_bytes: 64 * 1024 * MIB as u64,
            reject_bytes: 256 * MIB,
            remembered_keys: 32_000_000,
            log_lines: 1_000,
            log_bytes: 256 * KIB,
            chunk_rows: 8_192,
            chunk_bytes: MIB,
        }
    }
}
