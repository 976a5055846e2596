//! A version of a module that is promoted while functions are warm.

use anyhow::{Result, ensure};
use tidemill_tests::postgres::connect;
use tidemill_tests::versions::component;

use super::account::{Account, schedule};

/// Words of two versions of `dim_currency`, each as long as the other.
const WORDS: [&str; 2] = ["Pound Sterling", "Pound sterling"];

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_function_takes_promotions_and_rollbacks_with_its_next_call() -> Result<()> {
    let mut account = Account::on_servers().await?;
    account
        .world
        .project
        .set("TIDEMILL_MODULES__UNSIGNED", "true");
    let mut run = account.function("run")?;
    account.call(&mut run, &schedule()).await?.being("done")?;

    let next = component("dim-currency", &[("1.0.0", "1.1.0"), (WORDS[0], WORDS[1])])?;
    std::fs::write(account.world.project.path().join("next.wasm"), next)?;
    account.world.done(&["module", "push", "next.wasm"])?;
    // What is pushed and not promoted changes nothing.
    for (change, expected) in [
        (&[][..], 0),
        (
            &[
                "module",
                "promote",
                "dim-currency@1.1.0",
                "--why",
                "spelling",
            ][..],
            1,
        ),
        (
            &[
                "module",
                "rollback",
                "dim-currency",
                "--why",
                "it was right",
            ][..],
            0,
        ),
    ] {
        if !change.is_empty() {
            account.world.done(change)?;
        }
        let source = connect(&account.world.source).await?;
        source
            .batch_execute("UPDATE currency SET last_updated = last_updated + interval '1 second' WHERE currency_code = 'GBP'")
            .await?;
        account.call(&mut run, &schedule()).await?.being("done")?;
        let name = account
            .world
            .value("SELECT currency_name FROM dim_currency WHERE currency_code = 'GBP'")
            .await?;
        ensure!(name == WORDS[expected], "{name} after {change:?}");
    }
    Ok(())
}
