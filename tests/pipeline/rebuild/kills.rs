//! A promotion with a rebuild that is killed: until the swap the old table is served, whole, and the next run goes on.

use anyhow::{Context as _, Result, ensure};
use tidemill_tests::points::Point;
use tidemill_tests::trace::{self, Side};

use super::{At, Edited, SECOND};

/// The fact, of whose two landings both are made.
const MODULE: &str = "fact-payment";

/// Where the promotion is killed beside Delta tables.
const EMBEDDED: [Point; 5] = [
    Point::Promotion,
    Point::ProcessedManifest,
    Point::DeltaFile,
    Point::DeltaCommit,
    Point::Publication,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_be_killed_at_every_commit_into_a_folder() -> Result<()> {
    kill_at_all(At::Folder, &EMBEDDED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_be_killed_at_every_commit_into_a_bucket() -> Result<()> {
    kill_at_all(At::Bucket, &EMBEDDED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_be_killed_at_every_commit_into_postgres() -> Result<()> {
    let points = [
        Point::Promotion,
        Point::ProcessedManifest,
        Point::Staging,
        Point::WarehouseCommit,
    ];
    kill_at_all(At::Postgres, &points).await
}

/// Each point on both sides. The versions take turns, so that each kill has something to change.
async fn kill_at_all(place: At, points: &[Point]) -> Result<()> {
    let edited = Edited::begin(place).await?;
    let first = edited.dump().await?;
    // Before anything is computed: what was is served, and the next run begins again.
    kill(&edited, Point::ProcessedObject, Side::After, true).await?;
    ensure!(edited.dump().await? == first, "nothing was to be loaded");
    edited.away(&["transform"])?;
    edited.away(&["load"])?;
    let second = edited.dump().await?;
    ensure!(second[1] != first[1], "nothing was planted");
    let (mut before, mut after) = (&second, &first);
    for point in points {
        for side in [Side::Before, Side::After] {
            let told = format!("killed {side:?}: {point}");
            kill(&edited, *point, side, std::ptr::eq(after, &second))
                .await
                .context(told.clone())?;
            let found = edited.dump().await?;
            // The dimension has no part in it.
            ensure!(
                found[1] == before[1] || found[1] == after[1],
                "a mixture: {told}"
            );
            let is_promoted = (*point, side) != (Point::Promotion, Side::Before);
            edited.away(&["transform"])?;
            edited.away(&["load"])?;
            let found = edited.dump().await?;
            let wanted = if is_promoted { after } else { before };
            found[1].is_like(&wanted[1]).context(told.clone())?;
            if is_promoted {
                (before, after) = (after, before);
            }
        }
    }
    edited.world.verify()?;
    Ok(())
}

/// Kills the promotion of the one version or the rollback to the other.
async fn kill(edited: &Edited, point: Point, side: Side, forth: bool) -> Result<()> {
    let module = format!("{MODULE}@{SECOND}");
    let arguments = match forth {
        true => ["module", "promote", &module, "--why", "a test", "--rebuild"],
        false => ["module", "rollback", MODULE, "--why", "a test", "--rebuild"],
    };
    let command = super::without_source(&edited.world, &arguments)?;
    let mut met = false;
    let traced = trace::run(&command, |call| {
        // What is committed beside the table is nothing to anybody else.
        let is_beside = point == Point::DeltaCommit && call.target.contains("/rebuilds/");
        let is_there = Point::of(call) == Some(point) && !is_beside;
        (is_there && !std::mem::replace(&mut met, is_there)).then_some(side)
    })?;
    ensure!(
        traced.killed.is_some(),
        "it was not killed, and said: {}{}",
        traced.stdout,
        traced.stderr
    );
    edited.world.is_left_alone().await
}
