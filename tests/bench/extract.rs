//! A PostgreSQL table to landed Parquet, beside the same table over the same wire to nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use tidemill_tests::postgres::{Server, connect};
use tidemill_tests::project::Project;

use super::stopwatch::{shown, speed};

const ROUNDS: usize = 3;

/// A table with the columns and the values of totesys's sales orders.
const TABLE: &str = "CREATE TABLE sales_order (
    sales_order_id integer PRIMARY KEY,
    created_at timestamp(3) NOT NULL,
    last_updated timestamp(3) NOT NULL,
    design_id integer NOT NULL,
    staff_id integer NOT NULL,
    counterparty_id integer NOT NULL,
    units_sold integer NOT NULL,
    unit_price numeric(10,2) NOT NULL,
    currency_id integer NOT NULL,
    agreed_delivery_date text NOT NULL,
    agreed_payment_date text NOT NULL,
    agreed_delivery_location_id integer NOT NULL
)";

/// Prints how long each takes.
pub(crate) async fn measure(rows: usize) -> Result<()> {
    let server = Server::start("");
    let url = server.fresh_database().await;
    fill(&url, rows).await?;
    let (mut copied, mut landed) = ((Duration::MAX, 0), (Duration::MAX, 0));
    for _ in 0..ROUNDS {
        copied = copied.min(copy_to_nothing(&url).await?);
        landed = landed.min(land(&url)?);
    }
    println!("extract: {rows} sales orders, time that passes, the best of {ROUNDS}");
    for (title, (time, bytes)) in [
        ("COPY … (FORMAT binary) to nothing", copied),
        ("tidemill extract, first landing", landed),
    ] {
        println!(
            "  {title:<36} {:>8} {:>11} {:>7.1} MB",
            shown(time),
            speed(rows, time),
            bytes as f64 / 1e6
        );
    }
    let ratio = landed.0.as_secs_f64() / copied.0.as_secs_f64();
    println!("  {:<36} {ratio:>8.1}", "ratio");
    Ok(())
}

async fn fill(url: &str, rows: usize) -> Result<()> {
    let client = connect(url).await?;
    let insert = format!(
        "INSERT INTO sales_order
         SELECT n, '2022-11-03'::timestamp + n * interval '7 minutes', '2022-11-03'::timestamp + n * interval '7 minutes',
                n % 424 + 1, n % 20 + 1, n % 19 + 1, n % 99001 + 1000, 2 + n % 200 / 100.0, n % 3 + 1,
                (date '2022-11-03' + n % 700)::text, (date '2022-11-05' + n % 700)::text, n % 30 + 1
         FROM generate_series(1, {rows}) AS n"
    );
    for sql in [TABLE, &insert, "VACUUM ANALYZE sales_order", "CHECKPOINT"] {
        client
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
    }
    Ok(())
}

/// Reads every byte and keeps none.
async fn copy_to_nothing(url: &str) -> Result<(Duration, u64)> {
    let started = Instant::now();
    let client = connect(url).await?;
    let stream = client
        .copy_out("COPY sales_order TO STDOUT (FORMAT binary)")
        .await?;
    let bytes = stream
        .try_fold(
            0,
            |bytes, chunk| async move { Ok(bytes + chunk.len() as u64) },
        )
        .await?;
    Ok((started.elapsed(), bytes))
}

/// Lands the table in a project of its own; gives the bytes of its Parquet objects.
fn land(url: &str) -> Result<(Duration, u64)> {
    let project = Project::with_file(&format!(
        "name = \"bench\"\n\n[source.totesys]\nurl = \"{url}\"\n"
    ))?;
    let started = Instant::now();
    project.done(["extract"])?;
    let elapsed = started.elapsed();
    Ok((
        elapsed,
        bytes_below(&project.path().join("lake/ingestion"))?,
    ))
}

fn bytes_below(folder: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
