//! The workspace as cargo knows it, and the programs that the chores call.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<Package>,
}

/// A package that the workspace is made of or depends on, on any platform.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression, or nothing where the package names none.
    pub(crate) license: Option<String>,
    /// Where it comes from; nothing for a member of the workspace.
    pub(crate) source: Option<String>,
    manifest: PathBuf,
}

impl Workspace {
    /// Asks cargo for the members and everything they depend on.
    ///
    /// # Errors
    /// When `Cargo.lock` does not fit the manifests.
    pub(crate) fn load() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata --locked failed");
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
        let packages = metadata
            .get("packages")
            .and_then(Value::as_array)
            .context("cargo metadata names no packages")?;
        Ok(Self {
            root: text(&metadata, "workspace_root")?.into(),
            target: text(&metadata, "target_directory")?.into(),
            packages: packages.iter().map(Package::read).collect::<Result<_>>()?,
        })
    }

    /// The folder of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of what is built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Every package.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The names of the members below `folder`.
    pub(crate) fn members_below(&self, folder: &str) -> Vec<&str> {
        let folder = self.root.join(folder);
        self.packages
            .iter()
            .filter(|package| package.source.is_none() && package.manifest.starts_with(&folder))
            .map(|package| package.name.as_str())
            .collect()
    }

    /// Runs cargo in the folder of the workspace, with its output for whoever called.
    ///
    /// # Errors
    /// When it fails, with the call.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.run(cargo().args(arguments))
    }

    /// Runs a program in the folder of the workspace, with its output for whoever called.
    ///
    /// # Errors
    /// As [`succeed`].
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        succeed(command.current_dir(&self.root))
    }
}

impl Package {
    /// A package as the tests of the rules need it.
    #[cfg(test)]
    pub(crate) fn new(
        name: &str,
        version: &str,
        license: Option<&str>,
        source: Option<&str>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            manifest: PathBuf::new(),
        }
    }

    fn read(package: &Value) -> Result<Self> {
        let optional = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            name: text(package, "name")?.to_owned(),
            version: text(package, "version")?.to_owned(),
            license: optional("license"),
            source: optional("source"),
            manifest: text(package, "manifest_path")?.into(),
        })
    }
}

/// The cargo that runs this chore, in an environment like the one it was called from.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    tidemill_component::cargo(&program)
}

/// Runs a program, with its output for whoever called.
///
/// # Errors
/// When it fails, with the call.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let call = call(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{call}`"))?;
    ensure!(status.success(), "`{call}` failed");
    Ok(())
}

/// A command as one would type it.
pub(crate) fn call(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value
        .get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("cargo metadata names no {key}"))
}
