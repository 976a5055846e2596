//! The source goes away while it is read, does not answer, or comes back as another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemill_tests::host::Host;
use tidemill_tests::postgres::{Server, connect, database_of, execute};
use tidemill_tests::proxy::{Line, Proxy};
use tidemill_tests::sessions;

use super::{Story, healed};
use tidemill_tests::world::{At, Beginning, World, extracted, report_of};

/// The statement that reads all payments. Others name the table as well.
pub(crate) const READING: &str = "FROM ONLY \"public\".\"payment\") TO";

#[tokio::test]
async fn a_source_that_goes_away_is_read_by_the_next_run() -> Result<()> {
    let mut world = World::begin(Beginning {
        warehouse: At::Folder,
        server: Some(Arc::new(Server::start(""))),
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let proxy = Proxy::before(world.server.port())?;
    let url = proxy.url(&world.source);
    world.project.set("TOTESYS_URL", &url);
    let mut story = Story::of("source");

    let fault = "the connection breaks off in the middle of the first landing";
    proxy.set(Line::CutAfter(READING, 2_000));
    story.run(&mut world, fault, &["run"]).await?;
    ensure!(
        proxy.failures() == 1,
        "it broke off {} times",
        proxy.failures()
    );
    ensure!(landings(&world)? == 0, "half a landing was committed");
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;

    let fault = "the connection breaks off in the middle of a compare";
    world.live().await?;
    proxy.set(Line::CutAfter(READING, 2_000));
    story
        .run(&mut world, fault, &["run", "--reconcile"])
        .await?;
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;

    let fault = "the source is not there";
    world.live().await?;
    proxy.set(Line::Away);
    story.run(&mut world, fault, &["run"]).await?;
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;

    let fault = "the source takes a connection and never answers";
    world.live().await?;
    proxy.set(Line::Mute);
    let wrong = format!("{url}&connect_timeout=1");
    world.project.set("TOTESYS_URL", &wrong);
    story.run(&mut world, fault, &["run"]).await?;
    world.project.set("TOTESYS_URL", &url);
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;

    let fault = "the source stops answering in the middle of a table";
    world.live().await?;
    proxy.set(Line::HangAfter(READING, 2_000));
    let limit = "source.totesys.snapshot_timeout=3s";
    let arguments = ["run", "--reconcile", "--set", limit];
    let begin = Instant::now();
    let said = super::failed(&world, &arguments)?;
    ensure!(
        begin.elapsed() < Duration::from_secs(20),
        "it hung for {:?}",
        begin.elapsed()
    );
    story.tell_any_table(&world, fault, &arguments, &said, "extract");
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;

    terminated(&mut world, &mut story).await?;
    crashed(&mut world, &mut story, &proxy).await?;
    story.end()
}

/// Landings that are committed.
fn landings(world: &World) -> Result<usize> {
    let is_landing = |file: &&String| file.starts_with("lake/ingestion/totesys/_manifests/");
    Ok(world.files()?.iter().filter(is_landing).count())
}

/// An administrator ends the sessions of a run that waits for a table.
async fn terminated(world: &mut World, story: &mut Story) -> Result<()> {
    let fault = "an administrator ends the sessions in the middle of the run";
    world.live().await?;
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE payment IN ACCESS EXCLUSIVE MODE")
        .await?;
    let run = Host::start(&world.project, ["run"])?;
    sessions::waiting_for_a_lock(&world.source, 1).await?;
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE application_name = 'tidemill' AND datname = $1";
    lock.query(end, &[&database_of(&world.source)]).await?;
    lock.batch_execute("ROLLBACK").await?;
    let said = run.end()?;
    ensure!(said.code == Some(1), "{said:#?}");
    story.tell_any_table(world, fault, &["run"], &said, "extract");
    healed(world, fault).await?;
    Ok(())
}

/// The server dies in the middle of a run, and comes back: as it was, then as an older copy of itself.
async fn crashed(world: &mut World, story: &mut Story, proxy: &Proxy) -> Result<()> {
    let edit = |order: u32| {
        format!("UPDATE sales_order SET units_sold = units_sold + 1 WHERE sales_order_id = {order}")
    };
    world.run_and_compare(&[]).await?;
    world.server.crash();
    world.server.back_up();
    world.server.come_back();
    execute(&world.source, &edit(1)).await?;
    world.run_and_compare(&[]).await?;

    let fault = "the server dies while a table is read";
    execute(&world.source, &edit(2)).await?;
    proxy.set(Line::HangAfter(READING, 2_000));
    let run = Host::start(&world.project, ["run", "--reconcile"])?;
    sessions::until("payments are not read", async || Ok(proxy.failures() > 0)).await?;
    world.server.crash();
    proxy.set(Line::Away);
    let said = run.end()?;
    ensure!(said.code == Some(1), "{said:#?}");
    story.tell_any_table(world, fault, &["run", "--reconcile"], &said, "extract");

    let fault = "it is not back when the next run begins";
    story.run(world, fault, &["run"]).await?;
    proxy.set(Line::Whole);
    world.server.come_back();
    world.run_and_compare(&[]).await.context(fault)?;

    // From a copy of before the last two edits: the next run takes both back.
    execute(&world.source, &edit(3)).await?;
    world.run_and_compare(&[]).await?;
    world.server.crash();
    world.server.restore();
    world.server.come_back();
    let said = world.call(&["run"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    let report = report_of(&said)?;
    let orders = extracted(&report, "sales_order")?;
    ensure!(
        orders["window"]["reason"]["reason"] == "ids-went-back" && orders["rows_changed"] == 3,
        "{orders:#}"
    );
    world.compare().await.context("after the older copy")
}
