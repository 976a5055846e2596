//! A version of a module from its push to its rollback, while `serve` runs between two databases.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::postgres::{Server, connect};
use tidemill_tests::project::Project;
use tidemill_tests::sessions::until;
use tidemill_tests::store::Store;
use tokio_postgres::Client;

use tidemill_tests::versions::component;

const PROJECT: &str = "name = \"shop\"\n[source.shop]\nurl = \"${env:SHOP}\"\n\
    [warehouse]\nurl = \"${env:STAR}\"\n[modules]\nunsigned = true\n[transform.dim_currency]\nmodule = \"dim-currency@1\"\n\
    [serve]\nlisten = \"none\"\n[schedule.often]\nevery = \"1s\"\n";

/// A service that ends with its test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn json(project: &Project, arguments: &[&str]) -> Result<Value> {
    let said = project.done([arguments, &["--output", "json"]].concat())?;
    Ok(serde_json::from_str(&said)?)
}

/// The name of a currency in the warehouse; `None` before it is there.
fn name(project: &Project, currency: u32) -> Result<Option<String>> {
    let sql = format!("SELECT currency_name FROM dim_currency WHERE currency_id = {currency}");
    let said = project.call(["query", &sql, "--output", "json"])?;
    if said.code != Some(0) {
        // Before the first load there is no such table.
        return Ok(None);
    }
    let rows: Value = serde_json::from_str(&said.stdout)?;
    let name = rows.pointer("/0/currency_name").and_then(Value::as_str);
    Ok(name.map(str::to_owned))
}

/// A currency that is new in the source, and the name that the service gives it.
async fn served(project: &Project, source: &Client, currency: u32) -> Result<String> {
    let insert = format!("INSERT INTO currency VALUES ({currency}, 'GBP')");
    source.batch_execute(&insert).await?;
    let mut found = None;
    until("the service loads the currency", async || {
        found = name(project, currency)?;
        Ok(found.is_some())
    })
    .await?;
    found.context("it was found")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_serve_takes_promotions_and_rollbacks_at_its_next_run() -> Result<()> {
    story(Project::with_file(PROJECT)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_serve_takes_promotions_and_rollbacks_from_a_bucket() -> Result<()> {
    let store = Store::shared();
    let mut project = Project::with_file(PROJECT)?;
    for (name, value) in store.environment() {
        project.set(&name, &value);
    }
    for zone in ["INGESTION", "PROCESSED", "MODULES"] {
        let bucket = store.fresh_bucket().await;
        project.set(
            &format!("TIDEMILL_LAKE__{zone}"),
            &format!("s3://{bucket}/shop"),
        );
    }
    story(project).await
}

async fn story(mut project: Project) -> Result<()> {
    let server = Server::shared();
    let (shop, star) = (server.fresh_database().await, server.fresh_database().await);
    project.set("SHOP", &shop);
    project.set("STAR", &star);
    let source = connect(&shop).await?;
    let table = "CREATE TABLE currency (currency_id int4 PRIMARY KEY, currency_code text)";
    source.batch_execute(table).await?;
    let planted = [("1.0.0", "1.1.0"), ("Pound Sterling", "Pound sterling")];
    for (file, replaced) in [("one.wasm", &[][..]), ("two.wasm", &planted[..])] {
        let bytes = component("dim-currency", replaced)?;
        std::fs::write(project.path().join(file), bytes)?;
    }
    json(&project, &["module", "push", "one.wasm"])?;
    json(
        &project,
        &["module", "promote", "dim-currency@1.0.0", "--why", "first"],
    )?;

    let log = std::fs::File::create(project.path().join("serve.log"))?;
    let mut service = Service(
        project
            .command(["serve"])?
            .stderr(Stdio::from(log))
            .spawn()?,
    );
    assert_eq!(served(&project, &source, 1).await?, "Pound Sterling");

    json(&project, &["module", "push", "two.wasm"])?;
    assert_eq!(served(&project, &source, 2).await?, "Pound Sterling");
    let tried = project.call(["module", "shadow", "dim-currency@1.1.0"])?;
    ensure!(tried.code == Some(4), "{tried:#?}");
    json(
        &project,
        &[
            "module",
            "promote",
            "dim-currency@1.1.0",
            "--why",
            "spelling",
        ],
    )?;
    assert_eq!(served(&project, &source, 3).await?, "Pound sterling");

    json(
        &project,
        &[
            "module",
            "rollback",
            "dim-currency",
            "--why",
            "it was right",
        ],
    )?;
    assert_eq!(served(&project, &source, 4).await?, "Pound Sterling");
    // What the version made is there until it is rebuilt, and the run that made it says so.
    assert_eq!(name(&project, 3)?.as_deref(), Some("Pound sterling"));
    // Made anew beside the service, whose runs commit to the same log and the same table meanwhile.
    for (round, currency) in (5..8).enumerate() {
        let mut rebuild = project.command(["rebuild", "dim_currency"])?;
        let rebuild = rebuild
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        assert_eq!(served(&project, &source, currency).await?, "Pound Sterling");
        let rebuilt = rebuild.wait_with_output()?;
        let words = String::from_utf8_lossy(&rebuilt.stderr);
        ensure!(rebuilt.status.success(), "rebuild {round}: {words}");
        for known in 1..=currency {
            let name = name(&project, known)?;
            ensure!(
                name.as_deref() == Some("Pound Sterling"),
                "{known}: {name:?}"
            );
        }
    }
    ensure!(service.0.try_wait()?.is_none(), "the service ended");
    let log = std::fs::read_to_string(project.path().join("serve.log"))?;
    // A run that finds the other one loading warns of it, and the next one loads.
    let level = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    ensure!(
        log.lines()
            .all(|line| level(line).as_deref() != Some("ERROR")),
        "{log}"
    );
    project.done(["verify"])?;
    Ok(())
}
