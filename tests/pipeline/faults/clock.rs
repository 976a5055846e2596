//! A host whose clock is a day off, in both directions: positions and times come from the source, and what a file
//! has no clock for must not depend on the host's.

use anyhow::{Context, Result, ensure};
use tidemill_tests::clock;

use tidemill_tests::world::{At, Beginning, World};

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_day_off_changes_nothing_with_a_source_on_postgres() -> Result<()> {
    off(At::Postgres, At::Folder).await
}

#[tokio::test]
async fn a_day_off_changes_nothing_with_a_source_in_a_file() -> Result<()> {
    off(At::Folder, At::Postgres).await
}

/// Days on which the clock jumps to and fro; the program is killed by no assertion, and nothing is lost.
async fn off(source: At, warehouse: At) -> Result<()> {
    let mut world = World::begin(Beginning {
        source,
        warehouse,
        scale: 0.3,
        ..Beginning::at(source)
    })
    .await?;
    world.run().await?;
    for wanted in [DAY, -DAY, 0, -DAY, DAY] {
        set(&mut world, wanted)?;
        world.live().await?;
        let report = world.run().await;
        let report = report.with_context(|| format!("with a clock {wanted} seconds off"))?;
        is_off(&report, wanted)?;
    }
    world.verify()?;
    Ok(())
}

fn set(world: &mut World, seconds: i64) -> Result<()> {
    for (name, value) in clock::off_by(seconds, world.project.path())? {
        world.project.set(&name, &value);
    }
    Ok(())
}

/// The library did its work: the run says that it began a day off.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's clock is held against the true one"
)]
fn is_off(report: &serde_json::Value, wanted: i64) -> Result<()> {
    let started = report["started"]
        .as_str()
        .context("a run says when it began")?;
    let started = chrono::DateTime::parse_from_rfc3339(started)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let off = started.timestamp() - i64::try_from(now.as_secs())?;
    ensure!(
        (off - wanted).abs() < 600,
        "the clock was {off} s off, not {wanted}"
    );
    Ok(())
}
