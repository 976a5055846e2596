//! Load: processed manifests to the warehouse, landing by landing, each with its ledger records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};

use super::history;
use super::report::{LandingLoaded, LoadReport, Observer};
use crate::contract::LoadMode;
use crate::error::Result;
use crate::manifest::{ManifestLog, Object, ProcessedManifest, ProcessedTable, Through};
use crate::run::{RunId, Stage};
use crate::warehouse::{BatchStream, Ledger, Load, TableLoad, Warehouse};
use crate::zone::{Zone, parquet};

/// The load of everything that is processed and not yet in the warehouse.
pub(super) struct Loading<'a> {
    /// The processed zone.
    pub(super) zone: Arc<dyn Zone>,
    /// Where rows go.
    pub(super) warehouse: &'a dyn Warehouse,
    /// The run.
    pub(super) run: &'a RunId,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
}

/// The tables of one landing, from one or several processed manifests.
struct Pending {
    source: String,
    landing: u64,
    logical_time: chrono::DateTime<chrono::Utc>,
    tables: BTreeMap<String, (RunId, ProcessedTable)>,
}

impl Loading<'_> {
    /// Loads every landing that the ledger does not have, the oldest first.
    ///
    /// # Errors
    /// The warehouse's own. What was loaded before the error stays, landing by landing.
    pub(super) async fn run(&self, report: &mut LoadReport) -> Result<()> {
        let ledger = self.warehouse.ledger().await?;
        for pending in self.pending(&ledger).await? {
            let started = Instant::now();
            let (source, landing) = (pending.source.clone(), pending.landing);
            let load = self.load(pending);
            for table in &load.tables {
                self.observer.began(Stage::Load, &table.table, None);
            }
            let tables = self.warehouse.load(load).await?;
            for table in &tables {
                let outcome = format!(
                    "{} inserted, {} updated, {} removed",
                    table.inserted, table.updated, table.removed
                );
                self.observer.ended(Stage::Load, &table.table, &outcome);
            }
            report.landings.push(LandingLoaded {
                source,
                landing,
                tables,
                elapsed: started.elapsed(),
            });
        }
        Ok(())
    }

    /// What the ledger does not have, found from the newest manifest backwards.
    async fn pending(&self, ledger: &Ledger) -> Result<Vec<Pending>> {
        let log = ManifestLog::<ProcessedManifest>::new(self.zone.clone(), "");
        let mut pending: BTreeMap<(u64, String), Pending> = BTreeMap::new();
        let mut manifest = log.newest().await?;
        history::check_processed(ledger, manifest.as_ref())?;
        while let Some(processed) = manifest {
            let is_loaded = |(table, through): (&String, &Through)| {
                ledger.through(table, &through.source) >= through.landing
            };
            if processed.through.iter().all(is_loaded) {
                break;
            }
            manifest = match processed.sequence {
                1 => None,
                sequence => Some(log.read(sequence - 1).await?),
            };
            add(&mut pending, ledger, processed);
        }
        Ok(pending.into_values().collect())
    }

    fn load(&self, pending: Pending) -> Load {
        let mut tables: Vec<TableLoad> = pending
            .tables
            .into_iter()
            .map(|(table, (run, processed))| self.table(table, run, processed))
            .collect();
        // Dimensions before facts; names keep the order the same everywhere.
        tables.sort_by_key(|table| (table.mode == LoadMode::AppendVersions, table.table.clone()));
        Load {
            run: self.run.clone(),
            source: pending.source,
            landing: pending.landing,
            logical_time: pending.logical_time,
            tables,
        }
    }

    fn table(&self, table: String, run: RunId, processed: ProcessedTable) -> TableLoad {
        let output = processed.output;
        TableLoad {
            schema: output.schema(),
            primary_key: output.primary_key,
            mode: output.mode,
            record_id: output.record_id,
            alias: output.alias,
            module: processed.module,
            transform_run: run,
            rows: self.rows(&table, processed.rows),
            retractions: self.rows(&table, processed.retractions),
            table,
        }
    }

    fn rows(&self, table: &str, objects: Vec<Object>) -> BatchStream {
        let objects = objects.into_iter().map(|o| (o.key, o.sha256)).collect();
        let observer = self.observer.clone();
        let table = table.to_owned();
        parquet::read(self.zone.clone(), objects, None)
            .map_err(crate::Error::from)
            .inspect_ok(move |batch| {
                let bytes = batch.get_array_memory_size() as u64;
                observer.advanced(Stage::Load, &table, batch.num_rows() as u64, bytes);
            })
            .boxed()
    }
}

/// Adds the tables of a manifest that the ledger does not have.
fn add(
    pending: &mut BTreeMap<(u64, String), Pending>,
    ledger: &Ledger,
    processed: ProcessedManifest,
) {
    let fresh: BTreeMap<String, (RunId, ProcessedTable)> = processed
        .tables
        .into_iter()
        .filter(|(table, _)| ledger.through(table, &processed.source) < processed.landing)
        .map(|(table, made)| (table, (processed.run.clone(), made)))
        .collect();
    if fresh.is_empty() {
        return;
    }
    pending
        .entry((processed.landing, processed.source.clone()))
        .or_insert_with(|| Pending {
            source: processed.source,
            landing: processed.landing,
            logical_time: processed.logical_time,
            tables: BTreeMap::new(),
        })
        .tables
        .extend(fresh);
}
