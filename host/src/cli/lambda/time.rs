//! The time of one call.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lambda_runtime::Context;
use tokio::time::Instant;

use crate::error::{Classify, ErrorKind};

/// A third of the time of a call is the most that is kept for its end.
const SHARE: u32 = 3;
/// What is left of the margin for the answer to get through.
const ANSWER: u32 = 4;
/// What a function of AWS Lambda may take at most.
const LONGEST: Duration = Duration::from_secs(900);
/// A deadline that is further back is none: emulators name a constant, and no clock is as wrong as that.
const STRANGE_MS: u64 = 86_400_000;
/// Pauses between two attempts to do what another run does at the same time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The time that a call has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// All of it.
    pub(super) whole: Duration,
    /// When what is complete is committed.
    pub(super) halt: Instant,
    /// When everything is dropped that has not ended.
    pub(super) end: Instant,
}

impl Time {
    /// The time of the call with this context, which has begun `now`.
    pub(super) fn of(context: &Context, now: DateTime<Utc>, margin: Duration) -> Self {
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let whole = match now_ms.saturating_sub(context.deadline) {
            past if past > STRANGE_MS => LONGEST,
            _ => Duration::from_millis(context.deadline.saturating_sub(now_ms)),
        };
        let margin = margin.min(whole / SHARE);
        let begun = Instant::now();
        Self {
            whole,
            halt: begun + (whole - margin),
            end: begun + (whole - margin / ANSWER),
        }
    }

    /// How long to wait before each further attempt, longer each time.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let halt = self.halt;
        let longer = |pause: &Duration| Some((*pause * 2).min(LONGEST_PAUSE));
        let pauses = std::iter::successors(Some(FIRST_PAUSE), longer);
        // Those that failed together do not try again together.
        let chance =
            || getrandom::u32().map_or(0.5, |chance| f64::from(chance) / f64::from(u32::MAX));
        pauses
            .map(move |pause| pause.mul_f64(0.5 + chance() / 2.0))
            .take_while(move |pause| Instant::now() + *pause < halt)
    }
}

/// The deadline came before the stage had ended.
#[derive(Debug, thiserror::Error)]
#[error("the function did not come to its end within its time")]
pub(super) struct TooLate;

impl Classify for TooLate {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn hint(&self) -> Option<String> {
        Some(
            "nothing is half committed, and the next call goes on; raise `lambda.margin`, or the function's time".into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(whole_ms: u64, margin: Duration) -> Time {
        let now = DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut context = Context::default();
        context.deadline = 1_000_000_000 + whole_ms;
        Time::of(&context, now, margin)
    }

    #[test]
    fn a_margin_is_a_third_of_the_time_at_most() {
        let minutes = time(900_000, Duration::from_secs(20));
        assert_eq!(minutes.whole, Duration::from_secs(900));
        assert_eq!(minutes.end - minutes.halt, Duration::from_secs(15));
        let seconds = time(9_000, Duration::from_secs(20));
        assert_eq!(seconds.end - seconds.halt, Duration::from_millis(2_250));
        // A clock that is ahead of Lambda's, or a call that waited too long.
        let none = time(0, Duration::from_secs(20));
        assert_eq!(none.end, none.halt);
        let now = DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let emulated = Time::of(&Context::default(), now, Duration::ZERO);
        assert_eq!(emulated.whole, LONGEST);
    }

    #[test]
    fn pauses_grow_and_end_with_the_time() {
        let pauses: Vec<Duration> = time(30_000, Duration::from_secs(1))
            .pauses()
            .take(9)
            .collect();
        let (first, last) = (pauses.first().copied(), pauses.last().copied());
        assert_eq!(pauses.len(), 9);
        assert!(
            first.is_some_and(|first| first <= FIRST_PAUSE),
            "{pauses:?}"
        );
        assert!(
            last.is_some_and(|last| last >= LONGEST_PAUSE / 2 && last <= LONGEST_PAUSE),
            "{pauses:?}"
        );
        assert_eq!(time(60, Duration::ZERO).pauses().count(), 0);
    }
}
