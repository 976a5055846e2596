//! One table to the objects of a landing: which part of it is read, whether the count agrees, and where it is then.

use std::sync::Arc;
use std::time::Instant;

use super::parts::Part;
use super::state::{extracted, outcome, state};
use super::{ExtractError, Extraction, LandedStep};
use crate::config::Cursor;
use crate::error::Result;
use crate::manifest::LandedTable;
use crate::pipeline::index::Index;
use crate::pipeline::landing::{Landed, Landing};
use crate::pipeline::schema::Admitted;
use crate::pipeline::temporary::Disk;
use crate::pipeline::{spans, window};
use crate::run::Stage;
use crate::source::{Selection, Snapshot};
use crate::table::{KeyOrigin, Table};
use crate::watermark::{CompareReason, CursorValue, Reached, Watermark, Window};
use crate::zone::Zone;

/// One table on its way.
pub(super) struct Step<'a> {
    /// The table, as the project wants it.
    pub(super) admitted: Admitted,
    /// What the landing before knows of it.
    pub(super) previous: Option<&'a LandedTable>,
    /// What of it is read.
    pub(super) window: Window,
}

impl Step<'_> {
    pub(super) fn table(&self) -> &Table {
        &self.admitted.table
    }
}

/// What came of a table that may be landed in parts.
enum PartLanded {
    /// What was landed, and how far the table is where it is not whole.
    Made(Landed, Option<Reached>),
    /// It is no further than before.
    Nothing,
    /// It is not landed in parts.
    Unable,
}

impl Extraction<'_> {
    /// Lands a table, or a part of it; `None` where the word to stop came before there was anything to commit.
    pub(super) async fn land(
        &self,
        snapshot: &dyn Snapshot,
        mut step: Step<'_>,
        sequence: u64,
        disk: &Disk,
    ) -> Result<Option<LandedStep>> {
        if self.halt.is_called() {
            return Ok(None);
        }
        let started = Instant::now();
        let name = step.table().name.as_str().to_owned();
        self.observer.began(Stage::Extract, &name, None);
        self.check_text(step.table())?;
        let (mut landed, reached) = match self.land_part(snapshot, &step, sequence, disk).await? {
            PartLanded::Made(part, reached) => (part, reached),
            PartLanded::Nothing => return Ok(None),
            PartLanded::Unable => {
                if matches!(step.window, Window::Rest { .. }) {
                    let reason = CompareReason::NoCursor;
                    step.window = Window::Compare { reason };
                }
                let whole = self.read(snapshot, &step, (sequence, ""), disk);
                match self.unless_halted(whole).await? {
                    Some(whole) => (whole, None),
                    None => return Ok(None),
                }
            }
        };
        let is_rest = matches!(step.window, Window::Rest { .. });
        let count = async {
            match reached {
                Some(_) => Ok(None),
                None => self.count_differs(snapshot, &step, &landed).await,
            }
        };
        let differs = match self.unless_halted(count).await? {
            Some(differs) => differs,
            // The parts are whole, and the next landing counts.
            None if is_rest => None,
            None => return Ok(None),
        };
        if let Some(reason) = differs {
            let window = Window::Compare { reason };
            let before = std::mem::replace(&mut step.window, window);
            let compared = self.read(snapshot, &step, (sequence, "-compared"), disk);
            match self.unless_halted(compared).await? {
                Some(compared) => landed = compared,
                None if is_rest => step.window = before,
                None => return Ok(None),
            }
        }
        let watermark = match reached {
            Some(_) => None,
            None => self.watermark(snapshot, &step).await?,
        };
        let mut state = state(snapshot, &step, &landed, watermark, sequence);
        if reached.is_some() {
            let first = step.previous.filter(|previous| previous.reached.is_some());
            state.position = first.map_or(state.position, |first| first.position.clone());
            state.reached = reached;
        }
        let extracted = extracted(&step, &landed, &state, started.elapsed());
        spans::extracted(&extracted, sequence, snapshot.clock());
        self.observer
            .ended(Stage::Extract, &name, &outcome(&extracted));
        Ok(Some((state, extracted)))
    }

    /// Does `work` unless the word to stop comes.
    async fn unless_halted<R>(&self, work: impl Future<Output = Result<R>>) -> Result<Option<R>> {
        tokio::select! {
            biased;
            done = work => done.map(Some),
            () = self.halt.called() => Ok(None),
        }
    }

    /// Lands a part of a table that is landed in parts.
    async fn land_part(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        sequence: u64,
        disk: &Disk,
    ) -> Result<PartLanded> {
        let Some(most_rows) = self.most_rows(snapshot, step) else {
            return Ok(PartLanded::Unable);
        };
        let mut landing = self.landing(snapshot, step, (sequence, ""), disk)?;
        let part = self.read_part(snapshot, step, &mut landing, most_rows);
        let reached = match part.await? {
            None => return Ok(PartLanded::Unable),
            Some(Part::Nothing) => return Ok(PartLanded::Nothing),
            Some(Part::UpTo(reached)) => Some(reached),
            Some(Part::Whole) => None,
        };
        Ok(PartLanded::Made(landing.finish().await?, reached))
    }

    /// A landing of `step` into objects of its own.
    fn landing(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        (sequence, attempt): (u64, &str),
        disk: &Disk,
    ) -> Result<Landing> {
        let table = step.table();
        let segments = step.previous.map(|p| p.index.clone()).unwrap_or_default();
        let zone: Arc<dyn Zone> = Arc::new(self.zone.clone());
        let index = Index::new(zone.clone(), table.key_schema(), segments);
        let prefix = format!("{}{attempt}", self.prefix(step, snapshot.clock(), sequence));
        let landing = Landing::new(zone, prefix, table, index, self.progress(table))?;
        Ok(landing.within(disk))
    }

    /// Reads the window of one table into objects.
    async fn read(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        attempt: (u64, &str),
        disk: &Disk,
    ) -> Result<Landed> {
        let mut landing = self.landing(snapshot, step, attempt, disk)?;
        if step.admitted.anew {
            landing.land_anew();
        }
        let batches = snapshot
            .read(step.table(), &selection(&step.window))
            .await?;
        match step.window {
            Window::First => landing.land_all(batches).await?,
            Window::Snapshot { .. } | Window::Cursor { .. } | Window::Rest { .. } => {
                landing.land_candidates(batches).await?
            }
            Window::Compare { .. } => landing.land_differences(batches).await?,
            Window::Replace => {
                let before = step.previous.and_then(|p| p.content.as_deref());
                let before = before.filter(|_| !step.admitted.anew);
                return landing.land_content(batches, before).await;
            }
        }
        landing.finish().await
    }

    /// Whether the columns that the project wants as text are there.
    fn check_text(&self, table: &Table) -> Result<(), ExtractError> {
        let declared = self.plan.tables.get(table.name.as_str());
        let named = declared.into_iter().flat_map(|declared| &declared.text);
        match named.into_iter().find(|name| table.column(name).is_none()) {
            Some(name) => Err(ExtractError::NoTextColumn(name.clone())),
            None => Ok(()),
        }
    }

    fn progress(&self, table: &Table) -> Box<dyn Fn(u64, u64) + Send + Sync> {
        let observer = self.observer.clone();
        let name = table.name.as_str().to_owned();
        Box::new(move |rows, bytes| observer.advanced(Stage::Extract, &name, rows, bytes))
    }

    /// After a window that shows no deletions, whether the table has as many rows as it should have.
    async fn count_differs(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        landed: &Landed,
    ) -> Result<Option<CompareReason>> {
        let (Window::Snapshot { .. } | Window::Rest { .. }, Some(previous)) =
            (&step.window, step.previous)
        else {
            return Ok(None);
        };
        let source = snapshot.count(step.table()).await?;
        let expected = previous.live_rows + landed.counts.new;
        Ok((source != expected).then_some(CompareReason::CountDiffers {
            source,
            landed: expected,
        }))
    }

    /// How far the cursor column has been read now. It never goes back: what is older is in the overlap or
    /// is found by a compare.
    async fn watermark(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
    ) -> Result<Option<Watermark>> {
        let Cursor::Column { name, .. } = self.plan.cursor_of(step.table().name.as_str()) else {
            return Ok(None);
        };
        if step.table().key_origin == KeyOrigin::None {
            return Ok(None);
        }
        let now = snapshot.watermark(step.table(), name).await?;
        let before = step
            .previous
            .and_then(|p| p.watermark.clone())
            .filter(|before| before.column == *name);
        Ok(match (before, now) {
            (Some(before), Some(now)) if !matches!(step.window, Window::Compare { .. }) => {
                Some(later(before, now))
            }
            (before, None) => before,
            (_, now) => now,
        })
    }
}

fn later(a: Watermark, b: Watermark) -> Watermark {
    let order = |value: &CursorValue| match value {
        CursorValue::Integer(n) | CursorValue::Timestamp(n) | CursorValue::TimestampTz(n) => *n,
    };
    if order(&b.value) > order(&a.value) {
        b
    } else {
        a
    }
}

fn selection(window: &Window) -> Selection {
    match window {
        Window::Snapshot { xmin } => Selection::SinceTransaction { xmin: *xmin },
        Window::Cursor {
            from: Some(watermark),
            overlap,
        } => Selection::SinceCursor {
            column: watermark.column.clone(),
            from: window::less(&watermark.value, *overlap),
        },
        _ => Selection::All,
    }
}
