//! A verification that is killed, and the one that goes on; in a folder and in a bucket.

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tidemill_tests::place::Place;
use tidemill_tests::project::Project;
use tidemill_tests::trace::{self, Kind, Side};
use tidemill_tests::versions::component;
use tidemill_tests::world::At;

const PROJECT: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [modules]\nunsigned = true\n[transform.dim_currency]\nmodule = \"dim-currency@1\"\n";

/// Checks that are made before it is killed.
const DONE: u64 = 3;

struct Shop {
    project: Project,
    place: Place,
    source: Connection,
}

impl Shop {
    /// A project with three landings, each made into a table.
    fn new(at: At) -> Result<Self> {
        let mut project = Project::with_file(PROJECT)?;
        let place = Place::of(&mut project, at);
        let source = Connection::open(project.path().join("shop.db"))?;
        source.execute_batch(
            "CREATE TABLE currency (currency_id int4 NOT NULL PRIMARY KEY, currency_code text)",
        )?;
        let file = project.path().join("one.wasm");
        std::fs::write(&file, component("dim-currency", &[])?)?;
        let file = file.to_str().context("a name")?;
        project.done(["module", "push", file])?;
        let promote = ["module", "promote", "dim-currency@1.0.0"];
        project.done([&promote[..], &["--why", "first"]].concat())?;
        let shop = Self {
            project,
            place,
            source,
        };
        for _ in 0..3 {
            shop.run()?;
        }
        Ok(shop)
    }

    fn run(&self) -> Result<()> {
        self.source.execute_batch(
            "INSERT INTO currency SELECT coalesce(max(currency_id), 0) + 1, 'GBP' FROM currency",
        )?;
        self.project.done(["run"]).map(drop)
    }

    fn verify(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let all = [&["verify"], arguments, &["--output", "json"]].concat();
        let said = self.project.call(all)?;
        ensure!(said.code == Some(code), "{said:#?}");
        Ok(serde_json::from_str(&said.stdout)?)
    }

    /// Kills a verification that has just noted that so many checks are made.
    fn kill(&self) -> Result<()> {
        let command = self.project.command(["verify"])?;
        let mut noted = 0;
        let traced = trace::run(&command, |call| {
            let is_noted = call.kind == Kind::Name && call.target.ends_with("/verify.json");
            noted += u64::from(is_noted);
            (is_noted && noted == DONE).then_some(Side::After)
        })?;
        ensure!(
            traced.killed.is_some(),
            "it ended and said {}",
            traced.stdout
        );
        Ok(())
    }
}

/// A report without what it says of an earlier one.
fn found(mut report: Value) -> Value {
    if let Some(report) = report.as_object_mut() {
        report.remove("resumed_after");
        report.remove("begun_again");
    }
    report
}

#[test]
fn a_killed_verification_goes_on_where_it_was() -> Result<()> {
    resume(At::Folder)
}

#[test]
fn a_killed_verification_goes_on_where_it_was_in_a_bucket() -> Result<()> {
    resume(At::Bucket)
}

fn resume(at: At) -> Result<()> {
    let shop = Shop::new(at)?;
    let whole = shop.verify(&[], 0)?;
    assert_eq!(whole["transforms"], 3);
    shop.kill()?;
    let resumed = shop.verify(&["--resume"], 0)?;
    assert_eq!(resumed["resumed_after"], DONE);
    assert_eq!(found(resumed), whole);
    // Nothing is left of it, so the next has nothing to go on with, and says so.
    let again = shop.verify(&["--resume"], 0)?;
    assert_eq!(again["begun_again"], "no verification was interrupted");
    assert_eq!(found(again), whole);
    Ok(())
}

/// What was landed meanwhile is verified, too, and what is damaged behind the position is found.
#[test]
fn what_came_after_the_position_is_verified() -> Result<()> {
    verify_later(At::Folder)
}

#[test]
fn what_came_after_the_position_is_verified_in_a_bucket() -> Result<()> {
    verify_later(At::Bucket)
}

fn verify_later(at: At) -> Result<()> {
    let mut shop = Shop::new(at)?;
    shop.kill()?;
    shop.run()?;
    let resumed = shop.verify(&["--resume"], 0)?;
    assert_eq!(resumed["resumed_after"], DONE);
    let whole = shop.verify(&[], 0)?;
    assert_eq!(whole["transforms"], 4);
    assert_eq!(found(resumed), whole);

    shop.kill()?;
    let module = "lake/modules/dim-currency/1.0.0/module.wasm";
    shop.place.remove(module)?;
    shop.place.forget(&mut shop.project);
    let resumed = shop.verify(&["--resume"], 3)?;
    let differences = resumed["differences"].as_array().map(Vec::len);
    ensure!(differences >= Some(1), "{resumed:#}");
    Ok(())
}

#[test]
fn a_position_that_is_none_or_of_another_history_is_not_believed() -> Result<()> {
    let (shop, other) = (Shop::new(At::Folder)?, Shop::new(At::Folder)?);
    let whole = shop.verify(&[], 0)?;
    other.kill()?;
    let position = |shop: &Shop| shop.project.path().join(".tidemill/verify.json");
    for (text, why) in [
        (
            std::fs::read(position(&other))?,
            "the position is of another history",
        ),
        (b"{ and no more".to_vec(), "the position is damaged"),
        (Vec::new(), "the position is damaged"),
    ] {
        std::fs::create_dir_all(shop.project.path().join(".tidemill"))?;
        std::fs::write(position(&shop), text)?;
        let resumed = shop.verify(&["--resume"], 0)?;
        assert_eq!(resumed["begun_again"], why);
        assert_eq!(found(resumed), whole, "{why}");
    }
    let resumed = other.verify(&["--resume"], 0)?;
    assert_eq!(resumed["resumed_after"], DONE);
    Ok(())
}
