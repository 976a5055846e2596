//! What buckets cost: the main job with zones and warehouse in a bucket beside the same in folders, its requests and bytes,
//! and how fast objects are written beside the least that writing them can cost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use serde_json::Value;
use tidemill::demo::{Options, Simulation};
use tidemill::zone::Opener;
use tidemill_tests::project::Project;
use tidemill_tests::store::Store;
use tidemill_tests::world::Lake;

use super::stopwatch::shown;

/// Days that pass, of which the middle one counts.
const DAYS: usize = 7;
/// Rounds of which the best counts.
const ROUNDS: usize = 5;
/// An object of a large landing.
const LARGE: usize = 128 * 1024 * 1024;

/// Prints all of it.
pub(crate) async fn measure() -> Result<()> {
    let store = Store::shared();
    uploads(&store).await?;
    println!("store: totesys at its real size, SQLite to Delta, the middle of {DAYS} days");
    println!(
        "  {:<12} {:>10} {:>10} {:>10}   {:>26} {:>26} {:>26}",
        "", "first run", "daily", "idle", "requests of the first", "daily", "idle"
    );
    let folders = job(None).await?;
    let bucket = job(Some(Lake::fresh().await)).await?;
    for (title, job) in [("in folders", &folders), ("in a bucket", &bucket)] {
        println!(
            "  {title:<12} {:>10} {:>10} {:>10}   {:>26} {:>26} {:>26}",
            shown(job.first.passed),
            shown(job.daily.passed),
            shown(job.idle.passed),
            job.first.moved(),
            job.daily.moved(),
            job.idle.moved()
        );
    }
    let times = |far: &Ran, near: &Ran| far.passed.as_secs_f64() / near.passed.as_secs_f64();
    println!(
        "  a bucket costs {:.2} × the first run, {:.2} × a daily one, {:.2} × an idle one",
        times(&bucket.first, &folders.first),
        times(&bucket.daily, &folders.daily),
        times(&bucket.idle, &folders.idle)
    );
    Ok(())
}

/// A run: how long the process lived, and what its report says of the store.
#[derive(Debug, Clone, Default)]
struct Ran {
    passed: Duration,
    requests: u64,
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
}

async fn job(lake: Option<Lake>) -> Result<Job> {
    let star = lake.as_ref().map(Lake::warehouse);
    let variables = lake.as_ref().map(Lake::environment).unwrap_or_default();
    let project = Project::totesys_with(None, star.as_deref(), variables)?;
    let file = project.path().join("totesys.sqlite");
    let source = format!("sqlite://{}", file.display());
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    let (mut company, _) = Simulation::create(&source, Options::default(), &mut |_| {}).await?;
    let first = run(&project)?;
    let mut days = Vec::new();
    for _ in 0..DAYS {
        company.next_day().await?;
        days.push(run(&project)?);
    }
    days.sort_by_key(|day| day.passed);
    let idle = (0..ROUNDS).map(|_| run(&project));
    let idle = idle.collect::<Result<Vec<Ran>>>()?;
    Ok(Job {
        first,
        daily: days.get(DAYS / 2).cloned().unwrap_or_default(),
        idle: idle
            .into_iter()
            .min_by_key(|idle| idle.passed)
            .unwrap_or_default(),
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
        sent: moved("bytes_sent"),
        received: moved("bytes_received"),
    })
}

/// Writes the same bytes by a zone, which makes sure of them and of their key, and by single requests that do not.
async fn uploads(store: &Store) -> Result<()> {
    let bytes = Bytes::from_iter((0..LARGE as u64 / 8).flat_map(|n| {
        let word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_le_bytes()
    }));
    let bucket = store.fresh_bucket().await;
    let zone = Opener::new("/", &store.plan()).open(&format!("s3://{bucket}"))?;
    let (mut ours, mut plain) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let started = Instant::now();
        let mut writer = zone.writer(&format!("zone-{round}")).await?;
        for piece in (0..LARGE).step_by(1024 * 1024) {
            writer
                .write(bytes.slice(piece..piece + 1024 * 1024))
                .await?;
        }
        writer.finish().await?;
        ours = ours.min(started.elapsed());
        let started = Instant::now();
        store
            .client()
            .put_object()
            .bucket(&bucket)
            .key(format!("plain-{round}"))
            .body(ByteStream::from(bytes.clone()))
            .send()
            .await?;
        plain = plain.min(started.elapsed());
    }
    let speed = |passed: Duration| LARGE as f64 / 1_048_576.0 / passed.as_secs_f64();
    println!(
        "store: {} MiB into a bucket: {:.0} MiB/s in parts that are hashed and conditional, {:.0} MiB/s by one PutObject of bytes at hand: {:.2} × its time",
        LARGE / 1_048_576,
        speed(ours),
        speed(plain),
        ours.as_secs_f64() / plain.as_secs_f64()
    );
    Ok(())
}
