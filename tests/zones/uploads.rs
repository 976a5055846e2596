//! Uploads in parts that nobody completes: forgotten at once by who fails, and by age where that one died.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill::config::StorePlan;
use tidemill::zone::Opener;
use tidemill::zone::parquet::PartWriter;
use tidemill_tests::gate::{Fate, Gate, Refusal};
use tidemill_tests::sessions::until;
use tidemill_tests::store::Store;

use super::pretender::{Knows, Pretender};

/// Bytes of chance in a row, which no compression makes fewer.
const ROW: i32 = 128;
const ROWS: usize = 8_192;
/// Enough for parts while rows are still written.
const BATCHES: usize = 48;

fn rows(seed: u64, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; ROWS * ROW as usize];
    random.fill(&mut bytes);
    let column = FixedSizeBinaryArray::try_new(ROW, bytes.into(), None)?;
    Ok(RecordBatch::try_new(
        Arc::clone(schema),
        vec![Arc::new(column) as ArrayRef],
    )?)
}

/// Uploads of one key that the store has not forgotten: MinIO lists them by the whole key only.
async fn unfinished(store: &Store, bucket: &str, key: &str) -> Result<usize> {
    let list = store.client().list_multipart_uploads();
    let listed = list.bucket(bucket).prefix(key).send().await?;
    Ok(listed.uploads.unwrap_or_default().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_while_rows_are_written_is_forgotten_at_once() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let gate = Gate::before(store.port())?;
    let plan = StorePlan {
        endpoint: Some(gate.endpoint()),
        ..store.plan()
    };
    let zone = Opener::new("/", &plan).open(&format!("s3://{bucket}"))?;
    let (sent, forgotten) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (part, aborted) = (Arc::clone(&sent), Arc::clone(&forgotten));
    gate.set(move |request| {
        // Another one is forgotten by which the bucket has shown what it refuses.
        let is_ours = request.key.starts_with("payment");
        if request.method == "DELETE" && request.asks("uploadId") && is_ours {
            aborted.fetch_add(1, Ordering::SeqCst);
        }
        match request.asks("partNumber") && is_ours && part.fetch_add(1, Ordering::SeqCst) >= 2 {
            true => Fate::Refuse(Refusal::DENIED),
            false => Fate::Pass,
        }
    });
    // What is not forgotten is listed.
    let begun = store.client().create_multipart_upload();
    begun.bucket(&bucket).key("another").send().await?;
    ensure!(unfinished(&store, &bucket, "another").await? == 1);
    let field = Field::new("row", DataType::FixedSizeBinary(ROW), false);
    let schema: SchemaRef = Arc::new(Schema::new(vec![field]));
    let mut writer = PartWriter::new(Arc::clone(&zone), "payment/part", Arc::clone(&schema));
    let mut written = Ok(());
    for batch in 0..BATCHES {
        written = writer.write(&rows(batch as u64, &schema)?).await;
        if written.is_err() {
            break;
        }
    }
    let error = written
        .err()
        .context("rows were written, and no part was")?;
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let told = format!("{error}: {cause:?}");
    for part in [
        format!("cannot create s3://{bucket}/payment/part-00000.parquet"),
        "AccessDenied".into(),
        "(request GATE".into(),
    ] {
        ensure!(told.contains(&part), "{part} is not in {told}");
    }
    drop(writer);
    until("the upload is forgotten", async || {
        Ok(forgotten.load(Ordering::SeqCst) > 0)
    })
    .await?;
    ensure!(unfinished(&store, &bucket, "payment/part-00000.parquet").await? == 0);
    ensure!(sent.load(Ordering::SeqCst) >= 3);
    ensure!(forgotten.load(Ordering::SeqCst) == 1);
    ensure!(zone.size("payment/part-00000.parquet").await?.is_none());

    // Whoever is let writes the same objects.
    gate.set(|_| Fate::Pass);
    let mut writer = PartWriter::new(zone, "payment/part", Arc::clone(&schema));
    for batch in 0..BATCHES {
        writer.write(&rows(batch as u64, &schema)?).await?;
    }
    let parts = writer.finish().await?;
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    ensure!(bytes > (BATCHES * ROWS) as u64 * ROW as u64, "{parts:?}");
    Ok(())
}

/// A store that lists uploads as Amazon does, by what keys begin with and page by page.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_finished_are_forgotten_by_age() -> Result<()> {
    let pretender = Pretender::start(Knows::Put)?;
    let plan = StorePlan {
        endpoint: Some(pretender.endpoint()),
        ..Store::shared().plan()
    };
    let zone = Opener::new("/", &plan).open("s3://lake/x")?;
    for rehearsal in [true, false] {
        ensure!(pretender.written().is_empty(), "a rehearsal removes");
        let swept = zone.sweep_unfinished(chrono::Utc::now(), rehearsal).await?;
        let swept: Vec<(&str, u64)> = swept
            .iter()
            .map(|entry| (entry.key.as_str(), entry.bytes))
            .collect();
        ensure!(
            swept == [("old", 8_388_613), ("old", 8_388_613)],
            "{swept:?}"
        );
    }
    let forgotten: Vec<String> = pretender.written().into_iter().collect();
    ensure!(
        forgotten
            == [
                "forgotten /lake/x/old uploadId=1",
                "forgotten /lake/x/old uploadId=2"
            ],
        "{forgotten:?}"
    );
    Ok(())
}
