//! What a container has beside the program: the C library of Debian, certificates, and the files that name users.
//!
//! The packages are downloaded and unpacked, not taken from the machine: so it works for the processor of another machine,
//! too, and the same versions are the same bytes. Their versions and licences go into the image.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::arch::Arch;
use super::program::{Needs, Program};
use super::tree::Tree;
use crate::debian;
use crate::workspace::succeed;

/// The packages whose files are used.
const PACKAGES: [&str; 3] = ["libc6", "libgcc-s1", "ca-certificates"];
const CERTIFICATES: &str = "usr/share/ca-certificates/mozilla";
const USERS: &str =
    "root:x:0:0:root:/:/nonexistent\nnonroot:x:65532:65532:nonroot:/tmp:/nonexistent\n";
const GROUPS: &str = "root:x:0:\nnonroot:x:65532:\n";
/// Names of hosts are looked up in files and by DNS, which the C library does itself.
const NAMES: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// The files of the system that `program` needs.
///
/// # Errors
/// When packages cannot be had, or have not what the program needs.
pub(super) fn tree(target: &Path, arch: Arch, program: &Program, licence: &Path) -> Result<Tree> {
    let unpacked = packages(target, arch)?;
    let mut tree = Tree::default();
    add_libraries(&mut tree, &unpacked, arch, program)?;
    tree.add(
        "etc/ssl/certs/ca-certificates.crt",
        certificates(&unpacked)?,
    );
    tree.add("etc/passwd", USERS.into());
    tree.add("etc/group", GROUPS.into());
    tree.add("etc/nsswitch.conf", NAMES.into());
    tree.add_folder_named("tmp", 0o1777);
    tree.add_folder_named("project", 0o755);
    for package in PACKAGES {
        let path = format!("usr/share/doc/{package}/copyright");
        let bytes = read(&unpacked.join(&path))?;
        tree.add(&path, bytes);
    }
    tree.add("usr/share/doc/tidemill/copyright", read(licence)?);
    tree.add(
        "usr/share/doc/packages.txt",
        read(&unpacked.join("packages.txt"))?,
    );
    Ok(tree)
}

/// Adds the loader of the program, and every library that it needs or that one of those needs.
fn add_libraries(tree: &mut Tree, unpacked: &Path, arch: Arch, program: &Program) -> Result<()> {
    let needs = program.needs();
    let loader = needs.loader.as_deref();
    let loader = loader.context("the program names no loader: it is not linked as others are")?;
    let loader_name = Path::new(loader)
        .file_name()
        .context("a loader has a name")?;
    let libraries = unpacked.join(arch.libraries());
    let merged = unpacked.join("usr").join(arch.libraries());
    let find = |name: &str| -> Result<Vec<u8>> {
        let found = [&libraries, &merged].map(|folder| folder.join(name));
        let found = found.iter().find(|path| path.exists());
        read(found.with_context(|| format!("no package has {name}, which is needed"))?)
    };
    let bytes = find(&loader_name.to_string_lossy())?;
    tree.add_program(loader.trim_start_matches('/'), bytes);
    let mut missing: Vec<String> = needs.libraries.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = missing.pop() {
        // The loader is there already, under the path by which programs know it.
        if loader_name == name.as_str() || !seen.insert(name.clone()) {
            continue;
        }
        let bytes = find(&name)?;
        let own = Needs::read(&bytes, arch).with_context(|| name.clone())?;
        missing.extend(own.libraries);
        tree.add_program(&format!("{}/{name}", arch.libraries()), bytes);
    }
    Ok(())
}

/// The certificates that Mozilla trusts, one after the other, as Debian puts them together when it is installed.
fn certificates(unpacked: &Path) -> Result<Vec<u8>> {
    let folder = unpacked.join(CERTIFICATES);
    let entries = fs::read_dir(&folder);
    let entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
    let paths: Result<BTreeSet<PathBuf>, _> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut bundle = Vec::new();
    for path in paths? {
        let certificate = read(&path)?;
        bundle.extend_from_slice(certificate.trim_ascii_end());
        bundle.push(b'\n');
    }
    ensure!(
        bundle.starts_with(b"-----BEGIN CERTIFICATE-----"),
        "{} has no certificates",
        folder.display()
    );
    Ok(bundle)
}

/// The packages, unpacked into one folder below `target` that is there whole or not at all.
fn packages(target: &Path, arch: Arch) -> Result<PathBuf> {
    let folder = target
        .join("tools")
        .join(format!("debian-{}", arch.debian()));
    if folder.join("packages.txt").is_file() {
        return Ok(folder);
    }
    ensure!(
        debian::is_here(),
        "the C library of a container is Debian's, and this is no Debian: bundle on one, or in a container of one"
    );
    let draft = folder.with_extension(std::process::id().to_string());
    let made = unpack(&draft, arch).and_then(|()| {
        let moved = fs::rename(draft.join("unpacked"), &folder);
        moved.with_context(|| format!("cannot make {}", folder.display()))
    });
    // What stays in the target folder does no harm.
    let _ = fs::remove_dir_all(&draft);
    made.map(|()| folder)
}

/// Downloads and unpacks the packages with their licences.
fn unpack(draft: &Path, arch: Arch) -> Result<()> {
    let lists = draft.join("lists");
    let downloads = draft.join("downloads");
    let unpacked = draft.join("unpacked");
    for folder in [&lists.join("partial"), &downloads, &unpacked] {
        fs::create_dir_all(folder)?;
    }
    // Lists of its own: those of the machine are for its own processor, and are not ours to change.
    let options = [
        format!("APT::Architecture={}", arch.debian()),
        format!("APT::Architectures={}", arch.debian()),
        format!("Dir::State::Lists={}", lists.display()),
        "Dir::State::Status=/dev/null".to_owned(),
        format!("Dir::Cache={}", draft.display()),
    ];
    let apt = |arguments: &[&str]| {
        let mut apt = debian::apt_get_in(&downloads, arguments);
        for option in &options {
            apt.args(["-o", option]);
        }
        succeed(&mut apt)
    };
    apt(&["update"]).or_else(|_| apt(&["update"]))?;
    apt(&[&["download"], &PACKAGES[..]].concat())?;
    let mut named = extract(&downloads, &unpacked)?;
    // A package of several of one source has its licence in another: where that is, its folder links to.
    let mut shared = BTreeSet::new();
    for package in PACKAGES {
        if let Ok(other) = fs::read_link(unpacked.join("usr/share/doc").join(package)) {
            let other = other.to_string_lossy().into_owned();
            if !PACKAGES.contains(&other.as_str()) {
                shared.insert(other);
            }
        }
    }
    let shared: Vec<&str> = shared.iter().map(String::as_str).collect();
    if !shared.is_empty() {
        apt(&[&["download"], shared.as_slice()].concat())?;
        named.extend(extract(&downloads, &unpacked)?);
    }
    named.sort();
    ensure!(
        named.len() == PACKAGES.len() + shared.len(),
        "apt-get downloaded {named:?}"
    );
    Ok(fs::write(
        unpacked.join("packages.txt"),
        named.join("\n") + "\n",
    )?)
}

/// Unpacks every package in a folder and removes it; gives their names with versions.
fn extract(downloads: &Path, unpacked: &Path) -> Result<Vec<String>> {
    let mut named = Vec::new();
    for entry in fs::read_dir(downloads)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "deb") {
            continue;
        }
        succeed(
            Command::new("dpkg-deb")
                .arg("--extract")
                .args([path.as_path(), unpacked]),
        )?;
        fs::remove_file(&path)?;
        named.push(
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
    }
    Ok(named)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
