//! A company whose runs meet faults on the way to the store, day after day, and whose star must be exact all the same.
//!
//! ```text
//! day ──▶ run through the gate ──▶ nothing overwritten, nothing lost ──▶ run without faults: star and versions exact
//!              │ exit 0: exact        an error names bucket and key, and the request where there was an answer
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::Value;

use super::gate::{Fate, Gate, Refusal, Request};
use super::lake::Lake;
use super::project::Said;
use super::store::Store;
use super::world::{At, Beginning, World, rejected, report_of};

/// A company of this size lands and loads in the least time in which everything happens.
const SCALE: f64 = 0.2;

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It takes a while.
    Latency,
    /// The store fails.
    Internal,
    /// The store is asked too much.
    SlowDown,
    /// The connection is reset in the middle of what is sent.
    RequestReset,
    /// The connection is reset in the middle of what is answered.
    AnswerReset,
    /// The answer ends in the middle.
    AnswerTruncated,
    /// The store did it, and the answer is lost.
    AnswerLost,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Latency,
        Self::Internal,
        Self::SlowDown,
        Self::RequestReset,
        Self::AnswerReset,
        Self::AnswerTruncated,
        Self::AnswerLost,
    ];

    fn fate(self, random: &mut fastrand::Rng) -> Fate {
        match self {
            Self::Latency => Fate::Late(Duration::from_millis(random.u64(20..400))),
            Self::Internal => Fate::Refuse(Refusal::INTERNAL),
            Self::SlowDown => Fate::Refuse(Refusal::SLOW_DOWN),
            Self::RequestReset => Fate::CutRequest,
            Self::AnswerReset => Fate::CutAnswer,
            Self::AnswerTruncated => Fate::TruncateAnswer,
            Self::AnswerLost => Fate::LoseAnswer,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Latency => "latency",
            Self::Internal => "500",
            Self::SlowDown => "503 SlowDown",
            Self::RequestReset => "request reset",
            Self::AnswerReset => "answer reset",
            Self::AnswerTruncated => "answer truncated",
            Self::AnswerLost => "answer lost",
        })
    }
}

/// What the requests of one run meet.
#[derive(Debug, Clone)]
pub struct Weather {
    /// What everything random follows from.
    pub seed: u64,
    /// Of a thousand requests, how many meet which fault.
    pub rates: Vec<(Fault, u32)>,
    /// From this request of the run on, all meet this fault: the store is gone.
    pub outage: Option<(u64, Fault)>,
}

impl Weather {
    /// So many of a thousand requests meet this fault.
    pub fn of(fault: Fault, rate: u32, seed: u64) -> Self {
        Self {
            seed,
            rates: vec![(fault, rate)],
            outage: None,
        }
    }

    /// Any mixture. One in eight ends in an outage.
    pub fn mixed(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rates = Fault::ALL.map(|fault| (fault, random.u32(0..25)));
        let hits = [
            Fault::Internal,
            Fault::SlowDown,
            Fault::RequestReset,
            Fault::AnswerLost,
        ];
        let outage = random.u8(..8) == 0;
        let outage = outage.then(|| {
            (
                random.u64(1..250),
                random.choice(hits).unwrap_or(Fault::Internal),
            )
        });
        Self {
            seed,
            rates: rates.into(),
            outage,
        }
    }

    /// What a gate makes of it.
    fn judge(&self) -> impl FnMut(&Request) -> Fate + Send + use<> {
        let Self {
            seed,
            rates,
            outage,
        } = self.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut number = 0;
        move |_| {
            number += 1;
            if let Some((_, fault)) = outage.filter(|(from, _)| *from <= number) {
                return fault.fate(&mut random);
            }
            let mut drawn = random.u32(..1_000);
            for (fault, rate) in &rates {
                if drawn < *rate {
                    return fault.fate(&mut random);
                }
                drawn -= rate;
            }
            Fate::Pass
        }
    }
}

/// What was survived.
#[derive(Debug, Clone, Default)]
pub struct Survived {
    /// Runs under faults.
    pub runs: u32,
    /// Of these, those that ended with an error.
    pub failed: u32,
    /// Requests by what they met.
    pub fates: BTreeMap<&'static str, u64>,
    /// Errors by what they are of: where, and why.
    pub errors: BTreeMap<String, u32>,
    /// Objects that nobody names, left behind by runs.
    pub orphans: usize,
}

impl Survived {
    /// Requests that met a fault.
    pub fn faults(&self) -> u64 {
        let fates = self.fates.iter().filter(|(fate, _)| **fate != "passed");
        fates.map(|(_, requests)| requests).sum()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.failed += other.failed;
        self.orphans += other.orphans;
        for (fate, requests) in &other.fates {
            *self.fates.entry(*fate).or_default() += requests;
        }
        for (why, times) in &other.errors {
            *self.errors.entry(why.clone()).or_default() += times;
        }
    }
}

/// A company by the sea.
pub struct Storm {
    /// The company and its project.
    pub world: World,
    /// Its zones, and a warehouse in a bucket.
    pub lake: Lake,
    /// What was survived so far.
    pub survived: Survived,
    gate: Gate,
    store: Arc<Store>,
}

impl Storm {
    /// A company with its first run behind it, its zones in buckets.
    ///
    /// # Errors
    /// When it does not come so far.
    pub async fn begin(place: At, seed: u64) -> Result<Self> {
        let store = Store::shared();
        let mut world = World::begin(Beginning {
            scale: SCALE,
            seed,
            // `Lake` puts each zone into a bucket of its own.
            lake: At::Folder,
            ..Beginning::at(place)
        })
        .await?;
        let mut lake = Lake::of(&mut world.project, &store).await?;
        if let Some(bucket) = world.warehouse_bucket() {
            lake = lake.with_warehouse(bucket);
        }
        let gate = Gate::before(store.port())?;
        world.run().await.context("the first run")?;
        lake.look().await?;
        Ok(Self {
            world,
            lake,
            survived: Survived::default(),
            gate,
            store,
        })
    }

    /// Lets a day pass and a run meet `weather`. Whatever comes of it, nothing is lost and nothing is written over.
    ///
    /// # Errors
    /// What was not survived.
    pub async fn meet(&mut self, weather: &Weather) -> Result<()> {
        self.world.live().await?;
        let landings = self.lake.landings();
        self.lake
            .enter(&mut self.world.project, &self.gate.endpoint(), None);
        self.gate.set(weather.judge());
        let said = self.world.call(&["run"]);
        self.count(self.gate.fates());
        let said = said?;
        self.judged(&said, landings)
            .await
            .with_context(|| format!("{weather:?}"))
    }

    async fn judged(&mut self, said: &Said, landings: usize) -> Result<()> {
        self.world.is_left_alone().await?;
        self.lake.look().await?;
        if self.lake.landings() > landings {
            self.world.evolution.run();
        }
        self.survived.runs += 1;
        match said.code {
            Some(0 | 3) => {
                let report = report_of(said)?;
                let wanted = if rejected(&report) > 0 { 3 } else { 0 };
                ensure!(said.code == Some(wanted), "{wanted} expected of {said:#?}");
                ensure!(
                    self.lake.landings() > landings,
                    "a day was not landed: {said:#?}"
                );
                self.world
                    .check()
                    .await
                    .context("after a run that says that it is done")
            }
            Some(1) => {
                self.survived.failed += 1;
                let why = why(said);
                *self.survived.errors.entry(why).or_default() += 1;
                names_what_failed(said)
            }
            _ => bail!("{said:#?}"),
        }
    }

    /// A run without faults puts everything right, without help.
    ///
    /// # Errors
    /// What differs.
    pub async fn heal(&mut self) -> Result<()> {
        let endpoint = self.store.endpoint();
        self.lake.enter(&mut self.world.project, &endpoint, None);
        self.world.run().await.context("a run without faults")?;
        self.lake.look().await
    }

    /// Adds what the gate has counted since.
    fn count(&mut self, fates: BTreeMap<&'static str, u64>) {
        for (fate, requests) in fates {
            *self.survived.fates.entry(fate).or_default() += requests;
        }
    }

    /// Makes everything again that was ever made, and compares.
    ///
    /// # Errors
    /// What differs.
    pub async fn end(mut self) -> Result<Survived> {
        self.heal().await?;
        self.world.verify()?;
        self.survived.orphans = self.lake.orphans().len();
        Ok(self.survived)
    }
}

/// An error without what differs from run to run.
fn why(said: &Said) -> String {
    let error: Value = serde_json::from_str(&said.stderr).unwrap_or_default();
    let text = match error.pointer("/error") {
        Some(error) => format!(
            "{} {}",
            error.get("message").unwrap_or(&Value::Null),
            error.pointer("/causes/0").unwrap_or(&Value::Null)
        ),
        None => format!("{}{}", said.stdout, said.stderr),
    };
    let varying = Regex::new(r"s3://bucket-[\w-]+/|\d+|[0-9a-f]{8,}")
        .expect("it is a constant that compiles");
    let text = varying.replace_all(&text, "…");
    text.chars().take(400).collect()
}

/// Whether an error says on which object of which bucket it was, and which request where the store answered.
fn names_what_failed(said: &Said) -> Result<()> {
    let pattern = |text| Regex::new(text).expect("the patterns are constants that compile");
    let told = format!("{}{}", said.stdout, said.stderr);
    ensure!(
        pattern(r"s3://bucket-[\w-]+/[\w./%-]+").is_match(&told),
        "no object is named: {said:#?}"
    );
    let was_answered = ["InternalError", "SlowDown"]
        .iter()
        .any(|code| told.contains(code));
    ensure!(
        !was_answered || pattern(r"\(request GATE\d{12}\)").is_match(&told),
        "no request is named: {said:#?}"
    );
    Ok(())
}
