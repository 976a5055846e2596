//! `cargo x fuzz [TARGET…] [--seconds N]`: coverage-guided fuzzing of everything that reads hostile bytes.
//!
//! cargo-fuzz builds the targets of `tests/fuzz` with the address sanitizer and libFuzzer's instruments, and they run one
//! after the other. What that needs from a nightly compiler are flags, not features of the language: `RUSTC_BOOTSTRAP`
//! makes the compiler in use take them, so that what is fuzzed is compiled by what compiles the program, and no second
//! toolchain is installed. cargo-fuzz itself is built once, into `target/tools`. A nightly toolchain was rejected: it is
//! another compiler every day.
//!
//! The working corpus lies in `target/fuzz-corpus` and grows from run to run. It begins with the seeds that the host makes
//! itself and with what is committed in `tests/fuzz/corpus`, which nothing here writes to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::guests;
use crate::workspace::{Workspace, call, cargo, succeed};

/// The release of cargo-fuzz, which decides about flags.
const CARGO_FUZZ: &str = "0.13.2";
/// Unless `--seconds` says otherwise. Half an hour each is what a release asks for.
const SECONDS: u32 = 60;
/// What one input may take.
const INPUT_SECONDS: u32 = 10;
/// What one input may allocate in one piece, and hold in all. The longest input is far below.
const ALLOCATION_MIB: u32 = 64;
const MEMORY_MIB: u32 = 1024;
/// The longest input.
const INPUT_BYTES: u32 = 16 * 1024;
const FOLDER: &str = "tests/fuzz";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    targets: Vec<String>,
    seconds: u32,
}

/// Builds the targets and runs those that are named, or all.
///
/// # Errors
/// When something does not build, or an input was found that a target fails on.
#[allow(clippy::print_stderr)]
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let workspace = Workspace::load()?;
    let root = workspace.root();
    let wanted = wanted(arguments, &targets(root)?)?;
    guests::run()?;
    let cargo_fuzz = cargo_fuzz(root)?;
    let host = host()?;
    let programs = build(root, &cargo_fuzz, &host)?;
    for target in &wanted.targets {
        eprintln!("── {target}, {} s", wanted.seconds);
        let fuzzing = Fuzzing::prepare(root, &programs, target)?;
        fuzzing.run(wanted.seconds)?;
    }
    Ok(())
}

/// Formats the targets, which are in a workspace of their own, or with `--check` says what is not formatted.
///
/// # Errors
/// When rustfmt fails, or something is not formatted.
pub(crate) fn format(root: &Path, flags: &[&str]) -> Result<()> {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt
        .current_dir(root)
        .args(["--edition", "2024"])
        .args(flags)
        .arg(format!("{FOLDER}/target.rs"));
    for target in targets(root)? {
        rustfmt.arg(format!("{FOLDER}/targets/{target}.rs"));
    }
    succeed(&mut rustfmt)
}

/// The names of the targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join(FOLDER).join("targets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

fn wanted(arguments: &[&str], targets: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        targets: Vec::new(),
        seconds: SECONDS,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if *argument == "--seconds" {
            let number = arguments.next().context("--seconds needs a number")?;
            wanted.seconds = number
                .parse()
                .with_context(|| format!("`{number}` is no number of seconds"))?;
        } else if targets.iter().any(|target| target == argument) {
            wanted.targets.push((*argument).to_owned());
        } else {
            bail!(
                "there is no target `{argument}`; there are {}",
                targets.join(", ")
            );
        }
    }
    if wanted.targets.is_empty() {
        wanted.targets = targets.to_vec();
    }
    Ok(wanted)
}

/// cargo-fuzz, installed for this workspace alone when it is not there in the right version.
fn cargo_fuzz(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/tools");
    let program = folder
        .join("bin")
        .join(format!("cargo-fuzz{}", std::env::consts::EXE_SUFFIX));
    let version = Command::new(&program).args(["fuzz", "--version"]).output();
    let is_right = version.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .ends_with(&format!(" {CARGO_FUZZ}"))
    });
    if !is_right {
        let mut install = cargo();
        install.args([
            "install",
            "cargo-fuzz",
            "--locked",
            "--version",
            CARGO_FUZZ,
            "--root",
        ]);
        succeed(install.arg(&folder))?;
    }
    Ok(program)
}

/// The machine that this is.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

/// Builds every target and gives the folder of the programs.
fn build(root: &Path, cargo_fuzz: &Path, host: &str) -> Result<PathBuf> {
    // The versions that ship: cargo takes out what is not used and adds libFuzzer.
    fs::copy(
        root.join("Cargo.lock"),
        root.join(FOLDER).join("Cargo.lock"),
    )
    .context("cannot copy Cargo.lock")?;
    let folder = root.join("target/fuzz");
    let mut build = Command::new(cargo_fuzz);
    build
        .current_dir(root)
        .args(["fuzz", "build", "--fuzz-dir", FOLDER, "--target", host])
        .args(["--codegen-units", "16", "--target-dir"])
        .arg(&folder)
        .env("RUSTC_BOOTSTRAP", "1");
    let status = build
        .status()
        .with_context(|| format!("cannot run `{}`", call(&build)))?;
    ensure!(
        status.success(),
        "`{}` failed: the sanitizer needs Linux or macOS, and a C++ compiler builds libFuzzer",
        call(&build)
    );
    Ok(folder.join(host).join("release"))
}

/// One target with its folders.
struct Fuzzing {
    program: PathBuf,
    /// What is committed.
    kept: PathBuf,
    /// What is found.
    corpus: PathBuf,
    /// What fails.
    failures: PathBuf,
    /// Words for inputs.
    dictionary: PathBuf,
}

impl Fuzzing {
    /// Makes the folders, and writes seeds and dictionary.
    fn prepare(root: &Path, programs: &Path, target: &str) -> Result<Self> {
        let fuzzing = Self {
            program: programs.join(target),
            kept: root.join(FOLDER).join("corpus").join(target),
            corpus: root.join("target/fuzz-corpus").join(target),
            failures: root.join("target/fuzz-failures").join(target),
            dictionary: root
                .join("target/fuzz-corpus")
                .join(format!("{target}.dict")),
        };
        for folder in [&fuzzing.corpus, &fuzzing.failures, &fuzzing.kept] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        succeed(
            Command::new(&fuzzing.program)
                .arg("-runs=0")
                .env("TIDEMILL_FUZZ_SEEDS", &fuzzing.corpus)
                .env("TIDEMILL_FUZZ_WORDS", &fuzzing.dictionary),
        )?;
        Ok(fuzzing)
    }

    fn run(&self, seconds: u32) -> Result<()> {
        let mut program = Command::new(&self.program);
        program
            .arg(format!("-artifact_prefix={}/", self.failures.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION_MIB}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg("-print_final_stats=1");
        // libFuzzer does not take an empty one, and binary formats have no words.
        if fs::metadata(&self.dictionary).is_ok_and(|metadata| metadata.len() > 0) {
            program.arg(format!("-dict={}", self.dictionary.display()));
        }
        program.arg(&self.corpus).arg(&self.kept);
        succeed(&mut program).with_context(|| {
            format!(
                "the input is in {}: mend what it shows and commit it to {}",
                self.failures.display(),
                self.kept.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Wanted> {
        wanted(arguments, &["manifest".to_owned(), "project".to_owned()])
    }

    #[test]
    fn without_names_every_target_runs() {
        let all = parsed(&["--seconds", "1800"]).unwrap();
        assert_eq!(all.targets, ["manifest", "project"]);
        assert_eq!(all.seconds, 1800);
    }

    #[test]
    fn a_target_runs_alone_by_its_name() {
        assert_eq!(parsed(&["project"]).unwrap().targets, ["project"]);
        assert_eq!(parsed(&["project"]).unwrap().seconds, SECONDS);
    }

    #[test]
    fn what_is_no_target_and_no_number_is_refused() {
        assert_eq!(
            parsed(&["projects"]).unwrap_err().to_string(),
            "there is no target `projects`; there are manifest, project"
        );
        assert!(parsed(&["--seconds"]).is_err());
        assert!(parsed(&["--seconds", "long"]).is_err());
    }
}
