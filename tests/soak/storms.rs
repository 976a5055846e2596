//! Runs that meet faults on the way to a store of objects, in any mixture, day after day: every zone in a bucket, and the
//! warehouse in one, too, or on PostgreSQL.
//!
//! A run waits for most of its time, to ask again what failed. So many companies are at it at the same time, each with
//! buckets and a gate of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tidemill_tests::storm::{Storm, Survived, Weather};
use tidemill_tests::world::At;

use super::asked::Asked;
use super::kills::name;
use super::table::Line;

/// Where warehouses are.
const PLACES: [At; 2] = [At::Bucket, At::Postgres];
/// Runs on each warehouse, unless fewer kills are asked for.
const RUNS: u32 = 150;
/// Runs that one company sees: looking at all of its objects stays cheap.
const RUNS_OF_ONE: u32 = 15;

/// A company that is to meet storms.
struct Company {
    place: At,
    seed: u64,
    runs: u32,
}

/// What companies have come to.
#[derive(Default)]
struct Found {
    survived: BTreeMap<&'static str, Survived>,
    lost: Vec<String>,
}

/// Random mixtures of faults on both warehouses.
///
/// # Errors
/// With every company that was lost, when all have come to their end.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let waiting = Mutex::new(companies(asked));
    let found = Mutex::new(Found::default());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..asked.at_once {
            scope.spawn(|| {
                while !asked.is_over() {
                    let Some(company) = lock(&waiting).pop_front() else {
                        break;
                    };
                    let came_to = company.meet(asked);
                    lock(&found).add(&company, came_to, begin);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        found.lost.is_empty(),
        "{} companies were lost: {:#?}",
        found.lost.len(),
        found.lost
    );
    Ok(found.lines())
}

/// Of both warehouses by turns, so that an end before all is a fair one.
fn companies(asked: &Asked) -> VecDeque<Company> {
    let runs = RUNS.min(asked.kills);
    let begins = (0..runs).step_by(RUNS_OF_ONE as usize);
    begins
        .flat_map(|begin| {
            let places = PLACES.into_iter().filter(|place| asked.is_at(*place));
            places.map(move |place| Company {
                place,
                seed: asked.seed + u64::from(begin),
                runs: RUNS_OF_ONE.min(runs - begin),
            })
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Company {
    fn meet(&self, asked: &Asked) -> Result<Survived> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime
            .block_on(self.storms(asked))
            .with_context(|| format!("{}, company {}", name(self.place), self.seed))
    }

    async fn storms(&self, asked: &Asked) -> Result<Survived> {
        let mut storm = Storm::begin(self.place, self.seed).await?;
        let mut random = fastrand::Rng::with_seed(self.seed);
        for number in 0..self.runs {
            if asked.is_over() {
                break;
            }
            let weather = Weather::mixed(self.seed + u64::from(number));
            storm.meet(&weather).await?;
            // Sometimes a run has to put right what several left.
            if random.u8(..3) > 0 {
                let healed = storm.heal().await;
                healed.with_context(|| format!("after {weather:?}"))?;
            }
        }
        storm.end().await
    }
}

impl Found {
    fn add(&mut self, company: &Company, came_to: Result<Survived>, begin: Instant) {
        let name = name(company.place);
        match came_to {
            Ok(survived) => self.survived.entry(name).or_default().add(&survived),
            Err(error) => {
                // The others may go on for an hour.
                println!("LOST {error:?}");
                self.lost.push(format!("{error:#}"));
            }
        }
        let runs: u32 = self.survived.values().map(|survived| survived.runs).sum();
        println!(
            "{name:<11}  company {}: {:>4} storms in all, {} failed, {} faults, {:.2} s a storm",
            company.seed,
            runs,
            self.survived.values().map(|all| all.failed).sum::<u32>(),
            self.survived.values().map(Survived::faults).sum::<u64>(),
            begin.elapsed().as_secs_f64() / f64::from(runs.max(1))
        );
    }

    fn lines(self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (name, survived) in self.survived {
            for (why, times) in &survived.errors {
                println!("{name}, {times} times: {why}");
            }
            // Of a few storms all may be alike.
            let mut line = |what: &str, survived: u64| match survived {
                0 => {}
                _ => lines.push(Line {
                    suite: "storms",
                    what: format!("{name}, {what}"),
                    survived,
                }),
            };
            let went_on = survived.runs - survived.failed;
            line("runs that went on", went_on.into());
            line("runs that ended with an error", survived.failed.into());
            for (fate, requests) in &survived.fates {
                line(&format!("requests: {fate}"), *requests);
            }
        }
        lines
    }
}
