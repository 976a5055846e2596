//! What is in one commit to a Delta table: which files come and go, what is said of it, and how the table is defined.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::{
    Action, Add, MetadataExt as _, Protocol, Remove, StructType, new_metadata,
};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaResult, DeltaTable};
use serde::{Deserialize, Serialize};
use url::Url;

use super::data_file::{DataFile, DataFiles};
use super::write::TARGET_FILE_BYTES;
use crate::digest::Digest;
use crate::run::RunId;
use crate::warehouse::TableLoaded;

/// After how many commits the log is summed up in a checkpoint. Whoever opens a table reads the newest checkpoint
/// and the commits since; Delta's own default of 100 makes every load read up to a hundred small files a table.
const CHECKPOINTS: (&str, &str) = ("delta.checkpointInterval", "10");

/// What a commit is part of: two commits with the same identity have the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The publication that is to name the commit: it is built on the one before.
    pub(super) publication: u64,
    pub(super) source: String,
    pub(super) landing: u64,
    pub(super) transform_run: RunId,
    pub(super) module: Digest,
    /// The number of the rebuild, where the commit is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rebuild: Option<u64>,
}

/// What a commit says of itself, so that whoever completes its load need not do it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    /// The version of the table of ended versions that belongs to it.
    pub(super) ended: Option<u64>,
    pub(super) next_record_id: i64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    pub(super) unchanged: u64,
    pub(super) notes: Vec<String>,
    /// The data files of the version that the commit made. A log whose entries were emptied or lost gives another
    /// number; without it such a table would be read as one with fewer rows.
    #[serde(default)]
    pub(super) files: Option<usize>,
}

impl Stamp {
    /// The report of the load that made the commit.
    pub(super) fn loaded(&self, table: String) -> TableLoaded {
        TableLoaded {
            table,
            already: false,
            inserted: self.inserted,
            updated: self.updated,
            removed: self.removed,
            unchanged: self.unchanged,
            notes: self.notes.clone(),
        }
    }
}

/// What a commit changes, relative to the published version.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// New files.
    pub(super) added: Vec<Add>,
    /// Indexes of published files that go.
    pub(super) dropped: HashSet<usize>,
    /// Whether the rows stay the same and only the files change.
    pub(super) is_compaction: bool,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

/// The schema and the protocol where the commit must state them, and what Delta calls the operation.
pub(super) fn definition(
    location: &Url,
    newest: Option<&DeltaTable>,
    schema: &Schema,
    change: &Change,
    files: &[Action],
) -> DeltaResult<(Vec<Action>, DeltaOperation)> {
    let wanted: StructType = schema.try_into_kernel()?;
    let Some(newest) = newest else {
        // Log files of versions that a publication names must stay.
        let settings = [("delta.enableExpiredLogCleanup", "false"), CHECKPOINTS];
        let metadata = new_metadata(&wanted, Vec::<String>::new(), settings)?;
        let protocol = protocol(schema)?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: location.clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        return Ok((vec![protocol.into(), metadata.into()], operation));
    };
    let state = newest.snapshot()?;
    let mut actions = Vec::new();
    let (name, value) = CHECKPOINTS;
    let evolves = *state.schema() != wanted;
    // Of a table that an earlier version made.
    let has_few_checkpoints = !state.metadata().configuration().contains_key(name);
    if evolves && has_local_timestamps(schema) && state.protocol().min_reader_version() < 3 {
        actions.push(protocol(schema)?.into());
    }
    if evolves || has_few_checkpoints {
        let metadata = state.metadata().clone().with_schema(&wanted)?;
        let metadata = metadata.add_config_key(name.to_owned(), value.to_owned())?;
        actions.push(metadata.into());
    }
    let operation = if change.is_compaction {
        DeltaOperation::Optimize {
            predicate: None,
            target_size: TARGET_FILE_BYTES.cast_signed(),
        }
    } else {
        let replaces = files
            .iter()
            .any(|action| matches!(action, Action::Remove(_)));
        DeltaOperation::Write {
            mode: if replaces {
                SaveMode::Overwrite
            } else {
                SaveMode::Append
            },
            partition_by: None,
            predicate: None,
        }
    };
    Ok((actions, operation))
}

/// From the newest version's files to the published ones that stay and the new ones.
pub(super) fn file_actions(
    newest: Option<&DeltaTable>,
    published: &DataFiles,
    change: &Change,
) -> DeltaResult<Vec<Action>> {
    let data_change = !change.is_compaction;
    let staying: Vec<&DataFile> = published
        .files
        .iter()
        .enumerate()
        .filter(|(index, _)| !change.dropped.contains(index))
        .map(|(_, file)| file)
        .collect();
    let wanted: HashSet<&str> = staying.iter().map(|file| file.add.path.as_str()).collect();
    let mut there = HashSet::new();
    let mut actions: Vec<Action> = Vec::new();
    if let Some(newest) = newest {
        for view in newest.snapshot()?.log_data().iter() {
            let path = view.path().into_owned();
            if !wanted.contains(path.as_str()) {
                actions.push(Remove::into(view.remove_action(data_change)));
            }
            there.insert(path);
        }
    }
    let restored = staying
        .into_iter()
        .filter(|file| !there.contains(&file.add.path))
        .map(|file| file.add.clone());
    let added = change.added.iter().cloned().map(|mut add| {
        add.data_change = data_change;
        add
    });
    actions.extend(restored.chain(added).map(Action::Add));
    Ok(actions)
}

/// The oldest protocol that can hold the columns, so that most readers can read the table.
fn protocol(schema: &Schema) -> DeltaResult<Protocol> {
    let protocol = if has_local_timestamps(schema) {
        serde_json::json!({
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": ["timestampNtz"],
            "writerFeatures": ["timestampNtz"],
        })
    } else {
        serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    };
    Ok(serde_json::from_value(protocol)?)
}

fn has_local_timestamps(schema: &Schema) -> bool {
    schema
        .fields()
        .iter()
        .any(|field| matches!(field.data_type(), DataType::Timestamp(_, None)))
}
