//! Large objects: parts and ranges side by side, and never more of them in memory than that.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidemill::config::StorePlan;
use tidemill::digest::Digest;
use tidemill::zone::Opener;
use tidemill_tests::gate::{Fate, Gate};
use tidemill_tests::store::Store;

const MIB: usize = 1024 * 1024;
/// What a large object is read in, at most so many at a time.
const PIECE: usize = 8 * MIB;
const PIECES: usize = 4;
/// Neither a whole number of pieces nor of the chunks that are written.
const LARGE: usize = 70 * MIB + 12_345;

/// Chunks that differ, so that none can stand in for another.
fn chunks(length: usize) -> impl Iterator<Item = Bytes> {
    (0..length.div_ceil(MIB)).map(move |number| {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let mut bytes = vec![0; MIB.min(length - number * MIB)];
        random.fill(&mut bytes);
        bytes.into()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_read_in_ranges_side_by_side() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let gate = Gate::before(store.port())?;
    let plan = StorePlan {
        endpoint: Some(gate.endpoint()),
        ..store.plan()
    };
    let opener = Opener::new("/", &store.plan());
    let direct = opener.open(&format!("s3://{bucket}"))?;
    let mut writer = direct.writer("large").await?;
    for chunk in chunks(LARGE) {
        writer.write(chunk).await?;
    }
    let written = writer.finish().await?;
    let zone = Opener::new("/", &plan).open(&format!("s3://{bucket}"))?;
    let ranges: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = Arc::clone(&ranges);
    gate.set(move |request| match request.headers.get("range") {
        // So long that whoever may begins meanwhile.
        Some(range) => {
            asked.lock().expect("no thread fails").push(range.clone());
            Fate::Late(Duration::from_millis(200))
        }
        None => Fate::Pass,
    });
    let read = zone.read("large").await?;
    ensure!(read.len() == LARGE && Digest::of(&read) == written.sha256);
    let found = ranges.lock().expect("no thread fails").clone();
    let wanted: BTreeSet<String> = (0..LARGE)
        .step_by(PIECE)
        .map(|from| format!("bytes={from}-{}", LARGE.min(from + PIECE) - 1))
        .collect();
    ensure!(
        found.len() == wanted.len() && found.iter().cloned().collect::<BTreeSet<_>>() == wanted,
        "{found:?}"
    );
    ensure!(
        (2..=PIECES).contains(&gate.most_at_once()),
        "{} at once",
        gate.most_at_once()
    );
    Ok(())
}

/// What the process of its own is to be told.
const PLACE: &str = "TIDEMILL_TEST_LARGE";
/// The object, and what may be needed beside it: when it is written, three parts and what is made of them on the way;
/// when it is read, what four ranges have in flight.
const SIZE: usize = 160 * MIB;
const BESIDE_WRITING: usize = 64 * MIB;
const BESIDE_READING: usize = 48 * MIB;

/// In a process of its own, because memory is counted by process.
#[tokio::test]
async fn an_object_of_any_size_takes_a_bounded_memory_to_write_and_itself_to_read() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let output = Command::new(std::env::current_exe()?)
        .args([
            "--ignored",
            "--exact",
            "large::a_process_that_writes_and_reads",
        ])
        .env(PLACE, format!("{} {bucket}", store.endpoint()))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above calls it in a process of its own"]
async fn a_process_that_writes_and_reads() -> Result<()> {
    let place = tidemill_tests::variable(PLACE).context("the test above calls it")?;
    let place = place.to_str().context("a URL")?.to_owned();
    let (endpoint, bucket) = place.split_once(' ').context("a URL and a bucket")?;
    let plan = StorePlan {
        endpoint: Some(endpoint.to_owned()),
        ..Store::plan_of_anyone()
    };
    let zone = Opener::new("/", &plan).open(&format!("s3://{bucket}"))?;
    // Clients, threads and the proofs of the bucket are there.
    let mut writer = zone.writer("first").await?;
    writer.write(vec![1; 20 * MIB].into()).await?;
    writer.finish().await?;
    let before = forget_peak()?;
    let mut writer = zone.writer("large").await?;
    for chunk in chunks(SIZE) {
        writer.write(chunk).await?;
    }
    let written = writer.finish().await?;
    let writing = peak()?.saturating_sub(before);
    let before = forget_peak()?;
    let read = zone.read("large").await?;
    let reading = peak()?.saturating_sub(before);
    println!(
        "{} MiB to write, {} MiB to read",
        writing / MIB,
        reading / MIB
    );
    ensure!(Digest::of(&read) == written.sha256);
    ensure!(writing < BESIDE_WRITING, "{} MiB to write", writing / MIB);
    ensure!(
        reading >= SIZE,
        "{} MiB to read are no object",
        reading / MIB
    );
    ensure!(
        reading < SIZE + BESIDE_READING,
        "{} MiB to read",
        reading / MIB
    );
    Ok(())
}

/// The most memory that this process had.
fn peak() -> Result<usize> {
    field("VmHWM:")
}

/// Forgets the most that this process had; gives what it has.
fn forget_peak() -> Result<usize> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    field("VmRSS:")
}

fn field(name: &str) -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(words.context(name.to_owned())?.parse::<usize>()? * 1024)
}
