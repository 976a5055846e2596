//! Archives whose bytes are decided by the files alone: tar, gzip and zip without times, owners and chance.

use std::io::{Cursor, Write as _};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::tree::{Node, Tree};

/// How hard archives are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// For what is deployed.
    Whole,
    /// For trying: a program with its symbols is hundreds of megabytes.
    Little,
}

impl Effort {
    fn level(self) -> u32 {
        match self {
            Self::Whole => 6,
            Self::Little => 1,
        }
    }
}

/// A layer of an image.
pub(super) struct Layer {
    /// The archive as it is unpacked.
    pub(super) tar: Vec<u8>,
    /// The same, compressed.
    pub(super) gzip: Vec<u8>,
}

impl Layer {
    /// The layer with these files.
    ///
    /// # Errors
    /// When a path is too long for an archive.
    pub(super) fn new(tree: &Tree, effort: Effort) -> Result<Self> {
        let tar = tar(tree)?;
        // No name, no time, and no system that it was made on.
        let mut encoder = GzBuilder::new()
            .operating_system(255)
            .write(Vec::new(), Compression::new(effort.level()));
        encoder.write_all(&tar)?;
        Ok(Self {
            gzip: encoder.finish()?,
            tar,
        })
    }
}

/// The digest of bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tar(tree: &Tree) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, node) in tree.entries() {
        let mut header = Header::new_gnu();
        header.set_mode(node.mode());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let (kind, name, bytes) = match &node {
            Node::File { bytes, .. } => (EntryType::Regular, path.clone(), bytes.as_slice()),
            Node::Folder { .. } => (EntryType::Directory, format!("{path}/"), &[][..]),
        };
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, &name, bytes)
            .with_context(|| format!("{name} does not fit into an archive"))?;
    }
    Ok(archive.into_inner()?)
}

/// An archive for AWS Lambda.
///
/// # Errors
/// When a path is too long for an archive.
pub(super) fn zip(tree: &Tree, effort: Effort) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, node) in tree.entries() {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(effort.level().into()))
            // 1980, the first time that the format knows.
            .last_modified_time(DateTime::default())
            .unix_permissions(node.mode());
        match &node {
            Node::File { bytes, .. } => {
                let options = options.large_file(bytes.len() > u32::MAX as usize);
                archive.start_file(&path, options)?;
                archive.write_all(bytes)?;
            }
            Node::Folder { .. } => archive.add_directory(&path, options)?,
        }
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.add_program("usr/bin/tidemill", vec![7; 100_000]);
        tree.add("etc/passwd", b"nobody".to_vec());
        tree.add_folder_named("tmp", 0o1777);
        tree
    }

    #[test]
    fn archives_of_the_same_files_are_the_same_bytes() {
        let (one, two) = (
            Layer::new(&tree(), Effort::Whole),
            Layer::new(&tree(), Effort::Whole),
        );
        let (one, two) = (one.expect("a layer"), two.expect("a layer"));
        assert_eq!((&one.tar, &one.gzip), (&two.tar, &two.gzip));
        assert_eq!(
            zip(&tree(), Effort::Little).expect("a zip"),
            zip(&tree(), Effort::Little).expect("a zip")
        );
        assert!(one.gzip.len() < 10_000);
    }

    #[test]
    fn a_layer_has_modes_and_no_owner_and_no_time() {
        let layer = Layer::new(&tree(), Effort::Whole).expect("a layer");
        let mut archive = tar::Archive::new(layer.tar.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("an entry");
            let header = entry.header();
            assert_eq!(header.uid().expect("an owner"), 0);
            assert_eq!(header.mtime().expect("a time"), 0);
            let path = entry.path().expect("a path").display().to_string();
            found.push((path, header.mode().expect("a mode")));
        }
        let expected = [
            ("etc/", 0o755),
            ("etc/passwd", 0o644),
            ("tmp/", 0o1777),
            ("usr/", 0o755),
            ("usr/bin/", 0o755),
            ("usr/bin/tidemill", 0o755),
        ];
        assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
