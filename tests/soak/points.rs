//! Runs killed at every commit point, before, in and after the call that is it, and at every other call by which a
//! run changes something.

use anyhow::{Context as _, Result};
use tidemill_tests::points::Point;
use tidemill_tests::siege::Siege;
use tidemill_tests::trace::Side;
use tidemill_tests::world::At;

use super::asked::Asked;
use super::kills::{name, on_all};
use super::table::Line;

/// Sides of a call.
const SIDES: [Side; 3] = [Side::Before, Side::During, Side::After];

/// Which of the calls to the same point is met: the first, and some in the middle.
const TURNS: [u32; 2] = [1, 5];

/// The most runs until one keeps live rows: it happens after every sixteenth landing of a table.
const RUNS_UNTIL_KEPT: u32 = 40;

/// Of all calls by which a run changes something, every so many-th is a case of its own.
const STRIDE: usize = 7;

/// Kills on both warehouses.
///
/// # Errors
/// The first that was not survived.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Line>> {
    let lines = on_all(asked, async |place| {
        let mut siege = Siege::begin(place, asked.seed).await?;
        let points = at_points(place, &mut siege, asked).await?;
        let kept = at_kept_rows(&mut siege, asked).await?;
        let calls = at_calls(&mut siege, asked).await?;
        siege.end().await?;
        println!(
            "{:<11}  {points:>5} kills at points, {kept} where rows are kept, {calls} between changes",
            name(place)
        );
        let line = |what: &str, survived| Line {
            suite: "points",
            what: format!("{}, {what}", name(place)),
            survived,
        };
        Ok(vec![
            line("killed before, in and after a commit point", points),
            line("killed where live rows are kept", kept),
            line("killed between two changes", calls),
        ])
    })?;
    Ok(lines.into_iter().flatten().collect())
}

async fn at_points(place: At, siege: &mut Siege, asked: &Asked) -> Result<u64> {
    let points: &[Point] = match place {
        At::Folder | At::Bucket => &Point::EMBEDDED,
        At::Postgres => &Point::POSTGRES,
    };
    let mut survived = 0;
    for point in points {
        for side in SIDES {
            for turn in TURNS {
                // The end is passed once, and nothing comes after it.
                if asked.is_over() || (*point == Point::End && (turn, side) != (1, Side::Before)) {
                    continue;
                }
                siege.live().await?;
                let killed = siege.kill_at_point(*point, turn, side).await?;
                survived += u64::from(killed.is_some());
                siege
                    .complete()
                    .await
                    .with_context(|| format!("after a kill {side:?}: {point}, turn {turn}"))?;
            }
        }
    }
    Ok(survived)
}

/// Runs until one keeps live rows, and kills it there.
async fn at_kept_rows(siege: &mut Siege, asked: &Asked) -> Result<u64> {
    let mut survived = 0;
    for side in SIDES {
        for _ in 0..RUNS_UNTIL_KEPT {
            if asked.is_over() {
                break;
            }
            siege.live().await?;
            let killed = siege.kill_at_point(Point::CurrentRows, 1, side).await?;
            if killed.is_some() {
                survived += 1;
                siege
                    .complete()
                    .await
                    .with_context(|| format!("after a kill {side:?}: kept live rows"))?;
                break;
            }
        }
    }
    Ok(survived)
}

/// Kills before the first change, the eighth, and so on, until a run makes fewer.
async fn at_calls(siege: &mut Siege, asked: &Asked) -> Result<u64> {
    let mut survived = 0;
    for number in (0..).step_by(STRIDE) {
        if asked.is_over() {
            break;
        }
        siege.live().await?;
        let mut made = 0;
        let killed = siege
            .kill_at(|_| {
                made += 1;
                (made > number).then_some(Side::Before)
            })
            .await
            .with_context(|| format!("killed before change {number}"))?;
        let Some((call, ..)) = killed else { break };
        survived += 1;
        siege
            .complete()
            .await
            .with_context(|| format!("after a kill before change {number}, {call:?}"))?;
    }
    Ok(survived)
}
