//! A whole project of an old version: today's program verifies it, runs it further, and refuses what is newer than itself.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidemill_tests::project::{Project, Said};

use crate::fixture;

/// Every version there is.
const VERSIONS: &[&str] = &["v1", "v2"];

/// A day that a project of any version can go through.
const DAY: &str = "
    UPDATE payment SET paid = false, last_updated = '2024-02-01 07:55:11.000' WHERE payment_id = 1;
    DELETE FROM payment WHERE payment_id = 4;
    INSERT INTO department VALUES (9, 'HR', 'York', NULL);
    INSERT INTO note VALUES ('fourth', 1, NULL, NULL);";

fn json_of(project: &Project, arguments: &[&str]) -> Result<Value> {
    let said = project.call([arguments, &["--output", "json"]].concat())?;
    ensure!(matches!(said.code, Some(0 | 3)), "{arguments:?}: {said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

fn query(project: &Project, sql: &str) -> Result<Value> {
    json_of(project, &["query", sql])
}

#[test]
fn an_old_project_is_verified_byte_for_byte() -> Result<()> {
    for version in VERSIONS {
        let project = fixture::project(version)?;
        let said = project.call(["verify", "--output", "json"])?;
        ensure!(said.code == Some(0), "{version}: {said:#?}");
        let report: Value = serde_json::from_str(&said.stdout)?;
        // The second rebuild of the later one found everything computed.
        let (transforms, objects) = match version {
            &"v1" => (5, 9),
            _ => (9, 16),
        };
        assert_eq!(
            report,
            json!({
                "landings": 3, "landed_objects": 15, "transforms": transforms,
                "processed_objects": objects, "differences": [],
            })
        );
    }
    Ok(())
}

#[test]
fn an_old_project_runs_further_and_keeps_its_history() -> Result<()> {
    for version in VERSIONS {
        let project = fixture::project(version)?;
        let versions =
            "SELECT payment_record_id AS n, payment_id AS id, paid FROM fact_payment ORDER BY 1";
        let before = query(&project, versions)?;
        let old = [(1, 1, false), (2, 2, false), (3, 1, true), (4, 4, false)];
        assert_eq!(before, rows(&old));
        let idle = json_of(&project, &["run"])?;
        assert_eq!(
            query(&project, versions)?,
            before,
            "nothing happened: {idle}"
        );

        Connection::open(project.path().join("totesys.sqlite"))?.execute_batch(DAY)?;
        json_of(&project, &["run"])?;
        assert_eq!(
            query(&project, versions)?,
            rows(&[&old[..], &[(5, 1, false)]].concat())
        );
        let current = "SELECT payment_id AS id FROM fact_payment_current ORDER BY 1";
        assert_eq!(query(&project, current)?, json!([{"id": 1}]));
        let staff = "SELECT staff_id AS id, location FROM dim_staff ORDER BY 1";
        let expected = json!([
            {"id": 1, "location": "Manchester"},
            {"id": 2, "location": "Leeds"},
            {"id": 3, "location": "York"},
        ]);
        assert_eq!(query(&project, staff)?, expected);

        let report = json_of(&project, &["verify"])?;
        // The idle run has a landing, too.
        assert_eq!(report.get("landings"), Some(&json!(5)));
        assert_eq!(report.get("differences"), Some(&json!([])));
    }
    Ok(())
}

fn rows(versions: &[(i32, i32, bool)]) -> Value {
    versions
        .iter()
        .map(|(number, id, paid)| json!({"n": number, "id": id, "paid": paid}))
        .collect()
}

/// Whatever is newer than the program is named with its format, and the hint is to upgrade.
#[test]
fn what_a_later_version_wrote_is_refused_with_the_hint_to_upgrade() -> Result<()> {
    for (file, known) in [
        ("lake/ingestion/totesys/_manifests/0000000003.json", 2),
        ("lake/processed/_manifests/0000000003.json", 2),
        ("lake/modules/_promotions/0000000002.json", 3),
        ("lake/modules/fact-payment/1.0.0/module.json", 1),
        ("warehouse/_tidemill/publications/0000000003.json", 1),
    ] {
        let project = fixture::project("v1")?;
        let file = project.path().join(file);
        let text = std::fs::read_to_string(&file)?;
        let newer = text.replacen("\"format\": 1", "\"format\": 7", 1);
        ensure!(newer != text, "{} has a format", file.display());
        std::fs::write(&file, newer)?;
        Connection::open(project.path().join("totesys.sqlite"))?.execute_batch(DAY)?;
        let said = project.call(["run"])?;
        refused(&said, &file, known).with_context(|| format!("{}: {said:#?}", file.display()))?;
    }
    Ok(())
}

fn refused(said: &Said, file: &Path, known: u32) -> Result<()> {
    let name = file
        .file_name()
        .context("a file has a name")?
        .to_string_lossy();
    let talk = format!("{}{}", said.stdout, said.stderr);
    ensure!(!matches!(said.code, Some(0 | 3)), "it went on");
    ensure!(talk.contains(&*name), "the file is not named");
    let formats = format!("has format 7, and this version reads up to {known}");
    ensure!(talk.contains(&formats), "the formats are not told");
    ensure!(
        talk.contains("install the version of tidemill that wrote it, or a later one"),
        "there is no hint"
    );
    Ok(())
}
