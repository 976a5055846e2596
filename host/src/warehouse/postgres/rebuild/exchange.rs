//! The exchange: the rows of a table go, those that were gathered come, and its columns are made to fit them.

use std::collections::BTreeSet;

use tokio_postgres::{Client, Error};

use crate::contract::LoadMode;
use crate::warehouse::TableLoaded;
use crate::warehouse::postgres::apply::{unreferenced, without_equality};
use crate::warehouse::postgres::catalog::{self, Column};
use crate::warehouse::postgres::ddl;
use crate::warehouse::postgres::sql::{ident, join, qualified};
use crate::warehouse::postgres::target::{LoadColumn, Standing, Target, VALIDITY};

/// Why rows cannot be exchanged.
pub(super) enum ExchangeError {
    /// The server refused.
    Statement(Error),
    /// The table cannot be made anew; what the problem is.
    Table(String),
}

impl From<Error> for ExchangeError {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

type Result<T> = std::result::Result<T, ExchangeError>;

/// A view of ours, and the statements that grant the rights that others have on it.
pub(super) type Rights = (String, Vec<String>);

/// One table and what takes the place of its rows.
pub(super) struct Exchange<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Target,
    /// The table in the catalog; `None` where there is none.
    pub(super) oid: Option<u32>,
    pub(super) beside: &'a Target,
    /// Columns of rows before.
    pub(super) gone: &'a BTreeSet<String>,
}

/// What must be altered for a table to be what it would be if it were made today.
#[derive(Default)]
struct Alterations {
    /// Before rows come, in one statement.
    columns: Vec<String>,
    /// Whether views over the table may stand in the way.
    hides: bool,
    /// The primary key that goes.
    key: Option<String>,
    /// When rows are there.
    seal: Vec<String>,
}

/// What is known of columns beside their names and types.
struct Ours<'a> {
    gone: &'a BTreeSet<String>,
    record_id: Option<&'a str>,
}

impl Alterations {
    fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.key.is_none()
    }
}

impl Exchange<'_> {
    /// Exchanges the rows: how many, and the rights to grant when the views are there again.
    pub(super) async fn run(&self) -> Result<(TableLoaded, Vec<Rights>)> {
        let mut loaded = TableLoaded {
            table: self.target.table.clone(),
            notes: self.target.notes.clone(),
            ..TableLoaded::default()
        };
        let Some(oid) = self.oid else {
            self.execute(&ddl::create_whole(self.target)).await?;
            loaded.inserted = self.insert("").await?;
            for statement in ddl::seal(self.target) {
                self.execute(&statement).await?;
            }
            self.restart().await?;
            return Ok((loaded, Vec::new()));
        };
        let alterations = match self.target.standing {
            Standing::Ours => self.alterations(oid).await?,
            Standing::Absent | Standing::Provided => Alterations::default(),
        };
        if !self.target.references.is_empty() {
            self.check_references(&alterations)?;
            self.merge(&mut loaded).await?;
            return Ok((loaded, Vec::new()));
        }
        loaded.removed = self
            .execute(&format!("DELETE FROM {}", self.table()))
            .await?;
        let grants = self.alter(oid, &alterations).await?;
        loaded.inserted = self.insert("").await?;
        for statement in &alterations.seal {
            self.execute(statement).await?;
        }
        if self.target.standing == Standing::Ours {
            self.restart().await?;
        }
        Ok((loaded, grants))
    }

    /// What differs between the table and the one beside it, which was made today.
    async fn alterations(&self, oid: u32) -> Result<Alterations> {
        let beside = format!("SELECT {}::regclass::oid", literal(&self.beside.sql_name()));
        let beside: u32 = self.client.query_one(&beside, &[]).await?.try_get(0)?;
        let there = catalog::columns(self.client, oid).await?;
        let wanted = catalog::columns(self.client, beside).await?;
        let mut alterations = alterations(&there, &wanted, &self.of_ours());
        let (key, wanted) = (
            catalog::primary_key(self.client, oid).await?,
            catalog::primary_key(self.client, beside).await?,
        );
        let columns = |key: &Option<(String, Vec<String>)>| key.as_ref().map(|key| key.1.clone());
        let table = self.table();
        if columns(&key) != columns(&wanted) {
            alterations.key = key.map(|key| key.0);
            let columns = columns(&wanted).unwrap_or_default();
            if !columns.is_empty() {
                let columns = join(columns.iter().map(|name| ident(name)), ", ");
                let add = format!("ALTER TABLE {table} ADD PRIMARY KEY ({columns})");
                alterations.seal.push(add);
            }
        }
        let there = catalog::indexes(self.client, oid).await?;
        for index in catalog::indexes(self.client, beside).await? {
            if !there.contains(&index) {
                let (using, unique) = index;
                let unique = if unique { "UNIQUE " } else { "" };
                let create = format!("CREATE {unique}INDEX ON {table}{using}");
                alterations.seal.push(create);
            }
        }
        Ok(alterations)
    }

    /// Which columns of the table are ours to take away, and which the server is to number.
    fn of_ours(&self) -> Ours<'_> {
        Ours {
            gone: self.gone,
            record_id: self.target.record_id.as_deref(),
        }
    }

    /// Alters the table, which has no rows now: the rights on our views that had to go for it.
    async fn alter(&self, oid: u32, alterations: &Alterations) -> Result<Vec<Rights>> {
        let mut grants = Vec::new();
        if alterations.hides {
            grants = catalog::our_views(self.client, &self.target.schema, oid).await?;
            for (view, _) in &grants {
                let view = qualified(&self.target.schema, view);
                self.execute(&format!("DROP VIEW {view}")).await?;
            }
        }
        let key = alterations.key.iter();
        let key = key.map(|name| format!("DROP CONSTRAINT {}", ident(name)));
        let changes = join(key.chain(alterations.columns.iter().cloned()), ", ");
        if !changes.is_empty() {
            let alter = format!("ALTER TABLE {} {changes}", self.table());
            self.execute(&alter).await?;
        }
        Ok(grants)
    }

    /// Rows that a foreign key points at can be changed, but neither can they go and come again, nor can their columns.
    fn check_references(&self, alterations: &Alterations) -> Result<()> {
        let mode = self.target.mode;
        let has_rows_of_keys = matches!(mode, LoadMode::Upsert | LoadMode::Overwrite);
        let problem = if !has_rows_of_keys || self.target.key.is_empty() {
            "its rows cannot be told by a key"
        } else if !alterations.is_empty() {
            "its columns or its key are to be others"
        } else {
            return Ok(());
        };
        let tables = join(self.target.references.iter().map(|r| &r.table), ", ");
        Err(ExchangeError::Table(format!(
            "cannot be made anew: foreign keys point at it, from {tables}, and {problem}"
        )))
    }

    /// Changes row by row what differs, and keeps what is pointed at.
    async fn merge(&self, loaded: &mut TableLoaded) -> Result<()> {
        let (table, beside, same) = (self.table(), self.beside.sql_name(), self.same_key());
        let gone = format!("NOT EXISTS (SELECT FROM {beside} AS b WHERE {same})");
        let unreferenced = unreferenced(self.target);
        let delete = format!("DELETE FROM {table} AS t WHERE {gone}{unreferenced}");
        // A table that points at itself loses its outermost rows first.
        loop {
            let removed = self.execute(&delete).await?;
            loaded.removed += removed;
            if removed == 0 {
                break;
            }
        }
        let values: Vec<(String, &str)> = self.values();
        let set = values.iter().map(|(name, _)| format!("{name} = b.{name}"));
        let of = |row: &str| {
            join(
                values.iter().map(|(n, cast)| format!("{row}.{n}{cast}")),
                ", ",
            )
        };
        if !values.is_empty() {
            let update = format!(
                "UPDATE {table} AS t SET {} FROM {beside} AS b
                  WHERE {same} AND ROW({}) IS DISTINCT FROM ROW({})",
                join(set, ", "),
                of("t"),
                of("b")
            );
            loaded.updated = self.execute(&update).await?;
        }
        let new = format!(" WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {same})");
        loaded.inserted = self.insert(&new).await?;
        let kept = format!("SELECT count(*) FROM {table} AS t WHERE {gone}");
        let kept: i64 = self.client.query_one(&kept, &[]).await?.try_get(0)?;
        if kept > 0 {
            let tables = join(self.target.references.iter().map(|r| &r.table), ", ");
            loaded.notes.push(format!(
                "{kept} {} kept that the table would not have, because a foreign key points there: from {tables}",
                if kept == 1 { "row is" } else { "rows are" }
            ));
        }
        Ok(())
    }

    /// The columns beside the key, each with the cast by which it is compared.
    fn values(&self) -> Vec<(String, &'static str)> {
        let values = self.beside.values();
        let values = values.map(|(_, column)| (ident(&column.name), without_equality(column)));
        let provenance = self.beside.provenance.iter();
        values
            .chain(provenance.map(|name| (ident(name), "")))
            .collect()
    }

    fn same_key(&self) -> String {
        let pairs = self.target.key_columns().map(|column| {
            let equals = match column.nullable {
                true => "IS NOT DISTINCT FROM",
                false => "=",
            };
            let name = ident(&column.name);
            format!("t.{name} {equals} b.{name}")
        });
        join(pairs, " AND ")
    }

    /// Copies the rows `b` that were gathered, those of a condition.
    async fn insert(&self, condition: &str) -> Result<u64> {
        let beside = self.beside;
        let record_id = beside.record_id.as_deref();
        let validity = VALIDITY.iter().map(|(name, _)| *name);
        let validity = validity.filter(|_| beside.mode == LoadMode::Scd2);
        let columns = beside
            .columns
            .iter()
            .map(|LoadColumn { name, .. }| name.as_str());
        let names = record_id.into_iter().chain(columns).chain(validity);
        let names: Vec<String> = names
            .chain(beside.provenance.iter().copied())
            .map(ident)
            .collect();
        let order = record_id.map(|name| format!(" ORDER BY b.{}", ident(name)));
        self.execute(&format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS b{condition}{}",
            self.table(),
            names.join(", "),
            join(names.iter().map(|name| format!("b.{name}")), ", "),
            beside.sql_name(),
            order.unwrap_or_default()
        ))
        .await
    }

    /// Lets the next version be numbered after those that are there.
    async fn restart(&self) -> Result<()> {
        let Some(record_id) = &self.target.record_id else {
            return Ok(());
        };
        let ask = format!(
            "SELECT pg_catalog.pg_get_serial_sequence({}, {}), coalesce(max({}), 0) + 1 FROM {}",
            literal(&self.table()),
            literal(record_id),
            ident(record_id),
            self.table()
        );
        let row = self.client.query_one(&ask, &[]).await?;
        let (sequence, next): (Option<String>, i64) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(sequence) = sequence {
            let restart = format!("ALTER SEQUENCE {sequence} RESTART WITH {next}");
            self.execute(&restart).await?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        self.target.sql_name()
    }

    async fn execute(&self, sql: &str) -> Result<u64> {
        Ok(self.client.execute(sql, &[]).await?)
    }
}

/// What makes the columns `there` those that are `wanted`.
fn alterations(there: &[Column], wanted: &[Column], ours: &Ours<'_>) -> Alterations {
    let mut alterations = Alterations::default();
    for column in there {
        let name = ident(&column.name);
        let Some(wanted) = wanted.iter().find(|wanted| wanted.name == column.name) else {
            let is_validity = VALIDITY.iter().any(|(name, _)| *name == column.name);
            if ours.gone.contains(&column.name) || is_validity {
                alterations.columns.push(format!("DROP COLUMN {name}"));
                alterations.hides = true;
            } else if column.not_null && !column.filled && !column.generated {
                // Somebody's own, for which no row has a value.
                let change = format!("ALTER COLUMN {name} DROP NOT NULL");
                alterations.columns.push(change);
            }
            continue;
        };
        if column.column_type.sql != wanted.column_type.sql {
            let sql_type = &wanted.column_type.sql;
            // No row is there whose value could be lost.
            let change = format!("ALTER COLUMN {name} TYPE {sql_type} USING NULL::{sql_type}");
            alterations.columns.push(change);
            alterations.hides = true;
        }
        match (column.not_null, wanted.not_null) {
            (true, false) => {
                let change = format!("ALTER COLUMN {name} DROP NOT NULL");
                alterations.columns.push(change);
            }
            (false, true) => {
                let change = format!("ALTER COLUMN {name} SET NOT NULL");
                alterations.columns.push(change);
            }
            _ => {}
        }
    }
    for column in wanted {
        if there.iter().any(|there| there.name == column.name) {
            continue;
        }
        let (name, sql_type) = (ident(&column.name), &column.column_type.sql);
        let numbered = match ours.record_id == Some(column.name.as_str()) {
            true => " GENERATED BY DEFAULT AS IDENTITY",
            false => "",
        };
        let null = if column.not_null { " NOT NULL" } else { "" };
        let add = format!("ADD COLUMN {name} {sql_type}{numbered}{null}");
        alterations.columns.push(add);
    }
    alterations
}

/// A name of ours as a text.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
