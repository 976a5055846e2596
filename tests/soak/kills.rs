//! Runs killed at random moments, day after day, on both warehouses and in a bucket at the same time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use tidemill_tests::siege::{Phase, Siege, Survived};
use tidemill_tests::world::At;

use super::asked::Asked;
use super::table::Line;

/// Kills that one company sees: enough days that live rows are kept, few enough that a look at all of its files is
/// cheap. The next company is another one.
const KILLS_OF_ONE: u32 = 40;

/// Random kills on both warehouses.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let lines = on_all(asked, |place| besiege(place, asked))?;
    Ok(lines.into_iter().flatten().collect())
}

/// The same on both warehouses, and with zones and warehouse in a bucket, each in a thread of its own.
pub(crate) fn on_all<T: Send>(
    asked: &Asked,
    work: impl AsyncFn(At) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let places = [At::Folder, At::Bucket, At::Postgres].into_iter();
        let threads = places.filter(|place| asked.is_at(*place)).map(|place| {
            let work = &work;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let done = runtime.block_on(work(place));
                if let Err(error) = &done {
                    // The other warehouse may go on for an hour.
                    println!("{}: {error:?}", name(place));
                }
                done
            })
        });
        // All are begun before any is waited for.
        let threads: Vec<_> = threads.collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.map(|done| done.unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
            .collect()
    })
}

/// How a warehouse is called in the table.
pub(crate) fn name(place: At) -> &'static str {
    match place {
        At::Folder => "embedded",
        At::Bucket => "in a bucket",
        At::Postgres => "PostgreSQL",
    }
}

async fn besiege(place: At, asked: &Asked) -> Result<Vec<Line>> {
    let begin = Instant::now();
    let mut survived = Survived::default();
    let mut seed = asked.seed;
    while survived.all() < asked.kills && !asked.is_over() {
        let kills = KILLS_OF_ONE.min(asked.kills - survived.all());
        let company = one(place, seed, kills, asked).await;
        survived.add(&company.with_context(|| format!("{}, company {seed}", name(place)))?);
        println!(
            "{:<11}  {:>5} kills, {:>4} days, {:>6.2} s a kill",
            name(place),
            survived.all(),
            survived.days,
            begin.elapsed().as_secs_f64() / f64::from(survived.all().max(1))
        );
        seed += 1;
    }
    let line = |what: String, survived: u32| Line {
        suite: "kills",
        what: format!("{}, {what}", name(place)),
        survived: survived.into(),
    };
    let phases = Phase::ALL.iter().filter_map(|phase| {
        let kills = survived.kills.get(phase)?;
        Some(line(format!("killed {phase}"), *kills))
    });
    Ok(phases.collect())
}

async fn one(place: At, seed: u64, kills: u32, asked: &Asked) -> Result<Survived> {
    let mut siege = Siege::begin(place, seed).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    siege
        .hold_out(kills, &mut random, || asked.is_over())
        .await?;
    siege.end().await
}
