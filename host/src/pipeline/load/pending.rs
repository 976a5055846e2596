//! What is processed and not in the warehouse: found from the newest manifest backwards, as far as the ledger says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::manifest::{ManifestLog, ProcessedManifest, ProcessedTable, RebuiltTable};
use crate::pipeline::history;
use crate::run::RunId;
use crate::warehouse::Ledger;
use crate::zone::Zone;

/// One commit of the warehouse that is to be made.
pub(super) enum Pending {
    Landing(Landing),
    Rebuild(PendingRebuild),
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Landing(landing) => {
                write!(f, "landing {} of {}", landing.landing, landing.source)
            }
            Self::Rebuild(rebuild) => write!(f, "rebuild {}", rebuild.number),
        }
    }
}

/// The tables of one landing, from one or several processed manifests.
pub(super) struct Landing {
    pub(super) source: String,
    pub(super) landing: u64,
    pub(super) logical_time: DateTime<Utc>,
    pub(super) tables: BTreeMap<String, (RunId, ProcessedTable)>,
}

/// The tables of one rebuild that no later one makes again.
pub(super) struct PendingRebuild {
    pub(super) number: u64,
    pub(super) tables: BTreeMap<String, RebuiltTable>,
}

/// What the ledger does not have, in the order to load it: landing by landing, rebuilds after the landings that are in
/// them, so that the tables of a star are of the same time for as long as can be.
///
/// # Errors
/// `Data` when a manifest is damaged or the warehouse has what is not processed, `Unavailable`.
pub(super) async fn pending(zone: &Arc<dyn Zone>, ledger: &Ledger) -> Result<Vec<Pending>> {
    let log = ManifestLog::<ProcessedManifest>::new(zone.clone(), "");
    let mut manifest = log.newest().await?;
    history::check_processed(ledger, manifest.as_ref())?;
    let mut search = Search {
        ledger,
        rebuilds: match &manifest {
            Some(newest) => wanted(ledger, newest),
            None => BTreeMap::new(),
        },
        found: BTreeMap::new(),
    };
    while let Some(processed) = manifest {
        if search.is_over(&processed) {
            break;
        }
        manifest = match processed.sequence {
            1 => None,
            sequence => Some(log.read(sequence - 1).await?),
        };
        search.add(processed);
    }
    Ok(search.found.into_values().collect())
}

/// By table, the manifest of the newest rebuild, where the warehouse does not have it.
fn wanted(ledger: &Ledger, newest: &ProcessedManifest) -> BTreeMap<String, u64> {
    let rebuilt = newest.rebuilt.iter();
    rebuilt
        .filter_map(|(table, last)| Some((table.clone(), last.manifest?)))
        .filter(|(table, number)| ledger.rebuilt(table) < *number)
        .collect()
}

struct Search<'l> {
    ledger: &'l Ledger,
    /// What [`wanted`] gives.
    rebuilds: BTreeMap<String, u64>,
    /// By landing, rebuilds behind landings, by source or number.
    found: BTreeMap<(u64, bool, String), Pending>,
}

impl Search<'_> {
    /// Whether a manifest and all before it say nothing that is to be loaded.
    fn is_over(&self, manifest: &ProcessedManifest) -> bool {
        let number = manifest.sequence;
        if self.rebuilds.values().any(|rebuild| *rebuild <= number) {
            return false;
        }
        manifest.through.iter().all(|(table, through)| {
            self.is_rebuilt_after(table, number)
                || self.ledger.through(table, &through.source) >= through.landing
        })
    }

    /// Whether what a manifest says of a table is in a rebuild that is to be loaded.
    fn is_rebuilt_after(&self, table: &str, manifest: u64) -> bool {
        self.rebuilds
            .get(table)
            .is_some_and(|rebuild| *rebuild > manifest)
    }

    /// Adds what the ledger does not have of a manifest.
    fn add(&mut self, manifest: ProcessedManifest) {
        let number = manifest.sequence;
        let (source, landing) = (manifest.source, manifest.landing);
        let mut rebuilds = manifest.rebuilds;
        rebuilds.retain(|table, _| self.rebuilds.get(table) == Some(&number));
        let mut fresh = manifest.tables;
        fresh.retain(|table, _| {
            !self.is_rebuilt_after(table, number) && self.ledger.through(table, &source) < landing
        });
        if !fresh.is_empty() {
            let run = manifest.run;
            let made = |(table, made)| (table, (run.clone(), made));
            let key = (landing, false, source.clone());
            let pending = self.found.entry(key).or_insert_with(|| {
                Pending::Landing(Landing {
                    source,
                    landing,
                    logical_time: manifest.logical_time,
                    tables: BTreeMap::new(),
                })
            });
            if let Pending::Landing(pending) = pending {
                pending.tables.extend(fresh.into_iter().map(made));
            }
        }
        if let Some(through) = rebuilds.values().map(|rebuilt| rebuilt.through).max() {
            let key = (through, true, format!("{number:020}"));
            let tables = rebuilds;
            let pending = Pending::Rebuild(PendingRebuild { number, tables });
            self.found.insert(key, pending);
        }
    }
}

#[cfg(test)]
mod tests;
