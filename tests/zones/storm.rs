//! Faults between the program and the store: a seeded sample of what `cargo x soak storms` does at length, by the same
//! code, `tidemill_tests::storm`. And single faults that last, for what is said of them.

#![allow(clippy::print_stdout, reason = "seeds and what was survived are told")]

use anyhow::{Context as _, Result, ensure};
use tidemill_tests::clock;
use tidemill_tests::gate::{Fate, Gate, Refusal, Request};
use tidemill_tests::lake::Lake;
use tidemill_tests::store::Store;
use tidemill_tests::storm::{Fault, Storm, Weather};
use tidemill_tests::world::{At, Beginning, World};

/// Where the sequence of mixtures begins.
const SEED: u64 = 5;
/// Of a thousand requests, how many meet a fault that is tried alone.
const RATE: u32 = 60;

/// A company at the same time as others: each waits for most of its time.
type Company = fn() -> Result<()>;

/// Each fault alone, then mixtures, with the warehouse in a bucket and on PostgreSQL; and a store that goes away.
#[test]
fn runs_through_storms_lose_and_double_nothing() -> Result<()> {
    let companies: [(&str, Company); 5] = [
        ("single faults, all in buckets", || {
            use Fault::{AnswerLost, Internal, Latency, RequestReset};
            alone(At::Bucket, &[AnswerLost, RequestReset, Internal, Latency])
        }),
        ("mixtures, all in buckets", || mixed(At::Bucket, 2)),
        ("single faults, on PostgreSQL", || {
            use Fault::{AnswerReset, AnswerTruncated, SlowDown};
            alone(At::Postgres, &[SlowDown, AnswerReset, AnswerTruncated])
        }),
        ("mixtures, on PostgreSQL", || mixed(At::Postgres, 2)),
        ("a store that goes away", left),
    ];
    println!("seed {SEED}");
    std::thread::scope(|scope| {
        let begun = companies.map(|(name, company)| (name, scope.spawn(company)));
        // All come to their ends, whatever becomes of one.
        let ended = begun.map(|(name, company)| match company.join() {
            Ok(ended) => ended.context(name),
            Err(_) => Err(anyhow::anyhow!("{name}: a thread panicked")),
        });
        ended.into_iter().collect()
    })
}

fn alone(place: At, faults: &[Fault]) -> Result<()> {
    let weathers = faults.iter().zip(SEED..);
    meet(
        place,
        weathers.map(|(fault, seed)| Weather::of(*fault, RATE, seed)),
    )
}

fn mixed(place: At, mixtures: u64) -> Result<()> {
    meet(place, (SEED..SEED + mixtures).map(Weather::mixed))
}

fn meet(place: At, weathers: impl Iterator<Item = Weather>) -> Result<()> {
    waiting(async {
        let mut storm = Storm::begin(place, SEED).await?;
        for weather in weathers {
            storm.meet(&weather).await?;
        }
        let survived = storm.end().await?;
        ensure!(
            survived.faults() > 0,
            "no request met a fault: {survived:?}"
        );
        println!("{} storms survived: {survived:?}", survived.runs);
        Ok(())
    })
}

/// A store that goes away in the middle of a run and stays away: the run ends with what failed where, and the next goes on.
fn left() -> Result<()> {
    waiting(async {
        let mut storm = Storm::begin(At::Folder, SEED).await?;
        for (fault, from) in [(Fault::Internal, 40), (Fault::AnswerLost, 15)] {
            let weather = Weather {
                seed: SEED,
                rates: Vec::new(),
                outage: Some((from, fault)),
            };
            let failed = storm.survived.failed;
            storm.meet(&weather).await?;
            ensure!(
                storm.survived.failed == failed + 1,
                "{fault}: the run did not fail"
            );
            storm
                .heal()
                .await
                .with_context(|| format!("after {fault}"))?;
        }
        storm.end().await?;
        Ok(())
    })
}

fn waiting(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// A company whose lake is in buckets that are asked by way of a gate.
async fn behind_a_gate() -> Result<(World, Lake, Gate)> {
    let store = Store::shared();
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Folder)
    })
    .await?;
    let lake = Lake::of(&mut world.project, &store).await?;
    let gate = Gate::before(store.port())?;
    lake.enter(&mut world.project, &gate.endpoint(), None);
    Ok((world, lake, gate))
}

/// The request that commits a manifest is done, and its answer never comes: not the first time, not any time.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_known_by_its_writer() -> Result<()> {
    let (mut world, mut lake, gate) = behind_a_gate().await?;
    gate.set(|request| match is_commit(request) {
        true => Fate::LoseAnswer,
        false => Fate::Pass,
    });
    world
        .run()
        .await
        .context("each answer to a commit is lost")?;
    let lost = gate.fates().get("answer lost").copied().unwrap_or_default();
    ensure!(lost >= 2, "{:?}", gate.fates());
    lake.look().await?;
    ensure!(lake.landings() == 1);
    Ok(())
}

fn is_commit(request: &Request) -> bool {
    request.creates() && request.key.contains("_manifests/")
}

/// The client corrects its clock by what the store says the time is.
#[tokio::test]
async fn a_clock_that_is_an_hour_off_keeps_nobody_from_working() -> Result<()> {
    let store = Store::shared();
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Folder)
    })
    .await?;
    let mut lake = Lake::of(&mut world.project, &store).await?;
    for seconds in [3_600, -3_600] {
        for (name, value) in clock::off_by(seconds, world.project.path())? {
            world.project.set(&name, &value);
        }
        world.live().await?;
        let run = world.run().await;
        run.with_context(|| format!("with a clock {seconds} seconds off"))?;
        lake.look().await?;
    }
    Ok(())
}

/// What a store refuses for good is told with the object, the request and the next step.
#[tokio::test]
async fn what_a_store_refuses_for_good_is_told_with_the_object_and_the_request() -> Result<()> {
    let (world, lake, gate) = behind_a_gate().await?;
    gate.set(|request| match request.creates() {
        true => Fate::Refuse(Refusal::DENIED),
        false => Fate::Pass,
    });
    let said = world.project.call(["extract"])?;
    ensure!(said.code == Some(1), "{said:#?}");
    let place = format!("cannot create s3://{}/", lake.ingestion.bucket);
    for part in [
        place.as_str(),
        "AccessDenied",
        "(request GATE",
        "hint: let the role",
    ] {
        ensure!(
            said.stderr.contains(part),
            "{part} is not in {}",
            said.stderr
        );
    }
    Ok(())
}
