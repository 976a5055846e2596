//! The model of totesys: what the company's people and its application write, day by day.
//!
//! Pure and deterministic: the same seed and options give the same commits for ever, on any machine. It
//! holds the small tables, a bounded sample of the deals and the payments that wait for their day, never
//! the whole database, so hundreds of millions of orders need the memory of one day's deals. Nothing here
//! knows SQL or does I/O; `demo::database` writes what comes out.

mod book;
mod change;
mod daily;
mod deals;
mod oddity;
mod staff_room;
#[cfg(test)]
mod tests;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::calendar::{FIRST_DAY, date_of, day_on_or_after};
use super::pcg::Pcg32;
use super::rows::{Row, Stamps, Table};
use book::Book;
pub(super) use book::{Memory, sample_stride};
pub use change::{Change, Commit, Event};
pub use oddity::Oddity;

/// How the company is.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Another seed, another company.
    pub seed: u64,
    /// 1 is the size of the real thing: about 29 deals per working day. Above 0.
    pub scale: f64,
    /// Working days of history before the first simulated day; 476 at scale 1 give about 14 000 deals.
    pub history_days: u32,
    /// What the schema allows and real extracts did not show; nothing by default.
    pub oddities: Vec<Oddity>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            scale: 1.0,
            history_days: 476,
            oddities: Vec::new(),
        }
    }
}

/// One working day of the company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub date: NaiveDate,
    /// Its database transactions, in order.
    pub commits: Vec<Commit>,
}

/// The company at the end of a working day.
#[derive(Debug, Clone)]
pub struct Totesys {
    options: Options,
    book: Book,
    /// The number of the next working day.
    next_day: u32,
    /// What yesterday's oddities bring about today.
    follow_ups: Vec<oddity::FollowUp>,
    /// Commits made after hours today: each has a minute and a random stream of its own.
    after_hours: u32,
}

/// When the nightly job marks what is due as paid.
const PAYDAY_TIME: NaiveTime =
    NaiveTime::from_hms_milli_opt(7, 55, 11, 0).expect("a time of the day");

/// When the application was first filled.
const FOUNDED: NaiveTime = NaiveTime::from_hms_milli_opt(7, 0, 0, 125).expect("a time of the day");

/// When the offices close; what is not a deal happens after.
const CLOSING: NaiveTime = NaiveTime::from_hms_milli_opt(18, 5, 0, 250).expect("a time of the day");

/// What a stream of random numbers is for. The numbers are part of every generated database.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Deals = 1,
    Designs = 2,
    SilentEdits = 3,
    Oddities = 4,
    /// And those after it: one for each commit after hours.
    AfterHours = 1000,
}

impl Totesys {
    /// The company before its first day.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            book: Book::default(),
            next_day: 0,
            follow_ups: Vec::new(),
            after_hours: 0,
        }
    }

    /// The company as a database remembers it. What yesterday's oddities would bring about is forgotten;
    /// everything else goes on as if the model had been kept.
    pub(super) fn resume(options: Options, memory: Memory) -> Self {
        let next_day = memory
            .last_deal
            .map_or(0, |at| day_on_or_after(at.date()) + 1);
        Self {
            options,
            book: Book::remembered(memory),
            next_day,
            follow_ups: Vec::new(),
            after_hours: 0,
        }
    }

    /// The next part of the history as finished rows, parents before children: the small tables first,
    /// then one working day at a time. `None` once it is complete.
    ///
    /// Payments that fell due within the history are paid already: history is loaded, not replayed.
    pub fn next_of_history(&mut self) -> Option<Vec<Row>> {
        if self.book.is_empty() {
            return Some(self.found());
        }
        if self.next_day >= self.options.history_days {
            return None;
        }
        let last = date_of(self.options.history_days.saturating_sub(1));
        let day = self.begin_day();
        let mut rows: Vec<Row> = self.new_design(day).into_iter().map(Row::Design).collect();
        for mut deal in self.deals_of(day) {
            deals::settle_until(&mut deal, last);
            self.book.enter(&deal);
            rows.extend(deal.into_rows());
        }
        Some(rows)
    }

    /// The next working day after the history.
    pub fn next_day(&mut self) -> Day {
        let day = self.begin_day();
        let mut commits = Vec::new();
        commits.extend(self.payday(day));
        commits.extend(self.draw_design(day));
        commits.extend(self.enter_deals(day));
        commits.extend(self.edit_silently(day));
        commits.extend(self.live_oddly(day));
        commits.retain(|commit| !commit.changes.is_empty());
        Day {
            date: date_of(day),
            commits,
        }
    }

    /// The date of the last working day that has passed; the day before the first when none has.
    pub fn today(&self) -> NaiveDate {
        self.next_day
            .checked_sub(1)
            .map_or_else(|| FIRST_DAY.pred_opt().unwrap_or(FIRST_DAY), date_of)
    }

    fn begin_day(&mut self) -> u32 {
        let day = self.next_day;
        self.next_day += 1;
        self.after_hours = 0;
        day
    }

    fn random(&self, day: u32, purpose: Purpose) -> Pcg32 {
        Pcg32::for_purpose(self.options.seed, day, purpose as u32)
    }

    /// The time and the random stream of the next commit after hours.
    fn after_hours(&mut self) -> (NaiveDateTime, Pcg32) {
        let count = self.after_hours;
        self.after_hours += 1;
        let day = self.next_day.saturating_sub(1);
        let at = date_of(day).and_time(CLOSING) + TimeDelta::seconds(i64::from(count) * 20);
        let purpose = Purpose::AfterHours as u32 + count;
        (at, Pcg32::for_purpose(self.options.seed, day, purpose))
    }

    fn next_id(&mut self, table: Table) -> i32 {
        self.book.next_id(table)
    }
}

fn stamps_of_founding() -> Stamps {
    Stamps::new(FIRST_DAY.and_time(FOUNDED))
}
