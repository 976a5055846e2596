//! Runs that are killed: the next run completes what is there, without help.
//!
//! A seeded sample of what `cargo x soak` does at length, by the same code: `tidemill_tests::siege`.

use anyhow::{Result, ensure};
use tidemill_tests::siege::Siege;

use super::world::At;

/// Runs that are killed at random moments in one test.
const KILLS: u32 = 6;

/// Where their sequence begins.
const SEED: u64 = 11;

#[tokio::test]
async fn runs_killed_at_random_on_the_embedded_defaults_are_completed_by_the_next() -> Result<()> {
    kill_at_random(At::Folder).await
}

#[tokio::test]
async fn runs_killed_at_random_in_a_bucket_are_completed_by_the_next() -> Result<()> {
    kill_at_random(At::Bucket).await
}

#[tokio::test]
async fn runs_killed_at_random_on_postgres_are_completed_by_the_next() -> Result<()> {
    kill_at_random(At::Postgres).await
}

async fn kill_at_random(place: At) -> Result<()> {
    let mut siege = Siege::begin(place, SEED).await?;
    let mut random = fastrand::Rng::with_seed(SEED);
    siege.hold_out(KILLS, &mut random, || false).await?;
    let survived = siege.end().await?;
    ensure!(survived.all() == KILLS, "{survived:?}");
    Ok(())
}

#[cfg(target_os = "linux")]
mod points {
    use anyhow::{Context as _, Result, ensure};
    use tidemill_tests::points::Point;
    use tidemill_tests::siege::Siege;
    use tidemill_tests::trace::Side;

    use super::{At, SEED};

    #[tokio::test]
    async fn a_run_may_be_killed_at_every_commit_into_a_folder() -> Result<()> {
        kill_at_all(At::Folder, &Point::EMBEDDED).await
    }

    #[tokio::test]
    async fn a_run_may_be_killed_at_every_commit_into_a_bucket() -> Result<()> {
        kill_at_all(At::Bucket, &Point::EMBEDDED).await
    }

    #[tokio::test]
    async fn a_run_may_be_killed_at_every_commit_into_postgres() -> Result<()> {
        kill_at_all(At::Postgres, &Point::POSTGRES).await
    }

    /// Each point on one side of it here; the soak takes all sides.
    async fn kill_at_all(place: At, points: &[Point]) -> Result<()> {
        let mut siege = Siege::begin(place, SEED).await?;
        for (number, point) in points.iter().enumerate() {
            let side = match (point, number % 3) {
                (Point::End, _) | (_, 0) => Side::Before,
                (_, 1) => Side::After,
                _ => Side::During,
            };
            siege.live().await?;
            let killed = siege.kill_at_point(*point, 1, side).await?;
            ensure!(killed.is_some(), "the run did not pass: {point}");
            siege
                .complete()
                .await
                .with_context(|| format!("after a kill {side:?}: {point}"))?;
        }
        siege.end().await?;
        Ok(())
    }
}
