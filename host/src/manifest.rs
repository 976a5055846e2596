//! Manifests: the numbered records whose existence is the commit. This room knows Arrow types but no Arrow data.
//!
//! ```text
//! <prefix>/_manifests/0000000042.json      created only if absent, so the write is the lock
//! ```
//!
//! [`ManifestLog`] is the log of one kind of manifest in one zone. Numbers are dense and begin at 1. The newest manifest carries everything the next run needs, so that
//! nobody reads all of history.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::contract::{ALIAS, Description, LoadMode, ModuleRef, RECORD_ID};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};
use crate::run::RunId;
use crate::table::{Column, Identity, Table, TableName};
use crate::watermark::{Position, Watermark, Window};
use crate::zone::log::NumberedLog;
use crate::zone::{Zone, ZoneError};

/// The format that this version writes. It reads every format up to it.
pub const FORMAT: u32 = 1;

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A later version of tidemill wrote it.
    #[error("{manifest} has format {found}, and this version reads up to {FORMAT}")]
    TooNew {
        /// Zone and key.
        manifest: String,
        /// The format it says.
        found: u64,
    },
    /// It cannot be understood.
    #[error("{manifest} is damaged")]
    Damaged {
        /// Zone and key.
        manifest: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// Another run has committed the number meanwhile.
    #[error("another run has committed {manifest} meanwhile")]
    Taken {
        /// Zone and key.
        manifest: String,
    },
    /// The zone failed.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

impl Classify for ManifestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooNew { .. } => ErrorKind::Config,
            Self::Damaged { .. } => ErrorKind::Data,
            Self::Taken { .. } => ErrorKind::Conflict,
            Self::Zone(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } => {
                Some("install the version of tidemill that wrote it, or a later one".into())
            }
            Self::Damaged { .. } => Some("restore it from a copy of the zone".into()),
            Self::Taken { .. } => {
                Some("nothing was committed here; run again when the other run has ended".into())
            }
            Self::Zone(error) => error.hint(),
        }
    }
}

/// A record that a [`ManifestLog`] holds.
pub trait Manifest: Serialize + DeserializeOwned + Send + Sync {
    /// Its number in the log.
    fn sequence(&self) -> u64;

    /// The run that committed it.
    fn run(&self) -> &RunId;

    /// Every object that it names in the zone of its log, those of runs before included.
    fn objects(&self) -> Vec<&Object>;
}

impl Manifest for LandingManifest {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn run(&self) -> &RunId {
        &self.run
    }

    fn objects(&self) -> Vec<&Object> {
        let landed = self.tables.values().flat_map(|table| {
            let index = table.index.iter().flat_map(|segment| &segment.parts);
            let landed = table.changed.iter().chain(&table.deleted);
            landed.chain(index.map(|part| &part.object))
        });
        landed.collect()
    }
}

impl Manifest for ProcessedManifest {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn run(&self) -> &RunId {
        &self.run
    }

    fn objects(&self) -> Vec<&Object> {
        let made = self.tables.values().flat_map(|table| {
            let base = table.inputs.iter().flat_map(|input| &input.base);
            let rows = table.rows.iter().chain(&table.retractions);
            rows.chain(&table.rejects).chain(base)
        });
        let kept = self.current.values().flat_map(|kept| &kept.rows);
        made.chain(kept).collect()
    }
}

/// The manifests of one kind in one zone, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct ManifestLog<M> {
    zone: Arc<dyn Zone>,
    log: NumberedLog,
    manifest: PhantomData<fn() -> M>,
}

impl<M: Manifest> ManifestLog<M> {
    /// The log below `prefix`, which is empty for the zone itself.
    pub fn new(zone: Arc<dyn Zone>, prefix: &str) -> Self {
        let folder = match prefix {
            "" => "_manifests".to_owned(),
            prefix => format!("{prefix}/_manifests"),
        };
        Self {
            log: NumberedLog::new(zone.clone(), folder),
            zone,
            manifest: PhantomData,
        }
    }

    /// The newest manifest, `None` while there is none.
    ///
    /// # Errors
    /// `Data` when it is damaged, `Config` when a later version wrote it, `Unavailable`.
    pub async fn newest(&self) -> Result<Option<M>, ManifestError> {
        match self.log.newest().await? {
            None => Ok(None),
            Some(number) => self.read(number).await.map(Some),
        }
    }

    /// The manifest of that number.
    ///
    /// # Errors
    /// As [`ManifestLog::newest`], and `Data` when there is none.
    pub async fn read(&self, number: u64) -> Result<M, ManifestError> {
        let bytes = self.log.read(number).await?;
        parse(&bytes).map_err(|unreadable| unreadable.of(self.name(number)))
    }

    /// The manifest of that number, `None` while nobody has committed it.
    ///
    /// # Errors
    /// As [`ManifestLog::newest`].
    pub async fn find(&self, number: u64) -> Result<Option<M>, ManifestError> {
        match self.read(number).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(ManifestError::Zone(ZoneError::Missing { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of the newest manifest, `None` while there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_number(&self) -> Result<Option<u64>, ManifestError> {
        Ok(self.log.newest().await?)
    }

    /// The manifest of that number with the digest of its bytes.
    ///
    /// # Errors
    /// As [`ManifestLog::read`].
    pub async fn read_with_digest(&self, number: u64) -> Result<(M, Digest), ManifestError> {
        let bytes = self.log.read(number).await?;
        let manifest = parse(&bytes).map_err(|unreadable| unreadable.of(self.name(number)))?;
        Ok((manifest, Digest::of(&bytes)))
    }

    /// Commits `manifest` under its own number, which is the one after the newest.
    ///
    /// # Errors
    /// `Conflict` when another run has committed that number; nothing was written then.
    pub async fn commit(&self, manifest: &M) -> Result<(), ManifestError> {
        let number = manifest.sequence();
        let bytes =
            serde_json::to_vec_pretty(manifest).map_err(|cause| ManifestError::Damaged {
                manifest: self.name(number),
                cause,
            })?;
        match self.log.append(number, bytes.into()).await {
            Ok(_) => Ok(()),
            Err(ZoneError::Exists { object }) => Err(ManifestError::Taken { manifest: object }),
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self, number: u64) -> String {
        format!("{}/{}", self.zone.url(), self.log.key(number))
    }
}

enum Unreadable {
    Format(u64),
    Json(serde_json::Error),
}

impl Unreadable {
    fn of(self, manifest: String) -> ManifestError {
        match self {
            Self::Format(found) => ManifestError::TooNew { manifest, found },
            Self::Json(cause) => ManifestError::Damaged { manifest, cause },
        }
    }
}

/// The format is looked at first, because a later one may have other fields.
fn parse<M: Manifest>(bytes: &[u8]) -> Result<M, Unreadable> {
    #[derive(Deserialize)]
    struct Formatted {
        format: u64,
    }
    let Formatted { format } = serde_json::from_slice(bytes).map_err(Unreadable::Json)?;
    if format > u64::from(FORMAT) {
        return Err(Unreadable::Format(format));
    }
    serde_json::from_slice(bytes).map_err(Unreadable::Json)
}

/// An immutable object that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its key in the zone.
    pub key: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Keys and row digests, sorted by key digest over all parts. A newer segment wins over an older one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSegment {
    /// Its objects, in key digest order.
    pub parts: Vec<IndexPart>,
}

impl IndexSegment {
    /// Entries in all parts, keys that are gone included.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.object.rows).sum()
    }
}

/// One object of an index segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexPart {
    /// The object.
    pub object: Object,
    /// The lowest key digest in it: 32 hexadecimal digits.
    pub first: String,
    /// The highest key digest in it.
    pub last: String,
}

/// Commit 1: the objects and positions of one landing that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandingManifest {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// Its number.
    pub sequence: u64,
    /// The run that wrote it.
    pub run: RunId,
    /// The name of the source in the project file.
    pub source: String,
    /// The version of tidemill that wrote it.
    pub tidemill: String,
    /// The name of the Parquet writer settings.
    pub writer: String,
    /// The source's clock when its snapshot was taken: the logical time of every transform of it.
    pub logical_time: DateTime<Utc>,
    /// The state of every table ever landed.
    pub tables: BTreeMap<TableName, LandedTable>,
    /// Tables that are to be landed and have not been yet, so that no policy takes them for new ones.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waiting: BTreeSet<TableName>,
}

/// The state of one table after a landing, and what the landing brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandedTable {
    /// Columns, types and key.
    pub table: Table,
    /// By what the source tells this table and its columns from others of their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Columns that were landed once and that the table does not have any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Column>,
    /// The position of the snapshot that the table was last read in.
    pub position: Position,
    /// What was read in this landing; `None` when the table was not part of it and only its state is carried.
    pub window: Option<Window>,
    /// How far the cursor column has been read.
    pub watermark: Option<Watermark>,
    /// When every row was last compared, by the source's clock.
    pub compared_at: DateTime<Utc>,
    /// Rows that are new or differ from their latest landed version.
    pub changed: Vec<Object>,
    /// Keys that are gone.
    pub deleted: Vec<Object>,
    /// Whether `changed` is the whole table and everything landed before is void.
    pub replaces: bool,
    /// Rows of the table that are live after this landing.
    pub live_rows: u64,
    /// Of a table without a key: the sum of its row digests, by which a change of its content is told.
    pub content: Option<String>,
    /// The sequence of the newest landing that brought something for this table, this one included.
    pub changed_in: u64,
    /// The sequence of the landing before `changed_in` that brought something; the chain ends with `None`.
    pub changed_before: Option<u64>,
    /// The index of live keys and their row digests: segments, the oldest first.
    pub index: Vec<IndexSegment>,
}

impl LandedTable {
    /// Rows in `changed`.
    pub fn changed_rows(&self) -> u64 {
        self.changed.iter().map(|o| o.rows).sum()
    }

    /// Keys in `deleted`.
    pub fn deleted_rows(&self) -> u64 {
        self.deleted.iter().map(|o| o.rows).sum()
    }
}

/// The record that transforms of one landing are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedManifest {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// Its number.
    pub sequence: u64,
    /// The run that wrote it.
    pub run: RunId,
    /// The version of tidemill that wrote it.
    pub tidemill: String,
    /// The name of the Parquet writer settings.
    pub writer: String,
    /// The name of the source.
    pub source: String,
    /// The landing manifest that was transformed.
    pub landing: u64,
    /// Its digest.
    pub landing_sha256: Digest,
    /// Its logical time.
    pub logical_time: DateTime<Utc>,
    /// The warehouse tables that were made.
    pub tables: BTreeMap<String, ProcessedTable>,
    /// For every warehouse table ever made: the newest landing that is transformed.
    pub through: BTreeMap<String, Through>,
    /// For every landed table that some module reads as `current`: the rows to begin from.
    pub current: BTreeMap<TableName, CurrentRows>,
}

/// How far a warehouse table is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// The source its inputs come from.
    pub source: String,
    /// The newest landing of it that is transformed.
    pub landing: u64,
}

/// The live rows of a landed table as of one landing, kept so that nobody reads all of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentRows {
    /// The landing.
    pub landing: u64,
    /// Objects in the processed zone, in order.
    pub rows: Vec<Object>,
}

/// One warehouse table made from one landing by one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedTable {
    /// The code.
    pub module: ModuleRef,
    /// What the code said of its output, so that loading needs no module.
    pub output: ProcessedOutput,
    /// The digest of everything the module was given: schemas, objects, order, logical time, seed, parameters.
    pub inputs_sha256: Digest,
    /// The objects that were read, one entry per input of the module, in its order.
    pub inputs: Vec<InputObjects>,
    /// Output rows.
    pub rows: Vec<Object>,
    /// Retracted keys.
    pub retractions: Vec<Object>,
    /// Refused rows with their reasons.
    pub rejects: Vec<Object>,
    /// Rows given to the module.
    pub rows_in: u64,
    /// Fuel used: the same for every replay.
    pub fuel: u64,
}

/// The output of a module as a manifest records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedOutput {
    /// Its columns, in order.
    pub columns: Vec<ProcessedColumn>,
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// How the warehouse applies the rows.
    pub mode: LoadMode,
    /// The serial column that the warehouse adds.
    pub record_id: Option<String>,
    /// A second name of the table.
    pub alias: Option<String>,
}

/// A column of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type, in Arrow's own notation.
    #[serde(with = "crate::table::arrow_notation")]
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl ProcessedOutput {
    /// The Arrow schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        let field = |c: &ProcessedColumn| Field::new(&c.name, c.data_type.clone(), c.nullable);
        Arc::new(Schema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

impl From<&Description> for ProcessedOutput {
    fn from(description: &Description) -> Self {
        let columns = description
            .output
            .schema
            .fields()
            .iter()
            .map(|field| ProcessedColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                nullable: field.is_nullable(),
            });
        Self {
            columns: columns.collect(),
            primary_key: description.output.primary_key.clone(),
            mode: description.output.mode,
            record_id: description.properties.get(RECORD_ID).cloned(),
            alias: description.properties.get(ALIAS).cloned(),
        }
    }
}

/// The objects one input was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputObjects {
    /// The landed table.
    pub table: TableName,
    /// Kept live rows in the processed zone, to begin from.
    pub base: Vec<Object>,
    /// What landed, the oldest first. A later landing wins over an earlier one and over `base`.
    pub landings: Vec<LandedObjects>,
}

/// What one landing brought for one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandedObjects {
    /// The landing.
    pub landing: u64,
    /// Objects with rows.
    pub changed: Vec<Object>,
    /// Objects with keys that are gone.
    pub deleted: Vec<Object>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::memory::MemoryZone;

    fn manifest(sequence: u64, run: u32) -> LandingManifest {
        LandingManifest {
            format: FORMAT,
            sequence,
            run: RunId::new(DateTime::UNIX_EPOCH, run),
            source: "totesys".into(),
            tidemill: "0.1.0".into(),
            writer: "parquet-1".into(),
            logical_time: DateTime::UNIX_EPOCH,
            tables: BTreeMap::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn log() -> (Arc<MemoryZone>, ManifestLog<LandingManifest>) {
        let zone = Arc::new(MemoryZone::default());
        (zone.clone(), ManifestLog::new(zone, "totesys"))
    }

    #[tokio::test]
    async fn the_newest_manifest_is_the_last_that_was_committed() {
        let (_, log) = log();
        assert_eq!(log.newest().await.unwrap(), None);
        log.commit(&manifest(1, 1)).await.unwrap();
        log.commit(&manifest(2, 2)).await.unwrap();
        assert_eq!(log.newest().await.unwrap(), Some(manifest(2, 2)));
    }

    #[tokio::test]
    async fn of_two_runs_that_commit_the_same_number_one_is_told_of_the_other() {
        let (_, log) = log();
        log.commit(&manifest(1, 1)).await.unwrap();
        let error = log.commit(&manifest(1, 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(log.newest().await.unwrap(), Some(manifest(1, 1)));
    }

    #[tokio::test]
    async fn a_manifest_of_a_later_version_is_named_as_such() {
        let (zone, log) = log();
        let key = "totesys/_manifests/0000000001.json";
        zone.create(
            key,
            bytes::Bytes::from_static(br#"{"format": 9, "what": "ever"}"#),
        )
        .await
        .unwrap();
        let error = log.newest().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory:///totesys/_manifests/0000000001.json has format 9, and this version reads up to 1"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn a_damaged_manifest_is_an_error_and_not_an_empty_history() {
        let (zone, log) = log();
        zone.create(
            "totesys/_manifests/0000000001.json",
            bytes::Bytes::from_static(b"{\"format\""),
        )
        .await
        .unwrap();
        assert!(matches!(
            log.newest().await,
            Err(ManifestError::Damaged { .. })
        ));
    }
}
