//! A table as it is named in SQL, and whether what is behind the name is still what the snapshot sees.
//!
//! A snapshot keeps rows, not definitions: the server looks up names, columns and files as they are when a
//! statement begins. A table that was truncated or written anew reads as empty, two columns that changed names
//! read as each other, and a table that took the name of another reads as that. Nothing of it is an error to the
//! server. So before a table is touched, its lock is taken and the catalog of the snapshot, which rows of
//! `pg_class` and `pg_attribute` show, is compared with the catalog of now, which functions and the description
//! of a statement show. From then on the lock keeps the definition as it is.
//!
//! The lock is the one of any SELECT, and it ends with the statement it was taken for, by a savepoint: an ALTER
//! TABLE waits for one COPY of its own table at most, and with it whoever queues behind that. Rejected: all
//! tables locked before the snapshot is exported, as dump programs do. It rules these changes out instead of
//! finding them, and makes every deployment wait for the whole run, its writers behind it.

use tokio_postgres::error::SqlState;

use super::super::SourceError;
use super::catalog::CatalogColumn;
use super::name::{Relation, quote};
use super::session::failed;
use super::snapshot::Connections;
use crate::connection::postgres::PgConnection;
use crate::table::{Table, TableKind, TableName};

/// What is asked of a table, of what a view reads, and of partitions. `$3` is the name as SQL. Rows of catalogs
/// are those of the snapshot; `to_regclass`, `pg_relation_filenode` and `pg_partition_tree` know those of now.
/// A partition that was made since the snapshot has no row that it sees. Views and mapped catalogs have no file
/// of their own in `pg_class`.
const STORAGE: &str = "
WITH RECURSIVE tree(oid, root) AS (
     SELECT c.oid, true
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2
      UNION
     SELECT next.oid, false
       FROM tree
       JOIN pg_catalog.pg_class above ON above.oid = tree.oid
      CROSS JOIN LATERAL (
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i
             WHERE i.inhparent = tree.oid AND (above.relkind = 'p' OR NOT tree.root)
             UNION ALL
            SELECT d.refobjid
              FROM pg_catalog.pg_rewrite r
              JOIN pg_catalog.pg_depend d ON d.objid = r.oid
               AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
             WHERE above.relkind = 'v' AND r.ev_class = tree.oid) next(oid)),
root AS (
     SELECT c.oid, c.relkind, c.relfilenode
       FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE tree.root),
now AS (
     SELECT part.relid::pg_catalog.oid AS oid
       FROM root CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) part WHERE root.relkind = 'p')
SELECT (SELECT root.oid FROM root),
       (SELECT root.oid IS DISTINCT FROM pg_catalog.to_regclass($3)::pg_catalog.oid FROM root)
       OR EXISTS (SELECT FROM root JOIN tree ON root.relkind = 'p'
                   WHERE tree.oid NOT IN (SELECT now.oid FROM now))
       OR EXISTS (SELECT FROM now JOIN pg_catalog.pg_class c ON c.oid = now.oid
                   WHERE now.oid NOT IN (SELECT tree.oid FROM tree)),
       pg_catalog.bool_or(leaf.relfilenode <> 0
                          AND pg_catalog.pg_relation_filenode(leaf.oid) IS DISTINCT FROM leaf.relfilenode),
       pg_catalog.bool_and(am.amname IS NOT DISTINCT FROM 'heap'),
       (SELECT root.relfilenode FROM root)
  FROM tree
  JOIN pg_catalog.pg_class leaf ON leaf.oid = tree.oid AND leaf.relkind IN ('r', 'm', 'p', 'v', 'f')
  LEFT JOIN pg_catalog.pg_am am ON am.oid = leaf.relam";

/// A table as it is named in SQL.
pub(super) struct Target {
    name: TableName,
    relation: Relation,
    /// Whether rows of tables that inherit from it are left out: those are tables of their own.
    only: bool,
}

/// What the server says of a table's storage.
pub(super) struct Storage {
    /// The relation.
    pub(super) oid: u32,
    /// Whether rows lie in blocks that a range of `ctid` selects.
    pub(super) heap: bool,
    /// The file of the rows: another one after they were written anew.
    pub(super) file: u32,
}

/// A column as the snapshot sees it.
pub(super) struct Seen {
    name: String,
    number: i16,
    base_oid: u32,
}

impl Seen {
    pub(super) fn of(column: &CatalogColumn) -> Self {
        Self {
            name: column.column.name.clone(),
            number: column.number,
            base_oid: column.base_oid,
        }
    }
}

impl Target {
    pub(super) fn of(table: &Table) -> Result<Self, SourceError> {
        let relation =
            Relation::parse(&table.name).ok_or_else(|| SourceError::NoTable(table.name.clone()))?;
        Ok(Self {
            name: table.name.clone(),
            relation,
            only: table.kind == TableKind::Plain,
        })
    }

    pub(super) fn name(&self) -> &TableName {
        &self.name
    }

    /// The table as SQL, behind FROM.
    pub(super) fn sql(&self) -> String {
        let only = if self.only { "ONLY " } else { "" };
        format!("{only}{}", self.relation.sql())
    }

    /// "read table staff".
    pub(super) fn action(&self, verb: &str) -> String {
        format!("{verb} table {}", self.name)
    }

    pub(super) fn altered(&self) -> SourceError {
        SourceError::Altered(self.name.clone())
    }

    /// A statement on the table that the server refused.
    pub(super) fn refused(
        &self,
        connections: &Connections,
        error: tokio_postgres::Error,
    ) -> SourceError {
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN) => self.altered(),
            Some(&SqlState::LOCK_NOT_AVAILABLE) => SourceError::Locked(self.name.clone()),
            _ => failed(connections.target(), self.action("read"), error),
        }
    }

    /// Locks the definition of the table until [`Target::unlock`], and makes sure that it is the one that the
    /// snapshot sees, with the same rows behind it and these columns.
    ///
    /// # Errors
    /// `Rewritten` and `Altered` when it is not, `Locked` when somebody else keeps it locked.
    pub(super) async fn lock(
        &self,
        connections: &Connections,
        connection: &PgConnection,
        columns: &[Seen],
    ) -> Result<Storage, SourceError> {
        let refused = |error| self.refused(connections, error);
        let sql = self.sql();
        connection
            .batch_execute(&format!("SAVEPOINT locked; SELECT FROM {sql} LIMIT 0"))
            .await
            .map_err(refused)?;
        let Relation { schema, name } = &self.relation;
        let row = connection
            .query_one(STORAGE, &[schema, name, &self.relation.sql()])
            .await
            .map_err(refused)?;
        let Some(oid) = row.try_get::<_, Option<u32>>(0).map_err(refused)? else {
            return Err(SourceError::NoTable(self.name.clone()));
        };
        if row.try_get(1).map_err(refused)? {
            return Err(self.altered());
        }
        if row.try_get(2).map_err(refused)? {
            return Err(SourceError::Rewritten(self.name.clone()));
        }
        self.check_columns(connections, connection, oid, columns)
            .await?;
        Ok(Storage {
            oid,
            heap: row.try_get(3).map_err(refused)?,
            file: row.try_get(4).map_err(refused)?,
        })
    }

    /// The description of a statement names the columns that it would read.
    pub(super) async fn check_columns(
        &self,
        connections: &Connections,
        connection: &PgConnection,
        oid: u32,
        columns: &[Seen],
    ) -> Result<(), SourceError> {
        if columns.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let select = format!("SELECT {} FROM {}", names.join(", "), self.sql());
        let described = connection.prepare(&select).await;
        let described = described.map_err(|error| self.refused(connections, error))?;
        let is_same = columns.iter().zip(described.columns()).all(|(seen, now)| {
            now.table_oid() == Some(oid)
                && now.column_id() == Some(seen.number)
                && now.type_().oid() == seen.base_oid
        });
        match is_same {
            true => Ok(()),
            false => Err(self.altered()),
        }
    }

    /// Gives the lock back, and nothing else that the transaction has.
    pub(super) async fn unlock(
        &self,
        connections: &Connections,
        connection: &PgConnection,
    ) -> Result<(), SourceError> {
        connection
            .batch_execute("ROLLBACK TO SAVEPOINT locked; RELEASE SAVEPOINT locked")
            .await
            .map_err(|error| self.refused(connections, error))
    }
}
