//! Log lines for programs: what every event that matters says, and that nothing else comes between.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::shop;

fn lines(stderr: &str) -> Result<Vec<Value>> {
    let lines = stderr.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

#[test]
fn every_stage_of_every_table_is_one_line_with_the_fields_of_the_house() -> Result<()> {
    let project = shop("")?;
    let said = project.call(["run", "--log-format", "json", "-v", "--output", "json"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    let report: Value = serde_json::from_str(&said.stdout)?;
    let lines = lines(&said.stderr)?;
    const ALL: [&str; 6] = ["run_id", "table", "stage", "source", "rows", "elapsed_ms"];
    const MODULE: [&str; 3] = ["module", "module_version", "digest"];
    for (message, stage, count, besides) in [
        (
            "table extracted",
            "extract",
            11,
            &["bytes", "watermark"][..],
        ),
        ("table transformed", "transform", 11, &["bytes"]),
        ("table loaded", "load", 11, &[]),
    ] {
        let told: Vec<_> = lines.iter().filter(|l| l["message"] == message).collect();
        ensure!(told.len() == count, "{message}: {}", told.len());
        for line in told {
            let module = if stage == "extract" { &[][..] } else { &MODULE };
            for field in ALL.iter().chain(module).chain(besides) {
                ensure!(line.get(*field).is_some(), "{field} is not in {line:#}");
            }
            ensure!(line["run_id"] == report["run"], "{line:#}");
            ensure!(line["stage"] == stage, "{line:#}");
            ensure!(line["level"] == "INFO" && line["timestamp"].is_string());
        }
    }
    let staff = lines
        .iter()
        .find(|l| l["message"] == "table transformed" && l["table"] == "dim_staff")
        .context("dim_staff is made")?;
    let tables = report["transform"]["tables"].as_array().context("tables")?;
    let made = tables.iter().find(|t| t["table"] == "dim_staff");
    let made = made.context("dim_staff is in the report")?;
    ensure!(staff["rows"] == made["rows_out"], "{staff:#} {made:#}");
    ensure!(staff["bytes"] == made["bytes"], "{staff:#} {made:#}");
    ensure!(staff["digest"] == made["module"]["digest"], "{staff:#}");
    let ended = lines.last().context("a last line")?;
    ensure!(ended["message"] == "run ended", "{ended:#}");
    ensure!(
        ended["outcome"] == "done" && ended["exit"] == 0,
        "{ended:#}"
    );
    Ok(())
}

#[test]
fn a_failure_is_a_line_and_nothing_else() -> Result<()> {
    let mut project = shop("")?;
    // A table that stops, and the others go on.
    project.set("TIDEMILL_LIMITS__MEMORY", "65536");
    let said = project.call(["run", "--log-format", "json"])?;
    ensure!(said.code == Some(1), "{said:#?}");
    let told = lines(&said.stderr)?;
    let failed = told.iter().find(|line| line["message"] == "table failed");
    let failed = failed.with_context(|| said.stderr.clone())?;
    ensure!(
        failed["level"] == "ERROR" && failed["stage"] == "transform",
        "{failed:#}"
    );
    for field in ["run_id", "table", "kind", "error"] {
        ensure!(failed[field].is_string(), "{field} is not in {failed:#}");
    }

    // A run that fails as a whole.
    project.set("TIDEMILL_SOURCE__TOTESYS__URL", "sqlite://./nowhere.sqlite");
    let said = project.call(["run", "--log-format", "json"])?;
    ensure!(said.code == Some(2), "{said:#?}");
    let told = lines(&said.stderr)?;
    let failed = told.iter().find(|line| line["message"] == "run failed");
    let failed = failed.with_context(|| said.stderr.clone())?;
    ensure!(
        failed["run_id"].is_string() && failed["kind"] == "config",
        "{failed:#}"
    );
    let error = failed["error"].as_str().context("an error")?;
    ensure!(
        error.contains("nowhere.sqlite") && error.contains("hint: "),
        "{error}"
    );
    Ok(())
}
