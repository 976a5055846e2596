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
            findings.extend(
                text_problems(&text).map(|(line, problem)| format!("{name}:{line}: {problem}")),
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

/// Lines that name a folder of one person's machine, and what an unfinished merge leaves behind.
fn text_problems(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    // Put together here, so that this file does not hold what it looks for.
    let homes = ["home", "Users"].map(|parent| format!("/{parent}/"));
    let merge = "<".repeat(7) + " ";
    text.lines().zip(1..).filter_map(move |(line, number)| {
        if homes
            .iter()
            .any(|home| names_a_folder_of_somebody(line, home))
        {
            Some((number, "a folder of one machine"))
        } else if line.starts_with(&merge) {
            Some((number, "an unfinished merge"))
        } else {
            None
        }
    })
}

/// Whether `line` has `home` at the beginning of a path, with a name after it.
fn names_a_folder_of_somebody(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(start, _)| {
        let before = line.get(..start).and_then(|before| before.chars().last());
        let after = line
            .get(start + home.len()..)
            .and_then(|after| after.chars().next());
        before.is_none_or(|before| !before.is_alphanumeric() && before != '.')
            && after.is_some_and(char::is_alphanumeric)
    })
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
    fn a_folder_of_one_machine_is_found_and_an_address_is_not() {
        let homes = ["home", "Users"];
        for home in homes {
            let text = format!("a\nlet file = \"/{home}/ada/lake\";\n");
            assert_eq!(
                text_problems(&text).collect::<Vec<_>>(),
                [(2, "a folder of one machine")]
            );
            let text = format!("https://example.org/{home}/page\n$HOME/{home}/\n");
            assert_eq!(text_problems(&text).count(), 0);
        }
    }

    #[test]
    fn an_unfinished_merge_is_found() {
        let text = format!("{} ours\n", "<".repeat(7));
        assert_eq!(
            text_problems(&text).collect::<Vec<_>>(),
            [(1, "an unfinished merge")]
        );
    }
}
