//! The first landing of tables that no call can land whole: in several landings, by several calls, while others write.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidemill_tests::lambda::Answer;
use tidemill_tests::postgres::connect;

use super::account::{Account, schedule};

/// One block of a table is read at a time, and a landing ends after so many rows.
const SMALL: [(&str, &str); 3] = [
    ("TIDEMILL_SOURCE__TOTESYS__SPLIT", "8 KiB"),
    ("TIDEMILL_SOURCE__TOTESYS__CONNECTIONS", "1"),
    ("TIDEMILL_LAMBDA__LANDING_ROWS", "60"),
];

/// The newest landing manifest, and how many there are.
async fn landings(account: &Account) -> Result<(Value, usize)> {
    let mut manifests = account.store.objects(&account.ingestion).await;
    manifests.retain(|(key, _)| key.starts_with("totesys/_manifests/"));
    let (_, newest) = manifests.last().context("a landing")?;
    Ok((serde_json::from_slice(newest)?, manifests.len()))
}

fn in_parts(manifest: &Value) -> Vec<&str> {
    let tables = manifest["tables"].as_object().into_iter().flatten();
    let open = tables.filter(|(_, state)| state["reached"].is_object());
    open.map(|(name, _)| name.as_str()).collect()
}

/// Transforms and loads what is pending.
async fn finish(account: &Account) -> Result<()> {
    for stage in ["transform", "load"] {
        let mut function = account.function(stage)?;
        let answer = account.call(&mut function, &json!({})).await?;
        answer.being("done").with_context(|| function.log())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_lands_a_large_table_in_several_landings() -> Result<()> {
    let mut account = Account::sized(1.0).await?;
    let mut extract = account.function_with("extract", &SMALL)?;
    let landed = account.call(&mut extract, &schedule()).await?;
    let landed = landed.being("done").with_context(|| extract.log())?;
    let (newest, count) = landings(&account).await?;
    ensure!(count > 2, "{count} landings: {landed}");
    ensure!(in_parts(&newest).is_empty(), "{newest}");
    ensure!(
        landed["done"].as_array().map(Vec::len) == Some(count),
        "{landed}"
    );
    // The same rows as in one landing, each once, and every version of them.
    finish(&account).await?;
    account.check().await?;
    // And from then on what changes is found as always.
    account.world.live().await?;
    account.world.edit_silently().await?;
    let mut plain = account.function("extract")?;
    account.call(&mut plain, &schedule()).await?.being("done")?;
    finish(&account).await?;
    account.check().await?;
    account.world.verify()?;
    Ok(())
}

/// What a company does between two calls: it changes, deletes and adds rows wherever they are.
async fn write(account: &mut Account, round: u32) -> Result<()> {
    let admin = connect(&account.world.source).await?;
    let statements = format!(
        "UPDATE sales_order SET units_sold = units_sold + 1 WHERE sales_order_id % 11 = {round} % 11;
         UPDATE payment SET paid = NOT paid WHERE payment_id % 13 = {round} % 13;
         DELETE FROM payment WHERE payment_id % 97 = {round} % 97"
    );
    admin.batch_execute(&statements).await?;
    // Rows are moved, and blocks become others.
    match round % 4 {
        1 => admin.batch_execute("VACUUM sales_order").await?,
        3 => admin.batch_execute("VACUUM FULL purchase_order").await?,
        _ => {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_land_a_large_table_while_others_write() -> Result<()> {
    let mut account = Account::sized(1.0).await?;
    let mut extract = account.function_with("extract", &SMALL)?;
    let project = &account.world.project;
    extract.start_cold(project).await?;
    let (mut event, mut time) = (schedule(), Duration::from_millis(400));
    let (mut parts, mut nothing, mut round) = (0, 0, 0);
    loop {
        let answer = extract.call(&account.world.project, &event, time).await?;
        match answer {
            Answer::Done(answer) if answer["outcome"] == "done" => break,
            Answer::Done(answer) => {
                let outcome = answer["outcome"].as_str();
                ensure!(
                    ["continue", "shared"].map(Some).contains(&outcome),
                    "{answer}"
                );
                event = match answer["event"].is_object() {
                    true => answer["event"].clone(),
                    false => schedule(),
                };
                parts += u32::from(outcome == Some("continue"));
            }
            // It had too little time for anything, or a busy machine did not let it say so.
            Answer::Failed { kind, message } => {
                ensure!(kind == "unavailable", "{kind}: {message}");
                nothing += 1;
                time += time / 4;
                event = schedule();
            }
            Answer::Killed => time += time / 2,
        }
        write(&mut account, round).await?;
        round += 1;
        ensure!(round < 60, "it never was done: {}", extract.log());
    }
    // What was written to tables that were whole by then.
    let project = &account.world.project;
    let last = extract.call(project, &schedule(), super::LONG).await?;
    last.being("done").with_context(|| extract.log())?;
    let (newest, count) = landings(&account).await?;
    println!("{count} landings in {round} calls that were cut, {nothing} of which got nowhere");
    ensure!(parts > 0, "no call was cut");
    ensure!(in_parts(&newest).is_empty(), "{newest}");
    finish(&account).await?;
    account.world.compare().await?;
    account.world.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_that_do_not_fit_are_told_with_what_to_raise() -> Result<()> {
    let account = Account::on_servers().await?;
    let admin = connect(&account.world.source).await?;
    // More keys than are sorted in memory.
    admin
        .batch_execute(
            "CREATE TABLE reading (reading_id integer PRIMARY KEY, value integer NOT NULL);
             INSERT INTO reading SELECT n, n * 7 FROM generate_series(1, 150000) n",
        )
        .await?;
    let small = [
        ("TIDEMILL_LIMITS__TEMPORARY", "1 MiB"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ];
    let mut extract = account.function_with("extract", &small)?;
    let (kind, message) = account.call(&mut extract, &schedule()).await?.failed()?;
    ensure!(
        kind == "config"
            && message.contains("reading: it needs temporary files of more than 1 MiB")
            && message.contains("raise `temporary` under [limits]"),
        "{kind}: {message}"
    );
    // The other tables are landed, and with more the next call goes on.
    let (first, _) = landings(&account).await?;
    ensure!(first["tables"]["staff"].is_object(), "{first}");
    ensure!(first["tables"]["reading"].is_null(), "{first}");
    let mut extract = account.function("extract")?;
    account
        .call(&mut extract, &schedule())
        .await?
        .being("done")?;
    let (second, _) = landings(&account).await?;
    ensure!(
        second["tables"]["reading"]["live_rows"] == 150_000,
        "{second}"
    );
    Ok(())
}
