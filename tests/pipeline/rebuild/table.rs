//! Everything that a table of a warehouse holds, as text.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use arrow::util::display::ArrayFormatter;
use futures::TryStreamExt as _;
use tidemill::warehouse::Warehouse;

/// What differs between two that made the same: who did, and when.
const OF_THE_RUN: [&str; 1] = ["_tidemill_run"];

/// Where rows come from: of a table that is rebuilt from its newest landing alone, all of them from that.
const OF_THE_LANDING: [&str; 3] = [
    "_tidemill_run",
    "_tidemill_landing",
    "_tidemill_logical_time",
];

/// The rows of a table, of its view over what counts now, and of the versions that were ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    /// Rows as values by column, sorted.
    rows: Vec<BTreeMap<String, String>>,
    current: Option<Vec<BTreeMap<String, String>>>,
}

impl Dump {
    /// Whether versions of rows are numbered.
    pub(super) fn has_record_id(&self) -> bool {
        let columns = self.rows.first().into_iter().flat_map(BTreeMap::keys);
        columns.into_iter().any(|name| name.ends_with("_record_id"))
    }

    /// The same, but for what tells one run from another.
    pub(super) fn is_like(&self, other: &Self) -> Result<()> {
        let origin: &[&str] = match self.has_record_id() || self.is_history() {
            true => &OF_THE_RUN,
            false => &OF_THE_LANDING,
        };
        let (found, expected) = (plain(&self.rows, origin), plain(&other.rows, origin));
        differences(&found, &expected).context("the table")?;
        // PostgreSQL has no view over the open versions of an `scd2` table.
        match (&self.current, &other.current) {
            (Some(found), Some(expected)) => {
                differences(found, expected).context("its current rows")
            }
            _ => Ok(()),
        }
    }

    fn is_history(&self) -> bool {
        self.rows
            .first()
            .is_some_and(|row| row.contains_key("_valid_from"))
    }
}

fn differences(
    found: &[BTreeMap<String, String>],
    expected: &[BTreeMap<String, String>],
) -> Result<()> {
    let missing: Vec<_> = expected
        .iter()
        .filter(|row| !found.contains(row))
        .take(2)
        .collect();
    let surplus: Vec<_> = found
        .iter()
        .filter(|row| !expected.contains(row))
        .take(2)
        .collect();
    ensure!(
        found == expected,
        "{} rows and {} expected; missing: {missing:#?}; surplus: {surplus:#?}",
        found.len(),
        expected.len()
    );
    Ok(())
}

fn plain(rows: &[BTreeMap<String, String>], without: &[&str]) -> Vec<BTreeMap<String, String>> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.retain(|name, _| !without.contains(&name.as_str()));
    }
    rows.sort();
    rows
}

/// What `table` holds.
pub(super) async fn dump(warehouse: &dyn Warehouse, table: &str) -> Result<Dump> {
    let current = format!("{table}_current");
    let has_current = warehouse.tables().await?.contains(&current);
    Ok(Dump {
        rows: rows(warehouse, table).await?,
        current: match has_current {
            true => Some(rows(warehouse, &current).await?),
            false => None,
        },
    })
}

/// Rows of a table as values by column, sorted.
pub(super) async fn rows(
    warehouse: &dyn Warehouse,
    table: &str,
) -> Result<Vec<BTreeMap<String, String>>> {
    let (schema, batches) = warehouse.query(&format!("SELECT * FROM {table}")).await?;
    let mut rows = Vec::new();
    let batches: Vec<_> = batches.try_collect().await?;
    for batch in batches {
        let options = Default::default();
        let columns = batch.columns().iter();
        let columns = columns
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let values = schema.fields().iter().zip(&columns);
            let values = values.map(|(field, column)| {
                let value = column.value(row).to_string();
                (field.name().clone(), value)
            });
            rows.push(values.collect());
        }
    }
    rows.sort();
    Ok(rows)
}
