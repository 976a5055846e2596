//! How far a verification is, noted for the one that goes on after it was interrupted.
//!
//! The file is derived state in the folder `.tidemill` of the project and proves nothing: what does not read as one, was
//! written by another version of the program or is of another history is as if it were not there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::pipeline::report::VerifyReport;

/// The format of the file.
const FORMAT: u32 = 1;

/// Manifests that were listed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// By log, the newest of them.
    pub(super) through: BTreeMap<String, u64>,
    /// The digest of those that the segment before does not have.
    pub(super) sha256: Digest,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    format: u32,
    /// The version of tidemill: another may give other bytes, which is what is looked for.
    tidemill: String,
    /// What was listed, in this order.
    pub(super) segments: Vec<Segment>,
    /// Checks that are made.
    pub(super) done: u64,
    /// What they found.
    pub(super) report: VerifyReport,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            format: FORMAT,
            tidemill: env!("CARGO_PKG_VERSION").to_owned(),
            segments: Vec::new(),
            done: 0,
            report: VerifyReport::default(),
        }
    }
}

impl Position {
    pub(super) fn done_as_usize(&self) -> usize {
        usize::try_from(self.done).unwrap_or(usize::MAX)
    }
}

/// Where it is noted.
#[derive(Debug, Clone)]
pub(super) struct PositionFile {
    path: PathBuf,
}

impl PositionFile {
    /// The file of the project in `base`.
    pub(super) fn of(base: &Path) -> Self {
        Self {
            path: base.join(".tidemill").join("verify.json"),
        }
    }

    /// What is noted, `None` where nothing is, or why it cannot be used.
    pub(super) fn read(&self) -> Result<Option<Position>, String> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(format!("the position cannot be read: {cause}")),
        };
        let position: Position =
            serde_json::from_slice(&bytes).map_err(|_| "the position is damaged".to_owned())?;
        match position.format == FORMAT && position.tidemill == Position::default().tidemill {
            true => Ok(Some(position)),
            false => Err("another version of tidemill noted the position".into()),
        }
    }

    /// Notes a position in place of the one before. One that cannot be noted costs time and nothing else.
    pub(super) fn write(&self, position: &Position) {
        if let Err(error) = self.try_write(position) {
            tracing::debug!(%error, path = %self.path.display(), "the position is not noted");
        }
    }

    fn try_write(&self, position: &Position) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(&serde_json::to_vec(position)?)?;
        draft.persist(&self.path)?;
        Ok(())
    }

    /// Removes it: everything is verified.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the position is still noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_noted_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = PositionFile::of(folder.path());
        assert_eq!(file.read(), Ok(None));
        let position = Position {
            done: 7,
            ..Position::default()
        };
        file.write(&position);
        assert_eq!(file.read(), Ok(Some(position.clone())));
        let other = Position {
            tidemill: "0.0.0".into(),
            ..position
        };
        file.write(&other);
        assert!(
            file.read()
                .is_err_and(|why| why.contains("another version"))
        );
        for text in ["", "{", "{}", "[]"] {
            std::fs::write(&file.path, text).expect("written");
            assert_eq!(file.read(), Err("the position is damaged".into()), "{text}");
        }
        file.remove();
        assert_eq!(file.read(), Ok(None));
    }
}
