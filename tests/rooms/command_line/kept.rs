//! What a module failed on in a run is kept as a case, which gives the same failure wherever it is tried.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::guests;
use tidemill_tests::project::Project;

/// A table that a module makes which panics, or gives up, at a text with an apostrophe; one note of many has it.
fn project(mood: &str) -> Result<Project> {
    project_with(mood, "")
}

fn project_with(mood: &str, settings: &str) -> Result<Project> {
    let project = Project::with_file(&format!(
        "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[modules]\nunsigned = true\n\
         [transform.moody]\nmodule = \"moody@1\"\n{settings}",
    ))?;
    let source = rusqlite::Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE author (author_id int4 PRIMARY KEY, name text);
         CREATE TABLE note (note_id int4 PRIMARY KEY, body text, author_id int4, secret text);
         INSERT INTO author VALUES (1, 'Ada'), (2, 'Grace');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO note SELECT i, 'plain ' || i, 1, 'hidden' FROM n;
         UPDATE note SET body = 'O''Keefe' WHERE note_id = 321",
    )?;
    std::fs::write(
        project.path().join("moody.wasm"),
        guests::of_tests("moody")?,
    )?;
    std::fs::write(project.path().join("mood"), mood)?;
    project.done([
        "module",
        "push",
        "moody.wasm",
        "--parameters",
        "mood",
        "--unlanded",
    ])?;
    project.done([
        "module",
        "promote",
        "moody@1.0.0",
        "--why",
        "to see it fail",
    ])?;
    Ok(project)
}

/// The file that the hint of a failed run names.
fn kept(project: &Project) -> Result<PathBuf> {
    let failed = project.call(["run"])?;
    ensure!(failed.code == Some(1), "{failed:?}");
    let (_, named) = failed
        .stderr
        .split_once("what it failed on is kept: tidemill module test --case ")
        .with_context(|| failed.stderr.clone())?;
    let file = PathBuf::from(named.lines().next().context("a path")?);
    ensure!(
        file.starts_with(project.path().join("lake")),
        "{}",
        file.display()
    );
    Ok(file)
}

fn tried(project: &Project, file: &str) -> Result<Value> {
    let said = project.call([
        "module",
        "test",
        "moody.wasm",
        "--case",
        file,
        "--output",
        "json",
    ])?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

#[test]
fn what_a_module_panicked_at_is_kept_and_gives_the_same_panic_elsewhere() -> Result<()> {
    let project = project("texts")?;
    let file = kept(&project)?;
    let text = std::fs::read_to_string(&file)?;
    let case: Value = serde_json::from_str(&text)?;
    // One row of five hundred, and nothing of what the module does not read.
    assert_eq!(
        case["inputs"]["note"]["rows"],
        serde_json::json!([[321, "O'Keefe", 1]]),
        "{text}"
    );
    assert_eq!(case["failure"]["kind"], "trap", "{text}");
    assert_eq!(case["failure"]["phase"], "push", "{text}");
    assert_eq!(case["context"]["parameters"], "texts", "{text}");
    assert_eq!(case["origin"]["landing"], 1, "{text}");
    ensure!(
        case["origin"]["digest"]
            .as_str()
            .is_some_and(|digest| digest.len() == 64),
        "{text}"
    );
    ensure!(!text.contains("hidden") && !text.contains("Ada"), "{text}");

    // The same again, and no second file: what is there is never written over.
    assert_eq!(kept(&project)?, file);
    assert_eq!(std::fs::read_to_string(&file)?, text);

    // Elsewhere, without the lake.
    let elsewhere = Project::empty()?;
    std::fs::copy(
        project.path().join("moody.wasm"),
        elsewhere.path().join("moody.wasm"),
    )?;
    std::fs::copy(&file, elsewhere.path().join("kept.json"))?;
    let tested = tried(&elsewhere, "kept.json")?;
    assert_eq!(tested["cases"][0]["holds"], true, "{tested}");
    // A module that is mended does not fail any more, and that is told.
    let mended = text.replace("\"parameters\":\"texts\"", "\"parameters\":\"\"");
    std::fs::write(elsewhere.path().join("kept.json"), mended)?;
    let said = elsewhere.call(["module", "test", "moody.wasm", "--case", "kept.json"])?;
    ensure!(said.code == Some(3), "{said:?}");
    ensure!(
        said.stdout.contains("failure: none came, but 1 rows"),
        "{}",
        said.stdout
    );
    Ok(())
}

#[test]
fn what_a_module_gave_up_on_is_kept_with_its_own_words_and_swept_when_it_is_old() -> Result<()> {
    let project = project("patience")?;
    let file = kept(&project)?;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    assert_eq!(case["failure"]["kind"], "gave-up");
    assert_eq!(case["failure"]["message"], "it is quoted");
    let shown = file.to_str().context("a path")?.to_owned();
    tried(&project, &shown)?;
    // No manifest names it, so a sweep takes it for what it is: nothing that is needed, once it is old enough.
    project.done(["sweep"])?;
    ensure!(file.is_file(), "it is young");
    let written = std::fs::metadata(&file)?.modified()?;
    let old = written - std::time::Duration::from_secs(8 * 24 * 60 * 60);
    std::fs::File::open(&file)?.set_modified(old)?;
    let swept = project.done(["sweep"])?;
    ensure!(
        !file.is_file() && swept.contains("_failures/moody/"),
        "{swept}"
    );
    Ok(())
}

#[test]
fn what_is_marked_sensitive_is_not_kept() -> Result<()> {
    let marked =
        "grants = [\"shop.note.body\"]\n[source.shop.table.note]\nsensitive = [\"body\"]\n";
    let project = project_with("patience", marked)?;
    let text = std::fs::read_to_string(kept(&project)?)?;
    ensure!(
        !text.contains("Keefe") && !text.contains("plain 7") && !text.contains("it is quoted"),
        "{text}"
    );
    let case: Value = serde_json::from_str(&text)?;
    // What it failed on was sensitive, so what is kept does not fail; it says so.
    let left_out = case["origin"]["left_out"].as_str().context("it is said")?;
    ensure!(left_out.contains("or what was replaced"), "{left_out}");
    ensure!(text.contains("\"sensitive-1\""), "{text}");
    Ok(())
}

/// The last rows alone are no trouble to it: what came before belongs to the failure.
#[test]
fn what_needs_the_rows_before_is_kept_with_them() -> Result<()> {
    let project = project("many")?;
    let source = rusqlite::Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 501 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO note SELECT i, 'plain ' || i, 1, 'hidden' FROM n",
    )?;
    let file = kept(&project)?;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let rows = case["inputs"]["note"]["rows"].as_array().map(Vec::len);
    // How many of the others are left out depends on how long that takes.
    ensure!(
        rows.is_some_and(|rows| (9_001..10_000).contains(&rows)),
        "{rows:?} rows"
    );
    assert_eq!(case["origin"]["left_out"], Value::Null);
    assert_eq!(case["failure"]["code"], "many");
    tried(&project, file.to_str().context("a path")?)?;
    Ok(())
}
