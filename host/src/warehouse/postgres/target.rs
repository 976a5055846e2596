//! The table that rows are loaded into, as it is or as it will be made: which columns are loaded, and how.
//!
//! Everything that can be refused is refused here, before anything is written.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, SchemaRef};

use super::bookkeeping::Bookkeeping;
use super::catalog::{self, Reference};
use super::sql::{NAME_BYTES, ident, qualified};
use super::types::{self, ColumnType};
use crate::contract::LoadMode;
use crate::warehouse::copy::{Wire, encodes};
use crate::warehouse::{TableLoad, WarehouseError};

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
        let action = format!("describe the table {}", draft.table);
        let failed = |error| super::failure::statement(server, action.clone(), error);
        let relation = catalog::relation(books.client, books.warehouse, &draft.table)
            .await
            .map_err(failed)?;
        let Some(relation) = relation else {
            return draft.absent();
        };
        let found = Self::find(books, &draft, &relation, failed).await?;
        draft.existing(found)
    }

    /// Looks the table of `draft` up and decides what it is to be: one of ours what the rows say, one that was provided
    /// what it is.
    pub(super) async fn anew(
        books: Bookkeeping<'_>,
        server: &str,
        draft: Draft,
    ) -> Result<(Self, Option<u32>), WarehouseError> {
        let action = format!("describe the table {}", draft.table);
        let failed = |error| super::failure::statement(server, action.clone(), error);
        let relation = catalog::relation(books.client, books.warehouse, &draft.table)
            .await
            .map_err(failed)?;
        let Some(relation) = relation else {
            return Ok((draft.absent()?, None));
        };
        let found = Self::find(books, &draft, &relation, failed).await?;
        let target = match found.ours {
            true => Self {
                standing: Standing::Ours,
                references: found.references,
                ..draft.absent()?
            },
            false => draft.existing(found)?,
        };
        Ok((target, Some(relation.oid)))
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

    async fn find(
        books: Bookkeeping<'_>,
        draft: &Draft,
        relation: &catalog::Relation,
        failed: impl Fn(tokio_postgres::Error) -> WarehouseError,
    ) -> Result<Found, WarehouseError> {
        if !relation.is_table() {
            return Err(draft.problem("is not a table, so that nothing can be loaded into it"));
        }
        Ok(Found {
            ours: books.is_ours(&draft.table).await.map_err(&failed)?,
            columns: catalog::columns(books.client, relation.oid)
                .await
                .map_err(&failed)?,
            single_key: catalog::single_primary_key(books.client, relation.oid)
                .await
                .map_err(&failed)?,
            references: catalog::references(books.client, relation.oid)
                .await
                .map_err(&failed)?,
        })
    }
}

/// A table of the warehouse as the catalog describes it.
struct Found {
    ours: bool,
    columns: Vec<catalog::Column>,
    /// The column of its primary key, if that is a single one.
    single_key: Option<String>,
    references: Vec<Reference>,
}

/// What a load asks for, checked by itself. It holds no stream, so that it may wait for the server.
pub(super) struct Draft {
    /// The warehouse's schema.
    schema: String,
    table: String,
    rows: SchemaRef,
    primary_key: Vec<String>,
    mode: LoadMode,
    record_id: Option<String>,
}

impl Draft {
    pub(super) fn new(schema: &str, load: &TableLoad) -> Result<Self, WarehouseError> {
        let record_id = (load.mode == LoadMode::AppendVersions).then(|| {
            load.record_id
                .clone()
                .unwrap_or_else(|| format!("{}_record_id", load.table))
        });
        let draft = Self {
            schema: schema.to_owned(),
            table: load.table.clone(),
            rows: load.schema.clone(),
            primary_key: load.primary_key.clone(),
            mode: load.mode,
            record_id,
        };
        draft.check_names()?;
        draft.check_key()?;
        Ok(draft)
    }

    fn problem(&self, problem: impl Into<String>) -> WarehouseError {
        WarehouseError::Table {
            table: format!("{}.{}", self.schema, self.table),
            problem: problem.into(),
        }
    }

    fn check_names(&self) -> Result<(), WarehouseError> {
        let fields = || self.rows.fields().iter().map(|field| field.name());
        let names = fields().chain([&self.table]).chain(self.record_id.as_ref());
        for name in names {
            if name.len() > NAME_BYTES || name.is_empty() || name.contains('\0') {
                return Err(self.problem(format!(
                    "cannot be made: PostgreSQL's names have 1 to {NAME_BYTES} bytes, `{name}` has {}",
                    name.len()
                )));
            }
        }
        let scd2 = self.mode == LoadMode::Scd2;
        let added = |name: &str| {
            name.starts_with(PROVENANCE_PREFIX)
                || self.record_id.as_deref() == Some(name)
                || (scd2 && VALIDITY.iter().any(|(validity, _)| *validity == name))
        };
        match fields().find(|name| added(name)) {
            Some(name) => Err(self.problem(format!(
                "cannot take the column `{name}` from the rows: the warehouse adds one of that name"
            ))),
            None => Ok(()),
        }
    }

    fn check_key(&self) -> Result<(), WarehouseError> {
        if self.primary_key.is_empty() && self.mode != LoadMode::Overwrite {
            return Err(self.problem("cannot be loaded: its rows have no key"));
        }
        for name in &self.primary_key {
            if self.rows.field_with_name(name).is_err() {
                return Err(self.problem(format!(
                    "cannot be loaded: the rows have no column `{name}`, which is their key"
                )));
            }
        }
        Ok(())
    }

    /// The column as we make it.
    fn declared(&self, index: usize, field: &Field) -> Result<LoadColumn, WarehouseError> {
        let refused = |reason: String| {
            self.problem(format!(
                "cannot have the column `{}`: PostgreSQL {reason}",
                field.name()
            ))
        };
        let declared = types::declare(field.data_type()).map_err(refused)?;
        self.column(index, field, declared, true)
            .ok_or_else(|| refused(format!("has no exact type for {}", field.data_type())))
    }

    /// The column with the type it has in the table, if that can hold it.
    fn column(
        &self,
        index: usize,
        field: &Field,
        of: ColumnType,
        missing: bool,
    ) -> Option<LoadColumn> {
        let wire = of.wire.filter(|wire| encodes(field.data_type(), wire))?;
        Some(LoadColumn {
            name: field.name().clone(),
            index,
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            sql_type: of.sql,
            wire,
            missing,
        })
    }

    fn absent(self) -> Result<Target, WarehouseError> {
        let columns = self
            .rows
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| self.declared(index, field))
            .collect::<Result<_, _>>()?;
        self.target(Standing::Absent, columns)
    }

    fn target(
        &self,
        standing: Standing,
        columns: Vec<LoadColumn>,
    ) -> Result<Target, WarehouseError> {
        let key = self
            .primary_key
            .iter()
            .map(|name| {
                columns
                    .iter()
                    .position(|column| column.name == *name)
                    .ok_or_else(|| {
                        self.problem(format!("has no column `{name}`, which is its key"))
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Target {
            schema: self.schema.clone(),
            table: self.table.clone(),
            mode: self.mode,
            standing,
            columns,
            key,
            record_id: self.record_id.clone(),
            provenance: match standing {
                Standing::Absent => PROVENANCE.iter().map(|(name, _)| *name).collect(),
                Standing::Ours | Standing::Provided => Vec::new(),
            },
            relaxed: Vec::new(),
            overrides_identity: false,
            references: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn existing(mut self, found: Found) -> Result<Target, WarehouseError> {
        let standing = match found.ours {
            true => Standing::Ours,
            false => Standing::Provided,
        };
        let by_name: BTreeMap<&str, &catalog::Column> = found
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column))
            .collect();
        let (columns, notes) = self.match_columns(standing, &by_name)?;
        self.record_id = self.find_record_id(&found, &by_name)?;
        self.check_validity(&by_name)?;
        let mut target = self.target(standing, columns)?;
        target.relaxed = self.unfilled(standing, &found.columns, &target)?;
        target.overrides_identity = target.columns.iter().any(|column| {
            by_name
                .get(column.name.as_str())
                .is_some_and(|found| found.identity_always)
        });
        if standing == Standing::Ours {
            let has = |name: &&str| by_name.contains_key(*name);
            target.provenance = PROVENANCE
                .iter()
                .map(|(name, _)| *name)
                .filter(has)
                .collect();
        }
        target.references = found.references;
        target.notes = notes;
        Ok(target)
    }

    /// The columns of the rows that the table has, or gets because it is ours; and what is to be said.
    fn match_columns(
        &self,
        standing: Standing,
        by_name: &BTreeMap<&str, &catalog::Column>,
    ) -> Result<(Vec<LoadColumn>, Vec<String>), WarehouseError> {
        let mut columns = Vec::new();
        let mut notes = Vec::new();
        let mut absent = Vec::new();
        for (index, field) in self.rows.fields().iter().enumerate() {
            match by_name.get(field.name().as_str()) {
                Some(found) if found.generated => notes.push(format!(
                    "column `{}` is computed by the warehouse and not loaded",
                    field.name()
                )),
                Some(found) => columns.push(
                    self.column(index, field, found.column_type.clone(), false)
                        .ok_or_else(|| {
                            self.problem(format!(
                                "has the column `{}` of type {}, which does not hold {} exactly",
                                field.name(),
                                found.column_type.sql,
                                field.data_type()
                            ))
                        })?,
                ),
                None if standing == Standing::Ours => columns.push(self.declared(index, field)?),
                None => absent.push(format!("`{}`", field.name())),
            }
        }
        if !absent.is_empty() {
            notes.push(format!(
                "the warehouse's table has no column {}: not loaded",
                absent.join(", ")
            ));
        }
        Ok((columns, notes))
    }

    /// The column that numbers versions: the one that is asked for, or the table's own serial key.
    fn find_record_id(
        &self,
        found: &Found,
        by_name: &BTreeMap<&str, &catalog::Column>,
    ) -> Result<Option<String>, WarehouseError> {
        let Some(asked) = self.record_id.as_deref() else {
            return Ok(None);
        };
        let own_key = || {
            let key = found.single_key.as_deref()?;
            let in_rows = self.rows.field_with_name(key).is_ok();
            (!in_rows).then(|| by_name.get(key)).flatten()
        };
        let Some(column) = by_name.get(asked).or_else(own_key) else {
            return Err(self.problem(format!(
                "has no column `{asked}`, which is to number the versions of its rows"
            )));
        };
        let integer = matches!(
            column.column_type.wire,
            Some(Wire::Int2 | Wire::Int4 | Wire::Int8)
        );
        if !integer || !column.filled {
            return Err(self.problem(format!(
                "has the column `{}` of type {}, which does not number rows by itself",
                column.name, column.column_type.sql
            )));
        }
        Ok(Some(column.name.clone()))
    }

    fn check_validity(
        &self,
        by_name: &BTreeMap<&str, &catalog::Column>,
    ) -> Result<(), WarehouseError> {
        if self.mode != LoadMode::Scd2 {
            return Ok(());
        }
        for (name, sql_type) in VALIDITY {
            match by_name.get(name) {
                Some(column) if column.column_type.sql == sql_type => {}
                _ => {
                    return Err(self.problem(format!(
                        "has no column `{name}` of type {sql_type}, which its versions need"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Columns that no row gets a value for though they want one: in a table of ours they must now allow
    /// NULL, in a provided one nothing can be loaded.
    fn unfilled(
        &self,
        standing: Standing,
        columns: &[catalog::Column],
        target: &Target,
    ) -> Result<Vec<String>, WarehouseError> {
        let ours = standing == Standing::Ours;
        let scd2 = self.mode == LoadMode::Scd2;
        // Whether we fill the column, though it is not in the rows.
        let added = |name: &str| {
            (ours && name.starts_with(PROVENANCE_PREFIX))
                || (scd2 && VALIDITY.iter().any(|(validity, _)| *validity == name))
        };
        let loaded = |name: &str| target.columns.iter().any(|column| column.name == name);
        let names: Vec<String> = columns
            .iter()
            .filter(|column| column.not_null && !column.filled && !column.generated)
            .map(|column| column.name.clone())
            .filter(|name| !added(name) && !loaded(name))
            .collect();
        match (standing, names.first()) {
            (Standing::Provided, Some(name)) => Err(self.problem(format!(
                "has the column {}, which must have a value, and the rows have none for it",
                ident(name)
            ))),
            _ => Ok(names),
        }
    }
}
