//! Files as a bundle has them: sorted, owned by root, of no time, readable by everybody and writable by nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Files and folders by their path, which begins with no slash. Folders above a file are there without being named.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    File {
        bytes: Vec<u8>,
        executable: bool,
    },
    Folder {
        /// `0o755`, or what else it has to be.
        mode: u32,
    },
}

impl Tree {
    /// Adds a file.
    pub(super) fn add(&mut self, path: &str, bytes: Vec<u8>) {
        let executable = false;
        self.0
            .insert(path.to_owned(), Node::File { bytes, executable });
    }

    /// Adds a program.
    pub(super) fn add_program(&mut self, path: &str, bytes: Vec<u8>) {
        let executable = true;
        self.0
            .insert(path.to_owned(), Node::File { bytes, executable });
    }

    /// How large its files are, all together.
    pub(super) fn size(&self) -> usize {
        let nodes = self.0.values();
        nodes
            .map(|node| match node {
                Node::File { bytes, .. } => bytes.len(),
                Node::Folder { .. } => 0,
            })
            .sum()
    }

    /// Adds a folder that may be empty.
    pub(super) fn add_folder_named(&mut self, path: &str, mode: u32) {
        self.0.insert(path.to_owned(), Node::Folder { mode });
    }

    /// Adds what is in a folder of this machine, below `prefix`, where `wanted` says so.
    ///
    /// # Errors
    /// When something cannot be read, or is neither file nor folder: a link would point elsewhere there.
    pub(super) fn add_folder(
        &mut self,
        folder: &Path,
        prefix: &Path,
        wanted: &dyn Fn(&Path) -> bool,
    ) -> Result<()> {
        let entries = fs::read_dir(folder);
        let entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let inside = prefix.join(entry.file_name());
            if !wanted(&inside) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_folder(&path, &inside, wanted)?;
                continue;
            }
            ensure!(
                kind.is_file(),
                "{} is neither a file nor a folder",
                path.display()
            );
            let name = inside.to_str().context("a name is no Unicode")?;
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            self.add(name, bytes);
        }
        Ok(())
    }

    /// The same files below a folder.
    pub(super) fn below(self, folder: &str) -> Self {
        let nodes = self.0.into_iter();
        Self(
            nodes
                .map(|(path, node)| (format!("{folder}/{path}"), node))
                .collect(),
        )
    }

    /// Everything in the order of its paths, folders above files included: each before what is in it.
    pub(super) fn entries(&self) -> BTreeMap<String, Node> {
        let mut entries = BTreeMap::new();
        for (path, node) in &self.0 {
            for (end, _) in path.match_indices('/') {
                let above = path.get(..end).unwrap_or_default();
                let folder = Node::Folder { mode: 0o755 };
                entries.entry(above.to_owned()).or_insert(folder);
            }
            entries.insert(path.clone(), node.clone());
        }
        entries
    }
}

impl Node {
    /// The mode of it.
    pub(super) fn mode(&self) -> u32 {
        match self {
            Self::File { executable, .. } => {
                if *executable {
                    0o755
                } else {
                    0o644
                }
            }
            Self::Folder { mode } => *mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::default();
        tree.add("a/b/c", vec![1]);
        tree.add_folder_named("a/b", 0o700);
        let entries = tree.entries();
        let paths: Vec<_> = entries.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c"]);
        assert_eq!(entries["a/b"].mode(), 0o700);
        assert_eq!(entries["a"].mode(), 0o755);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused_and_what_is_not_wanted_is_left() {
        let scratch = Scratch::new("tree");
        let folder = scratch.path();
        fs::create_dir(folder.join("in")).expect("a folder");
        fs::write(folder.join("in/file"), "x").expect("a file");
        fs::write(folder.join("left"), "x").expect("a file");
        let mut tree = Tree::default();
        let wanted = |path: &Path| path != Path::new("left");
        tree.add_folder(folder, Path::new(""), &wanted)
            .expect("read");
        assert_eq!(tree.entries().len(), 2);
        std::os::unix::fs::symlink("/etc/passwd", folder.join("in/link")).expect("a link");
        let added = tree.add_folder(folder, Path::new(""), &wanted);
        assert!(added.is_err_and(|error| error.to_string().contains("in/link")));
    }
}
