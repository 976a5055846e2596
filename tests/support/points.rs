//! The points at which a run, or `init`, makes something last: each is one system call, or one request to a store.

use std::fmt;

use super::trace::{Call, Kind};

/// A point at which something becomes visible to others, and with it lasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A landed object, an index segment included, has its name.
    LandedObject,
    /// Commit 1.
    LandingManifest,
    /// Live rows that are kept for later runs have their name.
    CurrentRows,
    /// What a module made has its name.
    ProcessedObject,
    /// The transforms of a landing are done.
    ProcessedManifest,
    /// A data file of a Delta table is there: empty on a disk, whole in a bucket.
    DeltaFile,
    /// A version of a Delta table.
    DeltaCommit,
    /// Commit 2 of the embedded warehouse.
    Publication,
    /// PostgreSQL is told to take rows into a temporary table.
    Staging,
    /// Commit 2 of a warehouse on PostgreSQL.
    WarehouseCommit,
    /// A component is in the modules zone.
    Component,
    /// The record that makes it a module.
    ModuleRecord,
    /// A version becomes the active one.
    Promotion,
    /// Compiled code is in the cache.
    CompiledModule,
    /// The program has done everything and ends.
    End,
}

impl Point {
    /// What a daily run into the embedded warehouse passes, in folders or in a bucket.
    pub const EMBEDDED: [Self; 8] = [
        Self::LandedObject,
        Self::LandingManifest,
        Self::ProcessedObject,
        Self::ProcessedManifest,
        Self::DeltaFile,
        Self::DeltaCommit,
        Self::Publication,
        Self::End,
    ];

    /// What a daily run into PostgreSQL passes.
    pub const POSTGRES: [Self; 7] = [
        Self::LandedObject,
        Self::LandingManifest,
        Self::ProcessedObject,
        Self::ProcessedManifest,
        Self::Staging,
        Self::WarehouseCommit,
        Self::End,
    ];

    /// What `init` passes.
    pub const INIT: [Self; 4] = [
        Self::Component,
        Self::ModuleRecord,
        Self::Promotion,
        Self::End,
    ];

    /// The point that a call is; most are none.
    pub fn of(call: &Call) -> Option<Self> {
        let target = call.target.as_str();
        match call.kind {
            Kind::Name => Self::of_name(target),
            Kind::Send if target.starts_with("PUT /") => {
                Self::of_name(target.split([' ', '?']).nth(1)?)
            }
            // It is written under the name that it keeps: nobody sees it before a commit names it.
            Kind::Create if target.contains("/warehouse/") && target.ends_with(".parquet") => {
                Some(Self::DeltaFile)
            }
            // The source's own snapshot ends with ROLLBACK, and COPY out of it is TO STDOUT.
            Kind::Send if target.contains("FROM STDIN") => Some(Self::Staging),
            Kind::Send if target.contains("COMMIT\0") && !target.contains("BEGIN") => {
                Some(Self::WarehouseCommit)
            }
            Kind::Exit => Some(Self::End),
            _ => None,
        }
    }

    fn of_name(path: &str) -> Option<Self> {
        let is_manifest = path.contains("/_manifests/");
        Some(if path.contains("lake/ingestion/") {
            match is_manifest {
                true => Self::LandingManifest,
                false => Self::LandedObject,
            }
        } else if path.contains("lake/processed/") {
            match is_manifest {
                true => Self::ProcessedManifest,
                false if path.contains("/_current/") => Self::CurrentRows,
                false => Self::ProcessedObject,
            }
        } else if path.contains("lake/modules/") {
            match path.rsplit('/').next()? {
                "module.wasm" => Self::Component,
                "module.json" => Self::ModuleRecord,
                _ if path.contains("/_promotions/") => Self::Promotion,
                _ => return None,
            }
        } else if path.ends_with(".cwasm") {
            Self::CompiledModule
        } else if path.contains("/_tidemill/publications/") {
            Self::Publication
        } else if path.contains("/_delta_log/") && path.ends_with(".json") {
            Self::DeltaCommit
        } else if path.contains("/warehouse/")
            && path.ends_with(".parquet")
            && path.contains("/part-")
        {
            // Of an object: a file on a disk is made with its name.
            Self::DeltaFile
        } else {
            return None;
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LandedObject => "landing an object",
            Self::LandingManifest => "landing manifest",
            Self::CurrentRows => "kept live rows",
            Self::ProcessedObject => "processed object",
            Self::ProcessedManifest => "processed manifest",
            Self::DeltaFile => "Delta data file",
            Self::DeltaCommit => "Delta table commit",
            Self::Publication => "publication",
            Self::Staging => "PostgreSQL staging",
            Self::WarehouseCommit => "PostgreSQL commit",
            Self::Component => "component",
            Self::ModuleRecord => "module record",
            Self::Promotion => "promotion",
            Self::CompiledModule => "compiled module",
            Self::End => "end of the program",
        })
    }
}
