//! How fast a large object is written, beside boto3 and beside one request of bytes that are at hand.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tidemill::zone::{Opener, Zone};
use tidemill_tests::store::Store;

use crate::peers::Peers;

/// Rounds of which the best counts; the three take turns.
const ROUNDS: usize = 5;
/// An object of a large landing.
const LARGE: usize = 128 * 1024 * 1024;
/// What a writer is given at a time.
const PIECE: usize = 1024 * 1024;

/// Writes the same file by a zone, by boto3's `upload_file`, and by single requests.
pub(super) async fn measure(store: &Store) -> Result<()> {
    let bytes = Bytes::from_iter((0..LARGE as u64 / 8).flat_map(|n| {
        let word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_le_bytes()
    }));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &bytes)?;
    let bucket = store.fresh_bucket().await;
    let zone = Opener::new("/", &store.plan()).open(&format!("s3://{bucket}"))?;
    let peers = Peers::install();
    let (mut ours, mut plain, mut boto) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        ours = ours.min(by_zone(zone.as_ref(), file.path(), round).await?);
        if let Ok(peers) = &peers {
            boto = boto.min(by_boto3(peers, store, &bucket, file.path())?);
        }
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
    let times = |of: Duration| ours.as_secs_f64() / of.as_secs_f64();
    println!(
        "store: a file of {} MiB into a bucket, the best of {ROUNDS} by turns",
        LARGE >> 20
    );
    println!(
        "  {:>4.0} MiB/s by a zone, in parts that are hashed and completed under a condition",
        speed(ours)
    );
    match &peers {
        Ok(_) => println!(
            "  {:>4.0} MiB/s by boto3's upload_file: the zone takes {:.2} × its time",
            speed(boto),
            times(boto)
        ),
        Err(error) => println!("  boto3 cannot be had here: {error:#}"),
    }
    println!(
        "  {:>4.0} MiB/s by one PutObject of bytes in memory: the zone takes {:.2} × its time",
        speed(plain),
        times(plain)
    );
    Ok(())
}

async fn by_zone(zone: &dyn Zone, file: &Path, round: usize) -> Result<Duration> {
    let started = Instant::now();
    let mut file = std::fs::File::open(file)?;
    let mut writer = zone.writer(&format!("zone-{round}")).await?;
    loop {
        let mut piece = BytesMut::zeroed(PIECE);
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        piece.truncate(read);
        writer.write(piece.freeze()).await?;
    }
    writer.finish().await?;
    Ok(started.elapsed())
}

/// What `upload_file` takes, after a first one that makes the connection.
fn by_boto3(peers: &Peers, store: &Store, bucket: &str, file: &Path) -> Result<Duration> {
    let mut command = peers.script("upload.py");
    command.arg(store.endpoint()).arg(bucket).arg(file).arg("2");
    command.envs(store.environment());
    let output = command.output()?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{talk}");
    let said = String::from_utf8(output.stdout)?;
    let seconds = said.lines().last().context("the seconds of a round")?;
    Ok(Duration::from_secs_f64(seconds.trim().parse()?))
}
