//! The inputs of a module: which objects they are read from, and the rows in the columns it declared.
//!
//! `changes` is what one landing brought. `current` is the latest row of every key: it begins from rows
//! that were kept earlier, so that nobody reads all of a table's history, and a later landing wins over
//! an earlier one.

mod error;
mod fit;
mod landings;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

pub(crate) use self::error::InputError;
use self::fit::fit_keys;
pub(super) use self::fit::{can_become, fit};
pub(super) use self::landings::{Landings, is_worth_keeping};
use super::rows::{Digest128, Digester};
use crate::contract::Input;
use crate::error::Result;
use crate::manifest::{InputObjects, Object};
use crate::zone::{Zone, parquet};

/// Rows in the columns that a module declared, or its keys.
pub(super) type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// Reads the rows of inputs from the two zones.
#[derive(Clone)]
pub(super) struct Reader {
    /// The landing zone.
    pub(super) landed: Arc<dyn Zone>,
    /// The processed zone, where rows are kept.
    pub(super) processed: Arc<dyn Zone>,
}

impl Reader {
    /// The rows of an input in the columns that it declares.
    ///
    /// # Errors
    /// `Data` when an object is damaged; what does not fit the declaration ends the stream.
    pub(super) async fn rows(
        &self,
        input: &Input,
        objects: &InputObjects,
        key: &[String],
    ) -> Result<RowStream> {
        let mut columns: Vec<String> = input
            .schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        columns.extend(
            key.iter()
                .filter(|k| !columns.contains(k))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let rows = self.latest(objects, key, Some(columns)).await?;
        let table = input.table.clone();
        let schema = input.schema.clone();
        Ok(rows
            .map(move |batch| Ok(fit(&table, &batch?, &schema)?))
            .boxed())
    }

    /// The latest row of every key in all landed columns, in the types of `schema`: rows to keep.
    pub(super) async fn all_columns(
        &self,
        objects: &InputObjects,
        key: &[String],
        schema: SchemaRef,
    ) -> Result<RowStream> {
        let rows = self.latest(objects, key, None).await?;
        let table = objects.table.as_str().to_owned();
        Ok(rows
            .map(move |batch| Ok(fit(&table, &batch?, &schema)?))
            .boxed())
    }

    /// The keys that are gone, in the key columns that the input declares.
    pub(super) fn gone(&self, input: &Input, objects: &InputObjects) -> RowStream {
        let schema = input.key_schema();
        let table = input.table.clone();
        let deleted = objects
            .landings
            .iter()
            .flat_map(|l| l.deleted.clone())
            .collect();
        read(&self.landed, deleted, None)
            .map(move |batch| Ok(fit_keys(&table, &batch?, &schema)?))
            .boxed()
    }

    async fn latest(
        &self,
        objects: &InputObjects,
        key: &[String],
        columns: Option<Vec<String>>,
    ) -> Result<RowStream> {
        let mut layers: Vec<(Arc<dyn Zone>, Vec<Object>)> = Vec::new();
        if !objects.base.is_empty() {
            layers.push((self.processed.clone(), objects.base.clone()));
        }
        for landed in &objects.landings {
            layers.push((self.landed.clone(), landed.changed.clone()));
        }
        let newest = Arc::new(self.newest_layer(objects, key, layers.len()).await?);
        let table = objects.table.as_str().to_owned();
        let key = key.to_vec();
        let rows = stream::iter(layers.into_iter().enumerate()).flat_map(
            move |(layer, (zone, objects))| {
                let (newest, table, key) = (newest.clone(), table.clone(), key.clone());
                read(&zone, objects, columns.clone())
                    .map(move |batch| keep_latest(&table, batch?, &key, &newest, layer))
                    .boxed()
            },
        );
        Ok(rows.boxed())
    }

    /// For every key that a later layer than the first brought or took: the last layer that did.
    async fn newest_layer(
        &self,
        objects: &InputObjects,
        key: &[String],
        layers: usize,
    ) -> Result<HashMap<Digest128, usize>> {
        let mut newest = HashMap::new();
        let first = layers - objects.landings.len();
        for (at, landed) in objects.landings.iter().enumerate() {
            let layer = first + at;
            if layer == 0 {
                continue;
            }
            let both = landed
                .changed
                .iter()
                .chain(&landed.deleted)
                .cloned()
                .collect();
            let mut keys = read(&self.landed, both, Some(key.to_vec()));
            while let Some(batch) = keys.try_next().await? {
                let digester = Digester::new(batch.schema_ref(), key)?;
                newest.extend(digester.keys(&batch)?.into_iter().map(|key| (key, layer)));
            }
        }
        Ok(newest)
    }
}

fn read(zone: &Arc<dyn Zone>, objects: Vec<Object>, columns: Option<Vec<String>>) -> RowStream {
    let objects = objects.into_iter().map(|o| (o.key, o.sha256)).collect();
    parquet::read(zone.clone(), objects, columns)
        .map_err(crate::Error::from)
        .boxed()
}

/// The rows of a layer whose keys no later layer has.
fn keep_latest(
    table: &str,
    batch: RecordBatch,
    key: &[String],
    newest: &HashMap<Digest128, usize>,
    layer: usize,
) -> Result<RecordBatch> {
    if newest.is_empty() {
        return Ok(batch);
    }
    let keys = Digester::new(batch.schema_ref(), key)?.keys(&batch)?;
    let mask: BooleanArray = keys
        .iter()
        .map(|key| Some(newest.get(key).is_none_or(|newest| *newest <= layer)))
        .collect();
    filter_record_batch(&batch, &mask).map_err(|cause| {
        let table = table.to_owned();
        InputError::Rows { table, cause }.into()
    })
}

#[cfg(test)]
mod tests;
