//! The figures of one run in every form: scraped, embedded in the log, and sent to a collector.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::collector::{Collector, labels};
use tidemill_tests::figures::{Figure, Figures, embedded, exposition};
use tidemill_tests::service::{Service, get};

use super::shop;

const SPREADS: [&str; 2] = [
    "tidemill_run_duration_seconds",
    "tidemill_stage_duration_seconds",
];

/// What grows by itself, so that it differs between two times of looking.
const AGES: &str = "tidemill_watermark_lag_seconds";

fn lines(stdout: &str) -> Result<Vec<Value>> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Figures without those that are zero, and without those that grow by themselves.
fn still(figures: &Figures) -> Figures {
    let figures = figures.iter().filter(|((name, _), figure)| {
        let is_zero = matches!(figure, Figure::Number(n) if *n == 0.0);
        name != AGES && !is_zero
    });
    figures
        .map(|(key, figure)| (key.clone(), *figure))
        .collect()
}

fn same(left: (&str, &Figures), right: (&str, &Figures)) -> Result<()> {
    let (left_still, right_still) = (still(left.1), still(right.1));
    let keys = left_still.keys().chain(right_still.keys());
    for key in keys {
        let (a, b) = (left_still.get(key), right_still.get(key));
        let alike = match (a, b) {
            (Some(Figure::Number(a)), Some(Figure::Number(b))) => close(*a, *b),
            (
                Some(Figure::Spread { sum: a, count: n }),
                Some(Figure::Spread { sum: b, count: m }),
            ) => n == m && close(*a, *b),
            _ => false,
        };
        ensure!(alike, "{key:?}: {} says {a:?}, {} {b:?}", left.0, right.0);
    }
    Ok(())
}

/// Alike but for the last digits of a sum.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn number(figures: &Figures, name: &str, wanted: &[(&str, &str)]) -> f64 {
    let has = |labels: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(name, value)| labels.get(*name).is_some_and(|found| found == value))
    };
    let found = figures
        .iter()
        .filter(|((n, labels), _)| n == name && has(labels));
    let numbers = found.map(|(_, figure)| match figure {
        Figure::Number(number) => *number,
        Figure::Spread { count, .. } => *count as f64,
    });
    numbers.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_serve_has_the_same_figures_scraped_embedded_and_sent() -> Result<()> {
    let collector = Collector::start().await?;
    let mut project = shop("[telemetry]\nemf = true\n")?;
    project.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    project.set("OTEL_EXPORTER_OTLP_HEADERS", "x-key=rising%20tide");
    let (scraped, stdout, lines_said) = tokio::task::spawn_blocking(move || {
        let mut service = Service::start(&project)?;
        let address = service.address()?;
        service.until("run ended")?;
        let (code, scraped) = get(&address, "/metrics")?;
        ensure!(code == 200, "{scraped}");
        service.signal("TERM")?;
        service.until("stopped")?;
        let (code, stdout) = service.end()?;
        ensure!(code == Some(0), "{code:?}");
        Ok((scraped, stdout, service.lines().to_vec()))
    })
    .await??;
    let scraped = exposition(&scraped)?;
    let embedded = embedded(&lines(&stdout)?, &SPREADS)?;
    let sent = collector.figures()?;
    same(("the page", &scraped), ("the log", &embedded))?;
    same(("the page", &scraped), ("the collector", &sent))?;

    // And they are the figures of the run.
    let ended = lines_said
        .iter()
        .find(|line| line["message"] == "run ended");
    let run = ended.context("the run ended")?["run_id"].as_str();
    ensure!(number(&scraped, "tidemill_runs_total", &[("outcome", "done")]) == 1.0);
    ensure!(number(&scraped, "tidemill_runs_total", &[("outcome", "failed")]) == 0.0);
    ensure!(number(&scraped, "tidemill_stage_duration_seconds", &[]) == 3.0);
    ensure!(number(&scraped, "tidemill_module_info", &[]) == 11.0);
    for (stage, message) in [
        ("extract", "table extracted"),
        ("transform", "table transformed"),
        ("load", "table loaded"),
    ] {
        let told = lines_said.iter().filter(|line| line["message"] == message);
        let rows: u64 = told.filter_map(|line| line["rows"].as_u64()).sum();
        let counted = number(&scraped, "tidemill_rows_total", &[("stage", stage)]);
        ensure!(
            rows > 0 && counted == rows as f64,
            "{stage}: {rows} {counted}"
        );
    }
    let bytes = number(
        &scraped,
        "tidemill_bytes_total",
        &[("table", "sales_order")],
    );
    ensure!(bytes > 1_000.0, "{bytes}");
    for figures in [&scraped, &embedded, &sent] {
        let lag = |table| number(figures, AGES, &[("source", "totesys"), ("table", table)]);
        ensure!((0.0..600.0).contains(&lag("staff")), "{}", lag("staff"));
    }

    // One trace: the run, its stages, its tables.
    let spans = collector.spans();
    let of = |name: &str| spans.iter().find(|span| span.name == name);
    let root = of("run").context("a span of the run")?;
    ensure!(root.parent_span_id.is_empty());
    ensure!(labels(&root.attributes).get("run_id").map(String::as_str) == run);
    let stage = of("transform").context("a span of the stage")?;
    ensure!(stage.parent_span_id == root.span_id);
    let table = of("transform dim_staff").context("a span of a table")?;
    ensure!(table.parent_span_id == stage.span_id && table.trace_id == root.trace_id);
    let told = labels(&table.attributes);
    for name in [
        "module",
        "module_version",
        "digest",
        "rows",
        "bytes",
        "elapsed_ms",
    ] {
        ensure!(told.contains_key(name), "{name} is not in {told:#?}");
    }
    let sender = collector.resource()?;
    ensure!(sender.get("service.name").map(String::as_str) == Some("tidemill"));
    ensure!(sender.get("tidemill.project").map(String::as_str) == Some("totesys"));
    let keys = collector.header("x-key");
    ensure!(!keys.is_empty());
    ensure!(
        keys.iter().all(|key| key.as_deref() == Some("rising tide")),
        "{keys:?}"
    );
    Ok(())
}

#[test]
fn a_collector_that_never_answers_delays_a_run_by_a_few_seconds_at_most() -> Result<()> {
    // Takes connections, in its queue, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", silent.local_addr()?);
    let mut project = shop("")?;
    project.set("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
    project.set("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
    let begun = Instant::now();
    let said = project.call(["run", "--output", "json"])?;
    let took = begun.elapsed();
    ensure!(said.code == Some(0), "{said:#?}");
    let report: Value = serde_json::from_str(&said.stdout)?;
    let run = report["elapsed_ms"].as_u64().context("a report")?;
    let rest = took.saturating_sub(Duration::from_millis(run));
    ensure!(rest < Duration::from_secs(20), "{rest:?} besides the run");
    ensure!(
        said.stderr
            .contains("the collector did not take everything"),
        "{said:#?}"
    );
    Ok(())
}

#[test]
fn a_collector_that_is_down_fails_no_run() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut project = shop("")?;
    project.set("TIDEMILL_TELEMETRY__OTLP", &format!("http://{closed}"));
    let said = project.call(["extract"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    ensure!(
        said.stderr
            .contains("the collector did not take everything"),
        "{said:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_and_nothing_embedded_unless_it_is_asked_for() -> Result<()> {
    let collector = Collector::start().await?;
    let mut project = shop("")?;
    project.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    project.set("OTEL_SDK_DISABLED", "true");
    let stdout = tokio::task::spawn_blocking(move || project.done(["extract", "--output", "json"]))
        .await??;
    let report: Value = serde_json::from_str(&stdout).context("stdout holds the report alone")?;
    ensure!(report["extract"][0]["source"] == "totesys", "{report:#}");
    ensure!(collector.spans().is_empty() && collector.figures().is_err());
    Ok(())
}
