//! Staged rows become rows of the table, one set-based statement per step.
//!
//! In every statement `t` is the table, `s` a staged row or key, `o` where it comes from. MERGE was rejected:
//! it needs PostgreSQL 15, and ON CONFLICT needs a unique index that a provided table may not have.

use super::failure;
use super::sql::{ident, join, qualified};
use super::staging::{Server, Stage};
use super::target::{IS_CURRENT, LoadColumn, PROVENANCE_PREFIX, Target, VALID_FROM, VALID_TO};
use crate::contract::LoadMode;
use crate::warehouse::{TableLoaded, WarehouseError};

/// The staged table that `s` stands for.
#[derive(Debug, Clone, Copy)]
enum Staged {
    Rows,
    Keys,
}

/// One table with its staged rows.
pub(super) struct Apply<'a> {
    pub(super) server: Server<'a>,
    pub(super) target: &'a Target,
    pub(super) stage: &'a Stage,
}

impl Apply<'_> {
    /// Removes the rows that are to go and that no foreign key points at: how many.
    ///
    /// Called for all tables of a landing before rows are applied, so that a new row may have the unique
    /// value of an old one, and again afterwards, when rows no longer point where they did; both times with
    /// the tables that point elsewhere first.
    pub(super) async fn remove(&self) -> Result<u64, WarehouseError> {
        let Some(doomed) = self.doomed() else {
            return Ok(0);
        };
        let delete = format!(
            "DELETE FROM {} AS t WHERE {doomed}{}",
            self.table(),
            self.unreferenced()
        );
        let mut removed = self.execute(&delete).await?;
        // A table that points at itself loses its outermost rows first.
        let own = self.target.references.iter().any(|reference| reference.own);
        let mut last = removed;
        while own && last > 0 {
            last = self.execute(&delete).await?;
            removed += last;
        }
        Ok(removed)
    }

    /// The rows that were to be removed and are still there, for a note.
    pub(super) async fn kept(&self) -> Result<Option<String>, WarehouseError> {
        let Some(doomed) = self.doomed().filter(|_| !self.target.references.is_empty()) else {
            return Ok(None);
        };
        let count = format!("SELECT count(*) FROM {} AS t WHERE {doomed}", self.table());
        let kept: i64 = self
            .server
            .client
            .query_one(&count, &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| self.failed(error))?;
        let mut tables: Vec<&str> = self
            .target
            .references
            .iter()
            .map(|reference| reference.table.as_str())
            .collect();
        tables.dedup();
        Ok((kept > 0).then(|| {
            format!(
                "{kept} {} gone from the source, or refused, and kept, because a foreign key points at {}: from {}",
                if kept == 1 { "row is" } else { "rows are" },
                if kept == 1 { "it" } else { "them" },
                tables.join(", ")
            )
        }))
    }

    /// Applies the staged rows after the mode of the table, and ends versions whose key is gone.
    pub(super) async fn apply(&self, loaded: &mut TableLoaded) -> Result<(), WarehouseError> {
        match self.target.mode {
            LoadMode::Upsert | LoadMode::Overwrite => {
                if let Some(update) = self.update() {
                    loaded.updated = self.execute(&update).await?;
                }
                loaded.inserted = self.execute(&self.insert_new_keys()).await?;
            }
            LoadMode::AppendVersions => {
                if let Some(record_id) = &self.target.record_id {
                    let record_id = ident(record_id);
                    loaded.removed = self.execute(&self.end_versions(&record_id)).await?;
                    loaded.inserted = self.execute(&self.append_versions(&record_id)).await?;
                }
            }
            LoadMode::Scd2 => {
                loaded.removed = self.execute(&self.close(Staged::Keys)).await?;
                self.execute(&self.close(Staged::Rows)).await?;
                loaded.inserted = self.execute(&self.open_versions()).await?;
            }
        }
        loaded.unchanged = self
            .stage
            .row_count
            .saturating_sub(loaded.inserted + loaded.updated);
        Ok(())
    }

    /// The condition on `t` that its row is to go; `None` when no row is.
    fn doomed(&self) -> Option<String> {
        match self.target.mode {
            LoadMode::Upsert if self.stage.key_count > 0 => Some(format!(
                "EXISTS (SELECT FROM {} AS s WHERE {})",
                self.stage.keys,
                self.same_key(Staged::Keys)
            )),
            LoadMode::Overwrite if self.target.key.is_empty() => Some(self.any_differs()),
            LoadMode::Overwrite => Some(format!(
                "NOT EXISTS (SELECT FROM {} AS s WHERE {})",
                self.stage.rows,
                self.same_key(Staged::Rows)
            )),
            _ => None,
        }
    }

    fn unreferenced(&self) -> String {
        unreferenced(self.target)
    }

    /// The condition that a table without a key does not hold the staged rows, each as often as it comes: all of
    /// its rows go then, and [`Self::insert_new_keys`] finds an empty table.
    fn any_differs(&self) -> String {
        let cast = |column: &LoadColumn| without_equality(column);
        let columns = || self.target.columns.iter().enumerate();
        let stored = columns().map(|(_, c)| format!("{}{}", ident(&c.name), cast(c)));
        let staged = columns().map(|(i, c)| format!("c{i}{}", cast(c)));
        let stored = format!("SELECT {} FROM {}", join(stored, ", "), self.table());
        let staged = format!("SELECT {} FROM {}", join(staged, ", "), self.stage.rows);
        format!("EXISTS (({stored} EXCEPT ALL {staged}) UNION ALL ({staged} EXCEPT ALL {stored}))")
    }

    fn update(&self) -> Option<String> {
        if self.target.key.is_empty() {
            return None;
        }
        let values = self
            .target
            .values()
            .map(|(i, column)| format!("{} = s.c{i}", ident(&column.name)));
        let provenance = self
            .target
            .provenance
            .iter()
            .map(|name| format!("{} = {}", ident(name), origin_column(name)));
        self.target.values().next()?;
        Some(format!(
            "UPDATE {} AS t SET {} FROM {} AS s, {} AS o WHERE {} AND {}",
            self.table(),
            join(values.chain(provenance), ", "),
            self.stage.rows,
            self.stage.origin,
            self.same_key(Staged::Rows),
            self.differs(|column| format!("t.{}", ident(&column.name)))
        ))
    }

    fn insert_new_keys(&self) -> String {
        format!(
            "{} WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) ORDER BY s.ordinal",
            self.insert(&[]),
            self.table(),
            self.same_key(Staged::Rows)
        )
    }

    /// The latest versions that `staged` has keys of, with `values` of them.
    ///
    /// A join that the planner may turn into index scans or hashing: a lateral look-up per row would be
    /// quadratic in a provided table without an index on its key.
    fn latest(&self, staged: Staged, record_id: &str, values: &str) -> String {
        format!(
            "SELECT DISTINCT ON (s.ordinal) s.ordinal, t.{record_id} AS record_id{values}
               FROM {} AS s JOIN {} AS t ON {}
              ORDER BY s.ordinal, t.{record_id} DESC",
            self.staged(staged),
            self.table(),
            self.same_key(staged)
        )
    }

    fn append_versions(&self, record_id: &str) -> String {
        let values: String = self
            .target
            .values()
            .map(|(i, column)| format!(", t.{} AS v{i}", ident(&column.name)))
            .collect();
        let positions: Vec<(usize, &LoadColumn)> = self.target.values().collect();
        let differs = self.differs(|column| {
            let position = positions.iter().find(|(_, c)| c.name == column.name);
            format!("l.v{}", position.map_or(0, |(i, _)| *i))
        });
        format!(
            "WITH latest AS ({}) {} LEFT JOIN latest AS l ON l.ordinal = s.ordinal
              WHERE l.record_id IS NULL OR {differs}
                 OR EXISTS (SELECT FROM tidemill.ended_version AS e
                             WHERE e.warehouse = o.warehouse AND e.table_name = o.table_name
                               AND e.record_id = l.record_id)
              ORDER BY s.ordinal",
            self.latest(Staged::Rows, record_id, &values),
            self.insert(&[])
        )
    }

    fn end_versions(&self, record_id: &str) -> String {
        format!(
            "INSERT INTO tidemill.ended_version
                    (warehouse, table_name, record_id, run, source, landing, logical_time)
             SELECT o.warehouse, o.table_name, l.record_id, o.run, o.source, o.landing, o.logical_time
               FROM ({}) AS l CROSS JOIN {} AS o
             ON CONFLICT DO NOTHING",
            self.latest(Staged::Keys, record_id, ""),
            self.stage.origin
        )
    }

    /// Closes the open versions of `staged`: of rows only those that differ.
    fn close(&self, staged: Staged) -> String {
        let differs = match staged {
            Staged::Keys => String::new(),
            Staged::Rows => format!(
                " AND {}",
                self.differs(|column| format!("t.{}", ident(&column.name)))
            ),
        };
        // A source's clock may stand still or go back between landings; a version never ends before it began.
        format!(
            "UPDATE {} AS t SET {} = greatest(o.logical_time, t.{}), {} = false
               FROM {} AS s, {} AS o WHERE {} AND t.{}{differs}",
            self.table(),
            ident(VALID_TO),
            ident(VALID_FROM),
            ident(IS_CURRENT),
            self.staged(staged),
            self.stage.origin,
            self.same_key(staged),
            ident(IS_CURRENT)
        )
    }

    fn open_versions(&self) -> String {
        let same_key = self.same_key(Staged::Rows);
        let from = format!(
            "greatest(o.logical_time, (SELECT max(t.{}) FROM {} AS t WHERE {same_key}))",
            ident(VALID_TO),
            self.table()
        );
        let validity = [
            (VALID_FROM, from.as_str()),
            (VALID_TO, "NULL"),
            (IS_CURRENT, "true"),
        ];
        format!(
            "{} WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {same_key} AND t.{}) ORDER BY s.ordinal",
            self.insert(&validity),
            self.table(),
            ident(IS_CURRENT)
        )
    }

    /// `INSERT … SELECT … FROM` the staged rows `s` and their origin `o`.
    fn insert(&self, added: &[(&str, &str)]) -> String {
        let target = self.target;
        let names = target.columns.iter().map(|column| column.name.as_str());
        let names = names
            .chain(added.iter().map(|(name, _)| *name))
            .chain(target.provenance.iter().copied())
            .map(ident);
        let values = (0..target.columns.len()).map(|i| format!("s.c{i}"));
        let values = values
            .chain(added.iter().map(|(_, value)| (*value).to_owned()))
            .chain(target.provenance.iter().map(|name| origin_column(name)));
        format!(
            "INSERT INTO {} ({}){} SELECT {} FROM {} AS s CROSS JOIN {} AS o",
            self.table(),
            join(names, ", "),
            match target.overrides_identity {
                true => " OVERRIDING SYSTEM VALUE",
                false => "",
            },
            join(values, ", "),
            self.stage.rows,
            self.stage.origin
        )
    }

    /// The condition that `t` and `s` have the same key.
    fn same_key(&self, staged: Staged) -> String {
        let pairs = self.target.key.iter().zip(self.target.key_columns());
        let pairs = pairs.enumerate().map(|(order, (position, column))| {
            let staged = match staged {
                Staged::Rows => position,
                Staged::Keys => &order,
            };
            // Only `=` can be hashed, merged and looked up in an index.
            let equals = match column.nullable {
                true => "IS NOT DISTINCT FROM",
                false => "=",
            };
            format!("t.{} {equals} s.c{staged}", ident(&column.name))
        });
        match self.target.key.is_empty() {
            true => "true".into(),
            false => join(pairs, " AND "),
        }
    }

    /// The condition that the values beside the key differ between `stored` and `s`.
    fn differs(&self, stored: impl Fn(&LoadColumn) -> String) -> String {
        let cast = without_equality;
        let (stored, staged): (Vec<_>, Vec<_>) = self
            .target
            .values()
            .map(|(i, column)| {
                let cast = cast(column);
                (format!("{}{cast}", stored(column)), format!("s.c{i}{cast}"))
            })
            .unzip();
        if stored.is_empty() {
            return "false".into();
        }
        format!(
            "ROW({}) IS DISTINCT FROM ROW({})",
            stored.join(", "),
            staged.join(", ")
        )
    }

    fn table(&self) -> String {
        self.target.sql_name()
    }

    fn staged(&self, staged: Staged) -> &str {
        match staged {
            Staged::Rows => &self.stage.rows,
            Staged::Keys => &self.stage.keys,
        }
    }

    async fn execute(&self, sql: &str) -> Result<u64, WarehouseError> {
        self.server
            .client
            .execute(sql, &[])
            .await
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: tokio_postgres::Error) -> WarehouseError {
        failure::statement(
            self.server.name,
            format!("load into {}", self.target.table),
            error,
        )
    }
}

/// The condition that nothing points at the row `t`, also where the server would delete or change what does: the history
/// of facts outlives a row of a dimension.
pub(super) fn unreferenced(target: &Target) -> String {
    let conditions = target.references.iter().map(|reference| {
        let pairs = reference.columns.iter().zip(&reference.referenced);
        let pairs = pairs
            .map(|(column, referenced)| format!("r.{} = t.{}", ident(column), ident(referenced)));
        format!(
            " AND NOT EXISTS (SELECT FROM {} AS r WHERE {})",
            qualified(&reference.schema, &reference.table),
            join(pairs, " AND ")
        )
    });
    conditions.collect()
}

/// The cast of a value that cannot be compared: the type json has no equality; its text has.
pub(super) fn without_equality(column: &LoadColumn) -> &'static str {
    match column.sql_type == "json" {
        true => "::text",
        false => "",
    }
}

/// The column of the origin that a provenance column is filled from.
fn origin_column(provenance: &str) -> String {
    let name = provenance
        .strip_prefix(PROVENANCE_PREFIX)
        .unwrap_or(provenance);
    format!("o.{name}")
}
