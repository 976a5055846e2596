//! What a function says to events and projects that it can do nothing with.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidemill_tests::lambda::{batch, created};

use super::account::Account;

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_nothing_is_ignored_and_what_is_strange_is_refused() -> Result<()> {
    let account = Account::on_servers().await?;
    let mut transform = account.function("transform")?;
    let test =
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": account.ingestion});
    let other = created(
        &account.ingestion,
        "totesys/staff/2026/11/22/run/part-00000.parquet",
    );
    let later = created(&account.processed, "_manifests/0000000001.json");
    for (event, word) in [
        (&test, "a test of S3"),
        (&other, "part-00000.parquet: is no manifest"),
        (
            &later,
            "is of the processed zone, and transform begins with manifests of the ingestion zone",
        ),
    ] {
        let answer = account
            .call(&mut transform, event)
            .await?
            .being("ignored")?;
        ensure!(
            answer["words"][0]
                .as_str()
                .is_some_and(|said| said.contains(word)),
            "{answer}"
        );
    }
    let stranger = created("somebody-elses", "totesys/_manifests/0000000001.json");
    let (kind, message) = account.call(&mut transform, &stranger).await?.failed()?;
    ensure!(kind == "config", "{kind}");
    ensure!(
        message.contains("s3://somebody-elses/totesys/_manifests/0000000001.json is in none"),
        "{message}"
    );
    let (_, message) = account
        .call(&mut transform, &json!({"httpMethod": "GET"}))
        .await?
        .failed()?;
    ensure!(
        message.contains("hint: understood are: a schedule"),
        "{message}"
    );
    // A message that nothing comes of is not delivered again; one that is refused is.
    let answer = account
        .call(&mut transform, &batch(&[test, stranger, other]))
        .await?;
    ensure!(answer.done()? == json!({"batchItemFailures": [{"itemIdentifier": "message-1"}]}));
    let mut load = account.function("load")?;
    let (_, message) = account
        .call(&mut load, &json!({"tables": ["dim_date"]}))
        .await?
        .failed()?;
    ensure!(message.contains("load takes no tables"), "{message}");
    let (kind, message) = account
        .call(&mut transform, &json!({"tables": ["dim_dat"]}))
        .await?
        .failed()?;
    ensure!(
        kind == "config" && message.contains("[transform.dim_dat]"),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_wrong_is_told_before_the_first_call() -> Result<()> {
    let account = Account::on_servers().await?;
    let mut function = account.function_with("load", &[("TIDEMILL_LIMITS__MEMORY", "lots")])?;
    let (kind, message) = account.call(&mut function, &Value::Null).await?.failed()?;
    ensure!(
        kind == "config" && message.contains("which is not a size"),
        "{kind}: {message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_file_may_be_an_object() -> Result<()> {
    let account = Account::on_servers().await?;
    let file = account.world.project.path().join("tidemill.toml");
    let bucket = account.store.fresh_bucket().await;
    let put = account
        .store
        .client()
        .put_object()
        .bucket(&bucket)
        .key("etc/project.toml");
    put.body(std::fs::read(&file)?.into()).send().await?;
    std::fs::remove_file(&file)?;
    let url = format!("s3://{bucket}/etc/project.toml");
    let mut extract = account.function_with("extract", &[("TIDEMILL_PROJECT", &url)])?;
    account
        .call(&mut extract, &json!({}))
        .await?
        .being("done")?;
    let log = extract.log();
    ensure!(
        log.contains("project file is an object") && log.contains("\"sha256\""),
        "{log}"
    );
    // And so may that of any verb.
    let said = account
        .world
        .project
        .call(["discover", "--output", "json", "--project", &url])?;
    ensure!(
        said.code == Some(0) && said.stdout.contains("sales_order"),
        "{said:#?}"
    );
    let gone = format!("s3://{bucket}/etc/none.toml");
    let mut extract = account.function_with("extract", &[("TIDEMILL_PROJECT", &gone)])?;
    let (_, message) = account.call(&mut extract, &json!({})).await?.failed()?;
    ensure!(message.contains("etc/none.toml is missing"), "{message}");
    Ok(())
}

/// Tables by what the functions did in all of these answers.
pub(crate) fn made(answers: &[Value]) -> (Vec<String>, BTreeSet<String>) {
    let done = answers
        .iter()
        .filter_map(|answer| answer["done"].as_array());
    let all: Vec<String> = done
        .flatten()
        .filter_map(|done| done.as_str().map(str::to_owned))
        .collect();
    let once = all.iter().cloned().collect();
    (all, once)
}
