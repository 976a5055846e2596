//! The contract's text and its versions: `wit/transform.wit` against the table of `wit/CHANGELOG.md`.
//!
//! A version that has been committed is released: modules in somebody's registry were built against it. So the last row
//! of the table is the digest of the text, versions only grow, and a row says for ever what it said in the commit that
//! brought it. The last rule needs the history; a clone without one is checked by the first two.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

const TEXT: &str = "wit/transform.wit";
const CHANGELOG: &str = "wit/CHANGELOG.md";

/// A released version of the contract.
#[derive(Debug, PartialEq, Eq)]
struct Release {
    version: [u64; 3],
    sha256: String,
}

/// Checks the contract below `root`.
///
/// # Errors
/// What does not fit, and what to do about it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let read = |file: &str| {
        fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
    };
    let releases = releases(&read(CHANGELOG)?)?;
    fits(&read(TEXT)?, &releases)?;
    for release in &releases {
        if let Some(then) = first_said(root, release)? {
            ensure!(
                then.sha256 == release.sha256,
                "version {} was released with the sha256 {} and now has {}: leave its row in {CHANGELOG} alone, and give \
                 a changed {TEXT} a new version",
                shown(release.version),
                then.sha256,
                release.sha256
            );
        }
    }
    Ok(())
}

/// Whether the text is the last release, and versions grow.
fn fits(text: &str, releases: &[Release]) -> Result<()> {
    let last = releases
        .last()
        .with_context(|| format!("{CHANGELOG} has no table of versions"))?;
    for (earlier, later) in releases.iter().zip(releases.iter().skip(1)) {
        ensure!(
            earlier.version < later.version,
            "{CHANGELOG} has {} after {}: versions grow",
            shown(later.version),
            shown(earlier.version)
        );
    }
    let version = package_version(text)?;
    ensure!(
        version == last.version,
        "{TEXT} is version {} and the last row of {CHANGELOG} is {}: they are the same version",
        shown(version),
        shown(last.version)
    );
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
    ensure!(
        sha256 == last.sha256,
        "{TEXT} changed and its version did not: raise the version in its `package` line and add a row with the sha256 \
         {sha256} to {CHANGELOG}"
    );
    Ok(())
}

/// The rows of the table.
fn releases(changelog: &str) -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for line in changelog.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(version), Some(sha256)) = (cells.first(), cells.get(2)) else {
            bail!("{CHANGELOG} has a row without a sha256: {line}");
        };
        // The head of the table and the line below it.
        if !version.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        releases.push(Release {
            version: parse_version(version)?,
            sha256: sha256.trim_matches('`').to_owned(),
        });
    }
    Ok(releases)
}

/// The version in the `package` line.
fn package_version(text: &str) -> Result<[u64; 3]> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("package "))
        .with_context(|| format!("{TEXT} has no package line"))?;
    let (_, version) = line
        .trim_end_matches(';')
        .split_once('@')
        .with_context(|| format!("the package line of {TEXT} has no version"))?;
    parse_version(version)
}

fn parse_version(version: &str) -> Result<[u64; 3]> {
    let numbers: Vec<u64> = version
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{version}` is no version like 1.0.0"))?;
    numbers
        .try_into()
        .ok()
        .with_context(|| format!("`{version}` is no version like 1.0.0"))
}

/// The row of `release` in the commit that brought it; nothing where the history does not reach so far.
fn first_said(root: &Path, release: &Release) -> Result<Option<Release>> {
    let row = format!("-S| {} |", shown(release.version));
    let Some(commits) = git(
        root,
        &["log", "--reverse", "--format=%H", &row, "--", CHANGELOG],
    ) else {
        return Ok(None);
    };
    let Some(commit) = commits.lines().next() else {
        return Ok(None);
    };
    let Some(changelog) = git(root, &["show", &format!("{commit}:{CHANGELOG}")]) else {
        return Ok(None);
    };
    Ok(releases(&changelog)?
        .into_iter()
        .find(|then| then.version == release.version))
}

/// What git says, or nothing where there is no git or no repository.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown([major, minor, patch]: [u64; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const TEXT_1_1: &str = "/// The contract.\npackage tidemill:transform@1.1.0;\n";

    fn changelog(rows: &[(&str, &str)]) -> String {
        let mut text =
            String::from("# Changes\n\n| version | date | sha256 | what |\n|---|---|---|---|\n");
        for (version, sha256) in rows {
            text.push_str(&format!(
                "| {version} | 2026-11-21 | `{sha256}` | words |\n"
            ));
        }
        text
    }

    fn problem(text: &str, rows: &[(&str, &str)]) -> String {
        let releases = releases(&changelog(rows)).expect("rows");
        fits(text, &releases).expect_err("a problem").to_string()
    }

    #[test]
    fn a_text_fits_when_its_last_row_has_its_version_and_digest() {
        let sha256 = hex(&Sha256::digest(TEXT_1_1.as_bytes()));
        let releases = releases(&changelog(&[("1.0.0", "aa"), ("1.1.0", &sha256)])).expect("rows");
        fits(TEXT_1_1, &releases).expect("it fits");
    }

    #[test]
    fn a_changed_text_under_the_same_version_is_found() {
        let problem = problem(TEXT_1_1, &[("1.1.0", "aa")]);
        assert!(
            problem.contains("changed and its version did not"),
            "{problem}"
        );
    }

    #[test]
    fn a_version_without_a_row_is_found() {
        let problem = problem(TEXT_1_1, &[("1.0.0", "aa")]);
        assert!(
            problem.contains("is version 1.1.0 and the last row"),
            "{problem}"
        );
    }

    #[test]
    fn versions_grow_by_number_not_by_letter() {
        let sha256 = hex(&Sha256::digest(TEXT_1_1.as_bytes()));
        let problem = problem(
            TEXT_1_1,
            &[("1.10.0", "aa"), ("1.9.0", "bb"), ("1.1.0", &sha256)],
        );
        assert!(problem.contains("1.9.0 after 1.10.0"), "{problem}");
    }

    #[test]
    fn a_row_that_was_committed_stays_what_it_was() {
        let folder = Scratch::new("wit");
        let root = folder.path();
        let commit = |text: &str, rows: &[(&str, &str)]| {
            fs::create_dir_all(root.join("wit")).expect("a folder");
            fs::write(root.join(TEXT), text).expect("a file");
            fs::write(root.join(CHANGELOG), changelog(rows)).expect("a file");
            for arguments in [
                &["init", "--quiet"][..],
                &["add", "."],
                &[
                    "-c",
                    "user.name=a",
                    "-c",
                    "user.email=a@b",
                    "commit",
                    "--quiet",
                    "-m",
                    "words",
                ],
            ] {
                git(root, arguments).expect("git works here");
            }
        };
        let sha256 = |text: &str| hex(&Sha256::digest(text.as_bytes()));
        commit(TEXT_1_1, &[("1.1.0", &sha256(TEXT_1_1))]);
        check(root).expect("the first release");
        let changed = format!("{TEXT_1_1}interface more {{}}\n");
        commit(&changed, &[("1.1.0", &sha256(&changed))]);
        let problem = check(root).expect_err("a rewritten release").to_string();
        assert!(
            problem.contains("version 1.1.0 was released with"),
            "{problem}"
        );
        let raised = changed.replace("@1.1.0", "@1.2.0");
        commit(
            &raised,
            &[("1.1.0", &sha256(TEXT_1_1)), ("1.2.0", &sha256(&raised))],
        );
        check(root).expect("a new version");
    }
}
