//! A run and its stages: plain data for every room.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

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

/// A word to stop, which is given once and heard by every clone: a run then commits what is complete, leaves the rest to
/// the next one and says so. Unlike a run that is dropped, which leaves everything that is not committed yet.
#[derive(Debug, Clone)]
pub struct Halt(Arc<watch::Sender<bool>>);

impl Default for Halt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Halt {
    /// Gives the word.
    pub fn call(&self) {
        self.0.send_replace(true);
    }

    /// Whether the word has been given.
    pub fn is_called(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the word has been given, also when that was before.
    pub async fn called(&self) {
        // It fails when there is no sender left, and this is one.
        let _ = self.0.subscribe().wait_for(|called| *called).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_word_is_heard_by_who_listens_and_by_who_asks_later() {
        let halt = Halt::default();
        let listener = halt.clone();
        let early = tokio::spawn(async move { listener.called().await });
        assert!(!halt.is_called());
        halt.clone().call();
        early.await.expect("it returns");
        halt.called().await;
        assert!(halt.is_called());
    }
}
