//! The most memory that is ever resident: a first landing and a compare of the whole table, by rows.

use anyhow::{Context, Result, ensure};
use tidemill_tests::postgres::{Server, connect};
use tidemill_tests::project::Project;

use super::cost;
use super::stopwatch::{shown, speed};

/// A narrow table, so that tens of millions of rows have room on a disk.
const TABLE: &str = "CREATE TABLE narrow (
    id bigint PRIMARY KEY,
    last_updated timestamp(3) NOT NULL,
    amount numeric(10,2) NOT NULL,
    status text NOT NULL
)";

/// Prints the peak of each.
pub(crate) async fn measure(rows: usize) -> Result<()> {
    let server = Server::start("shared_buffers = '128MB'\nmax_wal_size = '2GB'\n");
    println!("memory: resident at its highest, a table of 4 columns");
    println!(
        "  {:<36} {:>12} {:>8} {:>9} {:>10}",
        "", "rows", "memory", "passed", ""
    );
    for rows in [rows / 10, rows] {
        let url = server.fresh_database().await;
        fill(&url, rows).await?;
        let project = Project::with_file(&format!(
            "name = \"bench\"\n\n[source.bench]\nurl = \"{url}\"\n"
        ))?;
        for (title, arguments) in [
            ("first landing", &["extract"][..]),
            ("compare that finds 1 in 1 000", &["extract", "--reconcile"]),
        ] {
            if arguments.len() > 1 {
                change(&url).await?;
            }
            let (cost, said) = cost::of(&mut project.command(arguments)?, Some(&server))?;
            ensure!(!said.is_empty(), "{title} says nothing");
            println!(
                "  {title:<36} {rows:>12} {:>4.0} MiB {:>9} {:>10}",
                cost.peak_bytes as f64 / 1_048_576.0,
                shown(cost.passed),
                speed(rows, cost.passed)
            );
        }
        drop(project);
        super::pipe::drop_database(&server, &url).await?;
    }
    Ok(())
}

async fn fill(url: &str, rows: usize) -> Result<()> {
    let client = connect(url).await?;
    let insert = format!(
        "INSERT INTO narrow
         SELECT n, '2022-11-03'::timestamp + n * interval '1 second', n % 1000000 / 100.0, 'status ' || n % 7
         FROM generate_series(1::bigint, {rows}) AS n"
    );
    for sql in [TABLE, &insert] {
        client
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
    }
    Ok(())
}

/// An update, a delete and an insert in every two thousand rows.
async fn change(url: &str) -> Result<()> {
    let client = connect(url).await?;
    for sql in [
        "UPDATE narrow SET amount = amount + 1 WHERE id % 2000 = 7",
        "DELETE FROM narrow WHERE id % 2000 = 8",
    ] {
        client.batch_execute(sql).await?;
    }
    Ok(())
}
