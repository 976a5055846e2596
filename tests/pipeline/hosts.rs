//! Two hosts that run the same project at the same time.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::{connect, database_of};

use super::world::{At, Beginning, World, report_of};
use tidemill_tests::project::Said;

#[tokio::test]
async fn of_two_hosts_with_an_embedded_warehouse_one_wins() -> Result<()> {
    race(At::Folder).await
}

#[tokio::test]
async fn of_two_hosts_with_a_warehouse_on_postgres_one_wins() -> Result<()> {
    race(At::Postgres).await
}

async fn race(warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run().await?;
    world.live().await?;
    // Both must have read the newest landing before either commits the next: a table that cannot be read
    // holds them until both are there.
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let one = start(&world, "run")?;
    wait_for_waiting(&world.source, 1).await?;
    let other = start(&world, "run")?;
    wait_for_waiting(&world.source, 2).await?;
    lock.batch_execute("ROLLBACK").await?;
    let mut said = [end(one)?, end(other)?];
    said.sort_by_key(|said| said.code);
    let [won, lost] = said;
    ensure!(won.code == Some(0), "nobody won: {won:#?} {lost:#?}");
    is_conflict(&lost)?;
    ensure!(report_of(&won)?["extract"][0]["landing"] == 2, "{won:#?}");
    world.evolution.run();
    world.check().await.context("after the race")?;
    world.live().await?;
    let report = world.run().await.context("the run after the race")?;
    ensure!(report["extract"][0]["landing"] == 3, "{report:#}");
    world.verify()?;
    Ok(())
}

#[tokio::test]
async fn while_one_host_loads_into_postgres_the_other_is_told_so() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Postgres)).await?;
    world.run().await?;
    world.live().await?;
    world.done(&["extract"])?;
    world.done(&["transform"])?;
    let lock = connect(&world.star).await?;
    lock.batch_execute("BEGIN; LOCK TABLE fact_payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let loading = start(&world, "load")?;
    wait_for_waiting(&world.star, 1).await?;
    is_conflict(&world.call(&["load"])?)?;
    lock.batch_execute("ROLLBACK").await?;
    let won = end(loading)?;
    ensure!(won.code == Some(0), "{won:#?}");
    let report = world.run().await?;
    let loaded = report["load"]["landings"].as_array().map(Vec::len);
    ensure!(
        loaded <= Some(1),
        "nothing of before is left to load: {report:#}"
    );
    Ok(())
}

/// Nothing can hold both at one point here: whoever comes later finds the work done, or is told.
#[tokio::test]
async fn two_hosts_that_load_into_a_folder_double_nothing() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Folder)).await?;
    world.run().await?;
    for _ in 0..4 {
        world.live().await?;
        world.done(&["extract"])?;
        world.done(&["transform"])?;
        let hosts = [start(&world, "load")?, start(&world, "load")?];
        let mut done = 0;
        for host in hosts {
            let said = end(host)?;
            match said.code {
                Some(0) => done += 1,
                _ => is_conflict(&said)?,
            }
        }
        ensure!(done > 0, "both lost");
        world.evolution.run();
        world.check().await?;
    }
    world.run().await?;
    Ok(())
}

fn start(world: &World, verb: &str) -> Result<Child> {
    let mut command = world.project.command([verb, "--output", "json"])?;
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

fn end(child: Child) -> Result<Said> {
    let output = child.wait_with_output()?;
    Ok(Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The loser has nothing to report, and says what happened and what to do.
fn is_conflict(lost: &Said) -> Result<()> {
    ensure!(lost.code == Some(1), "it did not lose: {lost:#?}");
    ensure!(lost.stdout.is_empty(), "it has a report: {lost:#?}");
    let error: Value = serde_json::from_str(&lost.stderr).with_context(|| format!("{lost:#?}"))?;
    ensure!(error["error"]["kind"] == "conflict", "{error:#}");
    ensure!(error["error"]["hint"].is_string(), "{error:#}");
    Ok(())
}

/// Waits until that many sessions of tidemill wait for a locked table of a database.
async fn wait_for_waiting(database: &str, sessions: i64) -> Result<()> {
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
            "{sessions} hosts did not get to the locked table"
        );
    }
    Ok(())
}
