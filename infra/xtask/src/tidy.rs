//! What must not be committed: settings with secrets, state, archives, and the folders of whoever wrote it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Endings of files that are made, not written.
const MADE: &[&str] = &[
    ".a", ".db", ".dll", ".dylib", ".exe", ".gz", ".jar", ".log", ".o", ".parquet", ".so",
    ".sqlite", ".tar", ".tfstate", ".wasm", ".whl", ".zip",
];

/// Where made files may be: formats as released versions wrote them, which tests read for ever.
const FIXTURES: &str = "tests/fixtures/";

/// A text longer than this was made, too.
const LONGEST_BYTES: u64 = 1 << 20;

/// Checks every file that git knows or would add.
///
/// # Errors
/// Every file that should not be there.
pub(crate) fn check(root: &Path) -> Result<()> {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let folders = folders_of_this_machine(root);
    let mut findings = Vec::new();
    for name in String::from_utf8_lossy(&output.stdout).split('\0') {
        let file = root.join(name);
        // A file that is deleted and not yet committed so is listed and not there.
        let Ok(metadata) = fs::metadata(&file) else {
            continue;
        };
        if !metadata.is_file() {
            continue;
        }
        findings.extend(name_problem(name).map(|problem| format!("{name}: {problem}")));
        if name.starts_with(FIXTURES) {
            continue;
        }
        if metadata.len() > LONGEST_BYTES {
            findings.push(format!("{name}: it is longer than {LONGEST_BYTES} bytes"));
        } else if let Ok(text) = fs::read_to_string(&file) {
            let problems = text_problems(&text, &folders);
            findings.extend(
                problems
                    .iter()
                    .map(|(line, problem)| format!("{name}:{line}: {problem}")),
            );
        }
    }
    match findings.is_empty() {
        true => Ok(()),
        false => bail!("{}", findings.join("\n")),
    }
}

fn name_problem(name: &str) -> Option<&'static str> {
    let file = name.rsplit('/').next().unwrap_or(name);
    if file == ".env" || (file.starts_with(".env.") && file != ".env.example") {
        Some("settings with secrets stay on the machine; commit an .env.example")
    } else if !name.starts_with(FIXTURES) && MADE.iter().any(|ending| file.ends_with(ending)) {
        Some("it is made, not written; what tests read for ever belongs in tests/fixtures")
    } else {
        None
    }
}

/// Lines that name a folder of this machine, and what an unfinished merge leaves behind.
fn text_problems(text: &str, folders: &[String]) -> Vec<(usize, &'static str)> {
    // Put together here, so that this file does not hold what it looks for.
    let merge = "<".repeat(7) + " ";
    text.lines()
        .zip(1..)
        .filter_map(|(line, number)| {
            if folders.iter().any(|folder| line.contains(folder)) {
                Some((number, "a folder of this machine"))
            } else if line.starts_with(&merge) {
                Some((number, "an unfinished merge"))
            } else {
                None
            }
        })
        .collect()
}

/// The folder of the clone and that of the person, as they begin a path. Any folder below `/home` was looked for at first,
/// and rejected: examples have such paths rightly, and what escapes by accident is a path of the machine it escapes from.
fn folders_of_this_machine(root: &Path) -> Vec<String> {
    let home = std::env::home_dir();
    let folders = [Some(root), home.as_deref()];
    folders
        .into_iter()
        .flatten()
        .filter(|folder| folder.parent().is_some())
        .map(|folder| format!("{}/", folder.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_archives_are_found_by_name() {
        for name in [
            ".env",
            "infra/.env.production",
            "a/module.wasm",
            "build.tar",
            "x.tfstate",
        ] {
            assert!(name_problem(name).is_some(), "{name}");
        }
        for name in [
            ".env.example",
            "tests/fixtures/manifest-1.parquet",
            "host/src/zone.rs",
        ] {
            assert_eq!(name_problem(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_of_this_machine_and_an_unfinished_merge_are_found_by_line() {
        let folders = folders_of_this_machine(Path::new("/srv/clone"));
        assert_eq!(folders.first().map(String::as_str), Some("/srv/clone/"));
        let text = format!(
            "let example = \"/home/ada/lake\";\nlet file = \"/srv/clone/lake\";\n{} ours\n",
            "<".repeat(7)
        );
        assert_eq!(
            text_problems(&text, &folders),
            [(2, "a folder of this machine"), (3, "an unfinished merge")]
        );
    }
}
