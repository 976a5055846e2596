//! SIGTERM in the middle of a run: what is complete is committed within the grace, and the next run does the rest.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::connect;
use tidemill_tests::service::Service;
use tidemill_tests::sessions::waiting_for_a_lock;

use super::super::world::{At, Beginning, World};

const SERVE: &str =
    "\n[serve]\nlisten = \"none\"\ngrace = \"6s\"\n[schedule.hourly]\nevery = \"1h\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_commits_the_tables_that_are_complete() -> Result<()> {
    let mut world = World::begin(Beginning {
        source: At::Postgres,
        ..Beginning::at(At::Folder)
    })
    .await?;
    let file = world.project.path().join("tidemill.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text + SERVE)?;

    // One table cannot be read for longer than the grace; the others can.
    let holder = connect(&world.source).await?;
    holder
        .batch_execute("BEGIN; LOCK TABLE sales_order IN ACCESS EXCLUSIVE MODE")
        .await?;
    let mut service = Service::start(&world.project)?;
    waiting_for_a_lock(&world.source, 1).await?;
    // The one that waits is alone when every other table is read.
    for _ in 0..10 {
        service.until("table extracted")?;
    }
    service.signal("TERM")?;
    service.until("stopped")?;
    let (code, _) = service.end()?;
    ensure!(code == Some(0), "{code:?}");
    let ended = service.lines().iter().find(|l| l["message"] == "run ended");
    let ended = ended.with_context(|| format!("{:#?}", service.lines()))?;
    ensure!(ended["outcome"] == "done", "{ended:#}");

    let landed = landed(&world)?;
    ensure!(
        landed.len() == 10 && !landed.contains(&"sales_order".to_owned()),
        "{landed:?}"
    );
    holder.batch_execute("ROLLBACK").await?;
    world.run().await.context("the next run does the rest")?;
    world.verify()?;
    Ok(())
}

/// The tables of the one landing that there is.
fn landed(world: &World) -> Result<Vec<String>> {
    let runs: Value = serde_json::from_str(&world.project.done(["runs", "--output", "json"])?)?;
    let tables = runs[0]["landings"][0]["tables"].as_array();
    let tables = tables.with_context(|| format!("{runs:#}"))?;
    let names = tables.iter().filter_map(|table| table["table"].as_str());
    Ok(names.map(str::to_owned).collect())
}
