//! What else reads a PostgreSQL table into Parquet, or sends a file to a store, from PyPI into a folder below `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Exact versions: DuckDB loads an extension of its own version only.
const PACKAGES: [&str; 6] = [
    "duckdb==1.5.5",
    "duckdb-extension-postgres-scanner==1.5.5",
    "connectorx==0.4.6",
    "adbc-driver-postgresql==1.13.0",
    "pyarrow==26.0.1",
    "boto3==1.44.5",
];

/// The peers by the names of `peers.py`.
pub(crate) const NAMES: [(&str, &str); 4] = [
    ("duckdb", "DuckDB, Parquet with snappy"),
    ("duckdb-zstd", "DuckDB, Parquet with zstd"),
    ("connectorx", "ConnectorX and pyarrow"),
    ("adbc", "ADBC and pyarrow"),
];

/// A Python with the peers in it.
pub(crate) struct Peers {
    python: PathBuf,
}

impl Peers {
    /// Installs them, unless they are there.
    pub(crate) fn install() -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let python = folder.join("bin/python");
        let (complete, all) = (folder.join("complete"), PACKAGES.join("\n"));
        if std::fs::read_to_string(&complete).ok().as_deref() != Some(&all) {
            run(Command::new("python3").arg("-m").arg("venv").arg(&folder))?;
            let mut install = Command::new(&python);
            install
                .args(["-m", "pip", "install", "--quiet"])
                .args(PACKAGES);
            run(&mut install)?;
            std::fs::write(complete, all)?;
        }
        Ok(Self { python })
    }

    /// A script of this folder.
    pub(crate) fn script(&self, name: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("bench")
            .join(name);
        let mut command = Command::new(&self.python);
        command.arg(script);
        command
    }

    /// Reads `table` of a database of a server on `port` into `file`.
    pub(crate) fn command(
        &self,
        name: &str,
        port: u16,
        database: &str,
        [table, key]: [&str; 2],
        file: &Path,
    ) -> Command {
        let mut command = self.script("peers.py");
        command.args([name, "127.0.0.1"]).arg(port.to_string());
        command.args([database, table, key]).arg(file);
        command
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {talk}");
    Ok(())
}
