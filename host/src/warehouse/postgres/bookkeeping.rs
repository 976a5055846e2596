//! Our own records in the schema `tidemill`, beside the tables of the warehouse and in their transaction.
//!
//! ```text
//! ledger         what has been loaded: one row per table, source and landing
//! ended_version  versions of an append-versions table whose key is retracted
//! relation       the tables and views that we made, so that provided ones are left as they are
//! rebuilt        which rebuild a table is of; made by the first rebuild
//! ```
//!
//! Ended versions are kept here and not in a column, so that a provided table needs none. Every row names
//! its warehouse, that is its schema: one database may hold several.

use tokio_postgres::Client;

use crate::warehouse::{Ledger, TableLoaded};

/// The schema of our records.
pub(super) const SCHEMA: &str = "tidemill";

/// Changed only by adding: a warehouse written by an older tidemill is opened by a newer one.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS tidemill.ledger (
        warehouse text NOT NULL,
        table_name text NOT NULL,
        source text NOT NULL,
        landing bigint NOT NULL,
        load_run text NOT NULL,
        transform_run text NOT NULL,
        module_name text NOT NULL,
        module_version text NOT NULL,
        module_digest text NOT NULL,
        logical_time timestamptz NOT NULL,
        inserted bigint NOT NULL,
        updated bigint NOT NULL,
        removed bigint NOT NULL,
        unchanged bigint NOT NULL,
        loaded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (warehouse, table_name, source, landing)
    );
    CREATE TABLE IF NOT EXISTS tidemill.ended_version (
        warehouse text NOT NULL,
        table_name text NOT NULL,
        record_id bigint NOT NULL,
        run text NOT NULL,
        source text NOT NULL,
        landing bigint NOT NULL,
        logical_time timestamptz NOT NULL,
        PRIMARY KEY (warehouse, table_name, record_id)
    );
    CREATE TABLE IF NOT EXISTS tidemill.relation (
        warehouse text NOT NULL,
        name text NOT NULL,
        kind text NOT NULL CHECK (kind IN ('table', 'view')),
        definition text,
        PRIMARY KEY (warehouse, name)
    );";

/// Made when it is needed: a role that never rebuilds needs no more rights than it had.
const REBUILT: &str = "
    CREATE TABLE IF NOT EXISTS tidemill.rebuilt (
        warehouse text NOT NULL,
        table_name text NOT NULL,
        number bigint NOT NULL,
        load_run text NOT NULL,
        rebuilt_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (warehouse, table_name)
    );";

/// The names under which a table's records stand while it is made anew: no table of the server can have one as long.
pub(super) fn name_of_rebuild(table: &str) -> String {
    format!("{table:<64} (made anew)")
}

/// One landing of one table, as the ledger keeps it.
pub(super) struct Entry<'a> {
    pub(super) table: &'a str,
    pub(super) source: &'a str,
    pub(super) landing: i64,
    pub(super) load_run: &'a str,
    pub(super) transform_run: &'a str,
    pub(super) module: &'a crate::contract::ModuleRef,
    pub(super) logical_time: std::time::SystemTime,
}

/// The records of one warehouse.
#[derive(Clone, Copy)]
pub(super) struct Bookkeeping<'a> {
    pub(super) client: &'a Client,
    /// The warehouse's schema.
    pub(super) warehouse: &'a str,
}

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

impl Bookkeeping<'_> {
    async fn exists(&self) -> Result<bool> {
        self.client
            .query_one(
                "SELECT count(*) = 3
                   FROM pg_catalog.pg_class c
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'tidemill' AND c.relname IN ('ledger', 'ended_version', 'relation')",
                &[],
            )
            .await?
            .try_get(0)
    }

    /// Makes what is missing. Asks for no right when nothing is: `IF NOT EXISTS` would.
    pub(super) async fn create(&self) -> Result<()> {
        if self.exists().await? {
            return Ok(());
        }
        // Two warehouses of one database may begin at the same time. The lock ends with the transaction.
        self.client
            .batch_execute(
                "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tidemill.bookkeeping', 0))",
            )
            .await?;
        if self.exists().await? {
            return Ok(());
        }
        if !super::catalog::schema_exists(self.client, SCHEMA).await? {
            self.client.batch_execute("CREATE SCHEMA tidemill").await?;
        }
        self.client.batch_execute(TABLES).await
    }

    /// Takes the right to load into this warehouse until the transaction ends; false when another has it.
    pub(super) async fn try_lock(&self) -> Result<bool> {
        self.client
            .query_one(
                "SELECT pg_catalog.pg_try_advisory_xact_lock(
                     pg_catalog.hashtextextended('tidemill.warehouse.' || $1::text, 0))",
                &[&self.warehouse],
            )
            .await?
            .try_get(0)
    }

    /// The newest landing of every table that exists: a table that was dropped is to be loaded again.
    pub(super) async fn ledger(&self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        if !self.exists().await? {
            return Ok(ledger);
        }
        let rows = self
            .client
            .query(
                "SELECT l.table_name, l.source, max(l.landing)
                   FROM tidemill.ledger l
                  WHERE l.warehouse = $1
                    AND EXISTS (SELECT FROM pg_catalog.pg_class c
                                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                 WHERE n.nspname = l.warehouse AND c.relname = l.table_name)
                  GROUP BY l.table_name, l.source",
                &[&self.warehouse],
            )
            .await?;
        for row in rows {
            let landing: i64 = row.try_get(2)?;
            ledger
                .through
                .entry(row.try_get(0)?)
                .or_default()
                .insert(row.try_get(1)?, landing.unsigned_abs());
        }
        if self.has_rebuilt().await? {
            self.add_rebuilt(&mut ledger).await?;
        }
        Ok(ledger)
    }

    async fn has_rebuilt(&self) -> Result<bool> {
        self.client
            .query_one(
                "SELECT pg_catalog.to_regclass('tidemill.rebuilt') IS NOT NULL",
                &[],
            )
            .await?
            .try_get(0)
    }

    /// The rebuilds of the tables that the ledger knows: one that was dropped is of none.
    async fn add_rebuilt(&self, ledger: &mut Ledger) -> Result<()> {
        let ask = "SELECT table_name, number FROM tidemill.rebuilt WHERE warehouse = $1";
        for row in self.client.query(ask, &[&self.warehouse]).await? {
            let (table, number): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            if ledger.through.contains_key(&table) {
                ledger.rebuilt.insert(table, number.unsigned_abs());
            }
        }
        Ok(())
    }

    /// Records that `table` is of the rebuild `number`.
    pub(super) async fn record_rebuild(&self, table: &str, number: i64, run: &str) -> Result<()> {
        if !self.has_rebuilt().await? {
            self.client.batch_execute(REBUILT).await?;
        }
        self.client
            .execute(
                "INSERT INTO tidemill.rebuilt (warehouse, table_name, number, load_run)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (warehouse, table_name)
                 DO UPDATE SET number = excluded.number, load_run = excluded.load_run, rebuilt_at = now()",
                &[&self.warehouse, &table, &number, &run],
            )
            .await?;
        Ok(())
    }

    /// The versions that were ended while `table` was made anew are those of the table now.
    pub(super) async fn adopt_ended_versions(&self, table: &str) -> Result<()> {
        self.client
            .execute(
                "UPDATE tidemill.ended_version SET table_name = $2
                  WHERE warehouse = $1 AND table_name = $3",
                &[&self.warehouse, &table, &name_of_rebuild(table)],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn record(&self, entry: &Entry<'_>, loaded: &TableLoaded) -> Result<()> {
        let counts = [
            loaded.inserted,
            loaded.updated,
            loaded.removed,
            loaded.unchanged,
        ]
        .map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        let [inserted, updated, removed, unchanged] = &counts;
        self.client
            .execute(
                "INSERT INTO tidemill.ledger (warehouse, table_name, source, landing, load_run,
                     transform_run, module_name, module_version, module_digest, logical_time,
                     inserted, updated, removed, unchanged)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                &[
                    &self.warehouse,
                    &entry.table,
                    &entry.source,
                    &entry.landing,
                    &entry.load_run,
                    &entry.transform_run,
                    &entry.module.name,
                    &entry.module.version,
                    &entry.module.digest.to_string(),
                    &entry.logical_time,
                    inserted,
                    updated,
                    removed,
                    unchanged,
                ],
            )
            .await?;
        Ok(())
    }

    /// What was recorded of `table` when it existed before.
    pub(super) async fn forget_table(&self, table: &str) -> Result<()> {
        for records in ["ledger", "ended_version"] {
            let sql =
                format!("DELETE FROM tidemill.{records} WHERE warehouse = $1 AND table_name = $2");
            self.client
                .execute(&sql, &[&self.warehouse, &table])
                .await?;
        }
        Ok(())
    }

    /// Whether `table` was made by us.
    pub(super) async fn is_ours(&self, table: &str) -> Result<bool> {
        self.client
            .query_one(
                "SELECT EXISTS (SELECT FROM tidemill.relation
                                 WHERE warehouse = $1 AND name = $2 AND kind = 'table')",
                &[&self.warehouse, &table],
            )
            .await?
            .try_get(0)
    }

    /// The definition of the view `name`, if it was made by us.
    pub(super) async fn view(&self, name: &str) -> Result<Option<String>> {
        let row = self
            .client
            .query_opt(
                "SELECT definition FROM tidemill.relation
                  WHERE warehouse = $1 AND name = $2 AND kind = 'view'",
                &[&self.warehouse, &name],
            )
            .await?;
        row.map_or(Ok(None), |row| row.try_get(0))
    }

    pub(super) async fn record_table(&self, name: &str) -> Result<()> {
        self.record_relation(name, "table", None).await
    }

    pub(super) async fn record_view(&self, name: &str, definition: &str) -> Result<()> {
        self.record_relation(name, "view", Some(definition)).await
    }

    async fn record_relation(
        &self,
        name: &str,
        kind: &str,
        definition: Option<&str>,
    ) -> Result<()> {
        self.client
            .execute(
                "INSERT INTO tidemill.relation (warehouse, name, kind, definition)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (warehouse, name)
                 DO UPDATE SET kind = excluded.kind, definition = excluded.definition",
                &[&self.warehouse, &name, &kind, &definition],
            )
            .await?;
        Ok(())
    }
}
