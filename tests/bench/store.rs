//! What buckets cost: the main job with zones and warehouse in a bucket beside the same in folders, its requests and bytes
//! and what they come to in a month, and how fast objects are written beside others who write them.

mod cost;
mod upload;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidemill::demo::{Options, Simulation};
use tidemill_tests::postgres::Server;
use tidemill_tests::project::Project;
use tidemill_tests::store::Store;
use tidemill_tests::world::Lake;

use super::stopwatch::shown;

/// Days that pass, of which the middle one counts.
const DAYS: usize = 7;
/// Rounds of which the best counts.
const ROUNDS: usize = 5;

/// Prints all of it.
pub(crate) async fn measure() -> Result<()> {
    let store = Store::shared();
    upload::measure(&store).await?;
    let server = Server::start("");
    println!(
        "store: totesys at its real size to Delta, the middle of {DAYS} days, the best of {ROUNDS} idle runs"
    );
    println!(
        "  {:<26} {:>9} {:>9} {:>9}   {:>24} {:>22} {:>20} {:>20}",
        "",
        "first run",
        "daily",
        "idle",
        "requests of the first",
        "daily",
        "idle",
        "on a new machine"
    );
    let folders = job(None, None).await?;
    let bucket = job(None, Some(Lake::fresh().await)).await?;
    let url = server.fresh_database().await;
    let postgres = job(Some(url), Some(Lake::fresh().await)).await?;
    for (title, job) in [
        ("SQLite, in folders", &folders),
        ("SQLite, in a bucket", &bucket),
        ("PostgreSQL, in a bucket", &postgres),
    ] {
        println!(
            "  {title:<26} {:>9} {:>9} {:>9}   {:>24} {:>22} {:>20} {:>20}",
            shown(job.first.passed),
            shown(job.daily.passed),
            shown(job.idle.passed),
            job.first.moved(),
            job.daily.moved(),
            job.idle.moved(),
            job.cold.moved()
        );
    }
    let times = |far: &Ran, near: &Ran| far.passed.as_secs_f64() / near.passed.as_secs_f64();
    println!(
        "  a bucket costs {:.2} × the first run, {:.2} × a daily one, {:.2} × an idle one",
        times(&bucket.first, &folders.first),
        times(&bucket.daily, &folders.daily),
        times(&bucket.idle, &folders.idle)
    );
    cost::print(
        "PostgreSQL",
        &postgres.first,
        &postgres.daily,
        &postgres.idle,
    );
    cost::print("SQLite", &bucket.first, &bucket.daily, &bucket.idle);
    Ok(())
}

/// A run: how long the process lived, and what its report says of the store.
#[derive(Debug, Clone, Default)]
struct Ran {
    passed: Duration,
    requests: u64,
    /// Those that are billed as PUT or LIST, and those that are billed as GET.
    writing: u64,
    reading: u64,
    sent: u64,
    received: u64,
}

impl Ran {
    fn moved(&self) -> String {
        let kib = |bytes: u64| bytes.div_ceil(1024);
        format!(
            "{} ↑{} ↓{} KiB",
            self.requests,
            kib(self.sent),
            kib(self.received)
        )
    }
}

struct Job {
    first: Ran,
    daily: Ran,
    idle: Ran,
    /// An idle run on a machine that has compiled modules and knows nothing of the zones.
    cold: Ran,
}

/// The main job of a source on a server, or in a file.
async fn job(source: Option<String>, lake: Option<Lake>) -> Result<Job> {
    let star = lake.as_ref().map(Lake::warehouse);
    let variables = lake.as_ref().map(Lake::environment).unwrap_or_default();
    let mut project = Project::totesys_with(source.as_deref(), star.as_deref(), variables)?;
    let cache = project.path().join("cache");
    project.set("TIDEMILL_CACHE", &cache.to_string_lossy());
    let file = project.path().join("totesys.sqlite");
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    let source = source.unwrap_or_else(|| format!("sqlite://{}", file.display()));
    let (mut company, _) = Simulation::create(&source, Options::default(), &mut |_| {}).await?;
    // Modules are compiled once, and not by the run that counts.
    project.call(["doctor"])?;
    let first = run(&project)?;
    let mut days = Vec::new();
    for _ in 0..DAYS {
        company.next_day().await?;
        days.push(run(&project)?);
    }
    days.sort_by_key(|day| day.passed);
    let idle = (0..ROUNDS).map(|_| run(&project));
    let idle = idle.collect::<Result<Vec<Ran>>>()?;
    for known in ["objects", "logs"] {
        let folder = cache.join(known);
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
    }
    let cold = run(&project)?;
    Ok(Job {
        first,
        daily: days.get(DAYS / 2).cloned().unwrap_or_default(),
        idle: idle
            .into_iter()
            .min_by_key(|idle| idle.passed)
            .unwrap_or_default(),
        cold,
    })
}

fn run(project: &Project) -> Result<Ran> {
    let started = Instant::now();
    let said = project.call(["run", "--output", "json"])?;
    let passed = started.elapsed();
    ensure!(matches!(said.code, Some(0 | 3)), "{said:#?}");
    let report: Value = serde_json::from_str(&said.stdout).context("a report")?;
    let moved = |what: &str| {
        report
            .pointer(&format!("/store/{what}"))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    Ok(Ran {
        passed,
        requests: moved("requests"),
        writing: moved("requests_writing"),
        reading: moved("requests_reading"),
        sent: moved("bytes_sent"),
        received: moved("bytes_received"),
    })
}
