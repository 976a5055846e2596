//! The story of the demo: a company is made, a star is built, days pass, every change is found.
//!
//! It only tells: what it says is in [`text`], whether the star is exact in [`exact`], and the mission's
//! questions in [`questions`]. stdout is the same on every machine: no durations, no ids of runs.

mod exact;
mod questions;
mod text;

use chrono::{DateTime, Utc};

use super::rows::Row;
use super::{Change, Commit, Day, Event, Options, Simulation};
use crate::pipeline::Pipeline;
use crate::pipeline::report::{RunReport, Scope};
use crate::run::{RunId, Stage};

pub use exact::Inexact;

/// The seed of the demo's company: in its first days somebody edits a sales order silently.
const SEED: u64 = 1;

/// Every stage of the straight line.
const STAGES: [Stage; 3] = [Stage::Extract, Stage::Transform, Stage::Load];

/// What the story needs of the program that tells it.
pub struct Story<'a> {
    /// The project, whose source is `database`.
    pub pipeline: &'a Pipeline,
    /// The SQLite file that totesys is made in; it does not exist yet.
    pub database: &'a str,
    /// The company's size; 1 is that of the real thing.
    pub scale: f64,
    /// How many working days pass.
    pub days: u32,
    /// The id and the start of the next run.
    pub begin_run: &'a (dyn Fn() -> crate::Result<(RunId, DateTime<Utc>)> + Sync),
    /// Writes a paragraph at once.
    pub say: &'a (dyn Fn(&str) -> crate::Result<()> + Sync),
}

/// How the story ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Working days that passed.
    pub days: u32,
    /// Rows that runs found new, changed or gone after the first one.
    pub found: u64,
    /// Silent edits among what happened.
    pub silent_edits: u64,
    /// Rows of the star that were compared with the source, over all days.
    pub compared: u64,
}

impl Story<'_> {
    /// Tells the whole story.
    ///
    /// # Errors
    /// What the generator or a run says, and `Bug` when the star is not what the source implies.
    pub async fn tell(&self) -> crate::Result<Told> {
        let mut told = Told::default();
        (self.say)(text::OPENING)?;
        let mut simulation = self.make_company().await?;
        (self.say)(text::FIRST_RUN)?;
        let report = self.run().await?;
        (self.say)(&text::first_run(&report))?;
        told.compared += self.compare().await?;
        (self.say)(text::DAYS)?;
        let mut edited = None;
        for _ in 0..self.days {
            let day = simulation.next_day().await?;
            edited = edited.or_else(|| silently_edited_sale(&day));
            self.live(&day, &mut told).await?;
        }
        (self.say)(text::QUESTIONS)?;
        for question in questions::ALL {
            (self.say)(&questions::answer(self.pipeline, &question).await?)?;
        }
        if let Some(order) = edited {
            let question = questions::versions_of(order);
            (self.say)(&questions::answer(self.pipeline, &question).await?)?;
        }
        (self.say)(&text::ending(&told))?;
        Ok(told)
    }

    async fn make_company(&self) -> crate::Result<Simulation> {
        let options = Options {
            seed: SEED,
            scale: self.scale,
            ..Options::default()
        };
        let url = format!("sqlite://{}", self.database);
        let (simulation, generated) = Simulation::create(&url, options, &mut |_| {}).await?;
        (self.say)(&text::company(&generated))?;
        Ok(simulation)
    }

    /// What happened on a day, what the run after it found, and whether the star is exact again.
    async fn live(&self, day: &Day, told: &mut Told) -> crate::Result<()> {
        (self.say)(&text::day(day))?;
        let report = self.run().await?;
        (self.say)(&text::found(&report))?;
        told.compared += self.compare().await?;
        told.days += 1;
        told.found += text::changes(&report);
        let is_silent = |commit: &&Commit| commit.event == Event::SilentEdit;
        told.silent_edits += day.commits.iter().filter(is_silent).count() as u64;
        Ok(())
    }

    async fn run(&self) -> crate::Result<RunReport> {
        let (run, started) = (self.begin_run)()?;
        self.pipeline
            .run(&run, started, &STAGES, &Scope::default())
            .await
    }

    /// Compares and says so; gives the rows that were compared.
    async fn compare(&self) -> crate::Result<u64> {
        let compared = exact::compare(self.database, self.pipeline).await?;
        (self.say)(&text::exact(&compared))?;
        Ok(compared.values().sum())
    }
}

/// The first sales order of the day that was edited without a trace.
fn silently_edited_sale(day: &Day) -> Option<i32> {
    let silent = day
        .commits
        .iter()
        .filter(|commit| commit.event == Event::SilentEdit);
    silent
        .flat_map(|commit| &commit.changes)
        .find_map(|change| match change {
            Change::Update {
                after: Row::SalesOrder(order),
                ..
            } => Some(order.sales_order_id),
            _ => None,
        })
}
