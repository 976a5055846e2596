//! Extract: one snapshot of a source to one landing manifest.
//!
//! Every table is read in the same snapshot, several at a time. A table whose rows or settings are wrong
//! keeps its old state and is reported; the others go on. A source that goes away ends the landing, and
//! nothing is committed.

mod error;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};

use super::index::Index;
use super::landing::{Landed, Landing};
use super::report::{ExtractReport, Observer, Scope, SweepReport, TableExtracted, TableFailure};
use super::sweep::Notes;
use super::window::{self, Asked};
use crate::config::{Cursor, SourcePlan};
use crate::error::{ErrorKind, Result};
use crate::manifest::{FORMAT, LandedTable, LandingManifest, ManifestLog};
use crate::run::{RunId, Stage};
use crate::source::{Discovered, Selection, Snapshot};
use crate::table::{KeyOrigin, Table, TableName};
use crate::watermark::{CompareReason, CursorValue, Watermark, Window};
use crate::zone::Zone;
use crate::zone::parquet::WRITER;
use crate::zone::watched::Watched;
pub(crate) use error::ExtractError;
use state::{extracted, outcome, state};

/// The extraction of one source in one run.
pub(super) struct Extraction<'a> {
    /// The source's name in the project file.
    pub(super) name: &'a str,
    /// How it is read.
    pub(super) plan: &'a SourcePlan,
    /// The landing zone.
    pub(super) zone: Watched,
    /// How old is what is swept.
    pub(super) sweep_after: Duration,
    /// The run.
    pub(super) run: &'a RunId,
    /// What was asked for.
    pub(super) scope: &'a Scope,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
}

/// One table on its way.
struct Step<'a> {
    table: Table,
    previous: Option<&'a LandedTable>,
    window: Window,
}

impl Extraction<'_> {
    /// Lands what changed and commits the manifest.
    ///
    /// # Errors
    /// `Unavailable` when the source goes away, `Conflict` when another run committed meanwhile,
    /// `Config` when nothing of it can be read. A single table's error is in the report instead.
    pub(super) async fn run(&self) -> Result<ExtractReport> {
        let log = ManifestLog::<LandingManifest>::new(self.zone.unwatched(), self.name);
        let notes = Notes::<LandingManifest>::new(self.zone.unwatched(), self.name);
        let previous = log.newest().await?;
        let url = self.plan.url.expose()?;
        let source = crate::source::open(url, &self.plan.options)?;
        let snapshot = source.snapshot().await?;
        let discovered = self.taken(snapshot.tables().await?);
        let steps = self.steps(snapshot.as_ref(), &discovered, previous.as_ref())?;

        let mut manifest = self.manifest(snapshot.clock(), previous.as_ref());
        let mut report = ExtractReport {
            source: self.name.to_owned(),
            landing: manifest.sequence,
            logical_time: manifest.logical_time,
            tables: Vec::new(),
            failures: self.missing(&discovered, previous.as_ref()),
            swept: SweepReport::default(),
        };
        let sequence = manifest.sequence;
        let prefixes = steps
            .iter()
            .map(|step| self.prefix(&step.table, snapshot.clock()));
        let begun = notes.begin(self.run, sequence, prefixes.collect()).await?;
        let mut landings = stream::iter(steps)
            .map(|step| {
                let snapshot = snapshot.as_ref();
                async move {
                    let name = step.table.name.clone();
                    (name, self.land(snapshot, step, sequence).await)
                }
            })
            .buffer_unordered(self.plan.options.connections.max(1));
        while let Some((name, landed)) = landings.next().await {
            match landed {
                Ok((landed, extracted)) => {
                    manifest.tables.insert(name, landed);
                    report.tables.push(extracted);
                }
                Err(error) if stops_all(error.kind()) => {
                    return Err(error.at(Stage::Extract).on(name.as_str()));
                }
                Err(error) => {
                    report
                        .failures
                        .push(TableFailure::new(name.as_str(), Stage::Extract, &error))
                }
            }
        }
        drop(landings);
        report.tables.sort_by(|a, b| a.table.cmp(&b.table));
        notes.commit(&begun, &self.zone, &manifest).await?;
        report.swept = notes.sweep(&begun, self.sweep_after).await;
        notes.settle(&begun, &self.zone, Some(&manifest)).await;
        Ok(report)
    }

    /// The tables that the project takes, with the keys it declares.
    fn taken(&self, discovered: Vec<Discovered>) -> Vec<Discovered> {
        taken(self.plan, discovered)
    }

    fn steps<'m>(
        &self,
        snapshot: &dyn Snapshot,
        discovered: &[Discovered],
        previous: Option<&'m LandingManifest>,
    ) -> Result<Vec<Step<'m>>> {
        if discovered.is_empty() {
            return Err(ExtractError::Empty(self.name.to_owned()).into());
        }
        if let Some(unknown) = self
            .scope
            .tables
            .iter()
            .find(|wanted| discovered.iter().all(|d| d.table.name.as_str() != **wanted))
        {
            return Err(ExtractError::NoTable {
                source_name: self.name.to_owned(),
                table: unknown.clone(),
            }
            .into());
        }
        let in_scope = |table: &TableName| {
            self.scope.tables.is_empty() || self.scope.tables.iter().any(|t| t == table.as_str())
        };
        Ok(discovered
            .iter()
            .filter(|discovered| in_scope(&discovered.table.name))
            .map(|discovered| {
                let landed = previous.and_then(|m| m.tables.get(&discovered.table.name));
                Step {
                    table: discovered.table.clone(),
                    previous: landed,
                    window: self.window(snapshot, &discovered.table, landed),
                }
            })
            .collect())
    }

    fn window(
        &self,
        snapshot: &dyn Snapshot,
        table: &Table,
        landed: Option<&LandedTable>,
    ) -> Window {
        window::choose(
            table,
            landed,
            self.plan.cursor_of(table.name.as_str()),
            &Asked {
                compare: self.scope.full || self.scope.reconcile,
                interval: self.plan.reconcile,
                now: snapshot.clock(),
            },
            |previous| snapshot.changes_since(table, previous),
        )
    }

    /// Tables that were landed before and are gone, unless the project leaves them out.
    fn missing(
        &self,
        discovered: &[Discovered],
        previous: Option<&LandingManifest>,
    ) -> Vec<TableFailure> {
        if !self.scope.tables.is_empty() {
            return Vec::new();
        }
        previous
            .iter()
            .flat_map(|manifest| manifest.tables.keys())
            .filter(|table| self.plan.takes(table.as_str()))
            .filter(|table| discovered.iter().all(|d| d.table.name != **table))
            .map(|table| {
                TableFailure::new(table.as_str(), Stage::Extract, &ExtractError::Gone.into())
            })
            .collect()
    }

    fn manifest(
        &self,
        clock: DateTime<Utc>,
        previous: Option<&LandingManifest>,
    ) -> LandingManifest {
        let mut tables = previous.map(|m| m.tables.clone()).unwrap_or_default();
        for table in tables.values_mut() {
            table.window = None;
            table.changed.clear();
            table.deleted.clear();
            table.replaces = false;
        }
        LandingManifest {
            format: FORMAT,
            sequence: previous.map_or(1, |m| m.sequence + 1),
            run: self.run.clone(),
            source: self.name.to_owned(),
            tidemill: env!("CARGO_PKG_VERSION").to_owned(),
            writer: WRITER.to_owned(),
            logical_time: clock,
            tables,
        }
    }

    async fn land(
        &self,
        snapshot: &dyn Snapshot,
        mut step: Step<'_>,
        sequence: u64,
    ) -> Result<(LandedTable, TableExtracted)> {
        let started = Instant::now();
        let name = step.table.name.as_str().to_owned();
        self.observer.began(Stage::Extract, &name, None);
        check_key(&step)?;
        let mut landed = self.read(snapshot, &step, "").await?;
        if let Some(reason) = self.count_differs(snapshot, &step, &landed).await? {
            step.window = Window::Compare { reason };
            landed = self.read(snapshot, &step, "-compared").await?;
        }
        let watermark = self.watermark(snapshot, &step).await?;
        let state = state(snapshot, &step, &landed, watermark, sequence);
        let extracted = extracted(&step, &landed, &state, started.elapsed());
        self.observer
            .ended(Stage::Extract, &name, &outcome(&extracted));
        Ok((state, extracted))
    }

    /// Reads the window of one table into objects.
    async fn read(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        attempt: &str,
    ) -> Result<Landed> {
        let table = &step.table;
        let segments = step.previous.map(|p| p.index.clone()).unwrap_or_default();
        let zone: Arc<dyn Zone> = Arc::new(self.zone.clone());
        let index = Index::new(zone.clone(), table.key_schema(), segments);
        let prefix = format!("{}{attempt}", self.prefix(table, snapshot.clock()));
        let mut landing = Landing::new(zone, prefix, table, index, self.progress(table))?;
        let batches = snapshot.read(table, &selection(&step.window)).await?;
        match step.window {
            Window::First => landing.land_all(batches).await?,
            Window::Snapshot { .. } | Window::Cursor { .. } => {
                landing.land_candidates(batches).await?
            }
            Window::Compare { .. } => landing.land_differences(batches).await?,
            Window::Replace => {
                let before = step.previous.and_then(|p| p.content.as_deref());
                return landing.land_content(batches, before).await;
            }
        }
        landing.finish().await
    }

    fn progress(&self, table: &Table) -> Box<dyn Fn(u64, u64) + Send + Sync> {
        let observer = self.observer.clone();
        let name = table.name.as_str().to_owned();
        Box::new(move |rows, bytes| observer.advanced(Stage::Extract, &name, rows, bytes))
    }

    /// `<source>/<table>/<yyyy>/<mm>/<dd>/<run>`
    fn prefix(&self, table: &Table, clock: DateTime<Utc>) -> String {
        format!(
            "{}/{}/{}/{}",
            self.name,
            super::folder(table.name.as_str()),
            clock.format("%Y/%m/%d"),
            self.run
        )
    }

    /// After a window that shows no deletions, whether the table has as many rows as it should have.
    async fn count_differs(
        &self,
        snapshot: &dyn Snapshot,
        step: &Step<'_>,
        landed: &Landed,
    ) -> Result<Option<CompareReason>> {
        let (Window::Snapshot { .. }, Some(previous)) = (&step.window, step.previous) else {
            return Ok(None);
        };
        let source = snapshot.count(&step.table).await?;
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
        let Cursor::Column { name, .. } = self.plan.cursor_of(step.table.name.as_str()) else {
            return Ok(None);
        };
        if step.table.key_origin == KeyOrigin::None {
            return Ok(None);
        }
        let now = snapshot.watermark(&step.table, name).await?;
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

/// The tables that the project takes from a source, with the keys it declares.
pub(super) fn taken(plan: &SourcePlan, mut discovered: Vec<Discovered>) -> Vec<Discovered> {
    discovered.retain(|d| plan.takes(d.table.name.as_str()));
    for found in &mut discovered {
        let declared = plan.tables.get(found.table.name.as_str());
        if let Some(key) = declared.and_then(|table| table.key.clone()) {
            found.table.key = key;
            found.table.key_origin = KeyOrigin::Declared;
        }
    }
    discovered
}

/// A source that went away, or another run, ends the landing: the snapshot cannot be completed.
fn stops_all(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::Bug
    )
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

/// What landed is found by its key, so the key cannot change under it.
fn check_key(step: &Step<'_>) -> Result<(), ExtractError> {
    let Some(previous) = step.previous else {
        return Ok(());
    };
    let (before, after) = (previous.table.key_schema(), step.table.key_schema());
    let named = |table: &Table| {
        table
            .key
            .iter()
            .map(|name| {
                let column = table.column(name);
                format!("{name} {}", column.map_or("?", |c| c.source_type.as_str()))
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let same = before.fields().len() == after.fields().len()
        && before
            .fields()
            .iter()
            .zip(after.fields())
            .all(|(b, a)| b.name() == a.name() && b.data_type() == a.data_type());
    if same {
        return Ok(());
    }
    Err(ExtractError::KeyChanged {
        before: named(&previous.table),
        after: named(&step.table),
    })
}
