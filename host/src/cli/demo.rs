//! `demo`: the whole of tidemill on an invented company, and that company by itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::UsageError;
use super::answer::Answer;
use super::init::Init;
use super::invocation::{Invocation, Output};
use super::text::counted;
use crate::config::{self, Assignment};
use crate::demo::{self, Generated, Oddity, Options, Simulation, Story};
use crate::pipeline::Pipeline;
use crate::run::RunId;

/// The file that the example reads, below the folder of the demo.
const DATABASE: &str = "totesys.sqlite";

/// Make a company, build its star, let days pass, and find every change.
///
/// The folder it leaves is a project like any other: query it, look at its runs, let it run again. Nothing
/// is contacted that is not in it, whatever TOTESYS_URL and WAREHOUSE_URL say.
///
/// Example: tidemill demo --days 5
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many working days pass.
    #[arg(long, default_value_t = 8, value_name = "N")]
    days: u32,
    /// The folder; it must not hold a project yet.
    #[arg(long, default_value = "tidemill-demo", value_name = "DIR")]
    dir: PathBuf,
    /// The size of the company: 1 is about 14 000 orders.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
}

#[derive(Debug, Subcommand)]
enum Part {
    Generate(Generate),
    Advance(Advance),
}

/// Make a totesys with its history in an empty database.
///
/// Example: tidemill demo generate --url postgresql://postgres@localhost/totesys --scale 10
#[derive(Debug, Args)]
struct Generate {
    #[command(flatten)]
    company: Company,
    /// Working days of history.
    #[arg(long, default_value_t = Options::default().history_days, value_name = "N")]
    history_days: u32,
    /// Working days that pass after the history.
    #[arg(long, default_value_t = 0, value_name = "N")]
    days: u32,
}

/// Let working days pass in a totesys that was generated.
///
/// With the seed and scale it was generated with, they are the days that would have come anyway.
///
/// Example: tidemill demo advance --url sqlite://totesys.sqlite --days 3 --with deletes,moves
#[derive(Debug, Args)]
struct Advance {
    #[command(flatten)]
    company: Company,
    /// How many.
    #[arg(long, default_value_t = 1, value_name = "N")]
    days: u32,
}

/// Which company it is and where.
#[derive(Debug, Args)]
struct Company {
    /// sqlite://FILE or postgresql://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The size: 1 is about 14 000 orders, 20000 some 280 million.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
    /// Another seed, another company.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// What the schema allows beyond what is usual, separated by commas: bumped-units, refunds, deletes,
    /// edits-back, entered-again, no-location, new-currency, no-contacts, moves, bad-dates, future-dates.
    #[arg(long, value_delimiter = ',', value_name = "ODDITY")]
    with: Vec<Oddity>,
}

impl Company {
    fn options(&self, history_days: u32) -> Options {
        Options {
            seed: self.seed,
            scale: self.scale,
            history_days,
            oddities: self.with.clone(),
        }
    }
}

impl Demo {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        match self.part {
            None => tell(call, &self.dir, self.scale, self.days).await,
            Some(Part::Generate(part)) => part.answer().await,
            Some(Part::Advance(part)) => part.answer().await,
        }
    }
}

async fn tell(call: &Invocation, dir: &Path, scale: f64, days: u32) -> crate::Result<Answer> {
    let folder = call.folder().join(dir);
    let project = folder.join(config::FILE);
    if project.exists() {
        return Err(UsageError::Choice {
            what: format!("{} is there already", project.display()),
            hint: "name another folder with --dir".into(),
        }
        .into());
    }
    Init::totesys(folder.clone()).answer(call).await?;
    let own = [
        "source.totesys.url=sqlite://./totesys.sqlite",
        "warehouse.url=delta://./warehouse",
    ];
    let own = own
        .map(Assignment::flag)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let plan = config::load(&project, call.environment(), &own)?;
    let pipeline = Pipeline::open(&plan, call.progress().clone()).await?;
    let begin_run = || begin_run(call);
    let say = |text: &str| say(call, text);
    let story = Story {
        pipeline: &pipeline,
        database: &folder.join(DATABASE).display().to_string(),
        scale,
        days,
        begin_run: &begin_run,
        say: &say,
    };
    let told = story.tell().await?;
    let text = format!(
        "  Go on with it: cd {} && tidemill query \"show tables\"\n\n",
        dir.display()
    );
    Ok(Answer::new(text, &told))
}

fn begin_run(call: &Invocation) -> crate::Result<(RunId, DateTime<Utc>)> {
    let started = call.clock()();
    Ok((call.run_id(started)?, started))
}

/// Writes a paragraph while the story goes on; programs that read JSON get the end only.
fn say(call: &Invocation, text: &str) -> crate::Result<()> {
    if call.output() == Output::Json {
        return Ok(());
    }
    call.progress().clear();
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(UsageError::Write(cause).into())
        }
        _ => Ok(()),
    }
}

impl Generate {
    async fn answer(self) -> crate::Result<Answer> {
        let options = self.company.options(self.history_days);
        let generated = demo::generate(&self.company.url, options, self.days, &mut |_| {}).await?;
        Ok(Answer::new(generated_text(&generated), &generated))
    }
}

/// What passed, as programs read it.
#[derive(Debug, Serialize)]
struct Advanced {
    days: u32,
    changes: usize,
    today: chrono::NaiveDate,
}

impl Advance {
    async fn answer(self) -> crate::Result<Answer> {
        let options = self.company.options(0);
        let mut simulation = Simulation::resume(&self.company.url, options).await?;
        let mut changes = 0;
        for _ in 0..self.days {
            let day = simulation.next_day().await?;
            changes += day
                .commits
                .iter()
                .map(|commit| commit.changes.len())
                .sum::<usize>();
        }
        let advanced = Advanced {
            days: self.days,
            changes,
            today: simulation.today(),
        };
        let days = counted(self.days.into(), "working day", "working days");
        let changes = counted(changes as u64, "change", "changes");
        let text = format!(
            "{days} passed with {changes}; today is {}\n",
            advanced.today
        );
        Ok(Answer::new(text, &advanced))
    }
}

fn generated_text(generated: &Generated) -> String {
    let mut text = String::new();
    for (table, rows) in &generated.rows {
        text.push_str(&format!("{table:<16}{rows:>12}\n"));
    }
    text.push_str(&format!("today is {}\n", generated.today));
    text
}
