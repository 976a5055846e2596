//! Functions whose time is over: what is complete is committed, the next call goes on, and who was killed leaves nothing
//! that the next would trust.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tidemill_tests::lambda::{Answer, Function};

use super::LONG;
use super::account::{Account, schedule};

/// Less than a call needs to begin with anything.
const LITTLE: Duration = Duration::from_millis(100);
/// So little that what a function keeps of it for its answer is less than a busy machine may take for anything.
const MOMENT: Duration = Duration::from_secs(5);

/// Calls a function with little time until it says that it is done; gives how often it said `continue`, and how often it
/// got nowhere. From one attempt to the next it has a little more.
async fn until_done(
    account: &Account,
    function: &mut Function,
    first: Duration,
) -> Result<(u32, u32)> {
    let (mut continued, mut failed) = (0, 0);
    let (mut time, mut event) = (first, json!({}));
    for _ in 0..60 {
        match function.call(&account.world.project, &event, time).await? {
            Answer::Done(answer) if answer["outcome"] == "continue" => {
                ensure!(answer["left"][0]["why"] == "halted", "{answer}");
                event = answer["event"].clone();
                ensure!(event.is_object(), "{answer}");
                continued += 1;
            }
            // Until the claims of one that was killed lapse.
            Answer::Done(answer) if answer["outcome"] == "shared" => event = json!({}),
            Answer::Done(answer) => {
                if event == json!({}) {
                    return Ok((continued, failed));
                }
                // What was left is done: is anything else?
                ensure!(
                    answer["outcome"] == "done" || answer["outcome"] == "nothing",
                    "{answer}"
                );
                event = json!({});
            }
            Answer::Failed { kind, message } => {
                ensure!(kind == "unavailable", "{kind}: {message}");
                failed += 1;
                time += time / 4;
                event = json!({});
            }
            // A busy machine may not let it speak within the few milliseconds that it keeps for that.
            Answer::Killed if time < MOMENT => {
                failed += 1;
                time += time / 4;
                event = json!({});
            }
            Answer::Killed => bail!("it did not end before its deadline: {}", function.log()),
        }
    }
    bail!("it never was done: {}", function.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_runs_out_of_time_goes_on_with_the_next_call() -> Result<()> {
    let (mut account, mut extract) = Account::landed().await?;
    account.world.evolution.run();
    for _ in 0..2 {
        account.world.live().await?;
        account.world.evolution.run();
        account
            .call(&mut extract, &schedule())
            .await?
            .being("done")?;
    }
    let mut transform = account.function("transform")?;
    // Modules are compiled in the first call of all, which is not what is looked at.
    let warm = json!({"tables": ["dim_date"]});
    account.call(&mut transform, &warm).await?.being("done")?;
    // So little that the fastest machine gets nowhere at first: the time grows until it is enough for some of it.
    let (continued, failed) = until_done(&account, &mut transform, LITTLE).await?;
    println!("transform: {continued} times `continue`, {failed} times nothing complete");
    ensure!(continued > 0, "it never ran out of time");
    let mut load = account.function("load")?;
    let (continued, failed) = until_done(&account, &mut load, LITTLE).await?;
    println!("load: {continued} times `continue`, {failed} times nothing complete");
    account.check().await?;
    account.world.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_work_that_does_not_fit_into_a_call_is_an_error_and_no_promise() -> Result<()> {
    let mut account = Account::on_servers().await?;
    let nothing = Duration::from_millis(3);
    for (stage, event) in [
        ("extract", schedule()),
        ("transform", json!({"tables": ["fact_sales_order"]})),
        ("load", json!({})),
    ] {
        let mut function = account.function(stage)?;
        let project = &account.world.project;
        function.start_cold(project).await?;
        // However often it is called, it does not say that it goes on.
        for _ in 0..2 {
            let late = function.call_late(project, &event, nothing).await?;
            let (kind, message) = late.failed()?;
            ensure!(kind == "unavailable", "{stage}: {kind}: {message}");
            ensure!(
                message.contains("hint: nothing is half committed") && message.contains("time"),
                "{stage}: {message}"
            );
        }
        let answer = account.call(&mut function, &event).await?;
        answer.being("done").with_context(|| function.log())?;
        if stage == "transform" {
            account
                .call(&mut function, &json!({}))
                .await?
                .being("done")?;
        }
    }
    account.check().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_killed_is_gone_on_with_by_the_same_call_delivered_again() -> Result<()>
{
    let (mut account, _) = Account::landed().await?;
    let mut transform = account.function("transform")?;
    let request = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
    let project = &account.world.project;
    // Killed with its claims, long before they lapse.
    let event = json!({});
    let call = transform.call_as(project, request, &event, LONG);
    let killed = kill_when(&account, call).await;
    ensure!(killed, "it was done before it had a claim");
    transform.kill();
    let left = account.keys(&account.processed, "_claims/").await;
    ensure!(!left.is_empty(), "nothing was claimed");
    // Another call leaves alone what may still be made, and does the rest.
    let other = account.call(&mut transform, &json!({})).await?.done()?;
    ensure!(other["outcome"] == "shared", "{other}");
    // Lambda repeats the call that died under its own id.
    let again = transform
        .call_as(&account.world.project, request, &json!({}), LONG)
        .await?;
    again.being("done")?;
    let left = account.keys(&account.processed, "_claims/").await;
    ensure!(left.is_empty(), "{left:?}");
    let mut load = account.function("load")?;
    account.call(&mut load, &json!({})).await?.being("done")?;
    account.check().await?;
    account.world.verify()?;
    Ok(())
}

/// Waits until the call has claimed something, and drops it then; false if it ends before.
async fn kill_when(account: &Account, call: impl Future<Output = Result<Answer>>) -> bool {
    let claimed = async {
        loop {
            if !account
                .keys(&account.processed, "_claims/")
                .await
                .is_empty()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        () = claimed => true,
        _ = call => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_killed_at_its_deadline_is_gone_on_with() -> Result<()> {
    let mut account = Account::on_servers().await?;
    // No margin: the word to stop comes when it is too late.
    let late = [("TIDEMILL_LAMBDA__MARGIN", "0s")];
    let mut kills = 0;
    for stage in ["extract", "transform", "load"] {
        let mut function = account.function_with(stage, &late)?;
        let mut time = Duration::from_millis(300);
        let last: Value = loop {
            match function
                .call(&account.world.project, &json!({}), time)
                .await?
            {
                Answer::Killed => {
                    kills += 1;
                    // Its claims lapse with its time.
                    time *= 2;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Answer::Done(answer) if answer["outcome"] == "done" => break answer,
                Answer::Done(answer) => {
                    ensure!(
                        ["shared", "continue", "nothing"]
                            .contains(&answer["outcome"].as_str().unwrap_or_default()),
                        "{answer}"
                    );
                    if answer["outcome"] == "nothing" {
                        break answer;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Answer::Failed { kind, message } => {
                    ensure!(
                        ["unavailable", "conflict"].contains(&kind.as_str()),
                        "{message}"
                    );
                    time *= 2;
                }
            }
            ensure!(
                time < LONG,
                "{stage} never came to an end: {}",
                function.log()
            );
        };
        ensure!(last["stage"] == stage, "{last}");
    }
    println!("killed {kills} times");
    ensure!(kills > 0, "nobody was killed");
    account.check().await.context("after the kills")?;
    account.world.verify()?;
    Ok(())
}
