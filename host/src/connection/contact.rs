//! Whether a store answers: what whoever waits is told meanwhile, and when it is given up.
//!
//! ```text
//! attempt fails ─▶ again, in silence ─▶ a second later: a warning, and one every ten seconds ─▶ an answer: that it is back
//! ```
//!
//! A store that has answered before is asked for as long as the clients ask: a run that is under way survives an outage.
//! One that has never answered in this process is most likely a wrong name or a server that is not there, and is given up
//! after a few seconds: whoever has just started something waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a store that has never answered is asked,
const FIRST: Duration = Duration::from_secs(5);
/// and how often at least: to connect may take as long.
const ATTEMPTS: u32 = 3;
/// For how long one that has answered is asked at most.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// What is over within this is not worth a word.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is said.
const REPEATED: Duration = Duration::from_secs(10);

/// The contact to a store; clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Contact(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Where it is.
    place: String,
    has_answered: bool,
    /// Since when it is asked without an answer.
    asked: Option<Instant>,
    outage: Option<Outage>,
}

/// Attempts that failed, with none between that did not.
#[derive(Debug)]
struct Outage {
    since: Instant,
    attempts: u32,
    told: Option<Instant>,
}

impl Contact {
    /// Notes that a request is sent to this address.
    pub fn asked(&self, uri: &str) {
        let (mut state, place) = (self.lock(), place(uri));
        if state.place != place {
            state.place = place.to_owned();
        }
        state.asked.get_or_insert_with(Instant::now);
    }

    /// Notes that the store answered.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.has_answered = true;
        state.asked = None;
        if let Some(outage) = state.outage.take()
            && outage.told.is_some()
        {
            let seconds = outage.since.elapsed().as_secs();
            tracing::warn!(store = state.place, seconds, "the store answers again");
        }
    }

    /// Notes that an attempt was not answered, or with an error of the store's own (`is_answer`). What went wrong is
    /// called `error`.
    pub fn failed(&self, is_answer: bool, error: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        state.has_answered |= is_answer;
        let asked_for = match state.has_answered {
            true => PATIENCE,
            false => FIRST,
        };
        let State {
            place,
            asked,
            outage,
            ..
        } = &mut *state;
        let since = asked.unwrap_or(now);
        let outage = outage.get_or_insert(Outage {
            since,
            attempts: 0,
            told: None,
        });
        outage.attempts += 1;
        if outage.is_worth_telling(now) {
            outage.told = Some(now);
            let (since, asked_for) = (now - outage.since, asked_for.as_secs());
            let since = since.as_secs();
            tracing::warn!(
                store = *place,
                error,
                seconds = since,
                at_most_seconds = asked_for,
                "the store does not answer and is asked again"
            );
        }
    }

    /// Whether it is of no use to ask again.
    pub fn is_hopeless(&self) -> bool {
        self.lock().is_hopeless(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_hopeless(&self, now: Instant) -> bool {
        let outage = self.outage.as_ref().filter(|_| !self.has_answered);
        outage.is_some_and(|outage| {
            outage.attempts >= ATTEMPTS && now.duration_since(outage.since) >= FIRST
        })
    }
}

impl Outage {
    fn is_worth_telling(&self, now: Instant) -> bool {
        self.attempts > 1
            && now.duration_since(self.since) >= QUIET
            && self
                .told
                .is_none_or(|told| now.duration_since(told) >= REPEATED)
    }
}

/// Where a request goes: scheme and host of its address.
fn place(uri: &str) -> &str {
    let host = uri.find("://").map_or(0, |at| at + "://".len());
    let end = uri.get(host..).and_then(|rest| rest.find('/'));
    end.and_then(|end| uri.get(..host + end)).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(attempts: u32, told: Option<Instant>) -> (Instant, Outage) {
        let since = Instant::now();
        let outage = Outage {
            since,
            attempts,
            told,
        };
        (since, outage)
    }

    #[test]
    fn a_store_that_never_answered_is_given_up_after_seconds_and_another_is_not() {
        for (attempts, seconds, has_answered, is_hopeless) in [
            (3, 5, false, true),
            (3, 4, false, false),
            (2, 60, false, false),
            (30, 60, true, false),
        ] {
            let (since, outage) = outage(attempts, None);
            let state = State {
                place: String::new(),
                has_answered,
                asked: None,
                outage: Some(outage),
            };
            let now = since + Duration::from_secs(seconds);
            assert_eq!(state.is_hopeless(now), is_hopeless, "{attempts} {seconds}");
        }
    }

    #[test]
    fn it_is_told_after_a_second_and_then_now_and_then() {
        let (since, first) = outage(1, None);
        let after = |millis| since + Duration::from_millis(millis);
        assert!(!first.is_worth_telling(after(5_000)), "a single failure");
        let (since, second) = outage(2, None);
        let after = |millis| since + Duration::from_millis(millis);
        assert!(!second.is_worth_telling(after(900)));
        assert!(second.is_worth_telling(after(1_000)));
        let told = Outage {
            told: Some(after(1_000)),
            ..second
        };
        assert!(!told.is_worth_telling(after(10_900)));
        assert!(told.is_worth_telling(after(11_000)));
    }

    #[test]
    fn an_answer_ends_an_outage() {
        let contact = Contact::default();
        let long_ago = Instant::now() - Duration::from_secs(60);
        contact.lock().asked = Some(long_ago);
        for _ in 0..5 {
            contact.asked("http://127.0.0.1:1/lake/a");
            contact.failed(false, "refused");
        }
        assert!(contact.is_hopeless());
        assert_eq!(contact.lock().place, "http://127.0.0.1:1");
        contact.answered();
        contact.failed(false, "refused");
        assert!(!contact.clone().is_hopeless());
    }

    #[test]
    fn a_place_is_a_host() {
        assert_eq!(
            place("http://127.0.0.1:9000/lake/a?b"),
            "http://127.0.0.1:9000"
        );
        assert_eq!(
            place("https://lake.s3.amazonaws.com"),
            "https://lake.s3.amazonaws.com"
        );
    }
}
