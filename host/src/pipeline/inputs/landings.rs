//! Which objects an input is read from: the landings of one source and the chains through them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::InputError;
use crate::contract::Delivery;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{
    CurrentRows, InputObjects, LandedObjects, LandedTable, LandingManifest, ManifestLog, rows_of,
};
use crate::table::TableName;
use crate::zone::{Zone, parquet};

/// Landings that are read on top of kept rows before the rows are kept anew.
const LANDINGS_ON_TOP: usize = 16;

/// Landed rows on top of kept rows, as a share of these, before the rows are kept anew.
const SHARE_ON_TOP: u64 = 4;

/// The landing manifests of one source, each read once.
pub(in crate::pipeline) struct Landings {
    log: ManifestLog<LandingManifest>,
    read: Mutex<HashMap<u64, Arc<(LandingManifest, Digest)>>>,
}

impl Landings {
    /// The landings of `source` in the landing zone.
    pub(in crate::pipeline) fn new(zone: Arc<dyn Zone>, source: &str) -> Self {
        Self {
            log: ManifestLog::new(zone, source),
            read: Mutex::new(HashMap::new()),
        }
    }

    /// The newest landing, `None` before the first.
    pub(in crate::pipeline) async fn newest(&self) -> Result<Option<LandingManifest>> {
        Ok(self.log.newest().await?)
    }

    /// Asks again which landing is the newest.
    pub(in crate::pipeline) fn look_again(&self) {
        self.log.look_again();
    }

    /// The landing of that number and the digest of its manifest.
    pub(in crate::pipeline) async fn get(
        &self,
        landing: u64,
    ) -> Result<Arc<(LandingManifest, Digest)>> {
        if let Some(known) = self.read.lock().await.get(&landing) {
            return Ok(known.clone());
        }
        let read = Arc::new(self.log.read_with_digest(landing).await?);
        self.read.lock().await.insert(landing, read.clone());
        Ok(read)
    }

    /// The landings after `after` and up to `through` that brought something for `table`, the newest first.
    pub(in crate::pipeline) async fn chain(
        &self,
        table: &str,
        after: u64,
        through: u64,
    ) -> Result<Vec<u64>> {
        let mut chain = Vec::new();
        let mut next = self.state(table, through).await?.map(|t| t.changed_in);
        while let Some(landing) = next.filter(|landing| *landing > after) {
            chain.push(landing);
            next = match self.state(table, landing).await? {
                Some(state) => state.changed_before,
                None => {
                    let table = table.to_owned();
                    return Err(InputError::Chain { landing, table }.into());
                }
            };
        }
        Ok(chain)
    }

    /// The state of `table` after a landing, `None` when it had never been landed by then.
    pub(in crate::pipeline) async fn state(
        &self,
        table: &str,
        landing: u64,
    ) -> Result<Option<LandedTable>> {
        let manifest = self.get(landing).await?;
        Ok(manifest.0.tables.get(table).cloned())
    }

    /// The landing after which an input has everything of `table` that it is given as of `landing`: that one, or for `current`
    /// the last part of a table that is landed in parts. So what is made of a landing is the same whenever it is made.
    ///
    /// # Errors
    /// `Unavailable` when the last part has not been landed yet.
    pub(in crate::pipeline) async fn complete(
        &self,
        table: &str,
        delivery: Delivery,
        landing: u64,
    ) -> Result<u64> {
        let mut at = landing;
        if delivery == Delivery::Changes {
            return Ok(at);
        }
        let mut newest = None;
        while let Some(state) = self.state(table, at).await?
            && state.reached.is_some()
        {
            let last = match newest {
                Some(last) => last,
                None => self.newest().await?.map_or(at, |newest| newest.sequence),
            };
            if at >= last {
                return Err(InputError::InParts(table.to_owned()).into());
            }
            newest = Some(last);
            at += 1;
        }
        Ok(at)
    }

    async fn brought(&self, table: &str, landing: u64) -> Result<(LandedObjects, bool)> {
        let state = self.state(table, landing).await?;
        let state = state.ok_or_else(|| InputError::Chain {
            landing,
            table: table.to_owned(),
        })?;
        let objects = LandedObjects {
            landing,
            changed: state.changed,
            deleted: state.deleted,
        };
        Ok((objects, state.replaces))
    }

    /// The objects that an input is read from, as of `landing`: none while its table had not been landed.
    pub(in crate::pipeline) async fn objects(
        &self,
        table: &str,
        delivery: Delivery,
        landing: u64,
        kept: &BTreeMap<TableName, CurrentRows>,
    ) -> Result<InputObjects> {
        let mut objects = InputObjects {
            table: TableName::new(table),
            base: Vec::new(),
            landings: Vec::new(),
        };
        let Some(state) = self.state(table, landing).await? else {
            return Ok(objects);
        };
        if delivery == Delivery::Changes {
            if state.changed_in == landing {
                objects.landings.push(self.brought(table, landing).await?.0);
            }
            return Ok(objects);
        }
        let kept = kept.get(table).filter(|kept| kept.landing <= landing);
        let after = kept.map_or(0, |kept| kept.landing);
        objects.base = kept.map(|kept| kept.rows.clone()).unwrap_or_default();
        for landing in self.chain(table, after, landing).await? {
            let (brought, replaces) = self.brought(table, landing).await?;
            objects.landings.push(brought);
            if replaces {
                objects.base.clear();
                break;
            }
        }
        objects.landings.reverse();
        Ok(objects)
    }
}

/// Whether so much has landed on top of kept rows that they are worth keeping anew.
pub(in crate::pipeline) fn is_worth_keeping(objects: &InputObjects) -> bool {
    let landed = objects.landings.iter();
    let on_top = rows_of(landed.flat_map(|landed| landed.changed.iter().chain(&landed.deleted)));
    let layers = objects.landings.len() + usize::from(!objects.base.is_empty());
    layers > LANDINGS_ON_TOP
        || (layers > 1
            && on_top > parquet::PART_ROWS
            && on_top.saturating_mul(SHARE_ON_TOP) > rows_of(&objects.base))
}
