//! A run and its stages: plain data for every room.

use std::fmt;

use chrono::{DateTime, Utc};

/// A stage of the straight line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Source to landing zone.
    Extract,
    /// Landing zone to processed zone, through the modules.
    Transform,
    /// Processed zone to warehouse.
    Load,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extract => "extract",
            Self::Transform => "transform",
            Self::Load => "load",
        })
    }
}

/// The identity of a run: its start in UTC and eight random digits, so that ids sort by time.
///
/// Written as `20261121T093000123Z-1f2e3d4c`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The id of a run that starts at `start`; `random` tells apart what starts in the same millisecond.
    pub fn new(start: DateTime<Utc>, random: u32) -> Self {
        Self(format!(
            "{}-{random:08x}",
            start.format("%Y%m%dT%H%M%S%3fZ")
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for RunId {
    fn from(text: String) -> Self {
        Self(text)
    }
}
