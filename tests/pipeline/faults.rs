//! Faults: each makes something fail under a run, looks at what the program says and how it ends, and lets a plain
//! next run put everything right.
//!
//! ```text
//! a day passes ─▶ the fault ─▶ a run: exit code, message, hint ─▶ the fault ends ─▶ a run ─▶ the star is exact
//! ```
//!
//! What is said is kept beside this file, one file per place of the fault, to be read by people. With
//! `TIDEMILL_UPDATE=1` in the environment the files are written.

mod clock;
mod damage;
mod disks;
mod hosts;
mod login;
pub(crate) mod source;
mod sqlite;
mod warehouse;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;
use tidemill_tests::project::Said;

use tidemill_tests::world::World;

/// What differs from run to run in what is said of faults.
const MASKS: [(&str, &str); 8] = [
    (r"/\d{4}/\d{2}/\d{2}/", "/[date]/"),
    (r"\.tmp\w{6}|\.draft-\w{6}|\.new-\w{6}", "[temporary]"),
    (r"part-[0-9A-Za-z]{32}", "[file]"),
    (r"test_\d+", "[database]"),
    (r"s3://bucket-[\w-]+/", "s3://[bucket]/"),
    (r"\(request \w+\)", "(request [id])"),
    (r"\b[0-9a-f]{12}\b", "[digest]"),
    (r"pg_tblspc/[\w/.]+|base/[\d/]+", "[relation]"),
];

/// What a system says of a connection that ended: its words depend on what was under way.
const LOST: &str = r"(?m)^  caused by: (connection closed|error communicating with the server)(\n  caused by: [^\n]*)?$";

/// What names a table, where chance decides which.
const ANY_TABLE: [(&str, &str); 4] = [
    (r"lake/processed/\w+/", "lake/processed/[table]/"),
    (
        r"lake/ingestion/totesys/\w+/",
        "lake/ingestion/totesys/[table]/",
    ),
    (
        r"(part|index|rejects|retractions|deletes)-\d{5}\.parquet",
        "[object].parquet",
    ),
    (r"(read|count) table \w+", "read table [table]"),
];

/// The faults of one place and what was said of them.
pub(crate) struct Story {
    file: PathBuf,
    text: String,
    /// Tables that fail in an order which chance decides: only that one is named is kept.
    any_table: Vec<&'static str>,
}

impl Story {
    pub(crate) fn of(place: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pipeline/faults");
        Self {
            file: folder.join(format!("{place}.txt")),
            text: String::new(),
            any_table: Vec::new(),
        }
    }

    /// Writes down what a run said under a fault.
    pub(crate) fn tell(&mut self, world: &World, fault: &str, arguments: &[&str], said: &Said) {
        let mut told = world.project.masked(&said.stderr);
        for (pattern, mask) in MASKS {
            let pattern = Regex::new(pattern).expect("the patterns are constants that compile");
            told = pattern.replace_all(&told, mask).into_owned();
        }
        let lost = Regex::new(LOST).expect("the pattern is a constant that compiles");
        told = lost
            .replace_all(&told, "  caused by: [the connection is lost]")
            .into_owned();
        for stage in self.any_table.drain(..) {
            let pattern = Regex::new(&format!("error: {stage}: \\w+: "));
            let pattern = pattern.expect("stages are plain words");
            let mask = format!("error: {stage}: [table]: ");
            told = pattern.replace_all(&told, mask).into_owned();
            for (pattern, mask) in ANY_TABLE {
                let pattern = Regex::new(pattern).expect("the patterns are constants that compile");
                told = pattern.replace_all(&told, mask).into_owned();
            }
        }
        let code = said
            .code
            .map_or_else(|| "none".to_owned(), |code| code.to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "## {fault}\n\n$ tidemill {}",
            arguments.join(" ")
        );
        let _ = writeln!(self.text, "{told}exit code {code}\n");
    }

    /// The same of a run whose table that fails first is a matter of chance.
    pub(crate) fn tell_any_table(
        &mut self,
        world: &World,
        fault: &str,
        arguments: &[&str],
        said: &Said,
        stage: &'static str,
    ) {
        self.any_table.push(stage);
        self.tell(world, fault, arguments, said);
    }

    /// Runs under a fault, and without it: an error first, an exact star then.
    pub(crate) async fn run(
        &mut self,
        world: &mut World,
        fault: &str,
        arguments: &[&str],
    ) -> Result<Said> {
        let said = failed(world, arguments).with_context(|| fault.to_owned())?;
        self.tell(world, fault, arguments, &said);
        Ok(said)
    }

    /// Compares with what is kept.
    #[expect(
        clippy::print_stdout,
        reason = "`cargo x soak` adds up what tests survived"
    )]
    pub(crate) fn end(self) -> Result<()> {
        let Self { file, text, .. } = self;
        ensure!(!text.contains("secret"), "a password is told:\n{text}");
        if tidemill_tests::variable("TIDEMILL_UPDATE").is_some() {
            std::fs::write(&file, &text).context("the sources are ours")?;
        }
        let kept = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for (number, (told, kept)) in text.lines().zip(kept.lines()).enumerate() {
            ensure!(
                told == kept,
                "{}:{}\n  reads {kept}\n  but is {told}\nlook at it, and run the test with TIDEMILL_UPDATE=1 when \
                 it is as it should be; all of it:\n{text}",
                file.display(),
                number + 1
            );
        }
        ensure!(
            text.lines().count() == kept.lines().count(),
            "{} tells more or less than is said:\n{text}",
            file.display()
        );
        let faults = text.lines().filter(|line| line.starts_with("## "));
        println!("{} faults survived", faults.count());
        Ok(())
    }
}

/// A run that ends with an error that has a hint, for people.
pub(crate) fn failed(world: &World, arguments: &[&str]) -> Result<Said> {
    let said = world.project.call(arguments)?;
    ensure!(
        matches!(said.code, Some(1 | 2)),
        "it did not fail: {said:#?}"
    );
    let lines = |begin: &str| said.stderr.lines().filter(|l| l.starts_with(begin)).count();
    ensure!(
        lines("error: ") > 0 && lines("error: ") == lines("  hint: "),
        "every error has a hint: {said:#?}"
    );
    let mut told: Vec<&str> = said.stderr.lines().collect();
    told.dedup();
    ensure!(
        told.len() == said.stderr.lines().count(),
        "a line is said twice: {said:#?}"
    );
    Ok(said)
}

/// The plain next run: what the fault left is completed, the star and every version are exact.
pub(crate) async fn healed(world: &mut World, fault: &str) -> Result<Value> {
    world
        .run()
        .await
        .with_context(|| format!("the run after: {fault}"))
}
