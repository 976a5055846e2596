//! A PostgreSQL table of mixed columns to Parquet: tidemill, its peers, and the same table to nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use tidemill_tests::postgres::{Server, connect, database_of};
use tidemill_tests::project::Project;

use super::cost::{self, Cost};
use super::peers::{self, Peers};
use super::stopwatch::{shown, speed};

const ROUNDS: usize = 3;

/// The types of an ordinary table, NULL in half of those that may be.
const TABLE: &str = "CREATE TABLE mixed (
    id bigint PRIMARY KEY,
    created_at timestamptz NOT NULL,
    last_updated timestamp(3) NOT NULL,
    customer_id integer NOT NULL,
    status text NOT NULL,
    email text NOT NULL,
    amount numeric(12,2) NOT NULL,
    rate numeric(18,6),
    weight double precision,
    active boolean NOT NULL,
    due date,
    reference uuid NOT NULL,
    note text,
    attributes jsonb
)";

/// One competitor.
struct Competitor {
    title: String,
    name: &'static str,
    cost: Option<Cost>,
    bytes: u64,
}

/// Prints what each costs.
pub(crate) async fn measure(rows: usize) -> Result<()> {
    let server = Server::start("shared_buffers = '512MB'\nmax_wal_size = '4GB'\n");
    let url = server.fresh_database().await;
    fill(&url, rows).await?;
    let peers = Peers::install();
    let mut competitors = competitors(&peers);
    for _ in 0..ROUNDS {
        for competitor in &mut competitors {
            let (cost, bytes) = match competitor.name {
                "copy" => copy_to_nothing(&server, &url).await?,
                "tidemill" => land(&server, &url)?,
                peer => {
                    let Ok(peers) = &peers else { continue };
                    read_with(peers, peer, &server, &url)?
                }
            };
            competitor.cost = Some(competitor.cost.map_or(cost, |best| best.least(cost)));
            competitor.bytes = bytes;
        }
    }
    println!("extract: {rows} rows of 14 mixed columns, the least of {ROUNDS} by turns");
    if let Err(error) = &peers {
        println!("  the peers cannot be had here: {error:#}");
    }
    println!(
        "  {:<36} {:>8} {:>10} {:>9} {:>9} {:>8} {:>9} {:>10}",
        "", "passed", "", "processor", "server", "both", "memory", "bytes"
    );
    for competitor in &competitors {
        print(rows, competitor);
    }
    ratios(&competitors);
    Ok(())
}

fn competitors(peers: &Result<Peers>) -> Vec<Competitor> {
    let competitor = |name, title: &str| Competitor {
        title: title.to_owned(),
        name,
        cost: None,
        bytes: 0,
    };
    let mut all = vec![
        competitor("copy", "COPY … (FORMAT binary) to nothing"),
        competitor("tidemill", "tidemill extract, first landing"),
    ];
    if peers.is_ok() {
        all.extend(peers::NAMES.map(|(name, title)| competitor(name, title)));
    }
    all
}

fn print(rows: usize, competitor: &Competitor) {
    let Some(cost) = competitor.cost else { return };
    println!(
        "  {:<36} {:>8} {:>10} {:>9} {:>9} {:>8} {:>5.0} MiB {:>7.1} MB",
        competitor.title,
        shown(cost.passed),
        speed(rows, cost.passed),
        shown(cost.processor),
        shown(cost.server),
        shown(cost.both()),
        cost.peak_bytes as f64 / 1_048_576.0,
        competitor.bytes as f64 / 1e6
    );
}

fn ratios(competitors: &[Competitor]) {
    let of = |name: &str| competitors.iter().find(|c| c.name == name)?.cost;
    let Some(ours) = of("tidemill") else { return };
    for other in competitors.iter().filter(|c| c.name != "tidemill") {
        let Some(theirs) = other.cost else { continue };
        let ratio = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
        println!(
            "  tidemill / {:<25} {:>8.2} {:>39.2}",
            other.title.chars().take(25).collect::<String>(),
            ratio(ours.passed, theirs.passed),
            ratio(ours.both(), theirs.both())
        );
    }
}

pub(crate) async fn fill(url: &str, rows: usize) -> Result<()> {
    let client = connect(url).await?;
    let insert = format!(
        "INSERT INTO mixed
         SELECT n, '2022-11-03Z'::timestamptz + n * interval '7.013 seconds',
                '2022-11-03'::timestamp + (n * 7919 % 10000019) * interval '7.5 seconds',
                (n * 7919) % 100003,
                (ARRAY['new','paid','packed','shipped','delivered','returned','lost','closed'])[(n * 7919 % 1009 % 8 + 1)::int],
                'customer' || (n * 7919) % 100003 || '@example.org', ((n * 104729) % 10000019) / 100.0,
                CASE WHEN n % 5 > 0 THEN ((n * 15485863) % 1000000007) / 1000000.0 END,
                CASE WHEN n % 7 > 0 THEN sqrt(n::float8) END, n * 7919 % 1013 % 3 = 0,
                CASE WHEN n % 11 > 0 THEN date '2022-11-03' + (n * 7919 % 701)::int END, md5(n::text)::uuid,
                CASE WHEN n % 2 = 0
                     THEN 'left at the door of number ' || n % 977 || ', signed by ' || md5((n % 5000)::text) END,
                CASE WHEN n % 4 = 0 THEN jsonb_build_object('tag', n % 100, 'ref', 'x' || n) END
         FROM generate_series(1::bigint, {rows}) AS n"
    );
    for sql in [TABLE, &insert, "VACUUM ANALYZE mixed", "CHECKPOINT"] {
        client
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
    }
    Ok(())
}

/// Reads every byte and keeps none.
async fn copy_to_nothing(server: &Server, url: &str) -> Result<(Cost, u64)> {
    cost::of_work(server, async {
        let client = connect(url).await?;
        let stream = client
            .copy_out("COPY mixed TO STDOUT (FORMAT binary)")
            .await?;
        let bytes = stream
            .try_fold(
                0,
                |bytes, chunk| async move { Ok(bytes + chunk.len() as u64) },
            )
            .await?;
        Ok(bytes)
    })
    .await
}

/// Lands the table in a project of its own; gives the bytes of its Parquet objects, the index included.
fn land(server: &Server, url: &str) -> Result<(Cost, u64)> {
    let project = Project::with_file(&format!(
        "name = \"bench\"\n\n[source.bench]\nurl = \"{url}\"\n"
    ))?;
    let (cost, _) = cost::of(&mut project.command(["extract"])?, Some(server))?;
    Ok((cost, bytes_below(&project.path().join("lake/ingestion"))?))
}

fn read_with(peers: &Peers, name: &str, server: &Server, url: &str) -> Result<(Cost, u64)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mixed.parquet");
    let database = database_of(url);
    let mut command = peers.command(name, server.port(), database, ["mixed", "id"], &file);
    let (cost, _) = cost::of(&mut command, Some(server))?;
    Ok((cost, file.metadata()?.len()))
}

pub(crate) fn bytes_below(folder: &Path) -> Result<u64> {
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
