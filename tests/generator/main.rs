//! The generator on real databases: both hold the same totesys, and the oracle reads the same star from both.

use anyhow::{Context, Result};
use tidemill::demo::{Change, Oddity, Options, Simulation, Totesys};
use tidemill_tests::evolution::Evolution;
use tidemill_tests::oracle;
use tidemill_tests::postgres::{Server, connect, database_of};

fn options(oddities: &[Oddity]) -> Options {
    Options {
        seed: 21,
        scale: 1.0,
        history_days: 15,
        oddities: oddities.to_vec(),
    }
}

async fn create(url: &str, options: Options) -> Result<Simulation> {
    let (simulation, _) = Simulation::create(url, options, &mut |_| {}).await?;
    Ok(simulation)
}

/// Everything but what makes rows unreadable or absent, which is where the two oracles could hide behind
/// each other.
#[tokio::test]
async fn both_databases_imply_the_same_star_after_every_day() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}", folder.path().join("totesys.db").display());
    let server = Server::shared();
    let postgres = server.fresh_database().await;
    let mut in_sqlite = create(&sqlite, options(&Oddity::ALL)).await?;
    let mut in_postgres = create(&postgres, options(&Oddity::ALL)).await?;
    for _ in 0..20 {
        let (day, same) = (in_sqlite.next_day().await?, in_postgres.next_day().await?);
        assert!(day == same, "{} differs", day.date);
        let (one, other) = (
            oracle::expected(&sqlite).await?,
            oracle::expected(&postgres).await?,
        );
        assert_eq!(one.differences(&other), None);
        assert_eq!(one.tables.len(), 10);
        assert!(one.tables.values().all(|table| !table.rows.is_empty()));
    }
    Ok(())
}

#[tokio::test]
async fn postgres_read_again_goes_on_as_if_the_model_had_been_kept() -> Result<()> {
    let server = Server::shared();
    let [kept, read_again] = [server.fresh_database().await, server.fresh_database().await];
    let mut simulation = create(&kept, options(&[])).await?;
    drop(create(&read_again, options(&[])).await?);
    for _ in 0..6 {
        let day = simulation.next_day().await?;
        let mut resumed = Simulation::resume(&read_again, options(&[])).await?;
        assert!(resumed.next_day().await? == day, "{} differs", day.date);
    }
    let (one, other) = (
        oracle::expected(&kept).await?,
        oracle::expected(&read_again).await?,
    );
    assert_eq!(one.differences(&other), None);
    Ok(())
}

#[tokio::test]
async fn the_schema_is_that_of_the_application() -> Result<()> {
    let server = Server::shared();
    let url = server.fresh_database().await;
    drop(create(&url, options(&[])).await?);
    let client = connect(&url).await?;
    let texts = async |sql: &str| -> Result<Vec<String>> {
        let rows = client
            .query(sql, &[])
            .await
            .with_context(|| sql.to_owned())?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let types = texts(
        "SELECT DISTINCT format_type(atttypid, atttypmod) COLLATE \"C\" FROM pg_attribute JOIN pg_class c ON c.oid = attrelid \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY 1",
    );
    assert_eq!(
        types.await?,
        [
            "\"PaymentTypeName\"",
            "\"TransactionType\"",
            "boolean",
            "character varying(255)",
            "character varying(3)",
            "character varying(36)",
            "character varying(64)",
            "integer",
            "numeric(10,2)",
            "text",
            "timestamp with time zone",
            "timestamp(3) without time zone",
        ]
    );
    let set_null = texts(
        "SELECT conname::text FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'n' ORDER BY 1",
    );
    assert_eq!(
        set_null.await?,
        [
            "transaction_purchase_order_id_fkey",
            "transaction_sales_order_id_fkey"
        ]
    );
    let counts = texts(
        "SELECT contype::text || ' ' || count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
         GROUP BY contype ORDER BY 1",
    );
    assert_eq!(counts.await?, ["f 17", "p 12"]);
    let next = texts(
        "SELECT (nextval('sales_order_sales_order_id_seq') - max(sales_order_id))::text FROM sales_order",
    );
    assert_eq!(next.await?, ["1"]);
    Ok(())
}

#[tokio::test]
async fn a_refused_generation_leaves_nothing() -> Result<()> {
    let server = Server::shared();
    let url = server.fresh_database().await;
    tidemill_tests::postgres::execute(&url, "CREATE TYPE \"TransactionType\" AS ENUM ('OTHER')")
        .await?;
    let error = create(&url, options(&[]))
        .await
        .expect_err("the type is taken");
    assert!(
        error.to_string().ends_with("refused to make the tables"),
        "{error}"
    );
    let client = connect(&url).await?;
    let tables = client
        .query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", &[])
        .await?;
    assert!(tables.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_template_gives_the_same_database_without_generating_it_again() -> Result<()> {
    let server = Server::shared();
    let template = server.fresh_database().await;
    drop(create(&template, options(&[])).await?);
    server.disconnect(database_of(&template)).await;
    let copy = server.database_from(database_of(&template)).await;
    let (one, other) = (
        oracle::expected(&template).await?,
        oracle::expected(&copy).await?,
    );
    assert_eq!(one.differences(&other), None);
    Ok(())
}

#[tokio::test]
async fn a_standby_answers_with_what_its_primary_wrote() -> Result<()> {
    let server = Server::start("");
    let url = server.fresh_database().await;
    drop(create(&url, options(&[])).await?);
    let standby = server.standby();
    let (one, other) = (
        oracle::expected(&url).await?,
        oracle::expected(&standby.url(database_of(&url))).await?,
    );
    assert_eq!(one.differences(&other), None);
    Ok(())
}

/// The evolution's last state must be the oracle's star: two derivations that share no code.
#[tokio::test]
async fn the_log_of_changes_ends_in_the_star_that_the_oracle_reads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("totesys.db").display());
    let mut evolution = Evolution::default();
    let mut history = Totesys::new(options(&Oddity::ALL));
    while let Some(rows) = history.next_of_history() {
        evolution.load(&rows);
    }
    let mut simulation = create(&url, options(&Oddity::ALL)).await?;
    evolution.run();
    let first = evolution.versions();
    let mut touched = 0;
    for _ in 0..20 {
        let day = simulation.next_day().await?;
        let changes = day.commits.iter().flat_map(|commit| &commit.changes);
        touched += changes
            .filter(|change| matches!(change, Change::Update { .. } | Change::Insert(_)))
            .count();
        evolution.live(&day);
        evolution.run();
        let star = oracle::expected(&url).await?;
        assert_eq!(evolution.current().differences(&star.facts()), None);
    }
    let later = evolution.versions() - first;
    assert!(
        later > 500 && later < touched,
        "{later} versions of {touched} changes"
    );
    Ok(())
}
