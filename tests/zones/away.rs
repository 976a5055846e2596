//! A store that is not there: who waits is told, and does not wait long.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidemill_tests::project::Project;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

const PROJECT: &str = r#"
name = "away"

[lake]
ingestion = "s3://nowhere/ingestion"
processed = "s3://nowhere/processed"
modules = "s3://nowhere/modules"

[lake.s3]
region = "eu-west-2"
endpoint = "http://127.0.0.1:1"

[warehouse]
url = "delta://s3://nowhere/star"
"#;

#[tokio::test]
async fn a_store_that_is_not_there_is_told_of_and_given_up_soon() -> Result<()> {
    let mut project = Project::with_file(PROJECT)?;
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        project.set(name, "nobody");
    }
    for (verb, code) in [("doctor", 3), ("load", 1)] {
        let began = Instant::now();
        let said = project.call([verb])?;
        let passed = began.elapsed();
        // Both zones, the modules and the warehouse of `doctor` wait together as long as one of them.
        ensure!(passed < Duration::from_secs(30), "{verb} took {passed:?}");
        ensure!(said.code == Some(code), "{said:#?}");
        let told = "the store does not answer and is asked again";
        let line = said.stderr.lines().find(|line| line.contains(told));
        ensure!(
            line.is_some_and(|line| line.contains(NOWHERE) && line.contains("at_most_seconds=5")),
            "{said:#?}"
        );
        let hint = format!("{}{}", said.stdout, said.stderr);
        ensure!(hint.contains("endpoint"), "{said:#?}");
    }
    Ok(())
}
