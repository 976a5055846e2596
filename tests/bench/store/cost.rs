//! What an installation costs a month, by a formula from counted requests.
//!
//! ```text
//! month = idle runs × idle + runs with changes × daily + stored bytes × price
//! run   = writing × 0.000005 $ + reading × 0.0000004 $ + seconds × GB × price of a function + call
//! ```

use super::Ran;

/// List prices of us-east-1 in dollars, as Amazon published them in November 2026.
const WRITING: f64 = 0.005 / 1_000.0;
const READING: f64 = 0.0004 / 1_000.0;
/// A GB of standard storage for a month.
const STORED: f64 = 0.023;
/// A GB of memory for a second, of functions for x86_64 and for arm64, and a call.
const FUNCTION_X86: f64 = 0.000_016_666_7;
const FUNCTION_ARM: f64 = 0.000_013_333_4;
const CALL: f64 = 0.20 / 1_000_000.0;

/// A run every 15 minutes for 30 days,
const RUNS: f64 = 30.0 * 24.0 * 4.0;
/// of which so many find something: on 21 working days there are 29 deals and a morning's payments.
const CHANGING: f64 = 21.0 * 30.0;
/// Memory of the function, in GB.
const MEMORY: f64 = 1.0;
/// Months after which the stored bytes are looked at.
const MONTHS: f64 = 12.0;
const GB: f64 = 1_000_000_000.0;

/// What a month costs in dollars.
struct Month {
    requests: f64,
    storage: f64,
    function_x86: f64,
    function_arm: f64,
    /// Bytes that are stored after [`MONTHS`], and bytes that go to and fro in one.
    stored: f64,
    moved: f64,
}

impl Month {
    fn of(first: &Ran, daily: &Ran, idle: &Ran) -> Self {
        let all = |of: fn(&Ran) -> f64| CHANGING * of(daily) + (RUNS - CHANGING) * of(idle);
        let stored = first.sent as f64 + MONTHS * all(|run| run.sent as f64);
        let gb_seconds = MEMORY * all(|run| run.passed.as_secs_f64());
        Self {
            requests: all(|run| run.writing as f64 * WRITING + run.reading as f64 * READING),
            storage: stored / GB * STORED,
            function_x86: gb_seconds * FUNCTION_X86 + RUNS * CALL,
            function_arm: gb_seconds * FUNCTION_ARM + RUNS * CALL,
            stored,
            moved: all(|run| (run.sent + run.received) as f64),
        }
    }
}

/// Prints what the counted runs cost.
pub(super) fn print(title: &str, first: &Ran, daily: &Ran, idle: &Ran) {
    let month = Month::of(first, daily, idle);
    let both = |function: f64| month.requests + month.storage + function;
    println!(
        "  {title}: {RUNS} runs a month, {CHANGING} of which find changes; an idle run writes {} and reads {} times, a \
         daily one {} and {}",
        idle.writing, idle.reading, daily.writing, daily.reading
    );
    println!(
        "    requests {:.3} $, {:.2} GB stored after {MONTHS} months {:.3} $, functions {:.3} $ (x86_64) or {:.3} $ (arm64) \
         with {MEMORY} GB: {:.2} $ or {:.2} $; {:.2} GB go to and fro, which costs nothing within a region",
        month.requests,
        month.stored / GB,
        month.storage,
        month.function_x86,
        month.function_arm,
        both(month.function_x86),
        both(month.function_arm),
        month.moved / GB
    );
}
