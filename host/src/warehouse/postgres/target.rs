//! The table that rows are loaded into, as it is or as it will be made: which columns are loaded, and how.
//!
//! Everything that can be refused is refused here, before anything is written.

mod draft;

use arrow::datatypes::DataType;

use super::bookkeeping::Bookkeeping;
use super::catalog::{self, Reference};
use super::sql::qualified;
use crate::contract::LoadMode;
use crate::warehouse::WarehouseError;
use crate::warehouse::copy::Wire;

pub(super) use draft::Draft;

/// The columns that tell where a row of a table of ours comes from, with their types. Without the prefix
/// they are the columns of the staged origin.
pub(super) const PROVENANCE: [(&str, &str); 6] = [
    ("_tidemill_run", "text"),
    ("_tidemill_module", "text"),
    ("_tidemill_digest", "text"),
    ("_tidemill_source", "text"),
    ("_tidemill_landing", "bigint"),
    ("_tidemill_logical_time", "timestamp with time zone"),
];
/// What the names of columns that the warehouse adds begin with.
pub(super) const PROVENANCE_PREFIX: &str = "_tidemill_";
/// The columns of an `scd2` table that say when a version was the current one, with their types.
pub(super) const VALIDITY: [(&str, &str); 3] = [
    (VALID_FROM, "timestamp with time zone"),
    (VALID_TO, "timestamp with time zone"),
    (IS_CURRENT, "boolean"),
];
pub(super) const VALID_FROM: &str = "_valid_from";
pub(super) const VALID_TO: &str = "_valid_to";
pub(super) const IS_CURRENT: &str = "_is_current";

/// A column that is loaded.
#[derive(Debug, Clone)]
pub(super) struct LoadColumn {
    pub(super) name: String,
    /// Its position in the rows.
    pub(super) index: usize,
    pub(super) data_type: DataType,
    /// Whether the rows may hold NULL in it.
    pub(super) nullable: bool,
    /// Its type in the table, also that of the staged rows: so values are compared after the table's own
    /// rules, `char(5)` for example without its padding.
    pub(super) sql_type: String,
    pub(super) wire: Wire,
    /// Whether it must still be added to the table.
    pub(super) missing: bool,
}

/// Where a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It must be made.
    Absent,
    /// We made it.
    Ours,
    /// It was there before us: its columns are not touched.
    Provided,
}

/// A table with everything that loading it needs.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) mode: LoadMode,
    pub(super) standing: Standing,
    /// What is loaded, in the order of the rows' columns.
    pub(super) columns: Vec<LoadColumn>,
    /// The key: positions in `columns`, in key order.
    pub(super) key: Vec<usize>,
    /// The column that numbers versions, where the mode is `append-versions`.
    pub(super) record_id: Option<String>,
    /// The provenance columns it has.
    pub(super) provenance: Vec<&'static str>,
    /// Columns that the rows no longer have, and that must now allow NULL.
    pub(super) relaxed: Vec<String>,
    /// Whether a loaded column is `GENERATED ALWAYS AS IDENTITY`.
    pub(super) overrides_identity: bool,
    /// The foreign keys that point at it.
    pub(super) references: Vec<Reference>,
    pub(super) notes: Vec<String>,
}

impl Target {
    /// Schema and name, quoted.
    pub(super) fn sql_name(&self) -> String {
        qualified(&self.schema, &self.table)
    }

    /// Whether the load makes the table and copies its rows into it as they are. The versions of an `scd2` table
    /// get their validity when they are applied.
    pub(super) fn is_filled_as_made(&self) -> bool {
        self.standing == Standing::Absent && self.mode != LoadMode::Scd2
    }

    /// The key columns, in key order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &LoadColumn> {
        self.key.iter().filter_map(|i| self.columns.get(*i))
    }

    /// The columns beside the key, with their positions.
    pub(super) fn values(&self) -> impl Iterator<Item = (usize, &LoadColumn)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(i, _)| !self.key.contains(i))
    }

    /// Looks the table of `draft` up and decides how it is loaded.
    pub(super) async fn of(
        books: Bookkeeping<'_>,
        server: &str,
        draft: Draft,
    ) -> Result<Self, WarehouseError> {
        match Found::of(books, server, &draft).await? {
            None => draft.absent(),
            Some(found) => draft.existing(found),
        }
    }

    /// Looks the table of `draft` up and decides what it is to be: one of ours what the rows say, one that was provided
    /// what it is.
    pub(super) async fn anew(
        books: Bookkeeping<'_>,
        server: &str,
        draft: Draft,
    ) -> Result<(Self, Option<u32>), WarehouseError> {
        let Some(found) = Found::of(books, server, &draft).await? else {
            return Ok((draft.absent()?, None));
        };
        let oid = found.oid;
        let target = match found.ours {
            true => Self {
                standing: Standing::Ours,
                references: found.references,
                ..draft.absent()?
            },
            false => draft.existing(found)?,
        };
        Ok((target, Some(oid)))
    }

    /// The table in which the rows of this one are gathered: a temporary one of the same columns, which no other table
    /// points at.
    pub(super) fn beside(&self, number: usize) -> Self {
        let mut columns = self.columns.clone();
        columns.iter_mut().for_each(|column| column.missing = false);
        Self {
            schema: "pg_temp".into(),
            table: format!("tidemill_rebuilt_{number}"),
            standing: Standing::Ours,
            columns,
            relaxed: Vec::new(),
            overrides_identity: false,
            references: Vec::new(),
            notes: Vec::new(),
            ..self.clone()
        }
    }
}

/// A table of the warehouse as the catalog describes it.
struct Found {
    oid: u32,
    ours: bool,
    columns: Vec<catalog::Column>,
    /// The column of its primary key, if that is a single one.
    single_key: Option<String>,
    references: Vec<Reference>,
}

impl Found {
    /// The table that a draft names; `None` where there is none.
    async fn of(
        books: Bookkeeping<'_>,
        server: &str,
        draft: &Draft,
    ) -> Result<Option<Self>, WarehouseError> {
        let action = format!("describe the table {}", draft.table);
        let failed = |error| super::failure::statement(server, action.clone(), error);
        let client = books.client;
        let relation = catalog::relation(client, books.warehouse, &draft.table).await;
        let Some(relation) = relation.map_err(failed)? else {
            return Ok(None);
        };
        if !relation.is_table() {
            return Err(draft.problem("is not a table, so that nothing can be loaded into it"));
        }
        let oid = relation.oid;
        let single_key = catalog::single_primary_key(client, oid).await;
        Ok(Some(Self {
            oid,
            ours: books.is_ours(&draft.table).await.map_err(failed)?,
            columns: catalog::columns(client, oid).await.map_err(failed)?,
            single_key: single_key.map_err(failed)?,
            references: catalog::references(client, oid).await.map_err(failed)?,
        }))
    }
}
