//! A table whose definition changes between the snapshot of a run and the reading of it. The run waits for the
//! lock of whoever changes it, so that the change falls exactly there.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidemill_tests::host::Host;
use tidemill_tests::oracle;
use tidemill_tests::postgres::{connect, execute};
use tidemill_tests::sessions;
use tidemill_tests::star::Star;

use crate::world::{At, Beginning, World, extracted, report_of};

/// Makes `change` in a transaction, commits it when a run waits for it, and gives the run's report.
async fn change_under_way(world: &World, change: &str) -> Result<Value> {
    let session = connect(&world.source).await?;
    session.batch_execute("BEGIN").await?;
    session
        .batch_execute(change)
        .await
        .with_context(|| change.to_owned())?;
    let run = Host::start(&world.project, ["run", "--output", "json"])?;
    sessions::waiting_for_a_lock(&world.source, 1).await?;
    session.batch_execute("COMMIT").await?;
    let said = run.end()?;
    ensure!(said.code == Some(1), "{said:#?}");
    report_of(&said)
}

/// `table` alone failed, and everything else was landed.
fn only(report: &Value, table: &str, words: &str) -> Result<()> {
    let failures = report["extract"][0]["failures"]
        .as_array()
        .context("a run extracts")?;
    let [failure] = failures.as_slice() else {
        bail!("{failures:#?}");
    };
    ensure!(failure["table"] == table, "{failure:#}");
    let message = failure["message"].as_str().unwrap_or_default();
    ensure!(message.contains(words), "{message}");
    ensure!(
        failure["hint"]
            .as_str()
            .is_some_and(|hint| hint.starts_with("run again")),
        "{failure:#}"
    );
    ensure!(
        extracted(report, "staff")?["rows_changed"] == 1,
        "{report:#}"
    );
    Ok(())
}

/// Everything but dim_design is what the source implies.
async fn others_are_exact(world: &World) -> Result<()> {
    let expected = oracle::expected_of(&world.source, |table| table != "dim_design").await?;
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    match expected.differences(&found) {
        None => Ok(()),
        Some(differences) => bail!("tables beside the stopped one differ:\n{differences}"),
    }
}

#[tokio::test]
async fn a_definition_that_changes_in_mid_run_stops_its_own_table() -> Result<()> {
    let world = World::begin(Beginning {
        scale: 0.05,
        warehouse: At::Folder,
        edits: &[(
            "[\"_prisma_migrations\"]",
            "[\"_prisma_migrations\", \"design_*\"]",
        )],
        ..Beginning::at(At::Postgres)
    })
    .await?;
    world.run_and_compare(&[]).await?;
    let altered = "was changed, renamed or dropped while the snapshot was open";
    let rewritten = "was truncated or rewritten while the snapshot was open";
    for (change, words, accept) in [
        // To the server both are good statements on good columns.
        (
            "ALTER TABLE design RENAME COLUMN design_name TO other;
             ALTER TABLE design RENAME COLUMN file_name TO design_name;
             ALTER TABLE design RENAME COLUMN other TO file_name",
            altered,
            true,
        ),
        (
            "CREATE TABLE taken (LIKE design INCLUDING ALL);
             ALTER TABLE design RENAME TO design_before; ALTER TABLE taken RENAME TO design",
            altered,
            false,
        ),
        (
            "INSERT INTO design TABLE design_before; DROP TABLE design_before CASCADE",
            "",
            false,
        ),
        (
            "CREATE TEMP TABLE kept AS TABLE design; TRUNCATE design; INSERT INTO design TABLE kept",
            rewritten,
            false,
        ),
        (
            "ALTER TABLE design ALTER COLUMN design_name TYPE varchar",
            altered,
            false,
        ),
        (
            "ALTER TABLE design ALTER COLUMN design_id TYPE bigint",
            rewritten,
            false,
        ),
    ] {
        let edit = "UPDATE staff SET first_name = first_name || 'a' WHERE staff_id = 1";
        execute(&world.source, edit).await?;
        if words.is_empty() {
            execute(&world.source, change).await?;
        } else {
            let report = change_under_way(&world, change).await?;
            only(&report, "design", words).with_context(|| change.to_owned())?;
            others_are_exact(&world).await?;
        }
        let arguments: &[&str] = if accept { &["--accept", "design"] } else { &[] };
        world
            .run_and_compare(arguments)
            .await
            .with_context(|| format!("after {change}"))?;
    }
    Ok(())
}
