//! When which entry is due: pure arithmetic over the time it is told.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Schedule, When};

/// What becomes of an entry whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// It may start.
    Ready(String),
    /// Another entry is running; this one starts when that has ended.
    Waits(String),
    /// It is running or waiting already: this time is left out.
    Skipped(String),
}

/// The entries of a timetable, of which at most one runs at a time.
///
/// An entry waits at most once: whatever it would do again, one run does. Leaving out an entry because
/// another one runs was rejected: a nightly compare that is due with the run of every quarter of an hour
/// would never happen.
#[derive(Debug)]
pub(super) struct Timetable {
    entries: Vec<Entry>,
    running: Option<String>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    when: When,
    start: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
    /// When it became due, while it has not started.
    waiting: Option<DateTime<Utc>>,
}

impl Timetable {
    /// The timetable that begins at `now`: intervals are due at once, cron expressions at their next time.
    pub(super) fn new(schedule: &BTreeMap<String, Schedule>, now: DateTime<Utc>) -> Self {
        let entries = schedule.iter().map(|(name, schedule)| Entry {
            name: name.clone(),
            when: schedule.when.clone(),
            start: now,
            next: match &schedule.when {
                When::Every(_) => Some(now),
                when @ When::Cron { .. } => after(when, now, now),
            },
            waiting: None,
        });
        Self {
            entries: entries.collect(),
            running: None,
        }
    }

    /// The next time anything is due.
    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// The entry that is due next, and when.
    pub(super) fn next(&self) -> Option<(&str, DateTime<Utc>)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry.name.as_str(), entry.next?)))
            .min_by_key(|(_, at)| *at)
    }

    /// Notes what has become due by `now`. Times that were missed together count once.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        let mut noted = Vec::new();
        for entry in &mut self.entries {
            let Some(due) = entry.next.filter(|next| *next <= now) else {
                continue;
            };
            entry.next = after(&entry.when, entry.start, now);
            let name = entry.name.clone();
            noted.push(match &self.running {
                Some(running) if *running == name => Due::Skipped(name),
                _ if entry.waiting.is_some() => Due::Skipped(name),
                Some(_) => {
                    entry.waiting = Some(due);
                    Due::Waits(name)
                }
                None => {
                    entry.waiting = Some(due);
                    Due::Ready(name)
                }
            });
        }
        noted
    }

    /// Starts the entry that has waited longest, unless one is running.
    pub(super) fn start(&mut self) -> Option<String> {
        if self.running.is_some() {
            return None;
        }
        let entry = self
            .entries
            .iter_mut()
            .filter(|entry| entry.waiting.is_some())
            .min_by_key(|entry| entry.waiting)?;
        entry.waiting = None;
        self.running = Some(entry.name.clone());
        self.running.clone()
    }

    /// The running entry has ended.
    pub(super) fn ended(&mut self) {
        self.running = None;
    }
}

/// The first time after `now`; `None` when there is none within the reach of the calendar.
fn after(when: &When, start: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match when {
        When::Cron { expression, zone } => expression
            .find_next_occurrence(&now.with_timezone(zone), false)
            .ok()
            .map(|time| time.with_timezone(&Utc)),
        When::Every(distance) => {
            let distance = TimeDelta::from_std(*distance).ok()?;
            let passed = (now - start).num_milliseconds().max(0);
            let times = passed / distance.num_milliseconds().max(1) + 1;
            start.checked_add_signed(distance.checked_mul(i32::try_from(times).ok()?)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn timetable(text: &str, now: &str) -> Timetable {
        let file = Path::new("tidemill.toml");
        let plan = config::parse(text, file, Path::new("."), &Environment::default(), &[])
            .expect("a good project");
        Timetable::new(&plan.schedule, at(now))
    }

    fn ready(name: &str) -> Vec<Due> {
        vec![Due::Ready(name.into())]
    }

    #[test]
    fn an_interval_is_due_at_once_and_then_on_its_grid() {
        let mut table = timetable("[schedule.a]\nevery = \"15m\"", "2026-11-21T09:00:00Z");
        assert_eq!(table.tick(at("2026-11-21T09:00:00Z")), ready("a"));
        assert_eq!(table.start().as_deref(), Some("a"));
        table.ended();
        assert_eq!(table.next_due(), Some(at("2026-11-21T09:15:00Z")));
        assert_eq!(table.tick(at("2026-11-21T09:14:59Z")), []);
        // Three times were missed, as on a machine that slept: they count once, and the grid stays.
        assert_eq!(table.tick(at("2026-11-21T09:50:00Z")), ready("a"));
        assert_eq!(table.next_due(), Some(at("2026-11-21T10:00:00Z")));
    }

    #[test]
    fn a_cron_expression_follows_the_clocks_of_its_zone() {
        let text = "[schedule.a]\ncron = \"30 7 * * *\"\nzone = \"Europe/London\"";
        let mut table = timetable(text, "2026-10-24T05:00:00Z");
        // The last day of summer time, and the first day without.
        assert_eq!(table.next_due(), Some(at("2026-10-24T06:30:00Z")));
        assert_eq!(table.tick(at("2026-10-24T06:30:00Z")), ready("a"));
        assert_eq!(table.next_due(), Some(at("2026-10-25T07:30:00Z")));
    }

    #[test]
    fn a_cron_expression_can_leave_out_the_weekend() {
        let text = "[schedule.a]\ncron = \"0 8 * * MON-FRI\"";
        let table = timetable(text, "2026-11-20T08:00:00Z");
        assert_eq!(table.next(), Some(("a", at("2026-11-23T08:00:00Z"))));
    }

    #[test]
    fn an_entry_that_is_running_is_skipped() {
        let mut table = timetable("[schedule.a]\nevery = \"1m\"", "2026-11-21T09:00:00Z");
        table.tick(at("2026-11-21T09:00:00Z"));
        assert_eq!(table.start().as_deref(), Some("a"));
        assert_eq!(
            table.tick(at("2026-11-21T09:01:00Z")),
            [Due::Skipped("a".into())]
        );
        assert_eq!(table.start(), None);
        table.ended();
        assert_eq!(table.start(), None, "a skipped time is not made up for");
        assert_eq!(table.tick(at("2026-11-21T09:02:00Z")), ready("a"));
    }

    #[test]
    fn an_entry_waits_for_another_once() {
        let text = "[schedule.often]\nevery = \"1m\"\n[schedule.nightly]\ncron = \"1 9 * * *\"";
        let mut table = timetable(text, "2026-11-21T09:00:00Z");
        table.tick(at("2026-11-21T09:00:00Z"));
        assert_eq!(table.start().as_deref(), Some("often"));
        assert_eq!(
            table.tick(at("2026-11-21T09:01:00Z")),
            [Due::Waits("nightly".into()), Due::Skipped("often".into())]
        );
        table.ended();
        assert_eq!(table.start().as_deref(), Some("nightly"));
        // While the nightly entry runs, the frequent one becomes due twice and waits once.
        assert_eq!(
            table.tick(at("2026-11-21T09:02:00Z")),
            [Due::Waits("often".into())]
        );
        assert_eq!(
            table.tick(at("2026-11-21T09:03:00Z")),
            [Due::Skipped("often".into())]
        );
        table.ended();
        assert_eq!(table.start().as_deref(), Some("often"));
        table.ended();
        assert_eq!(table.start(), None);
    }

    #[test]
    fn a_date_that_never_comes_is_never_due() {
        let table = timetable(
            "[schedule.a]\ncron = \"0 0 30 2 *\"",
            "2026-11-21T09:00:00Z",
        );
        assert_eq!(table.next_due(), None);
    }
}
