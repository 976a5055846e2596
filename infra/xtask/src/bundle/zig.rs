//! cargo-zigbuild: cargo with Zig's C compiler and linker, which build for other processors and for older C libraries.
//!
//! One on the `PATH` is used as it is. Where there is none it comes as two wheels, of these versions, into `target/tools`: so
//! a machine with Rust and Python builds what AWS Lambda runs. Rejected: a cross compiler of the distribution, which links
//! against the C library of that distribution, and a container of Amazon Linux, which needs an engine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::arch::Arch;
use crate::python;
use crate::workspace::{cargo, succeed};

const WHEELS: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.17.1"];

/// Where cargo-zigbuild is.
pub(super) struct Zig {
    /// The folder that has to be on the `PATH`; none where it is there already.
    programs: Option<PathBuf>,
}

impl Zig {
    /// Finds it, or gets it into the folder `target`.
    ///
    /// # Errors
    /// When it cannot be had, with what to install.
    #[allow(clippy::print_stderr)]
    pub(super) fn get(target: &Path) -> Result<Self> {
        let own = Self { programs: None };
        if own.works() {
            return Ok(own);
        }
        let folder = target.join("tools/zigbuild");
        if !folder.exists() {
            eprintln!("getting cargo-zigbuild: once");
        }
        let programs = python::environment(&folder, &[], &WHEELS).context(
            "cargo-zigbuild cannot be had: install it with Zig, for example by `pip install cargo-zigbuild ziglang`",
        )?;
        let programs = Some(programs);
        let fetched = Self { programs };
        ensure!(
            fetched.works(),
            "cargo-zigbuild is installed in {} and does not run",
            folder.display()
        );
        Ok(fetched)
    }

    /// A call of `cargo zigbuild`.
    ///
    /// # Errors
    /// When the `PATH` cannot be made longer.
    pub(super) fn build(&self) -> Result<Command> {
        let mut build = cargo();
        build.arg("zigbuild");
        if let Some(programs) = &self.programs {
            let path = env::var_os("PATH").unwrap_or_default();
            let longer = std::iter::once(programs.clone()).chain(env::split_paths(&path));
            build.env("PATH", env::join_paths(longer)?);
        }
        Ok(build)
    }

    fn works(&self) -> bool {
        // It refuses `--version`.
        let asked = self
            .build()
            .and_then(|mut build| Ok(build.arg("--help").output()?));
        asked.is_ok_and(|output| output.status.success())
    }
}

/// Sees to it that Rust has its standard library for a processor.
///
/// # Errors
/// When it has not and rustup cannot add it.
pub(super) fn need_target(arch: Arch) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let asked = ["--print", "target-libdir", "--target", arch.triple()];
    let output = rustc.args(asked).output().context("cannot run rustc")?;
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    if folder.is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    let added = succeed(rustup.args(["target", "add", arch.triple()]));
    added.with_context(|| format!("Rust cannot build for {}", arch.name()))
}
