//! The programs that compile a module.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::BuildError;

/// What modules are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The programs that compile a module, and where they keep what they download.
#[derive(Debug, Clone)]
pub struct Toolchain {
    cargo: OsString,
    rustc: OsString,
    /// Where cargo keeps the sources of dependencies.
    pub(crate) home: PathBuf,
    /// Whether the missing target is added without asking.
    adds_target: bool,
    /// Whether cargo says errors only.
    quiet: bool,
}

impl Toolchain {
    /// The toolchain that the environment names: `CARGO`, `RUSTC`, `CARGO_HOME`.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = variable("CARGO_HOME").map(PathBuf::from);
        Self {
            cargo: variable("CARGO").unwrap_or_else(|| "cargo".into()),
            rustc: variable("RUSTC").unwrap_or_else(|| "rustc".into()),
            home: home.unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".cargo")),
            adds_target: false,
            quiet: false,
        }
    }

    /// The same, but it adds the target when it is missing.
    #[must_use]
    pub fn adding_target(mut self, adds: bool) -> Self {
        self.adds_target = adds;
        self
    }

    /// The same, but cargo says errors only.
    #[must_use]
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet = quiet;
        self
    }

    /// A call of cargo that says on stderr what it does.
    pub fn cargo(&self) -> Command {
        let mut command = cargo(&self.cargo);
        if self.quiet {
            command.arg("--quiet");
        }
        command
    }

    /// Sees to it that the rustc of a folder can compile for the target.
    ///
    /// # Errors
    /// It cannot, and was not to be made to or could not be.
    pub(crate) fn need_target(&self, folder: &Path) -> Result<(), BuildError> {
        let asked = ["--print", "target-libdir", "--target", TARGET];
        let found = self.rustc(folder, &asked)?;
        let has_core = fs::read_dir(found)
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"));
        if has_core {
            return Ok(());
        }
        let rustup = |arguments: &[&str]| {
            let mut rustup = Command::new("rustup");
            rustup.args(arguments).current_dir(folder);
            rustup.stdout(Stdio::null()).stderr(Stdio::null()).status()
        };
        if !self.adds_target {
            let rustup = rustup(&["--version"]).is_ok_and(|status| status.success());
            return Err(BuildError::NoTarget { rustup });
        }
        match rustup(&["target", "add", TARGET]) {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(BuildError::NoTarget { rustup: true }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(BuildError::NoTarget { rustup: false })
            }
            Err(cause) => Err(failed(OsStr::new("rustup"), cause)),
        }
    }

    /// The version of the rustc of a folder, which may name another than the usual: `1.95.0`.
    pub(crate) fn rustc_version(&self, folder: &Path) -> Result<String, BuildError> {
        let said = self.rustc(folder, &["--version"])?;
        let version = said.split_whitespace().nth(1);
        Ok(version.unwrap_or_default().to_owned())
    }

    /// The first line of what rustc says.
    fn rustc(&self, folder: &Path, arguments: &[&str]) -> Result<String, BuildError> {
        let mut rustc = Command::new(&self.rustc);
        let output = output(rustc.args(arguments).current_dir(folder))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// Runs a program to its end.
pub(crate) fn output(command: &mut Command) -> Result<Output, BuildError> {
    let program = command.get_program().to_owned();
    command.output().map_err(|cause| failed(&program, cause))
}

fn failed(program: &OsStr, cause: std::io::Error) -> BuildError {
    let program = program.to_string_lossy().into_owned();
    match cause.kind() {
        ErrorKind::NotFound => BuildError::NoProgram { program },
        _ => BuildError::Program { program, cause },
    }
}

/// A call of cargo in an environment like the one that a shell has.
///
/// What cargo says of the package that it runs is taken out: build scripts look at some of it (ring's at
/// `CARGO_MANIFEST_DIR`), and everything above them would be compiled again whenever `cargo x` or `cargo run` and
/// plain cargo take turns.
pub fn cargo(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(tells_of_a_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a variable is what cargo tells the package that it runs.
fn tells_of_a_package(name: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || [
            "CARGO_BIN_NAME",
            "CARGO_CRATE_NAME",
            "CARGO_PRIMARY_PACKAGE",
            "OUT_DIR",
        ]
        .contains(&name)
}
