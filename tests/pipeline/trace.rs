//! Facts that changed, went and came back over simulated days: each version is traced to the run, the landing and the row
//! that the simulation says.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::demo::Oddity;
use tidemill_tests::evolution::Story;

use super::world::{At, Beginning, World};

/// Days that pass, each with a run.
const DAYS: u32 = 5;
/// Rows of each fact that are traced, and rows that are gone.
const ROWS: usize = 2;

#[tokio::test]
async fn facts_are_traced_on_the_embedded_defaults() -> Result<()> {
    pass(At::Folder).await
}

#[tokio::test]
async fn facts_are_traced_in_a_bucket() -> Result<()> {
    pass(At::Bucket).await
}

#[tokio::test]
async fn facts_are_traced_on_postgres() -> Result<()> {
    pass(At::Postgres).await
}

/// The landing and the id of a run.
struct Ran {
    landing: u64,
    run: String,
}

impl Ran {
    fn of(report: &Value) -> Result<Self> {
        Ok(Self {
            landing: report["extract"][0]["landing"]
                .as_u64()
                .context("a landing")?,
            run: report["run"].as_str().context("an id")?.to_owned(),
        })
    }
}

async fn pass(place: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.2,
        oddities: vec![Oddity::BumpedUnits],
        ..Beginning::at(place)
    })
    .await?;
    let mut runs = vec![Ran::of(&world.run().await?)?];
    for _ in 0..DAYS {
        world.live().await?;
        world.edit_silently().await?;
        world.cause(Oddity::Deletes).await?;
        runs.push(Ran::of(&world.run().await?)?);
    }
    let stories = world.evolution.stories();
    let mut traced: BTreeMap<&str, usize> = BTreeMap::new();
    for story in &stories {
        let is_changed = story.versions.len() > 1;
        let kind = match (story.gone.is_empty(), is_changed) {
            (false, _) => "gone",
            (true, true) => story.table,
            (true, false) => "only once",
        };
        let count = traced.entry(kind).or_default();
        if *count < ROWS {
            *count += 1;
            trace(&world, story, &runs)
                .with_context(|| format!("{} {}, which is {story:#?}", story.table, story.key))?;
        }
    }
    ensure!(traced.len() >= 4, "too little happened: {traced:?}");
    dimensions(&world)?;
    // A day brought what is not loaded yet: it says so, and is not mistaken for what the warehouse has.
    let (story, before) = waiting(&mut world).await?;
    let report = traced_of(&world, &story)?;
    assert_eq!(report["versions"].as_array().map(Vec::len), Some(before));
    assert_eq!(
        report["waiting"].as_array().map(Vec::len),
        Some(1),
        "{report:#}"
    );
    Ok(())
}

/// Rows whose key has another name in the source, or that a lookup went into.
fn dimensions(world: &World) -> Result<()> {
    for (table, input, key) in [
        ("dim_location", "address", "address_id"),
        ("dim_staff", "staff", "staff_id"),
        ("dim_counterparty", "counterparty", "counterparty_id"),
    ] {
        let said = world.call(&["trace", table, "3"])?;
        ensure!(said.code == Some(0), "{said:#?}");
        let report: Value = serde_json::from_str(&said.stdout)?;
        let inputs = report["versions"][0]["made"]["inputs"].as_array();
        let found = inputs
            .into_iter()
            .flatten()
            .find(|found| found["table"] == input);
        let row = &found.with_context(|| format!("{report:#}"))?["row"];
        ensure!(row["proved"] == true, "{table}: {row:#}");
        let values = row["values"].as_array().into_iter().flatten();
        let found = values.into_iter().find(|value| value["column"] == key);
        ensure!(
            found.is_some_and(|found| found["value"] == "3"),
            "{table}: {row:#}"
        );
    }
    // A day is of no one order.
    let said = world.call(&["trace", "dim_date", "2022-11-07"])?;
    let report: Value = serde_json::from_str(&said.stdout)?;
    let inputs = report["versions"][0]["made"]["inputs"].as_array();
    let rows = inputs
        .into_iter()
        .flatten()
        .filter(|input| !input["row"].is_null());
    ensure!(rows.count() == 0, "{report:#}");
    Ok(())
}

fn traced_of(world: &World, story: &Story) -> Result<Value> {
    let said = world.call(&["trace", story.table, &story.key.to_string()])?;
    ensure!(said.code == Some(0), "{said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

/// A row that changes once more, is transformed and not loaded; with its versions in the warehouse.
async fn waiting(world: &mut World) -> Result<(Story, usize)> {
    let versions = |world: &World| -> BTreeMap<(&str, i32), usize> {
        let stories = world.evolution.stories().into_iter();
        stories
            .map(|s| ((s.table, s.key), s.versions.len()))
            .collect()
    };
    let before = versions(world);
    world.edit_silently().await?;
    for stage in ["extract", "transform"] {
        world.project.done([stage])?;
    }
    world.evolution.run();
    let changed = world.evolution.stories().into_iter().find(|story| {
        let before = before.get(&(story.table, story.key));
        before.is_some_and(|before| *before < story.versions.len())
    });
    let story = changed.context("an edit changes a fact")?;
    let versions = story.versions.len() - 1;
    Ok((story, versions))
}

fn trace(world: &World, story: &Story, runs: &[Ran]) -> Result<()> {
    let report = traced_of(world, story)?;
    let versions = report["versions"].as_array().context("versions")?;
    ensure!(versions.len() == story.versions.len(), "{report:#}");
    for (number, (version, (run, values))) in versions.iter().zip(&story.versions).enumerate() {
        let ran = runs.get(*run).context("a run")?;
        check_values(&version["values"], &story.columns, values)?;
        let made = &version["made"];
        ensure!(made["landing"] == ran.landing, "version {number}: {made:#}");
        ensure!(
            made["run"] == ran.run.as_str(),
            "version {number}: {made:#}"
        );
        ensure!(
            made["module"]["version"] == "1.0.0",
            "version {number}: {made:#}"
        );
        let landed = &made["inputs"][0]["row"];
        ensure!(
            landed["landing"] == ran.landing && landed["deleted"] == false,
            "{landed:#}"
        );
        ensure!(
            landed["run"] == ran.run.as_str() && landed["proved"] == true,
            "{landed:#}"
        );
        let object = landed["object"]["object"].as_str().context("an object")?;
        ensure!(object.contains(&ran.run), "{object}");
        let files = world.files()?;
        ensure!(
            files.contains(&format!("lake/ingestion/{object}")),
            "{object} is not there"
        );
        let object = made["object"]["object"].as_str().context("an object")?;
        ensure!(
            files.contains(&format!("lake/processed/{object}")),
            "{object} is not there"
        );
        // What has the same name in the source has the same value.
        check_values(&landed["values"], &story.columns, values)?;
        let last = number + 1 == versions.len();
        let next = story
            .versions
            .get(number + 1)
            .map_or(usize::MAX, |(run, _)| *run);
        let ended = story.gone.iter().any(|gone| *gone > *run && *gone <= next);
        let state = match (ended, last) {
            (true, _) => "ended",
            (false, true) => "current",
            (false, false) => "superseded",
        };
        ensure!(
            version["state"] == state,
            "version {number} is {}",
            version["state"]
        );
    }
    let removals = report["removals"].as_array().context("removals")?;
    ensure!(removals.len() == story.gone.len(), "{removals:#?}");
    for (removal, gone) in removals.iter().zip(&story.gone) {
        let ran = runs.get(*gone).context("a run")?;
        ensure!(removal["by"]["landing"] == ran.landing, "{removal:#}");
        ensure!(
            removal["loaded"] == true && removal["refused"].is_null(),
            "{removal:#}"
        );
        let landed = &removal["by"]["inputs"][0]["row"];
        ensure!(
            landed["deleted"] == true && landed["landing"] == ran.landing,
            "{landed:#}"
        );
    }
    Ok(())
}

/// Whether the values that have one of these names are the expected ones; numbers and flags are written alike everywhere.
fn check_values(values: &Value, columns: &[&str], expected: &[String]) -> Result<()> {
    let values = values.as_array().context("values")?;
    let mut compared = 0;
    for (column, expected) in columns.iter().zip(expected) {
        let is_plain = column.ends_with("_id")
            || ["units_sold", "item_quantity", "paid", "unit_price"].contains(column);
        let found = values.iter().find(|value| value["column"] == *column);
        if let Some(found) = found.filter(|_| is_plain) {
            ensure!(
                found["value"] == expected.as_str(),
                "{column} is {expected}, not {found}"
            );
            compared += 1;
        }
    }
    ensure!(
        compared >= 4,
        "only {compared} values were compared: {values:?}"
    );
    Ok(())
}
