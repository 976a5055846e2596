//! Lookups in the published version of one table, on the blocking pool.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use super::data_file::{DataFileError, DataFiles, Pick, Place};
use super::delta_table::TableFolder;
use super::layout::Layout;
use crate::warehouse::WarehouseError;

/// The published version of one table.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    folder: TableFolder,
    layout: Arc<Layout>,
    compared: Arc<[String]>,
    files: Arc<DataFiles>,
}

/// Rows, and where the published version has their keys.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) rows: RecordBatch,
    pub(super) places: Vec<Option<Place>>,
}

impl Lookup {
    /// Lookups in `files`, the published version of the table in `folder`.
    pub(super) fn of(folder: &TableFolder, layout: &Layout, files: Arc<DataFiles>) -> Self {
        Self {
            folder: folder.clone(),
            compared: layout.compared().into(),
            layout: Arc::new(layout.clone()),
            files,
        }
    }

    pub(super) fn folder(&self) -> &TableFolder {
        &self.folder
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn files(&self) -> &DataFiles {
        &self.files
    }

    /// Where the rows with the keys of `rows` are.
    pub(super) async fn find(
        &self,
        rows: RecordBatch,
        pick: &Pick,
    ) -> Result<Found, WarehouseError> {
        let keys: Vec<usize> = self
            .layout
            .key
            .iter()
            .filter_map(|name| rows.schema().index_of(name).ok())
            .collect();
        let (files, pick) = (Arc::clone(&self.files), pick.clone());
        self.think(move || {
            let places = files.locate(&rows.project(&keys)?, &pick)?;
            Ok(Found { rows, places })
        })
        .await
    }

    /// For each row found, whether it is the same there; `false` where it is nowhere.
    pub(super) async fn equal(&self, found: &Found) -> Result<Vec<bool>, WarehouseError> {
        let (files, compared) = (Arc::clone(&self.files), Arc::clone(&self.compared));
        let found = found.clone();
        self.think(move || files.equal(&found.rows, &found.places, &compared))
            .await
    }

    /// For each place in an `append-versions` table, whether this table of ended versions has its number.
    pub(super) async fn holds(
        &self,
        places: &[Option<Place>],
    ) -> Result<Vec<bool>, WarehouseError> {
        let (indexes, ids): (Vec<usize>, Vec<i64>) = places
            .iter()
            .enumerate()
            .filter_map(|(index, place)| place.map(|place| (index, place.record_id)))
            .unzip();
        let (files, schema) = (Arc::clone(&self.files), Arc::clone(&self.layout.output));
        let found = self
            .think(move || {
                let keys = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids))])?;
                files.locate(&keys, &Pick::Only)
            })
            .await?;
        let mut holds = vec![false; places.len()];
        for (index, place) in indexes.into_iter().zip(found) {
            if let Some(held) = holds.get_mut(index) {
                *held = place.is_some();
            }
        }
        Ok(holds)
    }

    async fn think<T: Send + 'static>(
        &self,
        lookup: impl FnOnce() -> Result<T, DataFileError> + Send + 'static,
    ) -> Result<T, WarehouseError> {
        match tokio::task::spawn_blocking(lookup).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(cause)) => Err(self.folder.refused("look up rows", cause)),
            Err(cause) => Err(self.folder.refused("look up rows", cause)),
        }
    }
}
