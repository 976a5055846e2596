//! A SQLite file as the source: missing, locked by a writer, no database, corrupt.

use std::path::PathBuf;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::{Story, healed};
use tidemill_tests::world::{At, Beginning, World};

/// What is done to the bytes of a file.
type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_file_that_cannot_be_read_is_read_by_the_next_run() -> Result<()> {
    let mut world = World::begin(Beginning {
        scale: 0.3,
        ..Beginning::at(At::Folder)
    })
    .await?;
    world.run().await?;
    let file = PathBuf::from(world.source.strip_prefix("sqlite://").context("a file")?);
    let aside = file.with_extension("aside");
    let mut story = Story::of("sqlite");

    let fault = "the file is not there";
    world.live().await?;
    std::fs::rename(&file, &aside)?;
    story.run(&mut world, fault, &["run"]).await?;
    std::fs::rename(&aside, &file)?;
    healed(&mut world, fault).await?;

    let fault = "a writer holds the file locked";
    world.live().await?;
    let writer = Connection::open(&file)?;
    writer.execute_batch("PRAGMA journal_mode = DELETE")?;
    writer.execute_batch("BEGIN EXCLUSIVE")?;
    story.run(&mut world, fault, &["run"]).await?;
    writer.execute_batch("ROLLBACK")?;
    drop(writer);
    healed(&mut world, fault).await?;

    let damages: [(&str, Damage); 4] = [
        ("the file is no database", |bytes| {
            drop(bytes.splice(0..16, *b"not a database!!"))
        }),
        ("the file is empty", |bytes| bytes.clear()),
        ("the file ends early", |bytes| {
            bytes.truncate(bytes.len() / 2)
        }),
        ("pages of the file are overwritten", |bytes| {
            let half = bytes.len() / 2;
            bytes.iter_mut().skip(half).for_each(|byte| *byte = 0xa5);
        }),
    ];
    for (fault, damage) in damages {
        let whole = std::fs::read(&file)?;
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&file, &bytes)?;
        let said = super::failed(&world, &["run"]).context(fault)?;
        story.tell_any_table(&world, fault, &["run"], &said, "extract");
        std::fs::write(&file, &whole)?;
        healed(&mut world, fault).await?;
    }
    story.end()
}
