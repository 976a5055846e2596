//! A year of daily runs: what the first, the hundredth and the last cost, and what they leave.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tidemill::demo::{Options, Simulation};
use tidemill_tests::postgres::Server;
use tidemill_tests::project::Project;

use super::cost::{self, Cost};
use super::stopwatch::shown;

/// Days around each day of which the middle one counts.
const AROUND: usize = 5;

/// Prints the cost of a daily run on three days, for both warehouses.
pub(crate) async fn measure(days: usize) -> Result<()> {
    let server = Server::start("");
    println!("daily: totesys at its real size, one run a day, the middle of {AROUND} days");
    println!(
        "  {:<26} {:>6} {:>8} {:>9} {:>8} {:>8} {:>10} {:>7}",
        "", "day", "passed", "processor", "server", "memory", "landed", "rest"
    );
    for title in ["PostgreSQL to Delta", "PostgreSQL to PostgreSQL"] {
        let source = server.fresh_database().await;
        let star = server.fresh_database().await;
        let warehouse = title.ends_with("to PostgreSQL").then_some(star.as_str());
        let (mut company, _) = Simulation::create(&source, Options::default(), &mut |_| {}).await?;
        let project = Project::totesys(Some(&source), warehouse)?;
        project.done(["run"])?;
        let mut first = None;
        let mut recent: Vec<Cost> = Vec::new();
        for day in 1..=days {
            company.next_day().await?;
            let (cost, _) = cost::of(&mut project.command(["run"])?, Some(&server))?;
            recent.push(cost);
            if recent.len() > AROUND {
                recent.remove(0);
            }
            if day == AROUND || day == days || day == 100 {
                let middle = middle(&recent);
                let against = *first.get_or_insert(middle.passed);
                print(title, day, middle, against, project.path())?;
            }
        }
    }
    Ok(())
}

fn middle(costs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> Duration| {
        let mut all: Vec<Duration> = costs.iter().map(figure).collect();
        all.sort();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Cost {
        passed: of(|cost| cost.passed),
        processor: of(|cost| cost.processor),
        server: of(|cost| cost.server),
        peak_bytes: costs
            .iter()
            .map(|cost| cost.peak_bytes)
            .max()
            .unwrap_or_default(),
    }
}

fn print(title: &str, day: usize, cost: Cost, first: Duration, folder: &Path) -> Result<()> {
    println!(
        "  {title:<26} {day:>6} {:>8} {:>9} {:>8} {:>4.0} MiB {:>10} {:>7}  {:.2} × the first",
        shown(cost.passed),
        shown(cost.processor),
        shown(cost.server),
        cost.peak_bytes as f64 / 1_048_576.0,
        files_below(&folder.join("lake/ingestion"))?,
        files_below(&folder.join("lake/processed"))? + files_below(&folder.join("warehouse"))?,
        cost.passed.as_secs_f64() / first.as_secs_f64()
    );
    Ok(())
}

fn files_below(folder: &Path) -> Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files += match entry.file_type()?.is_dir() {
            true => files_below(&entry.path())?,
            false => 1,
        };
    }
    Ok(files)
}
