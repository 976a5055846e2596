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
    let one = start(&world)?;
    wait_for_waiting(&world, 1).await?;
    let other = start(&world)?;
    wait_for_waiting(&world, 2).await?;
    lock.batch_execute("ROLLBACK").await?;
    let mut said = [end(one)?, end(other)?];
    said.sort_by_key(|said| said.code);
    let [won, lost] = said;
    ensure!(won.code == Some(0), "nobody won: {won:#?} {lost:#?}");
    ensure!(lost.code == Some(1), "both won: {won:#?} {lost:#?}");
    ensure!(report_of(&won)?["extract"][0]["landing"] == 2, "{won:#?}");
    let error: Value = serde_json::from_str(&lost.stderr).with_context(|| format!("{lost:#?}"))?;
    ensure!(error["error"]["kind"] == "conflict", "{error:#}");
    ensure!(error["error"]["hint"].is_string(), "{error:#}");
    ensure!(
        lost.stdout.is_empty(),
        "the loser has nothing to report: {lost:#?}"
    );
    world.evolution.run();
    world.check().await.context("after the race")?;
    world.live().await?;
    let report = world.run().await.context("the run after the race")?;
    ensure!(report["extract"][0]["landing"] == 3, "{report:#}");
    world.verify()?;
    Ok(())
}

fn start(world: &World) -> Result<Child> {
    let mut command = world.project.command(["run", "--output", "json"])?;
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

/// Waits until that many sessions wait for the locked table.
async fn wait_for_waiting(world: &World, sessions: i64) -> Result<()> {
    let client = connect(&world.source).await?;
    let sql = "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE NOT l.granted AND a.application_name = 'tidemill' AND a.datname = $1";
    let begin = Instant::now();
    while client
        .query_one(sql, &[&database_of(&world.source)])
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
