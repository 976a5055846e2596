//! Runs that meet faults on the way to a store of objects, in any mixture, day after day, on both warehouses at the same
//! time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use tidemill_tests::storm::{Storm, Survived, Weather};
use tidemill_tests::world::At;

use super::asked::Asked;
use super::kills::{name, on_both};
use super::table::Line;

/// Runs on each warehouse, unless fewer kills are asked for.
const RUNS: u32 = 150;
/// Runs that one company sees: looking at all of its objects stays cheap.
const RUNS_OF_ONE: u32 = 15;

/// Random mixtures of faults on both warehouses.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let lines = on_both(|place| meet(place, asked))?;
    Ok(lines.into_iter().flatten().collect())
}

async fn meet(place: At, asked: &Asked) -> Result<Vec<Line>> {
    let begin = Instant::now();
    let runs = RUNS.min(asked.kills);
    let mut survived = Survived::default();
    let mut seed = asked.seed;
    while survived.runs < runs && !asked.is_over() {
        let company = one(place, seed, RUNS_OF_ONE.min(runs - survived.runs), asked).await;
        survived.add(&company.with_context(|| format!("{}, company {seed}", name(place)))?);
        println!(
            "{:<10}  {:>5} storms, {:>4} failed, {:>6} faults, {:>6.2} s a storm",
            name(place),
            survived.runs,
            survived.failed,
            survived.faults(),
            begin.elapsed().as_secs_f64() / f64::from(survived.runs.max(1))
        );
        seed += u64::from(RUNS_OF_ONE);
    }
    let line = |what: &str, survived: u64| Line {
        suite: "storms",
        what: format!("{}, {what}", name(place)),
        survived,
    };
    let mut lines = vec![
        line(
            "runs that went on",
            (survived.runs - survived.failed).into(),
        ),
        line("runs that ended with an error", survived.failed.into()),
    ];
    let fates = survived.fates.iter().filter(|(fate, _)| **fate != "passed");
    lines.extend(fates.map(|(fate, requests)| line(&format!("requests: {fate}"), *requests)));
    Ok(lines)
}

async fn one(place: At, seed: u64, runs: u32, asked: &Asked) -> Result<Survived> {
    let mut storm = Storm::begin(place, seed).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..runs {
        if asked.is_over() {
            break;
        }
        storm
            .meet(&Weather::mixed(seed + u64::from(number)))
            .await?;
        // Sometimes a run has to put right what several left.
        if random.u8(..3) > 0 {
            storm.heal().await?;
        }
    }
    storm.end().await
}
