//! Live rows of landed tables that modules read as `current`, kept so that nobody reads all of a table's history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;

use super::inputs::{Landings, Reader, is_worth_keeping};
use crate::contract::Delivery;
use crate::error::Result;
use crate::manifest::CurrentRows;
use crate::sandbox::Module;
use crate::table::TableName;
use crate::zone::Zone;
use crate::zone::parquet::PartWriter;

/// The landed tables that some of the modules read as `current`.
pub(super) fn current_inputs<'m>(modules: impl Iterator<Item = &'m Module>) -> BTreeSet<&'m str> {
    modules
        .flat_map(|module| &module.description().inputs)
        .filter(|input| input.delivery == Delivery::Current)
        .map(|input| input.table.as_str())
        .collect()
}

/// Keeps the live rows of `table` as of `landing` below `prefix`, where much has landed on top of those that are
/// `kept`; `None` where not.
///
/// # Errors
/// `Data` when a landed object is damaged, `Unavailable`.
pub(super) async fn keep(
    landings: &Landings,
    reader: &Reader,
    output: Arc<dyn Zone>,
    (table, landing): (&str, u64),
    kept: &BTreeMap<TableName, CurrentRows>,
    prefix: String,
) -> Result<Option<CurrentRows>> {
    let Some(state) = landings.state(table, landing).await? else {
        return Ok(None);
    };
    if state.reached.is_some() {
        return Ok(None);
    }
    let objects = landings
        .objects(table, Delivery::Current, landing, kept)
        .await?;
    if !is_worth_keeping(&objects) {
        return Ok(None);
    }
    let schema = state.table.schema();
    let mut rows = reader
        .all_columns(&objects, &state.table.key, schema.clone())
        .await?;
    let mut writer = PartWriter::new(output, prefix, schema);
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).await?;
    }
    let rows = writer.finish().await?.into_iter();
    Ok(Some(CurrentRows {
        landing,
        rows: rows.map(super::object).collect(),
    }))
}
