//! One landing on its way into the warehouse: the steps of its transaction, in order.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::apply::Apply;
use super::bookkeeping::{Bookkeeping, Entry};
use super::sql::ident;
use super::staging::{Origin, Server, Stage};
use super::target::{Draft, Standing, Target};
use super::{catalog, ddl, failure, views};
use crate::connection::postgres::reason;
use crate::contract::ModuleRef;
use crate::run::RunId;
use crate::warehouse::{BatchStream, Load, TableLoad, TableLoaded, WarehouseError};

/// How long a load waits for a lock, at most: who holds one may be waiting for a person.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a failed load waits for the server to say that it rolled back.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(5);

/// A connection that loads one landing.
pub(super) struct Loading<'a> {
    pub(super) server: Server<'a>,
    pub(super) books: Bookkeeping<'a>,
    /// How long the transaction may take.
    pub(super) timeout: Duration,
}

/// What all tables of a landing share.
struct Landing {
    run: RunId,
    source: String,
    number: i64,
    logical_time: SystemTime,
}

/// One table on its way: as the ledger has it already, or in its present state.
enum Step<T> {
    Already(TableLoaded),
    Pending(Box<T>),
}

struct Planned {
    target: Target,
    load: TableLoad,
}

struct Staged {
    target: Target,
    stage: Stage,
    /// Whether this load makes the table, so that its rows are copied into it as they are.
    is_new: bool,
    alias: Option<String>,
    module: ModuleRef,
    transform_run: RunId,
    loaded: TableLoaded,
}

/// The rows of the tables that a load makes, in the order of the tables.
type NewRows = VecDeque<BatchStream>;

impl Loading<'_> {
    /// Loads everything, up to the commit.
    pub(super) async fn prepare(&self, load: Load) -> Result<Vec<TableLoaded>, WarehouseError> {
        let landing = Landing {
            run: load.run,
            source: load.source,
            number: i64::try_from(load.landing).unwrap_or(i64::MAX),
            logical_time: load.logical_time.into(),
        };
        self.begin().await?;
        let steps = self.plan(&landing, load.tables).await?;
        let (mut steps, rows) = self.stage(&landing, steps).await?;
        let staged = steps.iter_mut().filter_map(|step| match step {
            Step::Pending(staged) => Some(&mut **staged),
            Step::Already(_) => None,
        });
        let mut staged: Vec<&mut Staged> = staged.collect();
        self.make_tables(&mut staged, rows).await?;
        self.apply(&mut staged).await?;
        for table in &mut staged {
            self.record(&landing, table).await?;
            self.publish(table).await?;
        }
        Ok(steps
            .into_iter()
            .map(|step| match step {
                Step::Already(loaded) => loaded,
                Step::Pending(staged) => staged.loaded,
            })
            .collect())
    }

    /// Makes everything visible and durable.
    ///
    /// # Errors
    /// [`WarehouseError::InDoubt`] when the connection ended before the answer came.
    pub(super) async fn commit(&self, landing: u64) -> Result<(), WarehouseError> {
        let answer = self.server.client.batch_execute("COMMIT").await;
        answer.map_err(|error| {
            if error.as_db_error().is_some() {
                return self.failed("commit the load", error);
            }
            WarehouseError::InDoubt {
                target: self.server.name.to_owned(),
                landing,
                cause: reason(error),
            }
        })
    }

    /// The limits hold also where nobody is left who could end the transaction: a host that is gone must not
    /// keep its locks. They are set whatever limits the role has, which may be too low for a load.
    fn beginning(&self) -> String {
        let millis = |limit: Duration| limit.as_millis().clamp(1, i32::MAX as u128);
        let (limit, lock) = (
            millis(self.timeout),
            millis(LOCK_TIMEOUT.min(self.timeout / 2)),
        );
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;
             SET LOCAL statement_timeout = {limit};
             SET LOCAL idle_in_transaction_session_timeout = {limit};
             SET LOCAL lock_timeout = {lock}"
        )
    }

    /// Ends the transaction without a trace. A server that does not answer rolls back when the connection
    /// is dropped.
    pub(super) async fn roll_back(&self) {
        let rollback = self.server.client.batch_execute("ROLLBACK");
        match tokio::time::timeout(ROLLBACK_PATIENCE, rollback).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "rollback failed"),
            Err(elapsed) => tracing::debug!(%elapsed, "rollback not answered"),
        }
    }

    /// Opens the transaction and takes the right to load.
    pub(super) async fn begin(&self) -> Result<(), WarehouseError> {
        self.execute(&self.beginning(), "begin a transaction")
            .await?;
        let locked = self.books.try_lock().await;
        if !locked.map_err(|error| self.failed("take the lock of a load", error))? {
            return Err(WarehouseError::Conflict {
                target: self.server.name.to_owned(),
            });
        }
        self.books
            .create()
            .await
            .map_err(|error| self.failed("make the schema tidemill for its records", error))
    }

    async fn plan(
        &self,
        landing: &Landing,
        tables: Vec<TableLoad>,
    ) -> Result<Vec<Step<Planned>>, WarehouseError> {
        let ledger = self
            .books
            .ledger()
            .await
            .map_err(|error| self.failed("read the ledger", error))?;
        let number = landing.number.unsigned_abs();
        let mut steps = Vec::with_capacity(tables.len());
        for load in tables {
            // An older landing than the newest is in the table too, or was never for it.
            steps.push(if ledger.through(&load.table, &landing.source) >= number {
                Step::Already(TableLoaded {
                    table: load.table,
                    already: true,
                    ..TableLoaded::default()
                })
            } else {
                let draft = Draft::new(self.books.warehouse, &load)?;
                let target = Target::of(self.books, self.server.name, draft).await?;
                Step::Pending(Box::new(Planned { target, load }))
            });
        }
        Ok(steps)
    }

    async fn stage(
        &self,
        landing: &Landing,
        steps: Vec<Step<Planned>>,
    ) -> Result<(Vec<Step<Staged>>, NewRows), WarehouseError> {
        let mut rows = NewRows::new();
        let mut staged = Vec::with_capacity(steps.len());
        for (number, step) in steps.into_iter().enumerate() {
            staged.push(match step {
                Step::Already(loaded) => Step::Already(loaded),
                Step::Pending(planned) => {
                    let (table, new) = self.stage_table(landing, number, *planned).await?;
                    rows.extend(new);
                    Step::Pending(Box::new(table))
                }
            });
        }
        Ok((staged, rows))
    }

    async fn stage_table(
        &self,
        landing: &Landing,
        number: usize,
        planned: Planned,
    ) -> Result<(Staged, Option<BatchStream>), WarehouseError> {
        let Planned { target, load } = planned;
        let origin = Origin {
            warehouse: target.schema.clone(),
            table: target.table.clone(),
            run: load.transform_run.to_string(),
            module: format!("{}@{}", load.module.name, load.module.version),
            digest: load.module.digest.to_string(),
            source: landing.source.clone(),
            landing: landing.number,
            logical_time: landing.logical_time,
        };
        let server = self.server;
        let is_new = target.is_filled_as_made();
        let (stage, rows) = if is_new {
            let stage = Stage::of_origin(server, number, &target, &origin).await?;
            (stage, Some(load.rows))
        } else {
            let (rows, gone) = (load.rows, load.retractions);
            let stage = Stage::fill(server, number, &target, &origin, rows, gone).await?;
            (stage, None)
        };
        let staged = Staged {
            is_new,
            loaded: TableLoaded {
                table: target.table.clone(),
                notes: target.notes.clone(),
                ..TableLoaded::default()
            },
            target,
            stage,
            alias: load.alias,
            module: load.module,
            transform_run: load.transform_run,
        };
        Ok((staged, rows))
    }

    /// Makes the schema and the tables that are missing, and the columns that are new.
    async fn make_tables(
        &self,
        tables: &mut [&mut Staged],
        mut rows: NewRows,
    ) -> Result<(), WarehouseError> {
        let absent = |target: &Target| target.standing == Standing::Absent;
        if tables.iter().any(|table| absent(&table.target)) {
            self.make_schema().await?;
        }
        for table in tables {
            let name = &table.target.table;
            for statement in ddl::statements(&table.target) {
                self.execute(&statement, format!("make the table {name}"))
                    .await?;
            }
            if absent(&table.target) {
                if table.is_new
                    && let Some(rows) = rows.pop_front()
                {
                    let filled = table.stage.fill_new(self.server, &table.target, rows);
                    table.loaded.inserted = filled.await?;
                }
                for statement in ddl::seal(&table.target) {
                    self.execute(&statement, format!("index the table {name}"))
                        .await?;
                }
                // Records of a table that was dropped would make the new one look loaded.
                let recorded = async {
                    self.books.forget_table(name).await?;
                    self.books.record_table(name).await
                };
                recorded
                    .await
                    .map_err(|error| self.failed("keep its records", error))?;
            }
        }
        Ok(())
    }

    pub(super) async fn make_schema(&self) -> Result<(), WarehouseError> {
        let schema = self.books.warehouse;
        let exists = catalog::schema_exists(self.server.client, schema)
            .await
            .map_err(|error| self.failed("look for its schema", error))?;
        if exists {
            return Ok(());
        }
        self.execute(
            &format!("CREATE SCHEMA {}", ident(schema)),
            format!("make the schema {schema}"),
        )
        .await
    }

    /// Changes the tables: removals from the last table to the first, rows from the first to the last, then
    /// removals that had to wait for them.
    async fn apply(&self, tables: &mut [&mut Staged]) -> Result<(), WarehouseError> {
        let mut tables: Vec<&mut Staged> = tables
            .iter_mut()
            .map(|table| &mut **table)
            .filter(|table| !table.is_new)
            .collect();
        let mut removed = vec![0; tables.len()];
        for (table, removed) in tables.iter().zip(&mut removed).rev() {
            *removed += self.applying(table).remove().await?;
        }
        for table in tables.iter_mut() {
            let mut loaded = std::mem::take(&mut table.loaded);
            self.applying(table).apply(&mut loaded).await?;
            table.loaded = loaded;
        }
        for (table, mut removed) in tables.iter_mut().zip(removed).rev() {
            if !table.target.references.is_empty() {
                removed += self.applying(table).remove().await?;
                let kept = self.applying(table).kept().await?;
                table.loaded.notes.extend(kept);
            }
            table.loaded.removed += removed;
        }
        Ok(())
    }

    fn applying<'b>(&'b self, table: &'b Staged) -> Apply<'b> {
        Apply {
            server: self.server,
            target: &table.target,
            stage: &table.stage,
        }
    }

    async fn record(&self, landing: &Landing, table: &Staged) -> Result<(), WarehouseError> {
        let entry = Entry {
            table: &table.target.table,
            source: &landing.source,
            landing: landing.number,
            load_run: landing.run.as_str(),
            transform_run: table.transform_run.as_str(),
            module: &table.module,
            logical_time: landing.logical_time,
        };
        self.books
            .record(&entry, &table.loaded)
            .await
            .map_err(|error| self.failed("write the ledger", error))
    }

    async fn publish(&self, table: &mut Staged) -> Result<(), WarehouseError> {
        let notes = views::publish(self.books, &table.target, table.alias.as_deref())
            .await
            .map_err(|error| self.failed("make its views", error))?;
        table.loaded.notes.extend(notes);
        Ok(())
    }

    pub(super) async fn execute(
        &self,
        sql: &str,
        action: impl Into<String>,
    ) -> Result<(), WarehouseError> {
        self.server
            .client
            .batch_execute(sql)
            .await
            .map_err(|error| self.failed(action, error))
    }

    pub(super) fn failed(
        &self,
        action: impl Into<String>,
        error: tokio_postgres::Error,
    ) -> WarehouseError {
        failure::statement(self.server.name, action, error)
    }
}
