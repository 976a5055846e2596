//! The PostgreSQL server that the tests start: found, or installed where that can be done without asking.
//!
//! The tests start and stop servers of their own in temporary folders; here is only what they start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::succeed;

/// The folder of the server's programs, for whoever has them elsewhere.
pub(crate) const VARIABLE: &str = "TIDEMILL_PG_BIN";
/// The major version the tests are written against, as Debian 12 has it.
const PACKAGE: &str = "postgresql-15";
/// Where Debian's package puts the programs.
const DEBIAN: &str = "/usr/lib/postgresql/15/bin";
/// What a folder must have to be the server's.
const PROGRAMS: &[&str] = &["initdb", "pg_basebackup", "pg_ctl", "postgres"];
/// Says to Debian's package that it shall not make a database of its own and start it. It is there during the
/// installation only: what the machine's owner installs later behaves as they know it.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/tidemill.conf";

/// The folder of the server's programs.
///
/// # Errors
/// When there are none and they cannot be installed, with what to install.
pub(crate) fn programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        return match missing(&folder) {
            None => Ok(folder),
            Some(program) => bail!(
                "{VARIABLE} names {}, where there is no {program}",
                folder.display()
            ),
        };
    }
    let folder = PathBuf::from(DEBIAN);
    if missing(&folder).is_none() {
        return Ok(folder);
    }
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "the tests need PostgreSQL 15 and this is no Debian: install it and name the folder of initdb in {VARIABLE}"
    );
    ensure!(
        is_root()?,
        "the tests need PostgreSQL 15: run `sudo apt-get install {PACKAGE}`, or name the folder of initdb in {VARIABLE}"
    );
    install().with_context(|| {
        format!("cannot install {PACKAGE}: install PostgreSQL another way and name the folder of initdb in {VARIABLE}")
    })?;
    match missing(&folder) {
        None => Ok(folder),
        Some(program) => bail!("{PACKAGE} is installed and {DEBIAN} has no {program}"),
    }
}

/// The first program that `folder` lacks.
fn missing(folder: &Path) -> Option<&'static str> {
    PROGRAMS
        .iter()
        .copied()
        .find(|program| !folder.join(program).is_file())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Installs the server and no database.
fn install() -> Result<()> {
    let setting = Path::new(NO_CLUSTER);
    let folder = setting.parent().unwrap_or(setting);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(setting, "create_main_cluster = false\n")
        .with_context(|| format!("cannot write {NO_CLUSTER}"))?;
    let installed = install_package();
    fs::remove_file(setting).with_context(|| format!("cannot remove {NO_CLUSTER}"))?;
    installed
}

/// Installs the package. A fresh image has no list of packages, and an old list names files that are gone: both are
/// mended by fetching the list, which is tried twice because mirrors change under it.
fn install_package() -> Result<()> {
    if apt_get(&["install", "--yes", "--no-install-recommends", PACKAGE]).is_ok() {
        return Ok(());
    }
    apt_get(&["update"]).or_else(|_| apt_get(&["update"]))?;
    apt_get(&["install", "--yes", "--no-install-recommends", PACKAGE])
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    succeed(
        Command::new("apt-get")
            .args(arguments)
            .arg("--quiet")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_folder_is_the_servers_only_when_it_has_every_program() {
        let folder = Scratch::new("postgres");
        assert_eq!(missing(folder.path()), Some("initdb"));
        for program in PROGRAMS {
            fs::write(folder.path().join(program), "").expect("a file");
        }
        assert_eq!(missing(folder.path()), None);
    }
}
