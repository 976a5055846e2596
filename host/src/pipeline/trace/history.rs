//! What the processed zone says of a key: what was made of it, and what was taken back, landing by landing.

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};

use super::TraceError;
use super::key::Key;
use super::report::Place;
use crate::contract::LoadMode;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{Object, ProcessedManifest, ProcessedTable};
use crate::run::RunId;
use crate::zone::{Zone, parquet};

/// A manifest, and what it says of the table.
pub(super) type Made = (ProcessedManifest, ProcessedTable);

/// What became of a key, the first first.
pub(super) struct History {
    pub(super) events: Vec<Event>,
}

/// What one landing made of a key.
pub(super) struct Event {
    pub(super) source: String,
    pub(super) landing: u64,
    pub(super) landing_sha256: Digest,
    pub(super) logical_time: DateTime<Utc>,
    pub(super) run: RunId,
    pub(super) table: ProcessedTable,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// A row of it is here, and this is it.
    Made(Place, RecordBatch),
    /// It was taken back here, or is missing from a table that was made anew.
    Taken(Option<Place>),
}

impl Event {
    pub(super) fn is_removal(&self) -> bool {
        matches!(self.kind, Kind::Taken(_))
    }
}

impl History {
    /// Looks for the key in everything that was made.
    ///
    /// # Errors
    /// `Data` when an object is damaged or lost.
    pub(super) async fn read(
        zone: &Arc<dyn Zone>,
        manifests: Vec<Made>,
        key: &Key,
    ) -> Result<Self> {
        let mut events: Vec<Event> = Vec::new();
        for (manifest, table) in manifests {
            let had = events.last().is_some_and(|event| !event.is_removal());
            let kind = match find(zone, &table.rows, key).await? {
                Some((place, row)) => Some(Kind::Made(place, row)),
                None => match find(zone, &table.retractions, key).await? {
                    Some((place, _)) => Some(Kind::Taken(Some(place))),
                    None if had && table.output.mode == LoadMode::Overwrite => {
                        Some(Kind::Taken(None))
                    }
                    None => None,
                },
            };
            events.extend(kind.map(|kind| Event {
                source: manifest.source,
                landing: manifest.landing,
                landing_sha256: manifest.landing_sha256,
                logical_time: manifest.logical_time,
                run: manifest.run,
                table,
                kind,
            }));
        }
        Ok(Self { events })
    }

    /// What made the key in a landing: in that run, or else in the last that did.
    pub(super) fn made_in(&self, landing: u64, run: Option<&str>) -> Option<&Event> {
        let made = || {
            let events = self.events.iter().rev();
            events.filter(|event| event.landing == landing && !event.is_removal())
        };
        made()
            .find(|event| Some(event.run.as_str()) == run)
            .or_else(|| made().next())
    }
}

/// The row of a key in objects, each verified as a whole: where it is, and the row.
///
/// # Errors
/// `Data` when an object is damaged or lost.
pub(super) async fn find(
    zone: &Arc<dyn Zone>,
    objects: &[Object],
    key: &Key,
) -> Result<Option<(Place, RecordBatch)>> {
    let columns = key.columns();
    for object in objects {
        let bytes = parquet::read_verified(zone.as_ref(), &object.key, object.sha256).await?;
        let mut begins = 0;
        let mut keys = parquet::decode(&object.key, bytes.clone(), Some(&columns))?;
        let found = loop {
            let Some(batch) = keys.next().transpose()? else {
                break None;
            };
            if let Some(at) = key.position(&batch).map_err(TraceError::Rows)? {
                break Some(begins + at);
            }
            begins += batch.num_rows();
        };
        let Some(found) = found else { continue };
        let place = Place {
            object: object.key.clone(),
            row: found as u64,
        };
        let mut before = 0;
        for batch in parquet::decode(&object.key, bytes, None)? {
            let batch = batch?;
            if found < before + batch.num_rows() {
                // A slice would keep the whole batch.
                let row = UInt64Array::from(vec![(found - before) as u64]);
                let row = take_record_batch(&batch, &row).map_err(TraceError::Rows)?;
                return Ok(Some((place, row)));
            }
            before += batch.num_rows();
        }
    }
    Ok(None)
}
