//! Load: processed manifests to the warehouse, landing by landing, each with its ledger records.
//!
//! A table that was rebuilt is loaded with the rebuild: what was made of it before that is not loaded any more, and what
//! was made after it is loaded on top.

mod pending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};

use super::halt::HaltError;
use super::rebuild::report::RebuildLoaded;
use super::report::{LandingLoaded, LeftOver, LoadReport, Observer, Why};
use super::spans;
use crate::contract::{LoadMode, ModuleRef};
use crate::error::Result;
use crate::manifest::{Object, ProcessedTable, RebuiltTable};
use crate::run::{Halt, RunId, Stage};
use crate::warehouse::{
    BatchStream, LandingRows, Load, Rebuild, TableLoad, TableLoaded, TableRebuild, Warehouse,
};
use crate::zone::{Zone, parquet};
use pending::{Landing, Pending, PendingRebuild, pending};

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
    /// Says when to leave the rest to the next run.
    pub(super) halt: &'a Halt,
}

impl Loading<'_> {
    /// Loads every landing and every rebuild that the ledger does not have, the oldest first. When the word to stop comes,
    /// the transaction under way is rolled back: the landings before it stay.
    ///
    /// # Errors
    /// The warehouse's own, and `Unavailable` when the word to stop came before anything was loaded. What was loaded before
    /// the error stays, landing by landing.
    pub(super) async fn run(&self, report: &mut LoadReport) -> Result<()> {
        let ledger = self.warehouse.ledger().await?;
        let mut pending = pending(&self.zone, &ledger).await?.into_iter();
        for next in pending.by_ref() {
            let what = next.to_string();
            let loaded = tokio::select! {
                biased;
                () = self.halt.called() => false,
                loaded = self.load_one(next, report) => loaded.map(|()| true)?,
            };
            if !loaded {
                report.left.push(left(what));
                break;
            }
        }
        report
            .left
            .extend(pending.map(|next| left(next.to_string())));
        let is_idle = report.landings.is_empty() && report.rebuilds.is_empty();
        match is_idle && !report.left.is_empty() {
            true => Err(HaltError::new(&report.left).into()),
            false => Ok(()),
        }
    }

    async fn load_one(&self, pending: Pending, report: &mut LoadReport) -> Result<()> {
        let started = Instant::now();
        match pending {
            Pending::Landing(pending) => {
                let (source, landing) = (pending.source.clone(), pending.landing);
                let load = self.load(pending);
                let names = load.tables.iter().map(|table| table.table.as_str());
                self.began(names);
                let modules = load.tables.iter();
                let modules = modules.map(|t| (t.table.clone(), t.module.clone()));
                let modules: BTreeMap<String, ModuleRef> = modules.collect();
                let tables = self.warehouse.load(load).await?;
                self.ended(&tables);
                for table in &tables {
                    let module = modules.get(&table.table);
                    spans::loaded(&source, landing, table, module, started.elapsed());
                }
                report.landings.push(LandingLoaded {
                    source,
                    landing,
                    tables,
                    elapsed: started.elapsed(),
                });
            }
            Pending::Rebuild(pending) => {
                let manifest = pending.number;
                self.began(pending.tables.keys().map(String::as_str));
                let tables = self.warehouse.rebuild(self.rebuild(pending)).await?;
                self.ended(&tables);
                report.rebuilds.push(RebuildLoaded {
                    manifest,
                    tables,
                    elapsed: started.elapsed(),
                });
            }
        }
        Ok(())
    }

    fn began<'t>(&self, tables: impl Iterator<Item = &'t str>) {
        tables.for_each(|table| self.observer.began(Stage::Load, table, None));
    }

    fn ended(&self, tables: &[TableLoaded]) {
        for table in tables {
            let outcome = format!(
                "{} inserted, {} updated, {} removed",
                table.inserted, table.updated, table.removed
            );
            self.observer.ended(Stage::Load, &table.table, &outcome);
        }
    }

    fn load(&self, pending: Landing) -> Load {
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

    fn rebuild(&self, pending: PendingRebuild) -> Rebuild {
        let tables = pending.tables.into_iter();
        Rebuild {
            run: self.run.clone(),
            number: pending.number,
            tables: tables
                .map(|(table, rebuilt)| self.table_rebuild(&table, rebuilt))
                .collect(),
        }
    }

    fn table_rebuild(&self, table: &str, rebuilt: RebuiltTable) -> TableRebuild {
        let landings = rebuilt.landings.into_iter().map(|landing| LandingRows {
            landing: landing.landing,
            logical_time: landing.logical_time,
            load: self.table(table.to_owned(), landing.run, landing.made),
        });
        TableRebuild {
            source: rebuilt.source,
            through: rebuilt.through,
            gone: rebuilt.gone,
            landings: landings.collect(),
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

fn left(what: String) -> LeftOver {
    LeftOver {
        what,
        why: Why::Halted,
    }
}
