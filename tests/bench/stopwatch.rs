//! Times of a machine that has other things to do as well.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The processor time of this thread where the system tells it, else the time that passed.
///
/// A neighbour on the same core makes the second longer and not the first.
struct Stopwatch {
    processor: Option<Duration>,
    passed: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        Self {
            processor: processor_time(),
            passed: Instant::now(),
        }
    }

    fn read(&self) -> Duration {
        match (self.processor, processor_time()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.passed.elapsed(),
        }
    }
}

/// The first number of Linux's `schedstat`: nanoseconds that the thread ran.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// The best of several rounds of two things, done by turns so that both see the same neighbours.
pub(crate) fn by_turns<A, B>(
    rounds: usize,
    mut one: impl FnMut() -> Result<(Duration, A)>,
    mut other: impl FnMut() -> Result<(Duration, B)>,
) -> Result<((Duration, A), (Duration, B))> {
    let (mut best_one, mut best_other) = (one()?, other()?);
    for _ in 1..rounds {
        let (next_one, next_other) = (one()?, other()?);
        if next_one.0 < best_one.0 {
            best_one = next_one;
        }
        if next_other.0 < best_other.0 {
            best_other = next_other;
        }
    }
    Ok((best_one, best_other))
}

/// How long `work` takes, done again and again until that is long enough for the grain of the processor's clock,
/// which is several milliseconds.
pub(crate) fn repeated<T>(mut work: impl FnMut() -> Result<T>) -> Result<(Duration, T)> {
    const ENOUGH: Duration = Duration::from_millis(150);
    let stopwatch = Stopwatch::start();
    let mut times = 0;
    loop {
        let made = work()?;
        times += 1;
        let taken = stopwatch.read();
        if taken >= ENOUGH {
            return Ok((taken / times, made));
        }
    }
}

/// Seconds with as many digits as mean something.
pub(crate) fn shown(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1_000.0;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1_000.0),
    }
}

/// Millions of rows a second.
pub(crate) fn speed(rows: usize, time: Duration) -> String {
    let millions = rows as f64 / time.as_secs_f64() / 1e6;
    match millions {
        ..100.0 => format!("{millions:.2} M/s"),
        _ => format!("{millions:.0} M/s"),
    }
}
