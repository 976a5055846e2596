//! The first landing of a table in several parts: for runs that have a deadline, and so that what follows has landings of a
//! size that it can take.
//!
//! ```text
//! first part    blocks 0 … n           in snapshot A, which stays the table's position
//! further ones  blocks n … m           in their own snapshots, as far as rows have not changed since A
//! last part     blocks m … the end, and everywhere what changed since A; then the count, as after any window
//! ```
//!
//! A row that has not been written since A is what A saw, whenever it is read; every other row is read with the last part, by
//! the same rule by which a run finds what changed since the one before. So all parts together are what one landing in the
//! last snapshot would have been, and what is deleted meanwhile is told by the count. Blocks that were begun and not ended are
//! read again and compared. Where rows may have been moved, the table is compared whole.
//!
//! Rejected: parts by key, for which a table would have to be read in the order of an index; one snapshot for all parts,
//! which no function outlives; the parts of one part more, with a list of what is read in memory.

use futures::{StreamExt as _, TryStreamExt as _};

use super::{Extraction, Step};
use crate::error::Result;
use crate::pipeline::landing::Landing;
use crate::source::{BatchStream, Selection, Snapshot};
use crate::watermark::{Reached, Window};

/// What came of a part.
pub(super) enum Part {
    /// The table is whole now.
    Whole,
    /// It is landed as far as this.
    UpTo(Reached),
    /// It is not further than before.
    Nothing,
}

impl Extraction<'_> {
    /// Rows of a landing after which it is ended, for a table that is to be landed in parts; `None` for one that is not.
    pub(super) fn most_rows(&self, snapshot: &dyn Snapshot, step: &Step<'_>) -> Option<u64> {
        match step.window {
            // What changes between two parts must be told.
            Window::First
                if snapshot
                    .changes_since(step.table(), snapshot.position())
                    .is_ok() =>
            {
                self.part_rows
            }
            Window::Rest { .. } => Some(self.part_rows.unwrap_or(u64::MAX)),
            _ => None,
        }
    }

    /// Reads a part of `step` into `landing`, of `most_rows` or some more; `None` where it cannot be read in parts.
    pub(super) async fn read_part(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        landing: &mut Landing,
        most_rows: u64,
    ) -> Result<Option<Part>> {
        let table = step.table();
        let rest = match &step.window {
            Window::Rest { xmin, reached } => Some((reached, *xmin)),
            _ => None,
        };
        let Some(pieces) = snapshot.read_in_pieces(table, rest).await? else {
            return Ok(None);
        };
        landing
            .land_candidates(self.until_halted(pieces.again))
            .await?;
        if self.halt.is_called() {
            return Ok(Some(Part::Nothing));
        }
        let (pace, mut rows) = (pieces.pace.clone(), 0_u64);
        let counted = pieces.rows.inspect_ok(move |batch| {
            rows = rows.saturating_add(batch.num_rows() as u64);
            if rows >= most_rows {
                pace.enough();
            }
        });
        landing.land_all(self.until_halted(counted.boxed())).await?;
        let before = rest.map_or(0, |(reached, _)| reached.whole);
        if let Some(reached) = pieces.pace.reached() {
            return Ok(Some(match reached.whole > before {
                true => Part::UpTo(reached),
                false => Part::Nothing,
            }));
        }
        let Some((reached, xmin)) = rest else {
            return Ok(Some(Part::Whole));
        };
        let changed = Selection::SinceTransaction { xmin };
        let changed = snapshot.read(table, &changed).await?;
        landing.land_candidates(self.until_halted(changed)).await?;
        Ok(Some(match self.halt.is_called() {
            false => Part::Whole,
            // Only what changed is left.
            true if pieces.end != *reached => Part::UpTo(pieces.end),
            true => Part::Nothing,
        }))
    }

    /// The batches until the word to stop comes: everything that was given by then is landed.
    fn until_halted(&self, batches: BatchStream) -> BatchStream {
        let halt = self.halt.clone();
        let called = Box::pin(async move { halt.called().await });
        batches.take_until(called).boxed()
    }
}
