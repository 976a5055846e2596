//! A version beside the one in use, over the same landed rows: what trying one costs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidemill_tests::project::Project;
use tidemill_tests::versions::component;

use super::stopwatch::{by_turns, shown};

const ROUNDS: usize = 5;

const PROJECT: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[modules]\nunsigned = true\n\
    [transform.fact_payment]\nmodule = \"fact-payment@1\"\n";

/// Prints how long a shadow run of one table takes, both versions included, beside the transform of the same rows by one
/// version: the times that the processes live. A transform writes what it makes, a shadow run compares it.
pub(crate) fn measure(rows: usize) -> Result<()> {
    println!("shadow: one table, {rows} landed rows, time that passes, the best of {ROUNDS}");
    let project = landed(rows)?;
    // Both versions are compiled here.
    transform(&project)?;
    shadow(&project, rows)?;
    let ((plain, ()), (tried, ())) = by_turns(
        ROUNDS,
        || Ok((transform(&project)?, ())),
        || Ok((shadow(&project, rows)?, ())),
    )?;
    println!(
        "  {:<36} {:>8}\n  {:<36} {:>8}   {:.2}",
        "transform",
        shown(plain),
        "shadow",
        shown(tried),
        tried.as_secs_f64() / plain.as_secs_f64()
    );
    Ok(())
}

/// A project with so many landed payments, one version of their module in use and another pushed.
fn landed(rows: usize) -> Result<Project> {
    let project = Project::with_file(PROJECT)?;
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE payment (payment_id int4 NOT NULL PRIMARY KEY, created_at timestamp NOT NULL,
             last_updated timestamp NOT NULL, transaction_id int4, counterparty_id int4,
             payment_amount numeric(10,2), currency_id int4, payment_type_id int4, paid boolean,
             payment_date text)",
    )?;
    source.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO payment SELECT i, '2022-11-03 14:20:52.187', '2022-11-03 14:20:52.187', i, i % 20 + 1,
             printf('%d.%02d', i % 100000, i % 100), i % 3 + 1, i % 4 + 1, i % 2, '2022-11-09' FROM n",
        [i64::try_from(rows)?],
    )?;
    for (file, replaced) in [
        ("one.wasm", &[][..]),
        ("two.wasm", &[("1.0.0", "1.1.0")][..]),
    ] {
        let bytes = component("fact-payment", replaced)?;
        std::fs::write(project.path().join(file), bytes)?;
        project.done(["module", "push", file])?;
    }
    project.done(["module", "promote", "fact-payment@1.0.0", "--why", "first"])?;
    project.done(["extract"])?;
    Ok(project)
}

fn transform(project: &Project) -> Result<Duration> {
    let processed = project.path().join("lake/processed");
    if processed.exists() {
        std::fs::remove_dir_all(processed)?;
    }
    let started = Instant::now();
    project.done(["transform"])?;
    Ok(started.elapsed())
}

fn shadow(project: &Project, rows: usize) -> Result<Duration> {
    let started = Instant::now();
    let said = project.done(["module", "shadow", "fact-payment@1.1.0", "--output", "json"])?;
    let elapsed = started.elapsed();
    let report: Value = serde_json::from_str(&said)?;
    let same = report.pointer("/rows/same").and_then(Value::as_u64);
    let same = same.with_context(|| format!("how many rows are the same: {report:#}"))?;
    ensure!(same == rows as u64, "{same} of {rows} rows are the same");
    Ok(elapsed)
}
