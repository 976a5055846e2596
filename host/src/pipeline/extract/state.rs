//! What a manifest and a report say of a table that was read.

use std::time::Duration;

use super::Step;
use crate::manifest::LandedTable;
use crate::pipeline::landing::Landed;
use crate::pipeline::report::TableExtracted;
use crate::source::Snapshot;
use crate::table::SchemaChange;
use crate::watermark::{Watermark, Window};

/// The state of the table after this landing.
pub(super) fn state(
    snapshot: &dyn Snapshot,
    step: &Step<'_>,
    landed: &Landed,
    watermark: Option<Watermark>,
    sequence: u64,
) -> LandedTable {
    let previous = step.previous;
    let counts = landed.counts;
    let brought = !landed.changed.is_empty() || !landed.deleted.is_empty() || landed.replaces;
    let is_new = previous.is_none();
    let live_rows = match step.window {
        Window::Snapshot { .. } | Window::Cursor { .. } | Window::Rest { .. } => {
            previous.map_or(0, |p| p.live_rows) + counts.new
        }
        Window::First | Window::Compare { .. } | Window::Replace => counts.read,
    };
    let compared_at = match (&step.window, previous) {
        (Window::Snapshot { .. } | Window::Cursor { .. } | Window::Rest { .. }, Some(previous)) => {
            previous.compared_at
        }
        _ => snapshot.clock(),
    };
    LandedTable {
        table: step.table().clone(),
        identity: step.admitted.identity.clone(),
        dropped: step.admitted.dropped.clone(),
        position: snapshot.position().clone(),
        reached: None,
        window: Some(step.window.clone()),
        watermark,
        compared_at,
        changed: landed.changed.clone(),
        deleted: landed.deleted.clone(),
        replaces: landed.replaces,
        live_rows,
        content: landed.content.clone(),
        changed_in: match previous {
            Some(previous) if !brought => previous.changed_in,
            _ => sequence,
        },
        changed_before: match previous {
            Some(previous) if brought => Some(previous.changed_in),
            Some(previous) => previous.changed_before,
            None => None,
        },
        index: if brought || is_new {
            landed.index.clone()
        } else {
            previous.map(|p| p.index.clone()).unwrap_or_default()
        },
    }
}

pub(super) fn extracted(
    step: &Step<'_>,
    landed: &Landed,
    state: &LandedTable,
    elapsed: Duration,
) -> TableExtracted {
    TableExtracted {
        table: step.table().name.as_str().to_owned(),
        changes: step
            .admitted
            .changes
            .iter()
            .filter(|change| **change != SchemaChange::TableAdded)
            .cloned()
            .collect(),
        ignored: step.admitted.ignored.clone(),
        window: step.window.clone(),
        watermark_before: step.previous.and_then(|p| p.watermark.clone()),
        watermark_after: state.watermark.clone(),
        rows_read: landed.counts.read,
        rows_new: landed.counts.new,
        rows_changed: landed.counts.changed,
        rows_deleted: landed.counts.deleted,
        rows_live: state.live_rows,
        bytes: landed
            .changed
            .iter()
            .chain(&landed.deleted)
            .map(|o| o.bytes)
            .sum(),
        elapsed,
    }
}

pub(super) fn outcome(extracted: &TableExtracted) -> String {
    format!(
        "{} new, {} changed, {} deleted",
        extracted.rows_new, extracted.rows_changed, extracted.rows_deleted
    )
}
