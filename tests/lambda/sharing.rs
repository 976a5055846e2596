//! Ten calls of the same event at once, in ten processes: the work is done once, and all of it.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tidemill_tests::lambda::{Function, created};

use super::LONG;
use super::account::{Account, schedule};
use super::events::made;

const CALLS: usize = 10;

async fn at_once(account: &Account, stage: &str, event: &Value) -> Result<Vec<Value>> {
    let mut functions: Vec<Function> = Vec::new();
    for _ in 0..CALLS {
        functions.push(account.function(stage)?);
    }
    let project = &account.world.project;
    let calls = functions.iter_mut().map(|function| async move {
        let answer = function.call(project, event, LONG).await?;
        answer.done()
    });
    try_join_all(calls).await
}

fn outcomes(answers: &[Value]) -> Vec<&str> {
    answers
        .iter()
        .filter_map(|answer| answer["outcome"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_calls_of_one_event_do_the_work_once() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let landed = at_once(&account, "extract", &schedule()).await?;
    let landings = account
        .keys(&account.ingestion, "totesys/_manifests/")
        .await;
    let (all, _) = made(&landed);
    ensure!(all.len() == landings.len(), "{landed:#?}");
    ensure!(
        outcomes(&landed).contains(&"shared"),
        "nobody left it to another: {landed:#?}"
    );
    let newest = landings.last().cloned().unwrap_or_default();
    let event = created(&account.ingestion, &newest);
    let transformed = at_once(&account, "transform", &event).await?;
    let (all, once) = made(&transformed);
    ensure!(once.len() >= 11, "{transformed:#?}");
    ensure!(all.len() == once.len(), "a table was made twice: {all:#?}");
    let busy = transformed
        .iter()
        .filter(|answer| answer["done"][0].is_string())
        .count();
    println!("{busy} of {CALLS} calls made {} tables", once.len());
    ensure!(busy > 1, "one call did everything: {transformed:#?}");
    for prefix in ["_claims/", "_begun/"] {
        let left = account.keys(&account.processed, prefix).await;
        ensure!(left.is_empty(), "{left:?}");
    }
    let event = created(&account.processed, "_manifests/0000000001.json");
    let loaded = at_once(&account, "load", &event).await?;
    let (all, once) = made(&loaded);
    ensure!(all.len() == once.len() && !once.is_empty(), "{loaded:#?}");
    account.check().await?;
    account.world.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_may_have_tables_of_their_own() -> Result<()> {
    let (mut account, _) = Account::landed().await?;
    let own = [("TIDEMILL_TABLES", "dim_date,dim_staff")];
    let mut some = account.function_with("transform", &own)?;
    let answer = account.call(&mut some, &json!({})).await?.being("done")?;
    let (_, once) = made(&[answer]);
    ensure!(once.len() == 2, "{once:?}");
    let mut rest = account.function("transform")?;
    account.call(&mut rest, &json!({})).await?.being("done")?;
    let mut load = account.function("load")?;
    account.call(&mut load, &json!({})).await?.being("done")?;
    account.check().await
}
