//! A past run made again, by the module of then; in a folder and in a bucket.

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidemill_tests::place::Place;
use tidemill_tests::project::Project;
use tidemill_tests::versions::component;
use tidemill_tests::world::At;

const PROJECT: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [modules]\nunsigned = true\n[transform.dim_currency]\nmodule = \"dim-currency@1\"\n";

/// A project with two runs, each by another version of the module; gives their ids.
fn project(at: At) -> Result<(Project, Place, [String; 2])> {
    let mut project = Project::with_file(PROJECT)?;
    let place = Place::of(&mut project, at);
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE currency (currency_id int4 NOT NULL PRIMARY KEY, currency_code text);
         INSERT INTO currency VALUES (1, 'GBP'), (2, 'QQQ')",
    )?;
    let planted = [("1.0.0", "1.1.0"), ("Pound Sterling", "Pound sterling")];
    let mut ids = Vec::new();
    for (file, version, replaced) in [
        ("one.wasm", "1.0.0", &[][..]),
        ("two.wasm", "1.1.0", &planted[..]),
    ] {
        std::fs::write(
            project.path().join(file),
            component("dim-currency", replaced)?,
        )?;
        project.done(["module", "push", file])?;
        let module = format!("dim-currency@{version}");
        project.done(["module", "promote", &module, "--why", "next"])?;
        // A row is refused, so the run ends with 3.
        let ran = project.call(["run", "--output", "json"])?;
        ensure!(ran.code == Some(0) || ran.code == Some(3), "{ran:#?}");
        let ran: Value =
            serde_json::from_str(&project.done(["runs", "last", "--output", "json"])?)?;
        let id = ran.get("run").and_then(Value::as_str);
        ids.push(id.context("an id")?.to_owned());
        source.execute_batch(
            "INSERT INTO currency SELECT max(currency_id) + 1, 'GBP' FROM currency",
        )?;
    }
    let ids = <[String; 2]>::try_from(ids).ok().context("two runs")?;
    Ok((project, place, ids))
}

fn replay(project: &Project, run: &str, code: i32) -> Result<Value> {
    let said = project.call(["replay", run, "--output", "json"])?;
    ensure!(said.code == Some(code), "{said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

#[test]
fn each_run_is_made_again_by_the_version_that_made_it() -> Result<()> {
    replay_each(At::Folder)
}

#[test]
fn each_run_is_made_again_by_the_version_that_made_it_in_a_bucket() -> Result<()> {
    replay_each(At::Bucket)
}

fn replay_each(at: At) -> Result<()> {
    let (project, _place, ids) = project(at)?;
    for id in &ids {
        let report = replay(&project, id, 0)?;
        assert_eq!(report["run"], id.as_str());
        assert_eq!(
            (&report["landings"], &report["transforms"]),
            (&1.into(), &1.into())
        );
        ensure!(report["processed_objects"].as_u64() > Some(0), "{report}");
    }
    let all: Value = serde_json::from_str(&project.done(["verify", "--output", "json"])?)?;
    assert_eq!(all["transforms"], 2);
    Ok(())
}

#[test]
fn what_is_not_as_it_was_made_is_named() -> Result<()> {
    replay_damaged(At::Folder)
}

#[test]
fn what_is_not_as_it_was_made_is_named_in_a_bucket() -> Result<()> {
    replay_damaged(At::Bucket)
}

/// Only the run that has a damaged object, or a damaged module, is not what it was.
fn replay_damaged(at: At) -> Result<()> {
    let (mut project, place, [first, second]) = project(at)?;
    let paths = place.paths()?.into_iter();
    let mut parts = paths.filter(|path| {
        path.starts_with("lake/processed/dim_currency/")
            && path.contains(&first)
            && path.contains("/part-")
    });
    let part = parts.next().context("a part")?;
    let kept = place.read(&part)?;
    place.write(&part, b"PAR1 and nothing else")?;
    let report = replay(&project, &first, 3)?;
    let told = report["differences"][0].as_str().context("a difference")?;
    ensure!(told.contains("part-00000.parquet"), "{told}");
    replay(&project, &second, 0)?;
    place.write(&part, &kept)?;
    replay(&project, &first, 0)?;

    // The module of the second run is replaced by that of the first.
    let module = |version: &str| format!("lake/modules/dim-currency/{version}/module.wasm");
    place.write(&module("1.1.0"), &place.read(&module("1.0.0"))?)?;
    place.forget(&mut project);
    let report = replay(&project, &second, 3)?;
    let told = report["differences"][0].as_str().context("a difference")?;
    ensure!(told.contains("damaged"), "{told}");
    replay(&project, &first, 0)?;
    Ok(())
}
