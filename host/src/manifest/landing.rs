//! Commit 1: what one landing brought, and the state of every table after it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Manifest, Object};
use crate::run::RunId;
use crate::table::{Column, Identity, Table, TableName};
use crate::watermark::{Position, Reached, Watermark, Window};

/// The format of a manifest of a table that is landed in parts: an earlier version would take it for whole.
pub const LANDING_FORMAT: u32 = 2;

/// Commit 1: the objects and positions of one landing that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandingManifest {
    /// [`FORMAT`](super::FORMAT) or [`LANDING_FORMAT`], see [`LandingManifest::formatted`].
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
    /// The position of the snapshot that the table was last read in; while it is landed in parts, that of the first part.
    pub position: Position,
    /// How far it is landed, where its first landing is made in parts and more of them follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
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

impl LandingManifest {
    /// The same with the format that says what is in it.
    pub fn formatted(mut self) -> Self {
        let mut tables = self.tables.values();
        let is_in_parts = |table: &LandedTable| {
            table.reached.is_some() || matches!(table.window, Some(Window::Rest { .. }))
        };
        self.format = match tables.any(is_in_parts) {
            true => LANDING_FORMAT,
            false => super::FORMAT,
        };
        self
    }
}

impl Manifest for LandingManifest {
    const KNOWN: u32 = LANDING_FORMAT;

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

impl LandedTable {
    /// Rows in `changed`.
    pub fn changed_rows(&self) -> u64 {
        super::rows_of(&self.changed)
    }

    /// Keys in `deleted`.
    pub fn deleted_rows(&self) -> u64 {
        super::rows_of(&self.deleted)
    }
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
        super::rows_of(self.parts.iter().map(|part| &part.object))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FORMAT;
    use crate::table::{KeyOrigin, TableKind};

    #[test]
    fn a_manifest_of_a_table_that_is_landed_in_parts_is_of_a_format_that_earlier_versions_refuse() {
        let reached = Reached {
            file: 16_384,
            whole: 8,
            begun: Some(12),
        };
        let table = |reached: Option<Reached>, window| LandedTable {
            table: Table {
                name: TableName::new("staff"),
                kind: TableKind::Plain,
                columns: Vec::new(),
                key: Vec::new(),
                key_origin: KeyOrigin::None,
            },
            identity: None,
            dropped: Vec::new(),
            position: Position::Sqlite,
            reached,
            window,
            watermark: None,
            compared_at: DateTime::UNIX_EPOCH,
            changed: Vec::new(),
            deleted: Vec::new(),
            replaces: false,
            live_rows: 0,
            content: None,
            changed_in: 1,
            changed_before: None,
            index: Vec::new(),
        };
        let rest = Window::Rest {
            xmin: 745,
            reached: reached.clone(),
        };
        for (table, format) in [
            (table(None, Some(Window::First)), FORMAT),
            (table(Some(reached), None), LANDING_FORMAT),
            (table(None, Some(rest)), LANDING_FORMAT),
        ] {
            let manifest = LandingManifest {
                format: FORMAT,
                sequence: 1,
                run: RunId::new(DateTime::UNIX_EPOCH, 1),
                source: "totesys".into(),
                tidemill: "0.1.0".into(),
                writer: "parquet-1".into(),
                logical_time: DateTime::UNIX_EPOCH,
                tables: [(TableName::new("staff"), table)].into(),
                waiting: BTreeSet::new(),
            };
            let manifest = manifest.formatted();
            assert_eq!(manifest.format, format);
            // What is written is what is read.
            let bytes = serde_json::to_vec(&manifest).expect("plain data");
            let read: LandingManifest = serde_json::from_slice(&bytes).expect("the same");
            assert_eq!(read, manifest);
        }
    }
}
