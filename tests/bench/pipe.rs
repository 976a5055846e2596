//! A whole first run, PostgreSQL to PostgreSQL, beside a pipe that copies the same source tables.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{SinkExt, TryStreamExt};
use serde_json::Value;
use tidemill::demo::{Options, Simulation};
use tidemill_tests::postgres::{Server, connect};
use tidemill_tests::project::Project;

use super::cost::{self, Cost};
use super::stopwatch::shown;

const ROUNDS: usize = 3;

/// What is sent at a time.
const PIECE_BYTES: usize = 1 << 16;

/// Orders of the generator's company at scale 1.
const ORDERS_AT_SCALE_1: usize = 14_000;

/// The tables that both read.
const TABLES: [&str; 11] = [
    "address",
    "counterparty",
    "currency",
    "department",
    "design",
    "payment",
    "payment_type",
    "purchase_order",
    "sales_order",
    "staff",
    "transaction",
];

/// Prints what each costs, and what the run's stages take.
pub(crate) async fn measure(orders: usize) -> Result<()> {
    let server = Server::start("shared_buffers = '512MB'\nmax_wal_size = '4GB'\n");
    let source = server.fresh_database().await;
    let options = Options {
        scale: orders.div_ceil(ORDERS_AT_SCALE_1).max(1) as f64,
        ..Options::default()
    };
    drop(Simulation::create(&source, options, &mut |_| {}).await?);
    let (mut piped, mut ran) = (None::<Cost>, None::<(Cost, Ran)>);
    for _ in 0..ROUNDS {
        let (cost, ()) = pipe(&server, &source).await?;
        piped = Some(piped.map_or(cost, |best| best.least(cost)));
        let (cost, report) = run(&server, &source).await?;
        ran = Some(match ran {
            Some((best, told)) if best.passed <= cost.passed => (best.least(cost), told),
            Some((best, _)) => (best.least(cost), report),
            None => (cost, report),
        });
    }
    let (piped, (ran, report)) = (
        piped.context("there are rounds")?,
        ran.context("there are rounds")?,
    );
    println!(
        "run: a totesys of some {orders} orders into an empty star, the least of {ROUNDS} by turns"
    );
    println!(
        "  {:<36} {:>8} {:>9} {:>8} {:>8}",
        "", "passed", "processor", "server", "memory"
    );
    for (title, cost) in [
        ("COPY | COPY of the source's tables", piped),
        ("tidemill run", ran),
    ] {
        println!(
            "  {title:<36} {:>8} {:>9} {:>8} {:>4.0} MiB",
            shown(cost.passed),
            shown(cost.processor),
            shown(cost.server),
            cost.peak_bytes as f64 / 1_048_576.0
        );
    }
    println!(
        "  {:<36} {:>8.2} {:>27.2} of both sides' processor time",
        "ratio",
        ran.passed.as_secs_f64() / piped.passed.as_secs_f64(),
        ran.both().as_secs_f64() / piped.both().as_secs_f64()
    );
    stages(&report)
}

/// What a run said.
struct Ran {
    report: Value,
    /// The time in which a module had a call or its answer was checked, of all modules.
    in_modules: Duration,
}

/// Copies every table into one of the same columns, without keys, in another database.
async fn pipe(server: &Server, source: &str) -> Result<(Cost, ())> {
    let target = server.fresh_database().await;
    let definitions = connect(source).await?;
    let writer = connect(&target).await?;
    for table in TABLES {
        let columns = definitions
            .query(
                "SELECT string_agg(format('%I %s', attname, CASE WHEN typtype = 'e' THEN 'text'
                                          ELSE format_type(atttypid, atttypmod) END), ', ' ORDER BY attnum)
                   FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
                  WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
                &[&table],
            )
            .await?;
        let columns: String = columns.first().context("one row")?.try_get(0)?;
        writer
            .batch_execute(&format!("CREATE TABLE \"{table}\" ({columns})"))
            .await?;
    }
    drop((definitions, writer));
    let done = cost::of_work(server, async {
        let (reader, writer) = (connect(source).await?, connect(&target).await?);
        for table in TABLES {
            let rows = reader
                .copy_out(&format!("COPY \"{table}\" TO STDOUT (FORMAT binary)"))
                .await?;
            let sink = writer
                .copy_in(&format!("COPY \"{table}\" FROM STDIN (FORMAT binary)"))
                .await?;
            let (mut rows, mut sink) = (std::pin::pin!(rows), std::pin::pin!(sink));
            let mut piece = Vec::new();
            while let Some(row) = rows.try_next().await? {
                piece.extend_from_slice(&row);
                if piece.len() >= PIECE_BYTES {
                    sink.send(Cursor::new(std::mem::take(&mut piece))).await?;
                }
            }
            sink.send(Cursor::new(piece)).await?;
            sink.finish().await?;
        }
        Ok(())
    })
    .await;
    drop_database(server, &target).await?;
    done
}

async fn run(server: &Server, source: &str) -> Result<(Cost, Ran)> {
    let star = server.fresh_database().await;
    let mut project = Project::totesys(Some(source), Some(&star))?;
    project.set("TIDEMILL_LOG", "tidemill::pipeline::execute=debug");
    let arguments = ["run", "--output", "json", "--log-format", "json"];
    let ran = cost::of_said(&mut project.command(arguments)?, Some(server));
    drop_database(server, &star).await?;
    let (cost, stdout, stderr) = ran?;
    let lines = stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let micros = lines.filter_map(|line| {
        let fields = line.get("fields").unwrap_or(&line);
        fields.get("in_module_us").and_then(Value::as_u64)
    });
    let ran = Ran {
        in_modules: micros.map(Duration::from_micros).sum(),
        report: serde_json::from_str(&stdout)?,
    };
    Ok((cost, ran))
}

pub(crate) async fn drop_database(server: &Server, url: &str) -> Result<()> {
    let name = tidemill_tests::postgres::database_of(url);
    let client = server.client("postgres").await;
    client
        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await?;
    Ok(())
}

/// How long each stage takes, and the modules in it: from the report of the run.
fn stages(Ran { report, in_modules }: &Ran) -> Result<()> {
    let millis = |value: &Value| Duration::from_millis(value.as_u64().unwrap_or_default());
    let tables = |stage: &Value| -> Vec<(String, u64, Duration)> {
        let tables = stage.get("tables").and_then(Value::as_array).into_iter();
        let tables = tables.flatten().map(|table| {
            let name = table.get("table").and_then(Value::as_str);
            let number = |name| table.get(name).and_then(Value::as_u64);
            let rows = number("rows_read").or(number("rows_out"));
            let elapsed = table.get("elapsed_ms").map(millis).unwrap_or_default();
            (
                name.unwrap_or_default().to_owned(),
                rows.unwrap_or_default(),
                elapsed,
            )
        });
        tables.collect()
    };
    let mut longest: BTreeMap<&str, Vec<(String, u64, Duration)>> = BTreeMap::new();
    for landing in report
        .get("extract")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        longest
            .entry("extract")
            .or_default()
            .extend(tables(landing));
    }
    let transformed = report.get("transform").context("a run transforms")?;
    longest
        .entry("transform")
        .or_default()
        .extend(tables(transformed));
    for (stage, mut tables) in longest {
        tables.sort_by_key(|(_, _, elapsed)| std::cmp::Reverse(*elapsed));
        for (name, rows, elapsed) in tables.iter().take(4) {
            println!(
                "    {stage:<10} {name:<23} {:>8} {rows:>12} rows",
                shown(*elapsed)
            );
        }
    }
    let load = report.pointer("/load/landings/0/elapsed_ms").map(millis);
    println!("    {:<34} {:>8}", "load", shown(load.unwrap_or_default()));
    let whole = report.get("elapsed_ms").map(millis).unwrap_or_default();
    println!(
        "    {:<34} {:>8} {:>11.1} % of the run",
        "in modules, boundary and checks",
        shown(*in_modules),
        100.0 * in_modules.as_secs_f64() / whole.as_secs_f64().max(0.001)
    );
    Ok(())
}
