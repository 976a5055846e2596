//! A run that is killed, at moments spread over all of it: the next run completes what is there.
//!
//! The report of a run goes into a pipe that is full, so a run that has committed everything still lives
//! and is killed as well.

use std::collections::BTreeMap;
use std::io::{PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidemill::warehouse::Ledger;
use tidemill_tests::postgres::{connect, database_of};

use super::world::{At, Beginning, World};

/// Runs that are killed in one test, at least.
const KILLS: u32 = 9;

/// And at most: a busy machine may keep a phase from being met for a while.
const MOST_KILLS: u32 = 36;

/// How often each phase must be met.
const MEETINGS: u32 = 2;

/// Where the sequence of moments begins: a part of a run.
const SEED: f64 = 0.11;

/// How far a run had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Nothing was committed.
    BeforeLanding,
    /// The landing was committed, the warehouse had not heard of it.
    BetweenCommits,
    /// Rows and ledger were committed.
    AfterLoading,
}

const PHASES: [Phase; 3] = [
    Phase::BeforeLanding,
    Phase::BetweenCommits,
    Phase::AfterLoading,
];

#[tokio::test]
async fn a_killed_run_on_the_embedded_defaults_is_completed_by_the_next() -> Result<()> {
    kill_and_run_again(At::Folder).await
}

#[tokio::test]
async fn a_killed_run_on_postgres_is_completed_by_the_next() -> Result<()> {
    kill_and_run_again(At::Postgres).await
}

async fn kill_and_run_again(place: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.3,
        ..Beginning::at(place)
    })
    .await?;
    world.run().await?;
    world.live().await?;
    let mut whole = timed(&mut world).await?;
    let mut met: BTreeMap<Phase, u32> = BTreeMap::new();
    for number in 0..MOST_KILLS {
        let is_met = |phase| met.get(phase).is_some_and(|times| *times >= MEETINGS);
        if number >= KILLS && PHASES.iter().all(is_met) {
            break;
        }
        world.live().await?;
        let before = committed(&world).await?;
        let moment = whole.mul_f64(1.25 * part(number));
        kill_after(&world, moment).with_context(|| format!("kill {number}"))?;
        wait_for_the_server(&world).await?;
        let phase = phase(&before, &committed(&world).await?);
        *met.entry(phase).or_default() += 1;
        if phase != Phase::BeforeLanding {
            world.evolution.run();
        }
        if number % 3 == 1 {
            // Killed again before anybody came to complete it.
            continue;
        }
        // The next landing comes on top of what the killed run left.
        world.live().await?;
        whole = timed(&mut world)
            .await
            .with_context(|| format!("after a kill {phase:?}, {moment:?} from the start"))?;
    }
    let missed: Vec<Phase> = PHASES
        .into_iter()
        .filter(|phase| met.get(phase).is_none_or(|times| *times < MEETINGS))
        .collect();
    ensure!(
        missed.is_empty(),
        "only {met:?}: {missed:?} was not killed often enough"
    );
    world.run().await?;
    world.verify()?;
    Ok(())
}

/// A run, and how long the program took for it.
async fn timed(world: &mut World) -> Result<Duration> {
    let clock = Instant::now();
    world.done(&["run"])?;
    let elapsed = clock.elapsed();
    world.evolution.run();
    world.check().await?;
    Ok(elapsed)
}

/// The parts of a whole that multiples of the golden ratio leave: however many, they are spread evenly.
fn part(number: u32) -> f64 {
    (SEED + f64::from(number) * 0.618_033_988_749_895).fract()
}

/// Landings committed, and what the warehouse says it has.
async fn committed(world: &World) -> Result<(usize, Ledger)> {
    let is_landing = |file: &&String| file.starts_with("lake/ingestion/totesys/_manifests/");
    let landings = world.files()?.iter().filter(is_landing).count();
    Ok((landings, world.warehouse.ledger().await?))
}

fn phase(before: &(usize, Ledger), after: &(usize, Ledger)) -> Phase {
    if after.1 != before.1 {
        Phase::AfterLoading
    } else if after.0 != before.0 {
        Phase::BetweenCommits
    } else {
        Phase::BeforeLanding
    }
}

/// Runs and kills it by SIGKILL after `moment`.
fn kill_after(world: &World, moment: Duration) -> Result<()> {
    let (reader, filler, stdout) = full_pipe()?;
    let mut command = world.project.command(["run", "--output", "json"])?;
    let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn()?;
    // It holds an end of the pipe, too.
    drop(command);
    let mut stderr = child.stderr.take().context("stderr is a pipe")?;
    let (tell, ended) = mpsc::channel();
    let listener = thread::spawn(move || {
        let mut said = String::new();
        let read = stderr.read_to_string(&mut said).map(|_| said);
        // Nobody listens any more after a kill.
        let _ = tell.send(read);
    });
    match ended.recv_timeout(moment) {
        Err(RecvTimeoutError::Timeout) => {}
        ended => bail!("it ended by itself and said {ended:?}"),
    }
    child.kill()?;
    let status = child.wait()?;
    ensure!(
        status.signal() == Some(9),
        "it was not killed, it ended with {status}"
    );
    drop(reader);
    ensure!(
        filler.join().is_ok() && listener.join().is_ok(),
        "a thread panicked"
    );
    Ok(())
}

/// A pipe that stays full until its reader is dropped.
fn full_pipe() -> Result<(PipeReader, thread::JoinHandle<()>, Stdio)> {
    let (reader, mut writer) = std::io::pipe()?;
    let stdout = writer.try_clone()?.into();
    let filler = thread::spawn(move || while writer.write_all(&[b' '; 4096]).is_ok() {});
    Ok((reader, filler, stdout))
}

/// Waits until the server has noticed that its client is dead: until then a COMMIT may still be under way.
async fn wait_for_the_server(world: &World) -> Result<()> {
    let databases = [database_of(&world.source), database_of(&world.star)];
    let client = connect(&world.server.url("postgres")).await?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidemill' AND datname = ANY($1)";
    let begin = Instant::now();
    while client
        .query_one(sql, &[&databases.as_slice()])
        .await?
        .get::<_, i64>(0)
        > 0
    {
        ensure!(
            begin.elapsed() < Duration::from_secs(20),
            "sessions of the killed run are still there:\n{}",
            world.server.log()
        );
    }
    Ok(())
}
