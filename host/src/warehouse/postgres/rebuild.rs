//! Rebuilding: a table made anew in a temporary one, and put into the place of what is there, in one transaction.
//!
//! ```text
//! landing 1, 2, … n ──stage, apply──▶ temporary table ──▶ DELETE, (ALTER), INSERT ──▶ ledger, views ──▶ commit
//! ```
//!
//! The landings are applied one by one by the statements that apply them to every table. The rows that are there are
//! exchanged and the table stays: so do its rights, what others build on it, and what a person added to it. Nobody who
//! reads waits for it unless columns change, and then only from the exchange on. Renaming a table into its place was
//! rejected: views and rights belong to the table and not to its name.
//!
//! A table of ours gets the columns, the key and the indexes that its rows have now; our views over it are made again
//! where they must be, with the rights that others had on them. A provided table keeps its columns, and so it refuses
//! rows that do not fit. Where a foreign key points at a table, its rows are changed one by one, and those that are
//! pointed at stay, as in every load.

mod exchange;

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::apply::Apply;
use super::bookkeeping::{Entry, name_of_rebuild};
use super::ddl;
use super::loading::Loading;
use super::staging::{Origin, Stage};
use super::target::{Draft, Standing, Target};
use super::{catalog, views};
use crate::contract::ModuleRef;
use crate::run::RunId;
use crate::warehouse::{LandingRows, Rebuild, TableLoaded, TableRebuild, WarehouseError};
use exchange::Exchange;

/// A table that is made, and waits to be put into its place.
struct Made {
    /// The table in its place.
    target: Target,
    oid: Option<u32>,
    /// The temporary one.
    beside: Target,
    alias: Option<String>,
    source: String,
    gone: BTreeSet<String>,
    landings: Vec<Applied>,
}

/// A landing that was applied.
struct Applied {
    number: i64,
    logical_time: SystemTime,
    module: ModuleRef,
    transform_run: RunId,
    loaded: TableLoaded,
}

impl Loading<'_> {
    /// Rebuilds everything, up to the commit.
    pub(super) async fn rebuild(
        &self,
        rebuild: Rebuild,
    ) -> Result<Vec<TableLoaded>, WarehouseError> {
        self.begin().await?;
        let ledger = self.books.ledger().await;
        let ledger = ledger.map_err(|error| self.failed("read the ledger", error))?;
        let (mut loaded, mut made) = (Vec::new(), Vec::new());
        for (number, mut table) in rebuild.tables.into_iter().enumerate() {
            let Some(last) = table.landings.pop() else {
                continue;
            };
            if ledger.rebuilt(&last.load.table) >= rebuild.number {
                loaded.push(TableLoaded {
                    table: last.load.table,
                    already: true,
                    ..TableLoaded::default()
                });
                continue;
            }
            made.push(self.make(number, table, last).await?);
        }
        if made.iter().any(|made| made.oid.is_none()) {
            self.make_schema().await?;
        }
        // Dimensions before facts, which may point at them.
        made.sort_by_key(|made| made.target.record_id.is_some());
        for made in made {
            loaded.push(self.replace(made, &rebuild.run, rebuild.number).await?);
        }
        Ok(loaded)
    }

    /// Makes a table in a temporary one.
    async fn make(
        &self,
        number: usize,
        table: TableRebuild,
        last: LandingRows,
    ) -> Result<Made, WarehouseError> {
        let draft = Draft::new(self.books.warehouse, &last.load)?;
        let (target, oid) = Target::anew(self.books, self.server.name, draft).await?;
        let beside = target.beside(number);
        let numbered = self.numbered(&target, oid).await?;
        let name = target.table.clone();
        let action = || format!("make the table {name} anew");
        let create = ddl::create_beside(&beside, &numbered);
        for statement in [create].into_iter().chain(ddl::seal(&beside)) {
            self.execute(&statement, action()).await?;
        }
        let alias = last.load.alias.clone();
        let mut made = Made {
            alias,
            source: table.source,
            gone: table.gone,
            landings: Vec::with_capacity(table.landings.len() + 1),
            target,
            oid,
            beside,
        };
        let through = i64::try_from(table.through).unwrap_or(i64::MAX);
        let mut stage = None;
        for landing in table.landings.into_iter().chain([last]) {
            self.apply_landing(number, &mut made, &mut stage, landing)
                .await?;
            // The planner takes a table that grew since it was looked at for the one that it was.
            if made.landings.len().is_power_of_two() {
                let analyze = format!("ANALYZE {}", made.beside.sql_name());
                self.execute(&analyze, action()).await?;
            }
        }
        if let Some(last) = made.landings.last().filter(|last| last.number < through) {
            // Nothing of it is in the landings since, and so the table has them.
            let nothing = Applied {
                number: through,
                logical_time: last.logical_time,
                module: last.module.clone(),
                transform_run: last.transform_run.clone(),
                loaded: TableLoaded::default(),
            };
            made.landings.push(nothing);
        }
        Ok(made)
    }

    /// How the server is to number the versions of a table while they are gathered: of one of ours from the beginning,
    /// of a provided one as it would.
    async fn numbered(&self, target: &Target, oid: Option<u32>) -> Result<String, WarehouseError> {
        let ours = || "bigint GENERATED BY DEFAULT AS IDENTITY".to_owned();
        let (Standing::Provided, Some(oid), Some(record_id)) =
            (target.standing, oid, &target.record_id)
        else {
            return Ok(ours());
        };
        let expression = catalog::numbering(self.server.client, oid, record_id).await;
        let expression = expression
            .map_err(|error| self.failed(format!("describe the table {}", target.table), error))?;
        Ok(expression.map_or_else(ours, |default| format!("bigint DEFAULT {default}")))
    }

    async fn apply_landing(
        &self,
        number: usize,
        made: &mut Made,
        stage: &mut Option<Stage>,
        landing: LandingRows,
    ) -> Result<(), WarehouseError> {
        let load = landing.load;
        let at = i64::try_from(landing.landing).unwrap_or(i64::MAX);
        let origin = Origin {
            warehouse: made.target.schema.clone(),
            table: name_of_rebuild(&made.target.table),
            run: load.transform_run.to_string(),
            module: format!("{}@{}", load.module.name, load.module.version),
            digest: load.module.digest.to_string(),
            source: made.source.clone(),
            landing: at,
            logical_time: landing.logical_time.into(),
        };
        let (server, target) = (self.server, &made.beside);
        let (rows, gone) = (load.rows, load.retractions);
        let stage = match stage {
            Some(stage) => {
                stage.refill(server, target, &origin, rows, gone).await?;
                stage
            }
            None => {
                let filled = Stage::fill(server, number, target, &origin, rows, gone).await?;
                stage.insert(filled)
            }
        };
        let apply = Apply {
            server,
            target,
            stage,
        };
        let mut loaded = TableLoaded::default();
        let removed = apply.remove().await?;
        apply.apply(&mut loaded).await?;
        loaded.removed += removed;
        made.landings.push(Applied {
            number: at,
            logical_time: landing.logical_time.into(),
            module: load.module,
            transform_run: load.transform_run,
            loaded,
        });
        Ok(())
    }

    /// Puts a table that is made into its place, with its records.
    async fn replace(
        &self,
        made: Made,
        run: &RunId,
        number: u64,
    ) -> Result<TableLoaded, WarehouseError> {
        let target = &made.target;
        let exchange = Exchange {
            client: self.server.client,
            target,
            oid: made.oid,
            beside: &made.beside,
            gone: &made.gone,
        };
        let refused = |error| self.failed(format!("make the table {} anew", target.table), error);
        let (mut loaded, grants) = match exchange.run().await {
            Ok(exchanged) => exchanged,
            Err(exchange::ExchangeError::Statement(error)) => return Err(refused(error)),
            Err(exchange::ExchangeError::Table(problem)) => {
                return Err(WarehouseError::Table {
                    table: format!("{}.{}", target.schema, target.table),
                    problem,
                });
            }
        };
        let recorded = async {
            self.books.forget_table(&target.table).await?;
            self.books.adopt_ended_versions(&target.table).await?;
            if made.oid.is_none() {
                self.books.record_table(&target.table).await?;
            }
            for landing in &made.landings {
                let entry = Entry {
                    table: &target.table,
                    source: &made.source,
                    landing: landing.number,
                    load_run: run.as_str(),
                    transform_run: landing.transform_run.as_str(),
                    module: &landing.module,
                    logical_time: landing.logical_time,
                };
                self.books.record(&entry, &landing.loaded).await?;
            }
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let table = &target.table;
            self.books.record_rebuild(table, number, run.as_str()).await
        };
        let recorded = recorded.await;
        recorded.map_err(|error| self.failed("write the ledger", error))?;
        let published = views::publish(self.books, target, made.alias.as_deref()).await;
        let notes = published.map_err(|error| self.failed("make its views", error))?;
        loaded.notes.extend(notes);
        for (view, rights) in grants {
            let there = catalog::relation(self.server.client, &target.schema, &view).await;
            let there = there.map_err(|error| self.failed("look for its views", error))?;
            // A table of another mode may have a view less.
            for grant in rights.iter().filter(|_| there.is_some()) {
                self.execute(grant, "grant the rights on its views").await?;
            }
        }
        Ok(loaded)
    }
}
