//! Four hosts that run the same project at the same time, again and again.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::{connect, database_of};
use tidemill_tests::project::Said;

use tidemill_tests::world::{At, Beginning, World};

/// Hosts at the same time.
const HOSTS: usize = 4;

/// How often they meet.
const ROUNDS: usize = 4;

#[tokio::test]
async fn of_four_hosts_with_an_embedded_warehouse_one_wins_each_manifest() -> Result<()> {
    race(At::Folder).await
}

#[tokio::test]
async fn of_four_hosts_with_a_warehouse_on_postgres_one_wins_each_manifest() -> Result<()> {
    race(At::Postgres).await
}

async fn race(warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse,
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    for round in 1..=ROUNDS {
        world.live().await?;
        meet(&world)
            .await
            .with_context(|| format!("round {round}"))?;
        // Whoever committed the landing may have been overtaken while it was loaded: the next run finds the rest.
        world.done(&["transform"])?;
        world.done(&["load"])?;
        world.evolution.run();
        world
            .check()
            .await
            .with_context(|| format!("after round {round}"))?;
    }
    world.verify()?;
    Ok(())
}

/// Starts all of them before any of them can have read what it needs.
async fn meet(world: &World) -> Result<()> {
    let before = manifests(world)?;
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        hosts.push(start(world, &["run", "--output", "json"])?);
    }
    wait_for_waiting(&world.source, i64::try_from(HOSTS)?).await?;
    lock.batch_execute("ROLLBACK").await?;
    let mut done = 0;
    for host in hosts {
        let said = end(host)?;
        match said.code {
            Some(0) => done += 1,
            _ => is_conflict(&said)?,
        }
    }
    ensure!(done <= 1, "{done} hosts committed the same landing");
    let landed = manifests(world)? - before;
    ensure!(landed == 1, "{landed} landings were committed");
    Ok(())
}

/// Landing manifests that are there.
fn manifests(world: &World) -> Result<usize> {
    let is_landing = |file: &&String| file.starts_with("lake/ingestion/totesys/_manifests/");
    Ok(world.files()?.iter().filter(is_landing).count())
}

/// Starts the program.
pub(crate) fn start(world: &World, arguments: &[&str]) -> Result<Child> {
    let mut command = world.project.command(arguments)?;
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// What it said, when it has ended.
pub(crate) fn end(child: Child) -> Result<Said> {
    let output = child.wait_with_output()?;
    Ok(Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn is_conflict(lost: &Said) -> Result<()> {
    ensure!(lost.code == Some(1), "it neither won nor lost: {lost:#?}");
    let error: Value = serde_json::from_str(&lost.stderr).with_context(|| format!("{lost:#?}"))?;
    ensure!(error["error"]["kind"] == "conflict", "{error:#}");
    ensure!(error["error"]["hint"].is_string(), "{error:#}");
    Ok(())
}

/// Waits until that many sessions of tidemill wait for a locked table of a database.
pub(crate) async fn wait_for_waiting(database: &str, sessions: i64) -> Result<()> {
    let client = connect(database).await?;
    let sql = "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE NOT l.granted AND a.application_name = 'tidemill' AND a.datname = $1";
    let begin = Instant::now();
    while client
        .query_one(sql, &[&database_of(database)])
        .await?
        .get::<_, i64>(0)
        < sessions
    {
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "{sessions} sessions did not get to the locked table"
        );
    }
    Ok(())
}
