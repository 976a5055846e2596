//! The demo's output, word by word: the first thing that a user reads.

use anyhow::{Context, Result, ensure};
use tidemill_tests::project::Project;

/// What stands in `demo.txt`, or with `TIDEMILL_UPDATE=1` in the environment what is written there.
#[test]
fn the_demo_tells_its_story_word_by_word() -> Result<()> {
    let project = Project::empty()?;
    let told = project.done(["demo", "--days", "4", "--dir", "company"])?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline/demo.txt");
    if tidemill_tests::variable("TIDEMILL_UPDATE").is_some() {
        std::fs::write(file, &told).context("the sources are ours")?;
    }
    let expected = std::fs::read_to_string(file).context(file)?;
    for (line, (told, expected)) in told.lines().zip(expected.lines()).enumerate() {
        ensure!(
            told == expected,
            "line {} of the demo reads\n  {told}\nand not\n  {expected}\n\
             look at it, and run the test with TIDEMILL_UPDATE=1 when it is as it should be",
            line + 1
        );
    }
    ensure!(
        told.lines().count() == expected.lines().count(),
        "the demo tells more or less than demo.txt:\n{told}"
    );
    ensure!(
        told.lines().all(|line| line.chars().count() <= 100),
        "a line of the demo is wider than 100 columns"
    );
    Ok(())
}
