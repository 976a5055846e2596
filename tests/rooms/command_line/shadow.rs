//! A version tried on history, in a folder and in a bucket: what was planted in it is what is reported, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidemill::digest::Digest;
use tidemill_tests::place::Place;
use tidemill_tests::project::Project;
use tidemill_tests::versions::component;
use tidemill_tests::world::At;

const SHOP: &str =
    "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[modules]\nunsigned = true\n";

/// Of the candidate: the name of one currency is written otherwise, and another is not known any more.
const PLANTED: [(&str, &str); 3] = [
    ("1.0.0", "1.1.0"),
    ("Pound Sterling", "Pound sterling"),
    ("EUREuro", "EUSEuro"),
];

/// Two landings of four currencies, of which one is none, and three versions of their module, of which the first is
/// active, the second differs and the third has another number only.
fn project(at: At) -> Result<(Project, Place)> {
    let mut project = Project::with_file(SHOP)?;
    let place = Place::of(&mut project, at);
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE currency (currency_id int4 NOT NULL PRIMARY KEY, currency_code text);
         INSERT INTO currency VALUES (1, 'GBP'), (2, 'USD'), (3, 'EUR'), (4, 'QQQ')",
    )?;
    project.done(["extract"])?;
    source.execute_batch("UPDATE currency SET currency_code = 'GBP' WHERE currency_id = 2")?;
    project.done(["extract"])?;
    for (file, replaced) in [
        ("one.wasm", &[][..]),
        ("two.wasm", &PLANTED[..]),
        ("three.wasm", &[("1.0.0", "1.2.0")][..]),
    ] {
        let file = project.path().join(file);
        std::fs::write(&file, component("dim-currency", replaced)?)?;
        let file = file.to_str().context("a name")?;
        project.done(["module", "push", file])?;
        if replaced.is_empty() {
            project.done(["module", "promote", "dim-currency@1.0.0", "--why", "first"])?;
        }
    }
    Ok((project, place))
}

fn shadow(project: &Project, arguments: &[&str], code: i32) -> Result<Value> {
    let all = [&["module", "shadow"], arguments, &["--output", "json"]].concat();
    let said = project.call(all)?;
    ensure!(said.code == Some(code), "{said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

/// Every file of the project and every object, with their bytes.
fn everything(project: &Project, place: &Place) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    files(project.path(), &mut found)?;
    for path in place.paths()? {
        let bytes = place.read(&path)?;
        found.insert(path, bytes);
    }
    Ok(found)
}

/// Every file of the project and its bytes.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files(&path, found)?,
            false => {
                found.insert(path.display().to_string(), std::fs::read(&path)?);
            }
        }
    }
    Ok(())
}

#[test]
fn what_was_planted_in_a_version_is_what_is_reported() -> Result<()> {
    report(At::Folder)
}

#[test]
fn what_was_planted_in_a_version_is_what_is_reported_in_a_bucket() -> Result<()> {
    report(At::Bucket)
}

fn report(at: At) -> Result<()> {
    let (project, place) = project(at)?;
    let before = everything(&project, &place)?;
    let report = shadow(&project, &["dim-currency@1.1.0"], 4)?;
    ensure!(
        before == everything(&project, &place)?,
        "something was written"
    );

    assert_eq!(report["table"], "dim_currency");
    assert_eq!(report["landings"], json!([1, 2]));
    assert_eq!(report["skipped"], json!([]));
    let inputs = report["inputs"]
        .as_str()
        .context("why inputs are the same")?;
    ensure!(inputs.contains("the same landed objects"), "{inputs}");
    assert_eq!(
        report["rows"],
        json!({
            "same": 1, "added": 0, "dropped": 1, "changed": 2, "added_examples": [],
            "dropped_examples": [{"landing": 1, "values": [
                ["currency_id", "3"], ["currency_code", "EUR"], ["currency_name", "Euro"],
            ]}],
        })
    );
    let example = |landing: u64, key: &str| json!({"landing": landing, "key": [key], "active": "Pound Sterling", "candidate": "Pound sterling"});
    assert_eq!(
        report["columns"],
        json!([
            {"name": "currency_id", "change": "kept", "changed": 0, "examples": []},
            {"name": "currency_code", "change": "kept", "changed": 0, "examples": []},
            {"name": "currency_name", "change": "kept", "changed": 2, "examples": [example(1, "1"), example(2, "2")]},
        ])
    );
    assert_eq!(
        report["retractions"],
        json!({
            "same": 1, "added": 1, "dropped": 0, "changed": 0,
            "added_examples": [{"landing": 1, "values": [["currency_id", "3"]]}], "dropped_examples": [],
        })
    );
    let rejects = &report["rejects"];
    assert_eq!(
        (&rejects["same"], &rejects["added"], &rejects["dropped"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(
        rejects["codes"],
        json!([{"code": "unknown-code", "active": 1, "candidate": 2}])
    );
    let refused = &rejects["examples"];
    assert_eq!(refused.as_array().map(Vec::len), Some(1));
    assert_eq!(refused[0]["by_candidate"], true);
    assert_eq!(refused[0]["table"], "currency");
    for (side, version, rows_out) in [("active", "1.0.0", 4), ("candidate", "1.1.0", 3)] {
        let side = &report[side];
        assert_eq!(side["module"]["version"], version);
        assert_eq!(
            (&side["rows_in"], &side["rows_out"]),
            (&json!(5), &json!(rows_out))
        );
        for cost in ["fuel", "peak_memory_bytes"] {
            ensure!(
                side[cost].as_u64().is_some_and(|cost| cost > 0),
                "{cost} of {side}"
            );
        }
    }
    Ok(())
}

/// What was looked at before a promotion stands in the log, and it must be a report of this promotion.
#[test]
fn the_report_that_was_looked_at_stands_in_the_log() -> Result<()> {
    promote_looked_at(At::Folder)
}

#[test]
fn the_report_that_was_looked_at_stands_in_the_log_in_a_bucket() -> Result<()> {
    promote_looked_at(At::Bucket)
}

fn promote_looked_at(at: At) -> Result<()> {
    let (project, place) = project(at)?;
    let said = project.call(["module", "shadow", "dim-currency@1.1.0", "--output", "json"])?;
    std::fs::write(project.path().join("shadow.json"), &said.stdout)?;
    let promote = |version: &str| {
        let module = format!("dim-currency@{version}");
        let arguments = [
            "module",
            "promote",
            &module,
            "--why",
            "looked",
            "--shadow",
            "shadow.json",
        ];
        project.call(arguments)
    };
    let other = promote("1.2.0")?;
    ensure!(other.code == Some(2), "{other:#?}");
    ensure!(
        other
            .stderr
            .contains("the shadow report is of dim-currency@1.1.0"),
        "{other:#?}"
    );
    let promoted = promote("1.1.0")?;
    ensure!(promoted.code == Some(0), "{promoted:#?}");
    let log = place.read("lake/modules/_promotions/0000000002.json")?;
    let record: Value = serde_json::from_slice(&log)?;
    let digest = Digest::of(said.stdout.as_bytes()).to_string();
    assert_eq!(record["shadow"], json!(digest));
    // It was beside a version that is not active any more.
    let late = promote("1.1.0")?;
    ensure!(late.code == Some(2), "{late:#?}");
    Ok(())
}

#[test]
fn a_version_that_makes_the_same_ends_with_0() -> Result<()> {
    let (project, _place) = project(At::Folder)?;
    let report = shadow(&project, &["dim-currency@1.2.0"], 0)?;
    assert_eq!(report["differs"], false);
    assert_eq!(report["rows"]["same"], 4);
    assert_eq!(report["rejects"]["same"], 1);
    assert_eq!(report["active"]["fuel"], report["candidate"]["fuel"]);
    Ok(())
}

#[test]
fn a_later_beginning_leaves_earlier_landings_out_and_a_page_tells_the_rest() -> Result<()> {
    let (project, _place) = project(At::Folder)?;
    let arguments = [
        "dim-currency@1.1.0",
        "--since",
        "2",
        "--report",
        "shadow.html",
    ];
    let report = shadow(&project, &arguments, 4)?;
    assert_eq!(report["landings"], json!([2]));
    assert_eq!(report["rows"]["changed"], 1);
    let page = std::fs::read_to_string(project.path().join("shadow.html"))?;
    for told in ["They differ.", "Pound sterling", "dim_currency"] {
        ensure!(page.contains(told), "{told} is not in {page}");
    }
    let never = project.call(["module", "shadow", "dim-currency@1.1.0", "--since", "3"])?;
    ensure!(
        never.code == Some(2) && never.stderr.contains("no landing"),
        "{never:#?}"
    );
    Ok(())
}
