//! The PostgreSQL server that the tests start: found, or installed where that can be done without asking.
//!
//! The tests start and stop servers of their own in temporary folders; here is only what they start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::debian::{self, apt_get};

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
        debian::is_here(),
        "the tests need PostgreSQL 15 and this is no Debian: install it and name the folder of initdb in {VARIABLE}"
    );
    ensure!(
        debian::is_root()?,
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

/// Installs the server and no database.
fn install() -> Result<()> {
    let setting = Path::new(NO_CLUSTER);
    let folder = setting.parent().unwrap_or(setting);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(setting, "create_main_cluster = false\n")
        .with_context(|| format!("cannot write {NO_CLUSTER}"))?;
    let install = ["install", "--yes", "--no-install-recommends", PACKAGE];
    let installed = debian::with_lists(|| apt_get(&install));
    fs::remove_file(setting).with_context(|| format!("cannot remove {NO_CLUSTER}"))?;
    installed
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
