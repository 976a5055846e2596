//! The program of a bundle: how it is built, and what its file says of where it runs.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use object::elf;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, SectionHeader as _};
use object::{Endianness, Object as _};

use super::arch::Arch;
use super::compiler;
use super::tree::Tree;
use super::zig::{self, Zig};
use crate::workspace::{Workspace, succeed};
use crate::{guests, scratch_folder};

/// The profile of cargo that is deployed: optimised, without symbols.
pub(super) const PROFILE: &str = "bundle";
/// The C library that is linked against: that of Amazon Linux 2023.
const OLDEST_LIBRARY: &str = "2.34";

/// Builds the program and says where it is: in the daily profile for this machine as every day, otherwise with cargo-zigbuild,
/// against the oldest C library that is to be supported.
///
/// # Errors
/// When it does not build, or cargo-zigbuild is not there and cannot be had.
pub(super) fn build(workspace: &Workspace, arch: Arch, profile: &str) -> Result<PathBuf> {
    guests::run()?;
    if profile == "dev" && arch.is_this_machine() {
        return crate::test::binary(workspace, &[]);
    }
    zig::need_target(arch)?;
    let mut build = Zig::get(workspace.target())?.build()?;
    let triple = format!("{}.{OLDEST_LIBRARY}", arch.triple());
    build
        .current_dir(workspace.root())
        .args(["--locked", "--package", "tidemill", "--bin", "tidemill"])
        .args(["--profile", profile, "--target", &triple]);
    for (name, value) in nowhere(workspace.root())? {
        build.env(name, value);
    }
    build.envs(compiler::variables()?);
    succeed(&mut build)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let built = workspace.target().join(arch.triple());
    Ok(built.join(folder).join("tidemill"))
}

/// Builds the program that compiles modules for processors of every kind, for this machine; says where it is. Of what is
/// built every day it shares all but the compiler.
///
/// # Errors
/// When it does not build.
pub(super) fn build_compiler(workspace: &Workspace) -> Result<PathBuf> {
    guests::run()?;
    let wanted = ["--bin", "tidemill-all-arch", "--features", "all-arch"];
    crate::test::built(workspace, &wanted)
}

/// Variables with which compilers write no folder of this machine into what they make, so that two clones make the same.
pub(super) fn nowhere(root: &Path) -> Result<Vec<(&'static str, String)>> {
    let (mut rust, mut c) = (Vec::new(), Vec::new());
    for (folder, name) in folders(root)? {
        rust.push(format!("--remap-path-prefix={folder}={name}"));
        c.push(format!("-ffile-prefix-map={folder}={name}"));
    }
    Ok(vec![
        // Between flags stands a character that no path has.
        ("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}")),
        ("CFLAGS", c.join(" ")),
        ("CXXFLAGS", c.join(" ")),
        ("SOURCE_DATE_EPOCH", "0".to_owned()),
        // The program does not look for the repository that it was built in.
        ("TIDEMILL_BUNDLE", "1".to_owned()),
    ])
}

/// The folders of this machine that compilers see, with what stands for each.
fn folders(root: &Path) -> Result<Vec<(String, &'static str)>> {
    let home = std::env::home_dir().context("nobody has a home here")?;
    let of_cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let of_cargo = of_cargo.unwrap_or_else(|| home.join(".cargo"));
    let of_rust = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    let of_rust = String::from_utf8(of_rust.stdout)?.trim().to_owned();
    // The last that fits counts, so what is inside of others comes last.
    let mut folders = vec![(home, "/home")];
    folders.push((of_rust.into(), "/rust"));
    folders.push((of_cargo, "/cargo"));
    folders.push((root.to_owned(), "/tidemill"));
    let folders = folders.into_iter();
    let folders = folders.filter(|(folder, _)| folder.parent().is_some());
    Ok(folders
        .map(|(folder, name)| (folder.display().to_string(), name))
        .collect())
}

/// A version of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// The version that a name like `GLIBC_2.34` means.
    fn of_name(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
        let mut number = || numbers.next()?.parse().ok();
        Some(Self(number()?, number()?))
    }
}

/// What a program or a library needs of the system.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The program that loads it.
    pub(super) loader: Option<String>,
    /// Libraries by name.
    pub(super) libraries: BTreeSet<String>,
    /// Versions of functions, of all libraries.
    versions: BTreeSet<String>,
}

impl Needs {
    /// Reads the head of an ELF file.
    ///
    /// # Errors
    /// When it is none, or is for another processor.
    pub(super) fn read(bytes: &[u8], arch: Arch) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).context("it is no program of Linux")?;
        ensure!(
            file.architecture() == arch.of_file(),
            "it is for {:?}, and not for {}",
            file.architecture(),
            arch.name()
        );
        let (header, endian) = (file.elf_header(), file.endian());
        let sections = header.sections(endian, bytes)?;
        let mut needs = Self::default();
        for section in sections.iter() {
            if let Some((entries, link)) = section.dynamic(endian, bytes)? {
                let strings = sections.strings(endian, bytes, link)?;
                for entry in entries {
                    if entry.tag(endian) == elf::DT_NEEDED {
                        let name = entry.string(endian, strings)?;
                        let name = std::str::from_utf8(name)?;
                        needs.libraries.insert(name.to_owned());
                    }
                }
            }
            if sections.section_name(endian, section)? == b".interp" {
                let name = section.data(endian, bytes)?;
                let name = name.strip_suffix(b"\0").unwrap_or(name);
                needs.loader = Some(std::str::from_utf8(name)?.to_owned());
            }
            if let Some((needed, link)) = section.gnu_verneed(endian, bytes)? {
                let strings = sections.strings(endian, bytes, link)?;
                for library in needed {
                    let (_, versions) = library?;
                    for version in versions {
                        let name = version?.name(endian, strings)?;
                        needs.versions.insert(std::str::from_utf8(name)?.to_owned());
                    }
                }
            }
        }
        Ok(needs)
    }

    /// The oldest C library that has everything.
    fn library(&self) -> Version {
        let versions = self.versions.iter();
        let newest = versions.filter_map(|name| Version::of_name(name)).max();
        newest.unwrap_or(Version(0, 0))
    }
}

/// A program that was built.
pub(super) struct Program {
    path: PathBuf,
    bytes: Vec<u8>,
    needs: Needs,
}

impl Program {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not there or is for another processor.
    pub(super) fn read(path: &Path, arch: Arch) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let needs = Needs::read(&bytes, arch).with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            needs,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The oldest C library that has everything it needs.
    pub(super) fn library(&self) -> Version {
        self.needs.library()
    }

    /// Checks that no folder of this machine is in it.
    ///
    /// # Errors
    /// With the folder.
    pub(super) fn check_paths(&self, workspace: &Workspace) -> Result<()> {
        for (folder, _) in folders(workspace.root())? {
            let found = find(&self.bytes, format!("{folder}/").as_bytes());
            if let Some(at) = found {
                let end = self.bytes.len().min(at + 120);
                let text = self.bytes.get(at..end).unwrap_or_default();
                let text = String::from_utf8_lossy(text);
                bail!("the program has a folder of this machine in it: {text}");
            }
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Adds the project's modules as `compiler`, a program of tidemill that runs here, compiles them for a processor.
///
/// # Errors
/// When one of them cannot be had or compiled.
pub(super) fn compile_modules(
    compiler: &Path,
    arch: Arch,
    project: &Path,
    tree: &mut Tree,
) -> Result<()> {
    let scratch = scratch_folder::Folder::new("bundle-modules")?;
    let compiled = scratch.path().join("compiled");
    let mut compile = Command::new(compiler);
    compile
        .args(["module", "compile", "--arch", arch.name(), "--into"])
        .arg(&compiled)
        .arg("--project")
        .arg(project)
        .env("XDG_CACHE_HOME", scratch.path())
        // What a bundle prints is where it is.
        .stdout(Stdio::null());
    succeed(&mut compile)?;
    tree.add_folder(&compiled, Path::new("compiled"), &|_| true)
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_c_library_are_compared_by_number() {
        assert_eq!(Version::of_name("GLIBC_2.34"), Some(Version(2, 34)));
        assert_eq!(Version::of_name("GLIBC_2.2.5"), Some(Version(2, 2)));
        assert_eq!(Version::of_name("GCC_3.0"), None);
        assert!(Version(2, 9) < Version(2, 34));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_says_what_it_needs() {
        let this = std::env::current_exe().expect("a program");
        let bytes = fs::read(this).expect("it can be read");
        let arch = Arch::this_machine().expect("a processor");
        let needs = Needs::read(&bytes, arch).expect("a program of Linux");
        assert!(needs.libraries.contains("libc.so.6"), "{needs:?}");
        assert!(needs.library() >= Version(2, 2), "{needs:?}");
        assert!(
            needs
                .loader
                .is_some_and(|loader| loader.contains("ld-linux"))
        );
        let other = match arch {
            Arch::X86_64 => Arch::Arm64,
            Arch::Arm64 => Arch::X86_64,
        };
        assert!(Needs::read(&bytes, other).is_err());
        assert!(Needs::read(b"#!/bin/sh\n", arch).is_err());
    }

    /// The flags that a bundle is built with, on a program small enough to build it twice.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_that_is_built_in_two_folders_is_the_same_bytes() {
        let built = ["one", "another-longer"].map(|name| {
            let scratch = crate::scratch::Scratch::new(name);
            let source = scratch.path().join("main.rs");
            let code = "fn main() { let n = std::env::args().count(); assert!(n < 9, \"{n} {}\", file!()); }";
            fs::write(&source, code).expect("a source");
            let variables = nowhere(scratch.path()).expect("flags");
            let (_, flags) = variables.first().expect("flags for Rust");
            let mut rustc = Command::new("rustc");
            rustc
                .args(flags.split('\u{1f}'))
                .args(["-C", "opt-level=1", "-C", "debuginfo=1", "-C", "strip=none"])
                .arg("-o")
                .arg(scratch.path().join("main"))
                .arg(&source);
            succeed(&mut rustc).expect("it builds");
            let bytes = fs::read(scratch.path().join("main")).expect("a program");
            let folder = scratch.path().display().to_string();
            assert_eq!(find(&bytes, folder.as_bytes()), None);
            bytes
        });
        assert!(built[0] == built[1], "the programs differ");
    }
}
