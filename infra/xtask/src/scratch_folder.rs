//! A folder for what is needed for a moment, beside what is built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder that is removed with this.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder that nobody else may enter.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("tidemill-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays in the folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
