//! Where a fixture lies, that nobody changed it, and a copy of it to work in.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use tidemill::digest::Digest;
use tidemill::zone::{Zone, local::LocalZone};
use tidemill_tests::binary::workspace;
use tidemill_tests::project::Project;

/// The list of digests in a fixture.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// What a compressed file ends with: components are large and compress well.
pub(crate) const PACKED: &str = ".gz";

/// The folder of the fixture of a version.
pub(crate) fn folder(version: &str) -> PathBuf {
    workspace().join("tests/fixtures").join(version)
}

/// Makes sure that the files of a version have the digests of its list, and the list itself the digest `list`.
pub(crate) fn ensure_unchanged(version: &str, list: &str) -> Result<()> {
    let folder = folder(version);
    let listed = fs::read_to_string(folder.join(SUMS))?;
    let digest = Digest::of(&listed).to_string();
    ensure!(
        digest == list,
        "the list of digests has the digest {digest}"
    );
    let sums = sums(&folder)?;
    ensure!(sums == listed, "the files are now:\n{sums}");
    Ok(())
}

/// A zone of a project.
pub(crate) fn zone(project: &Project, folder: &str) -> Arc<dyn Zone> {
    Arc::new(LocalZone::new(project.path().join("lake").join(folder)))
}

/// The digests of everything below `folder`, a line each, as `sha256sum` writes them.
pub(crate) fn sums(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    walk(folder, "", &mut files)?;
    files.retain(|file| file != SUMS);
    files.sort();
    let mut sums = String::new();
    for file in files {
        let bytes = fs::read(folder.join(&file)).with_context(|| file.clone())?;
        writeln!(sums, "{}  {file}", Digest::of(bytes))?;
    }
    Ok(sums)
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .context("a name in UTF-8")?;
        let name = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

/// What a project of a version is made of: one version may have gone on with the project of another.
fn layers(version: &str) -> &'static [&'static str] {
    match version {
        "v2" => &["v1", "v2"],
        "v3" => &["v3"],
        _ => &["v1"],
    }
}

/// A copy of the fixture's project, components unpacked, that may be changed.
pub(crate) fn project(version: &str) -> Result<Project> {
    let project = Project::empty()?;
    for layer in layers(version) {
        lay(&project, &folder(layer).join("project"))?;
    }
    Ok(project)
}

fn lay(project: &Project, from: &Path) -> Result<()> {
    let mut files = Vec::new();
    walk(from, "", &mut files)?;
    for file in files {
        let bytes = fs::read(from.join(&file))?;
        let to = project
            .path()
            .join(file.strip_suffix(PACKED).unwrap_or(&file));
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        let bytes = if file.ends_with(PACKED) {
            let mut unpacked = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked)?;
            unpacked
        } else {
            bytes
        };
        fs::write(to, bytes)?;
    }
    Ok(())
}
