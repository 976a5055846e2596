//! A host whose clock is a day off, in both directions: positions and times come from the source, and what a file
//! has no clock for must not depend on the host's.

use anyhow::{Context, Result, ensure};
use tidemill_tests::clock;

use tidemill_tests::world::{At, Beginning, World};

const DAY: i64 = 86_400;

const DESIGN: &str = "INSERT INTO design (design_id, created_at, design_name, file_location, file_name, last_updated) \
     VALUES ((SELECT max(design_id) + 1 FROM design), strftime('%Y-%m-%d %H:%M:%f', 'now'), 'Late', '/late', 'late.json', strftime('%Y-%m-%d %H:%M:%f', 'now'))";

#[tokio::test]
async fn a_day_off_changes_nothing_with_a_source_on_postgres() -> Result<()> {
    off(At::Postgres, At::Folder).await
}

#[tokio::test]
async fn a_day_off_changes_nothing_with_a_source_in_a_file() -> Result<()> {
    off(At::Folder, At::Postgres).await
}

/// With a column as the cursor a file has no clock but the host's: what is dated after it is landed all the
/// same, and the watermark does not run ahead.
#[tokio::test]
async fn a_day_off_loses_nothing_with_a_column_as_cursor() -> Result<()> {
    let mut world = World::begin(Beginning {
        edits: &[(
            "[source.totesys]\n",
            "[source.totesys]\ncursor = \"last_updated\"\n",
        )],
        scale: 0.3,
        ..Beginning::at(At::Folder)
    })
    .await?;
    world.run_and_compare(&[]).await?;
    let file = world.source.strip_prefix("sqlite://").context("a file")?;
    let file = std::path::PathBuf::from(file);
    for wanted in [-DAY, DAY, 0, DAY, -DAY, 0] {
        set(&mut world, wanted)?;
        let writer = rusqlite::Connection::open(&file)?;
        writer.execute_batch(DESIGN)?;
        drop(writer);
        let report = world.run_and_compare(&[]).await?;
        is_off(&report, wanted)?;
        let designs = tidemill_tests::world::extracted(&report, "design")?;
        ensure!(designs["rows_new"] == 1, "at {wanted}: {designs:#}");
        ensure!(designs["window"]["method"] == "cursor", "{designs:#}");
    }
    Ok(())
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
