//! Folders for tests. `tempfile` was rejected: it changes a feature of `bitflags`, and all that makes components would be built
//! once for `cargo x` and once more for its tests.

use std::path::{Path, PathBuf};

/// An empty folder that is removed with this.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A folder for the test of this name.
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("tidemill-xtask-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("no other test has this name");
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays in the folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
