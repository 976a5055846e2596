//! From an empty account to an exact star, and days after that: every event twice, out of order, by every courier.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidemill_tests::lambda::{batch, created};

use super::account::{Account, schedule};

const DAYS: u32 = 3;

/// What SNS makes of a notification of S3, within a message of SQS.
fn by_sns(inner: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-2:1:t", "Message": inner.to_string()})
}

/// What EventBridge makes of an object.
fn by_eventbridge(bucket: &str, key: &str) -> Value {
    json!({
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn three_functions_make_an_exact_star_of_an_empty_account_and_keep_it() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let mut extract = account.function("extract")?;
    let mut transform = account.function("transform")?;
    let mut load = account.function("load")?;
    // Functions that are told before there is anything.
    for function in [&mut transform, &mut load] {
        account.call(function, &json!({})).await?.being("nothing")?;
    }
    for day in 0..=DAYS {
        if day > 0 {
            account.world.live().await?;
        }
        let landed = account
            .call(&mut extract, &schedule())
            .await?
            .being("done")?;
        ensure!(
            landed["done"] == json!([format!("landing {} of totesys", day + 1)]),
            "{landed}"
        );
        let ingestion = account.ingestion.clone();
        for (bucket, key) in account.news(&ingestion).await {
            let event = match day % 2 {
                0 => created(&bucket, &key),
                _ => by_eventbridge(&bucket, &key),
            };
            account.call(&mut transform, &event).await?.being("done")?;
            // The same event again is a no-op that says so.
            let again = account
                .call(&mut transform, &event)
                .await?
                .being("nothing")?;
            let word = again["words"][0].as_str().unwrap_or_default();
            ensure!(
                word == format!("s3://{bucket}/{key}: is done already"),
                "{again}"
            );
        }
        let processed = account.processed.clone();
        let news = account.news(&processed).await;
        ensure!(!news.is_empty(), "nothing was transformed on day {day}");
        let notices: Vec<Value> = news
            .iter()
            .map(|(bucket, key)| created(bucket, key))
            .collect();
        // The newest first, each twice, once by SNS, and a stranger among them.
        let mut bodies: Vec<Value> = notices.iter().rev().map(by_sns).collect();
        bodies.extend(notices.iter().cloned());
        bodies.push(json!({"what": "ever"}));
        let answer = account.call(&mut load, &batch(&bodies)).await?.done()?;
        let stranger = format!("message-{}", bodies.len() - 1);
        ensure!(
            answer == json!({"batchItemFailures": [{"itemIdentifier": stranger}]}),
            "{answer}"
        );
        account
            .call(&mut load, &notices[0])
            .await?
            .being("nothing")?;
        account.check().await?;
    }
    // What a function leaves behind is what a run leaves behind.
    for (bucket, prefix) in [
        (&account.processed, "_claims/"),
        (&account.processed, "_begun/"),
    ] {
        let left = account.keys(bucket, prefix).await;
        ensure!(left.is_empty(), "{left:?}");
    }
    account.world.verify()?;
    let log = extract.log() + &transform.log() + &load.log();
    ensure!(log.contains("\"function is ready\""), "{log}");
    ensure!(
        !log.contains(tidemill_tests::store::SECRET),
        "a secret is in a log"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_function_does_all_stages() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let mut run = account.function("run")?;
    account.call(&mut run, &Value::Null).await?.being("done")?;
    account.check().await?;
    account.world.live().await?;
    let done = account.call(&mut run, &schedule()).await?.being("done")?;
    ensure!(
        done["done"].as_array().is_some_and(|done| done.len() > 2),
        "{done}"
    );
    account.check().await
}
