//! SIGTERM in the middle of a run: what is complete is committed within the grace, and the next run does the rest.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::proxy::{Line, Proxy};
use tidemill_tests::service::Service;

use super::super::faults::source::READING;
use super::super::world::{At, Beginning, World};

const SERVE: &str =
    "\n[serve]\nlisten = \"none\"\ngrace = \"9s\"\n[schedule.hourly]\nevery = \"1h\"\n";

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

    // One table is never read to its end; the others are.
    let proxy = Proxy::before(world.server.port())?;
    let url = proxy.url(&world.source);
    world.project.set("TOTESYS_URL", &url);
    proxy.set(Line::HangAfter(READING, 2_000));
    let mut service = Service::start(&world.project)?;
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
        landed.len() == 10 && !landed.contains(&"payment".to_owned()),
        "{landed:?}"
    );
    proxy.set(Line::Whole);
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
