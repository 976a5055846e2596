//! How a function begins: with compiled modules from its bundle, and without.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill_tests::lambda::Task;

use super::account::{Account, schedule};

/// How often a cold start is measured: the machine does other things besides.
const STARTS: u32 = 5;

/// Compiled modules in a folder.
fn compiled(folder: &Path) -> Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut found = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        found += usize::from(path.extension().is_some_and(|kind| kind == "cwasm"));
    }
    Ok(found)
}

/// From the word that a function is ready to the first that says `message`, by the last process in a log.
fn until(log: &str, message: &str) -> Result<TimeDelta> {
    let mut ready = None;
    let mut first = None;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line)?;
        let time = line["timestamp"].as_str();
        let time = time.map(str::parse::<DateTime<Utc>>).transpose()?;
        match line["message"].as_str() {
            Some("function is ready") => (ready, first) = (time, None),
            Some(said) if said == message => first = first.or(time),
            _ => {}
        }
    }
    let first = first.with_context(|| format!("{message} in {log}"))?;
    Ok(first - ready.context("it was ready before")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_function_takes_compiled_modules_from_its_bundle() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let project = &account.world.project;
    let bundled = Task::root(project)?.join("compiled");
    ensure!(
        compiled(&bundled)? >= 11,
        "the bundle has no compiled modules"
    );
    let mut extract = account.function("extract")?;
    let begun = Instant::now();
    let before = extract.start_cold(project).await?;
    let landed = extract.call(project, &schedule(), super::LONG).await?;
    landed.being("done")?;
    println!(
        "extract, cold: {before:?} before the first word to the network, {} ms more to the first table, {:?} to the commit",
        until(&extract.log(), "table extracted")?.num_milliseconds(),
        begun.elapsed()
    );
    let mut transform = account.function("transform")?;
    let mut before = Vec::new();
    for _ in 1..STARTS {
        before.push(transform.start_cold(project).await?);
    }
    let begun = Instant::now();
    before.push(transform.start_cold(project).await?);
    account
        .call(&mut transform, &json!({}))
        .await?
        .being("done")?;
    let whole = begun.elapsed();
    println!(
        "transform, cold: {before:?} before the first word to the network, {} ms more to the first table, {whole:?} to the \
         commit of eleven tables",
        until(&transform.log(), "table transformed")?.num_milliseconds()
    );
    let own = |function: &tidemill_tests::lambda::Function| function.task().disk().join("tidemill");
    ensure!(
        compiled(&own(&transform))? == 0,
        "something was compiled: {}",
        transform.log()
    );
    // Without a bundle they are compiled, in processes of their own, and the log says so.
    let empty = TempDir::new()?;
    let empty = empty.path().display().to_string();
    let variables = [("TIDEMILL_BUNDLED_CODE", empty.as_str())];
    let mut transform = account.function_with("transform", &variables)?;
    account
        .call(&mut transform, &json!({}))
        .await?
        .being("nothing")?;
    ensure!(
        compiled(&own(&transform))? >= 11,
        "nothing was compiled: {}",
        transform.log()
    );
    let log = transform.log();
    ensure!(
        log.contains("the bundle has no compiled code of it"),
        "{log}"
    );
    let mut load = account.function("load")?;
    account.call(&mut load, &json!({})).await?.being("done")?;
    account.check().await
}
