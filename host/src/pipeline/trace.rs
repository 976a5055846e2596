//! Trace: which run, which code and which landed rows made a row of the warehouse, in all its versions.
//!
//! ```text
//! warehouse            the versions of the key, each with the landing and the run that made it
//! processed manifests  what was made of the key and what was taken back, landing by landing, and by which code
//! landing manifests    the object and the row that came from the source
//! ```
//!
//! The history is read from the processed zone and not from the warehouse's own bookkeeping: it is the same for every
//! warehouse, and it knows rows that an upsert has replaced. A landed row is found by its key, where the input's key
//! columns are named like those of the table, or where its values prove to be those: the module is run on that row alone.
//! Which row of a lookup a module has used nobody outside of it knows, and only the objects that it was given are named.

mod error;
mod history;
mod key;
mod landed;
mod proof;
pub mod report;

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;

use super::inputs::Landings;
use super::sensitive::{Granted, PLACEHOLDER, read_of};
use super::{Pipeline, lineage, modules};
use crate::contract::{LoadMode, ModuleRef};
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::manifest::{ProcessedManifest, ProcessedOutput};
use crate::registry::Descriptor;
pub(crate) use error::TraceError;
use history::{Event, History, Kind};
use key::Key;
use report::{Making, Removal, TraceReport, TracedVersion, Value, VersionState};

/// The columns of a row of the warehouse that say what made it.
const LANDING: &str = "_tidemill_landing";
const RUN: &str = "_tidemill_run";
const PROVENANCE: &str = "_tidemill_";
/// When a version of an `scd2` table began.
const VALID_FROM: &str = "_valid_from";

impl Pipeline {
    /// Where the row of `table` with this key comes from, and all its versions. `parts` are the values of the key in its
    /// order, or `column=value`.
    ///
    /// # Errors
    /// `Config` when there is no such table, key or row; `Data` when an object that made it is damaged or lost;
    /// `Unavailable`.
    pub async fn trace(&self, table: &str, parts: &[String]) -> Result<TraceReport> {
        let manifests = self.made(table).await?;
        let Some(output) = manifests.last().map(|m| m.1.output.clone()) else {
            return Err(self.not_made(table).await?.into());
        };
        let key = Key::parse(table, &output, parts)?;
        let history = History::read(&self.processed, manifests, &key).await?;
        let rows = self.versions(table, &output, &key).await?;
        if rows.is_empty() && history.events.is_empty() {
            let (table, key) = (table.to_owned(), key.to_string());
            return Err(TraceError::NoRow { table, key }.into());
        }
        let mut tracing = Tracing {
            pipeline: self,
            table: table.to_owned(),
            key: &key,
            output: &output,
            landings: BTreeMap::new(),
            descriptors: HashMap::new(),
            modules: HashMap::new(),
            notes: Vec::new(),
        };
        tracing.report(&history, rows).await
    }

    /// The manifests that made `table`, the first first.
    async fn made(&self, table: &str) -> Result<Vec<history::Made>> {
        let log = self.processed_log();
        let newest = log.newest().await?.map_or(0, |manifest| manifest.sequence);
        let mut made = Vec::new();
        for sequence in 1..=newest {
            let mut manifest: ProcessedManifest = log.read(sequence).await?;
            // What is in the warehouse since is what the rebuild made, and what came after it.
            if let Some(rebuilt) = manifest.rebuilt_landings(table) {
                made = rebuilt;
            }
            if let Some(table) = manifest.tables.remove(table) {
                made.push((manifest, table));
            }
        }
        Ok(made)
    }

    /// Why nothing can be said of a table.
    async fn not_made(&self, table: &str) -> Result<TraceError> {
        let table = table.to_owned();
        if self.plan.transforms.contains_key(&table) {
            return Ok(TraceError::NotMade(table));
        }
        let newest = self.processed_log().newest().await?;
        let made = newest.iter().flat_map(|manifest| manifest.through.keys());
        let mut known: Vec<String> = self.plan.transforms.keys().chain(made).cloned().collect();
        known.sort();
        known.dedup();
        Ok(TraceError::NoTable {
            nearest: lineage::nearest(&table, known.iter().map(String::as_str)),
            table,
            known,
        })
    }

    /// What the warehouse has of the key: one row per version, the first first.
    async fn versions(
        &self,
        table: &str,
        output: &ProcessedOutput,
        key: &Key,
    ) -> Result<Vec<RecordBatch>> {
        let order = match output.mode {
            LoadMode::AppendVersions => {
                let asked = output.record_id.clone();
                let asked = asked.unwrap_or_else(|| format!("{table}_record_id"));
                Some(self.warehouse().await?.record_id(table, asked).await?)
            }
            LoadMode::Scd2 => Some(VALID_FROM.to_owned()),
            LoadMode::Upsert | LoadMode::Overwrite => None,
        };
        let order = order.map(|column| format!(" ORDER BY {}", key::quoted(&column)));
        let sql = format!(
            "SELECT * FROM {} WHERE {}{}",
            key::quoted(table),
            key.condition(),
            order.unwrap_or_default()
        );
        let (_, rows) = self.query(&sql).await?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let rows = batches.iter().flat_map(|batch| {
            let rows = 0..batch.num_rows();
            rows.map(|row| batch.slice(row, 1))
        });
        Ok(rows.collect())
    }
}

/// One trace on its way.
struct Tracing<'a> {
    pipeline: &'a Pipeline,
    table: String,
    key: &'a Key,
    output: &'a ProcessedOutput,
    /// The landings of every source that made some of it.
    landings: BTreeMap<String, Landings>,
    /// What modules say of themselves; `None` of one that the registry does not have any more.
    descriptors: HashMap<Digest, Option<Descriptor>>,
    /// The modules themselves; `None` of one that cannot be run.
    modules: HashMap<Digest, Option<Granted>>,
    notes: Vec<String>,
}

impl Tracing<'_> {
    async fn report(&mut self, history: &History, rows: Vec<RecordBatch>) -> Result<TraceReport> {
        let ledger = self.pipeline.warehouse().await?.ledger().await?;
        let table = self.table.clone();
        let is_loaded = |event: &Event| ledger.through(&table, &event.source) >= event.landing;
        let mut versions = Vec::new();
        for row in &rows {
            versions.push(self.version(history, row).await?);
        }
        let mut removals = Vec::new();
        for event in history.events.iter().filter(|event| event.is_removal()) {
            removals.push(self.removal(event, is_loaded(event)).await?);
        }
        let mut waiting = Vec::new();
        for event in history
            .events
            .iter()
            .filter(|e| !e.is_removal() && !is_loaded(e))
        {
            waiting.push(self.making(event).await?);
        }
        states(&mut versions, &removals);
        Ok(TraceReport {
            table: self.table.clone(),
            key: self.key.shown(),
            mode: self.output.mode,
            versions,
            removals,
            waiting,
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// A row of the warehouse, and what made it.
    async fn version(&mut self, history: &History, row: &RecordBatch) -> Result<TracedVersion> {
        let all = key::values(row, 0)?;
        let text = |name: &str| all.iter().find(|v| v.column == name)?.value.clone();
        let landing = text(LANDING).and_then(|landing| landing.parse().ok());
        let event = landing.and_then(|landing| history.made_in(landing, text(RUN).as_deref()));
        let made = match event {
            Some(event) => Some(self.making(event).await?),
            None => {
                self.note(match landing {
                    Some(landing) => format!(
                        "a row says that landing {landing} made it, and no manifest of the processed zone says so"
                    ),
                    None => "the warehouse's table has no columns that say what made a row: the landings that made the key are known, and not which of them made which row".to_owned(),
                });
                None
            }
        };
        let hides = self.hides(event).await?;
        let names = self.output.primary_key.clone();
        let is_shown = |value: &Value| !value.column.starts_with(PROVENANCE);
        let values = all.into_iter().filter(is_shown).map(|value| {
            let is_of_module = self.output.columns.iter().any(|c| c.name == value.column);
            match hides && is_of_module && !names.contains(&value.column) {
                true => value.hidden(),
                false => value,
            }
        });
        Ok(TracedVersion {
            state: VersionState::Current,
            values: values.collect(),
            made,
        })
    }

    /// Whether values of a row may come from what is sensitive; what is not known is hidden.
    async fn hides(&mut self, event: Option<&Event>) -> Result<bool> {
        let plan = &self.pipeline.plan;
        let Some(event) = event else {
            return Ok(plan.sensitive().next().is_some());
        };
        match self.descriptor(&event.table.module).await? {
            Some(descriptor) => Ok(!read_of(plan, &event.source, &descriptor).is_empty()),
            None => Ok(plan.sensitive().next().is_some()),
        }
    }

    /// What made the row in one landing.
    async fn making(&mut self, event: &Event) -> Result<Making> {
        let descriptor = self.descriptor(&event.table.module).await?;
        let mut inputs = Vec::new();
        for (number, objects) in event.table.inputs.iter().enumerate() {
            let input = descriptor.as_ref().and_then(|d| d.inputs.get(number));
            inputs.push(self.input(event, number, objects, input).await?);
        }
        Ok(Making {
            source: event.source.clone(),
            landing: event.landing,
            logical_time: event.logical_time,
            run: event.run.clone(),
            module: event.table.module.clone(),
            inputs_sha256: event.table.inputs_sha256,
            object: match &event.kind {
                Kind::Made(place, _) => Some(place.clone()),
                Kind::Taken(_) => None,
            },
            inputs,
        })
    }

    async fn removal(&mut self, event: &Event, loaded: bool) -> Result<Removal> {
        let by = self.making(event).await?;
        let refused = self.refused(event, &by).await?;
        Ok(Removal {
            retraction: match &event.kind {
                Kind::Taken(place) => place.clone(),
                Kind::Made(..) => None,
            },
            loaded,
            refused,
            by,
        })
    }

    /// What a module says of itself; `None` when it cannot be asked.
    async fn descriptor(&mut self, module: &ModuleRef) -> Result<Option<Descriptor>> {
        if let Some(known) = self.descriptors.get(&module.digest) {
            return Ok(known.clone());
        }
        let found = match self.pipeline.registry.fetch(module).await {
            Ok(stored) => Some(stored.record.descriptor),
            Err(error) => {
                let error = crate::Error::from(error);
                if error.kind() == ErrorKind::Unavailable {
                    return Err(error);
                }
                self.note(format!(
                    "{module} cannot be asked what it read, so no landed row is shown: {error}"
                ));
                None
            }
        };
        self.descriptors.insert(module.digest, found.clone());
        Ok(found)
    }

    /// The landings of a source.
    fn landings(&mut self, source: &str) -> &Landings {
        let zone = &self.pipeline.landed;
        let landings = self.landings.entry(source.to_owned());
        landings.or_insert_with(|| Landings::new(zone.clone(), source))
    }

    /// Says something once.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Which version counts: the last, unless it was ended after it was made.
fn states(versions: &mut [TracedVersion], removals: &[Removal]) {
    let landings: Vec<Option<u64>> = versions
        .iter()
        .map(|version| version.made.as_ref().map(|made| made.landing))
        .collect();
    for (at, version) in versions.iter_mut().enumerate() {
        let next = landings.get(at + 1);
        let made = landings.get(at).copied().flatten();
        let ended = removals.iter().any(|removal| {
            let at = removal.by.landing;
            let is_before_next = next.copied().flatten().is_none_or(|next| at <= next);
            removal.loaded && made.is_some_and(|made| at > made) && is_before_next
        });
        version.state = match (ended, next) {
            (true, _) => VersionState::Ended,
            (false, Some(_)) => VersionState::Superseded,
            (false, None) => VersionState::Current,
        };
    }
}

impl Value {
    /// The same without its value; NULL stays NULL.
    fn hidden(self) -> Self {
        Self {
            value: self.value.map(|_| PLACEHOLDER.to_owned()),
            ..self
        }
    }
}
