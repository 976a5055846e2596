//! Others at work while a table is made anew, and a version that cannot make it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::table::rows;
use super::{At, Edited, SECOND, everything_is_made_again};
use crate::modules::{TRAPPING, push_trapping};

const FACT: &str = "fact_payment";

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_and_runs_at_once_end_exact_with_an_embedded_warehouse() -> Result<()> {
    at_once(At::Folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_and_runs_at_once_end_exact_on_postgres() -> Result<()> {
    at_once(At::Postgres).await
}

/// Two rebuild the same table while a third runs: whoever is told that another was faster has changed nothing.
async fn at_once(place: At) -> Result<()> {
    let mut edited = Edited::begin(place).await?;
    edited.world.live().await?;
    let calls = [&["rebuild", FACT][..], &["rebuild", FACT], &["run"]];
    let mut running = Vec::new();
    for call in calls {
        let mut command = edited.world.project.command(call)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        running.push((call, command.spawn()?));
    }
    let mut done = 0;
    for (call, running) in running {
        let output = running.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        let is_told = output.status.code() == Some(1) && told.contains("another run");
        let is_done = matches!(output.status.code(), Some(0 | 3));
        ensure!(is_told || is_done, "{call:?}: {output:#?}");
        done += u32::from(is_done);
    }
    ensure!(done > 0, "one is always the first");
    edited.world.done(&["run"])?;
    edited.world.evolution.run();
    edited.world.check().await?;
    edited.is_as_if_always(false).await?;
    edited.world.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_sees_the_old_table_or_the_new_one_with_an_embedded_warehouse() -> Result<()>
{
    read_meanwhile(At::Folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_sees_the_old_table_or_the_new_one_on_postgres() -> Result<()> {
    read_meanwhile(At::Postgres).await
}

/// Reads a table all the time while it is made anew, with other columns.
async fn read_meanwhile(place: At) -> Result<()> {
    let edited = Edited::begin(place).await?;
    let reader = edited.world.warehouse.as_ref();
    let before = rows(reader, FACT).await?;
    let module = format!("fact-payment@{SECOND}");
    let promote = ["module", "promote", &module, "--why", "a test", "--rebuild"];
    let mut command = super::without_source(&edited.world, &promote)?;
    let promoting = tokio::task::spawn_blocking(move || command.output());
    let mut seen = Vec::new();
    while !promoting.is_finished() {
        let found = rows(reader, FACT).await?;
        if seen.last() != Some(&found) {
            seen.push(found);
        }
    }
    let output = promoting.await??;
    ensure!(output.status.success(), "{output:#?}");
    let after = rows(reader, FACT).await?;
    ensure!(after != before, "nothing was planted");
    ensure!(
        seen.first() == Some(&before),
        "the first of all is the old one"
    );
    let is_whole = seen.iter().all(|found| *found == before || *found == after);
    ensure!(
        is_whole && seen.len() <= 2,
        "a mixture was seen: {}",
        seen.len()
    );
    Ok(())
}

/// Where the history cannot be made by a version the table stays, stops, and goes on after a rollback.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_traps_in_history_leaves_the_table_as_it_was() -> Result<()> {
    let mut edited = Edited::begin(At::Folder).await?;
    push_trapping(&edited.world).await?;
    let before = edited.dump().await?;
    let module = format!("fact-payment@{TRAPPING}");
    let said =
        edited
            .world
            .call(&["module", "promote", &module, "--why", "a test", "--rebuild"])?;
    ensure!(said.code == Some(1), "{said:#?}");
    ensure!(said.stdout.contains(TRAPPING), "{said:#?}");
    ensure!(edited.dump().await? == before, "the old table is served");
    let planned = edited.world.call(&["plan"])?;
    let wish = "made anew from every landing";
    ensure!(planned.stdout.contains(wish), "{planned:#?}");
    // The wish stands: the table stops and the others go on.
    edited.world.live().await?;
    let said = edited.world.call(&["run"])?;
    ensure!(said.code == Some(1), "{said:#?}");
    let report: Value = serde_json::from_str(&said.stdout)?;
    let failures = report["transform"]["failures"].as_array();
    ensure!(failures.map(Vec::len) == Some(1), "{failures:#?}");
    let found = edited.dump().await?;
    ensure!(found[1] == before[1], "nothing of it was loaded");
    edited.world.evolution.run();
    let back = ["module", "rollback", "fact-payment", "--why", "it traps"];
    edited.world.done(&back).context("a rollback")?;
    edited.world.done(&["run"])?;
    edited.world.check().await?;
    everything_is_made_again(&edited.world, 4)
}
