//! Testing again whenever a file changes.
//!
//! Files are looked at three times a second. A library that is told by the system was rejected: a crate has a handful of
//! files, and what editors and network folders do to such notices costs more than looking.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Setting;
use crate::cli::UsageError;
use crate::cli::answer::Answer;
use crate::cli::failure;
use crate::cli::invocation::{Invocation, Output};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(333);

/// What a file looks like from outside.
type Seen = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Tests, and tests again after every change, until it is dropped.
pub(super) async fn watch(setting: &Setting, call: &Invocation) -> crate::Result<Answer> {
    loop {
        // Before the test: what changes during it is a change.
        let seen = look(&setting.path());
        let told = match setting.once(call).await {
            Ok(answer) => match call.output() {
                Output::Text => answer.text,
                Output::Json | Output::OpenLineage => answer
                    .json
                    .map(|json| format!("{json}\n"))
                    .unwrap_or_default(),
            },
            Err(error) => {
                failure::tell(&error, call.output());
                String::new()
            }
        };
        let mut stdout = std::io::stdout().lock();
        let written = stdout
            .write_all(told.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(UsageError::Write)?;
        drop(stdout);
        while look(&setting.path()) == seen {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The files of a crate that a test depends on, or a component alone.
fn look(path: &Path) -> Seen {
    let mut files = Vec::new();
    if path.is_file() {
        files.push(path.to_owned());
    }
    for name in ["Cargo.toml", "Cargo.lock", "build.rs"] {
        files.push(path.join(name));
    }
    for name in ["src", "cases", "tests"] {
        below(&path.join(name), &mut files);
    }
    files.sort();
    let seen = files.into_iter().filter_map(|file| {
        let facts = std::fs::metadata(&file).ok()?;
        Some((file, facts.modified().ok(), facts.len()))
    });
    seen.collect()
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => below(&path, files),
            false => files.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_file_of_the_crate_is_seen_and_of_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, text).expect("a file");
        };
        write("src/lib.rs", "1");
        let mut seen = look(folder.path());
        write("target/x", "1");
        write("README.md", "1");
        assert_eq!(look(folder.path()), seen);
        for name in [
            "src/lib.rs",
            "src/deep/a.rs",
            "cases/rows.json",
            "Cargo.toml",
        ] {
            write(name, "longer");
            let now = look(folder.path());
            assert_ne!(now, seen, "{name}");
            seen = now;
        }
        std::fs::remove_file(folder.path().join("cases/rows.json")).expect("it is there");
        assert_ne!(look(folder.path()), seen);
    }
}
