//! The warehouse on PostgreSQL goes away while it is loaded, also between its commit and the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidemill_tests::host::Host;
use tidemill_tests::mounts::Mounts;
use tidemill_tests::postgres::{Server, connect, execute};
use tidemill_tests::proxy::{Line, Proxy};
use tidemill_tests::sessions;

use super::{Story, healed};
use tidemill_tests::world::{At, Beginning, World};

/// The statement that brings rows into the warehouse.
const COPYING: &str = "COPY ";
/// The statement that commits them, as a whole message: the word stands in others as well.
const COMMITTING: &str = "Q\0\0\0\u{b}COMMIT\0";

#[tokio::test]
async fn a_warehouse_that_goes_away_is_loaded_once() -> Result<()> {
    let mut world = World::begin(Beginning {
        server: Some(Arc::new(Server::start(""))),
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let proxy = Proxy::before(world.server.port())?;
    let url = proxy.url(&world.star);
    world.project.set("WAREHOUSE_URL", &url);
    let mut story = Story::of("warehouse");

    for (fault, line) in [
        (
            "the connection breaks off in the middle of the first load",
            Line::CutAfter(COPYING, 0),
        ),
        ("the warehouse is not there", Line::Away),
        (
            "the connection breaks off before the warehouse has the commit",
            Line::CutBefore(COMMITTING),
        ),
        (
            "the answer to the commit is lost, and the warehouse with it",
            Line::AwayAfter(COMMITTING, 0),
        ),
    ] {
        world.live().await?;
        proxy.set(line);
        story.run(&mut world, fault, &["run"]).await?;
        world.evolution.run();
        proxy.set(Line::Whole);
        // Nothing new happened since: what is loaded now is what the fault left, or nothing.
        let report = world.done(&["run"])?;
        let landings = report["load"]["landings"].as_array().map(Vec::len);
        let committed = matches!(line, Line::AwayAfter(..));
        ensure!((landings == Some(0)) == committed, "{fault}: {report:#}");
        world.evolution.run();
        world.check().await?;
    }

    let fault = "the answer to the commit is lost, and the warehouse answers again";
    world.live().await?;
    proxy.set(Line::CutAfter(COMMITTING, 0));
    recognised(&mut world, &mut story, fault, &["run"]).await?;
    ensure!(proxy.failures() == 1, "no answer was lost");
    proxy.set(Line::Whole);

    let fault = "the answer to the commit never comes";
    world.live().await?;
    proxy.set(Line::HangAfter(COMMITTING, 0));
    let begin = Instant::now();
    recognised(
        &mut world,
        &mut story,
        fault,
        &["run", "--set", "warehouse.timeout=3s"],
    )
    .await?;
    ensure!(
        begin.elapsed() < Duration::from_secs(30),
        "it hung for {:?}",
        begin.elapsed()
    );
    proxy.set(Line::Whole);

    let fault = "the warehouse stops answering in the middle of a load";
    world.live().await?;
    proxy.set(Line::HangAfter(COPYING, 0));
    let begin = Instant::now();
    story
        .run(&mut world, fault, &["run", "--set", "warehouse.timeout=3s"])
        .await?;
    ensure!(
        begin.elapsed() < Duration::from_secs(30),
        "it hung for {:?}",
        begin.elapsed()
    );
    proxy.set(Line::Whole);
    world.evolution.run();
    healed(&mut world, fault).await?;

    let fault = "somebody holds a table of the warehouse locked";
    world.live().await?;
    let lock = connect(&world.star).await?;
    lock.batch_execute("BEGIN; LOCK TABLE fact_payment").await?;
    // Half of the time is for the lock; the other half is enough for what comes before it, on a busy machine too.
    story
        .run(
            &mut world,
            fault,
            &["run", "--set", "warehouse.timeout=10s"],
        )
        .await?;
    lock.batch_execute("ROLLBACK").await?;
    world.evolution.run();
    healed(&mut world, fault).await?;

    let fault = "the server dies in the middle of a load";
    world.live().await?;
    let lock = connect(&world.star).await?;
    lock.batch_execute("BEGIN; LOCK TABLE fact_payment").await?;
    let run = Host::start(&world.project, ["run"])?;
    sessions::waiting_for_a_lock(&world.star, 1).await?;
    world.server.crash();
    let said = run.end()?;
    ensure!(said.code == Some(1), "{said:#?}");
    story.tell(&world, fault, &["run"], &said);
    world.server.come_back();
    world.resume().await?;
    world.evolution.run();
    healed(&mut world, fault).await?;
    story.end()
}

/// A run that loses an answer and finds in the ledger that its work is done.
async fn recognised(
    world: &mut World,
    story: &mut Story,
    fault: &str,
    arguments: &[&str],
) -> Result<()> {
    let said = world.project.call(arguments)?;
    ensure!(said.code == Some(0), "{fault}: {said:#?}");
    let warning = said
        .stderr
        .lines()
        .filter_map(|line| line.split_once(" WARN "));
    let warning: Vec<&str> = warning.map(|(_, text)| text).collect();
    ensure!(warning.len() == 1, "{fault}: one warning of {said:#?}");
    let told = tidemill_tests::project::Said {
        stderr: format!("WARN {}\n", warning.concat()),
        ..said
    };
    story.tell(world, fault, arguments, &told);
    world.evolution.run();
    world.check().await
}

#[tokio::test]
async fn a_warehouse_whose_disk_is_full_is_loaded_when_there_is_space() -> Result<()> {
    let mounts = Mounts::new()?;
    let server = Server::start_within(&mounts, "");
    let space = server.data().with_file_name("space");
    mounts.disk(&space, 64 << 20)?;
    server.own(&mounts, &space);
    let server = Arc::new(server);
    let mut world = World::begin(Beginning {
        server: Some(Arc::clone(&server)),
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let location = space.display();
    let maintenance = server.url("postgres");
    execute(
        &maintenance,
        &format!("CREATE TABLESPACE small LOCATION '{location}'"),
    )
    .await?;
    let star = tidemill_tests::postgres::database_of(&world.star);
    server.disconnect(star).await;
    execute(
        &maintenance,
        &format!("ALTER DATABASE {star} SET TABLESPACE small"),
    )
    .await?;
    let fault = "the disk of the warehouse is full";
    // The first session in a database that was moved writes a file of the server's own.
    execute(&world.star, "SELECT").await?;
    mounts.leave(&space, 128 << 10)?;
    let said = super::failed(&world, &["run"])?;
    ensure!(
        said.code == Some(1)
            && said.stderr.contains("No space left on device")
            && said
                .stderr
                .contains("  hint: free some space on the server's disk"),
        "{said:#?}"
    );
    world.evolution.run();
    mounts.remount(&space, "size=64m")?;
    healed(&mut world, fault).await?;
    Ok(())
}
