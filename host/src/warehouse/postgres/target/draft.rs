//! What a load asks for, and the table that comes of it: made as the rows say, or matched with the one that is there.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, SchemaRef};

use super::super::catalog;
use super::super::sql::{NAME_BYTES, ident};
use super::super::types::{self, ColumnType};
use super::{Found, LoadColumn, PROVENANCE, PROVENANCE_PREFIX, Standing, Target, VALIDITY};
use crate::contract::LoadMode;
use crate::warehouse::copy::{Wire, encodes};
use crate::warehouse::{TableLoad, WarehouseError};

/// What a load asks for, checked by itself. It holds no stream, so that it may wait for the server.
pub(in crate::warehouse::postgres) struct Draft {
    /// The warehouse's schema.
    schema: String,
    pub(super) table: String,
    rows: SchemaRef,
    primary_key: Vec<String>,
    mode: LoadMode,
    record_id: Option<String>,
}

impl Draft {
    pub(in crate::warehouse::postgres) fn new(
        schema: &str,
        load: &TableLoad,
    ) -> Result<Self, WarehouseError> {
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

    pub(super) fn problem(&self, problem: impl Into<String>) -> WarehouseError {
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

    pub(super) fn absent(self) -> Result<Target, WarehouseError> {
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

    pub(super) fn existing(mut self, found: Found) -> Result<Target, WarehouseError> {
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
