//! Figures of a function, where CloudWatch looks for them: in lines of its log.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidemill_tests::figures::{Figure, Figures, embedded, exposition};
use tidemill_tests::service::{Service, get};

use super::account::{Account, schedule};

const SPREADS: [&str; 2] = [
    "tidemill_run_duration_seconds",
    "tidemill_stage_duration_seconds",
];

/// What makes a service of the project.
const SERVED: &str = "\n[serve]\nlisten = \"127.0.0.1:0\"\n[schedule.hourly]\nevery = \"1h\"\n";

/// The lines of a log: figures, and what was said.
fn lines(log: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let lines = log.lines().map(|line| {
        let line = serde_json::from_str::<Value>(line).with_context(|| line.to_owned());
        line.context("a line of the log is no JSON")
    });
    let lines = lines.collect::<Result<Vec<_>>>()?;
    Ok(lines.into_iter().partition(|line| line["_aws"].is_object()))
}

fn names(figures: &Figures) -> BTreeSet<&str> {
    figures.keys().map(|(name, _)| name.as_str()).collect()
}

fn rows(figures: &Figures, stage: &str) -> f64 {
    let of_stage = figures.iter().filter(|((name, labels), _)| {
        name == "tidemill_rows_total" && labels.get("stage").is_some_and(|found| found == stage)
    });
    let rows = of_stage.map(|(_, figure)| match figure {
        Figure::Number(rows) => *rows,
        Figure::Spread { .. } => f64::NAN,
    });
    rows.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_writes_its_figures_in_the_embedded_metric_format_under_the_names_of_serve()
-> Result<()> {
    let account = Account::on_servers().await?;
    let mut run = account.function("run")?;
    account.call(&mut run, &schedule()).await?.being("done")?;
    let (figures, said) = lines(&run.log())?;
    ensure!(!figures.is_empty(), "no figures: {}", run.log());
    let first = embedded(&figures, &SPREADS)?;
    // They are the figures of what was done.
    for (stage, message) in [
        ("extract", "table extracted"),
        ("transform", "table transformed"),
        ("load", "table loaded"),
    ] {
        let told = said.iter().filter(|line| line["message"] == message);
        let told: u64 = told.filter_map(|line| line["rows"].as_u64()).sum();
        let counted = rows(&first, stage);
        ensure!(
            told > 0 && counted == told as f64,
            "{stage}: {told} {counted}"
        );
    }
    // Every line says whose it is.
    for line in &figures {
        ensure!(
            line["project"] == "totesys" && line["run_id"].is_string(),
            "{line}"
        );
    }
    // The second call tells what it did itself: the figures of the first are told once.
    account.call(&mut run, &schedule()).await?.done()?;
    let (both, _) = lines(&run.log())?;
    let both = embedded(&both, &SPREADS)?;
    ensure!(
        rows(&both, "load") == rows(&first, "load"),
        "figures of the first call were told again"
    );
    let file = account.world.project.path().join("tidemill.toml");
    let told = std::fs::read_to_string(&file)? + SERVED;
    std::fs::write(&file, told)?;
    let mut service = Service::start(&account.world.project)?;
    let scraped = tokio::task::spawn_blocking(move || {
        let address = service.address()?;
        service.until("run ended")?;
        let (code, scraped) = get(&address, "/metrics")?;
        ensure!(code == 200, "{scraped}");
        service.signal("TERM")?;
        service.end()?;
        Ok(scraped)
    });
    let scraped = exposition(&scraped.await??)?;
    let (told, known) = (names(&both), names(&scraped));
    let strange: Vec<_> = told.difference(&known).collect();
    ensure!(
        strange.is_empty(),
        "{strange:?} are not among those of /metrics: {known:?}"
    );
    ensure!(told.len() >= 8, "{told:?}");
    Ok(())
}
