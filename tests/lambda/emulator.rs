//! Three functions of the same bundle under the runtime interface that others wrote.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidemill_tests::lambda::{Emulator, Task, created};

use super::account::{Account, schedule};

const STAGES: [&str; 3] = ["extract", "transform", "load"];
const DAYS: u32 = 2;

async fn call(emulator: &Emulator, stage: &str, event: &Value) -> Result<Value> {
    emulator.call(stage, event).await?.done()
}

/// Calls a stage for every manifest of a bucket that nobody has been told of, each of them twice.
async fn tell(
    account: &mut Account,
    emulator: &Emulator,
    stage: &str,
    bucket: &str,
) -> Result<Vec<Value>> {
    let mut answers = Vec::new();
    for (bucket, key) in account.news(bucket).await {
        let event = created(&bucket, &key);
        answers.push(call(emulator, stage, &event).await?);
        let again = call(emulator, stage, &event).await?;
        ensure!(again["outcome"] == "nothing", "{again}");
    }
    ensure!(!answers.is_empty(), "{stage} was told nothing");
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_of_others_runs_the_three_functions_of_the_bundle() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let mut emulator = Emulator::start(&STAGES).await?;
    let project = &account.world.project;
    for stage in STAGES {
        let task = Task::new(project, &[("TIDEMILL_STAGE", stage)])?;
        emulator.run(project, stage, &task)?;
    }
    for stage in ["transform", "load"] {
        let early = call(&emulator, stage, &json!({})).await?;
        ensure!(early["outcome"] == "nothing", "{early}");
    }
    let (ingestion, processed) = (account.ingestion.clone(), account.processed.clone());
    for day in 0..=DAYS {
        if day > 0 {
            account.world.live().await?;
        }
        let landed = call(&emulator, "extract", &schedule()).await?;
        ensure!(
            landed["done"] == json!([format!("landing {} of totesys", day + 1)]),
            "{landed}"
        );
        let made = tell(&mut account, &emulator, "transform", &ingestion).await?;
        ensure!(made[0]["outcome"] == "done", "{made:#?}");
        let loaded = tell(&mut account, &emulator, "load", &processed).await?;
        ensure!(loaded[0]["outcome"] == "done", "{loaded:#?}");
        account.check().await?;
    }
    // An error is one there as well, and the process serves the next call.
    let strange = emulator
        .call("load", &json!({"httpMethod": "GET"}))
        .await?
        .failed()?;
    ensure!(
        strange.0 == "config" && strange.1.contains("understood are"),
        "{strange:?}"
    );
    let next = call(&emulator, "load", &json!({})).await?;
    ensure!(next["outcome"] == "nothing", "{next}");
    ensure!(
        !emulator.log().contains(tidemill_tests::store::SECRET),
        "a secret is in a log"
    );
    Ok(())
}
