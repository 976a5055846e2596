//! Outputs that were computed before, and kept rows to begin from: what the manifests so far name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{
    CurrentRows, ManifestLog, Object, ProcessedManifest, ProcessedOutput, RebuiltLanding, Transform,
};
use crate::table::TableName;
use crate::zone::Zone;
use crate::zone::parquet::WRITER;

/// What was computed of some tables, by what it was computed from.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// The newest manifest that was read.
    read: u64,
    known: HashMap<(String, Digest), RebuiltLanding>,
    kept: BTreeMap<TableName, BTreeMap<u64, Vec<Object>>>,
    /// By warehouse table, every column that any version ever made.
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl Outputs {
    /// Reads the manifests up to `newest` that were not read yet.
    ///
    /// # Errors
    /// `Data` when a manifest is damaged, `Unavailable`.
    pub(super) async fn read(
        &mut self,
        log: &ManifestLog<ProcessedManifest>,
        newest: u64,
        tables: &BTreeSet<&str>,
    ) -> Result<()> {
        for number in self.read + 1..=newest {
            let manifest = log.read(number).await?;
            for transform in manifest.transforms() {
                if !tables.contains(transform.table) {
                    continue;
                }
                let columns = self.columns.entry(transform.table.to_owned()).or_default();
                columns.extend(transform.made.output.names(transform.table));
                if transform.writer == WRITER {
                    self.add(transform.table, landing(&transform));
                }
            }
            for (table, kept) in manifest.current {
                self.keep(table, kept);
            }
            self.read = number;
        }
        Ok(())
    }

    /// Adds what was computed.
    pub(super) fn add(&mut self, table: &str, landing: RebuiltLanding) {
        let key = (table.to_owned(), landing.made.inputs_sha256);
        self.known.insert(key, landing);
    }

    /// Adds kept rows.
    pub(super) fn keep(&mut self, table: TableName, kept: CurrentRows) {
        let known = self.kept.entry(table).or_default();
        known.entry(kept.landing).or_insert(kept.rows);
    }

    /// The output of `table` that was computed from the same, if its objects are still there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn find(
        &self,
        zone: &Arc<dyn Zone>,
        table: &str,
        inputs_sha256: Digest,
    ) -> Result<Option<RebuiltLanding>> {
        let Some(found) = self.known.get(&(table.to_owned(), inputs_sha256)) else {
            return Ok(None);
        };
        let made = &found.made;
        for object in [&made.rows, &made.retractions, &made.rejects]
            .into_iter()
            .flatten()
        {
            if zone.size(&object.key).await? != Some(object.bytes) {
                return Ok(None);
            }
        }
        Ok(Some(found.clone()))
    }

    /// The columns of `table` that other versions made and `output` does not have.
    pub(super) fn gone(&self, table: &str, output: &ProcessedOutput) -> BTreeSet<String> {
        let has = output.names(table);
        let made = self.columns.get(table).into_iter().flatten();
        made.filter(|name| !has.contains(*name)).cloned().collect()
    }

    /// The newest kept rows of every landed table from before `landing`: what its first transform began from.
    pub(super) fn kept_before(&self, landing: u64) -> BTreeMap<TableName, CurrentRows> {
        let newest = self.kept.iter().filter_map(|(table, kept)| {
            let (at, rows) = kept.range(..landing).next_back()?;
            let rows = CurrentRows {
                landing: *at,
                rows: rows.clone(),
            };
            Some((table.clone(), rows))
        });
        newest.collect()
    }
}

/// What a manifest names, as a rebuild names it.
fn landing(transform: &Transform<'_>) -> RebuiltLanding {
    RebuiltLanding {
        landing: transform.landing,
        landing_sha256: transform.landing_sha256,
        logical_time: transform.logical_time,
        run: transform.run.clone(),
        writer: transform.writer.to_owned(),
        made: transform.made.clone(),
    }
}
