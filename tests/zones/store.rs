//! What only a store can do: lose an answer, refuse, be none that can be trusted.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidemill::config::{Encryption, StorePlan};
use tidemill::error::{Classify as _, ErrorKind};
use tidemill::zone::{Opener, ZoneError};
use tidemill_tests::proxy::{Line, Proxy};
use tidemill_tests::store::{KMS_KEY, Store};

use super::pretender::{Knows, Pretender};

/// The store of a plan by way of a proxy.
fn by_way_of(proxy: &Proxy, store: &Store) -> StorePlan {
    let endpoint = proxy.url(&format!("{}/", store.endpoint()));
    StorePlan {
        endpoint: Some(endpoint),
        ..store.plan()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_not_taken_for_another_host() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let proxy = Proxy::before(store.port())?;
    let zone = Opener::new("/", &by_way_of(&proxy, &store)).open(&format!("s3://{bucket}"))?;
    zone.create("first", Bytes::from_static(b"the bucket is proven"))
        .await?;
    for (key, length) in [("lost-small", 9), ("lost-large", 20 * 1024 * 1024)] {
        // The request that makes the object: a put, or that which names all parts.
        let text = if length < 100 {
            "PUT /bucket"
        } else {
            "CompleteMultipartUpload"
        };
        let mut writer = zone.writer(key).await?;
        writer.write(Bytes::from(vec![7; length])).await?;
        proxy.set(Line::CutAfter(text, 0));
        let written = writer.finish().await.with_context(|| key.to_owned())?;
        ensure!(proxy.failures() > 0, "{key}: no answer was lost");
        proxy.set(Line::Whole);
        ensure!(written.bytes == length as u64);
        ensure!(zone.size(key).await? == Some(length as u64));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    let proxy = Proxy::before(store.port())?;
    let zone = Opener::new("/", &by_way_of(&proxy, &store)).open(&format!("s3://{bucket}"))?;
    for (key, length) in [("small", 1024 * 1024), ("large", 40 * 1024 * 1024)] {
        let mut writer = zone.writer(key).await?;
        writer.write(Bytes::from(vec![9; length])).await?;
        writer.finish().await?;
        proxy.set(Line::CutAfter("GET /bucket", length as u64 / 16));
        let read = zone.read(key).await.with_context(|| key.to_owned());
        ensure!(proxy.failures() > 0, "{key}: no answer broke off");
        proxy.set(Line::Whole);
        ensure!(read? == vec![9; length], "{key}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_bucket_key_and_request_and_says_what_to_do() -> Result<()> {
    let store = Store::shared();
    let wrong = |key: &str| {
        let mut plan = store.plan();
        if let Some(credentials) = &mut plan.credentials {
            credentials.key = tidemill::config::Secret::new(key);
        }
        plan
    };
    let zone = Opener::new("/", &wrong("another")).open("s3://nowhere/x")?;
    let error = zone
        .create("a", Bytes::new())
        .await
        .err()
        .context("the key is wrong")?;
    let told = format!(
        "{error}: {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    ensure!(
        told.contains("cannot create s3://nowhere/x/_conditional"),
        "{told}"
    );
    ensure!(
        told.contains("SignatureDoesNotMatch") && told.contains("(request "),
        "{told}"
    );
    ensure!(
        !told.contains("another")
            && error
                .hint()
                .is_some_and(|hint| hint.contains("credentials"))
    );
    let zone = Opener::new("/", &store.plan()).open("s3://nowhere/x")?;
    let error = zone.read("a").await.err().context("there is no bucket")?;
    ensure!(matches!(error, ZoneError::Unavailable { .. }), "{error}");
    ensure!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("create the bucket")),
        "{error:?}"
    );
    let away = StorePlan {
        endpoint: Some("http://127.0.0.1:1".into()),
        ..store.plan()
    };
    let zone = Opener::new("/", &away).open("s3://nowhere/x")?;
    let error = zone.size("a").await.err().context("nobody answers")?;
    ensure!(
        error.hint().is_some_and(|hint| hint.contains("endpoint")),
        "{error:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_encrypted_as_the_project_says() -> Result<()> {
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    for (encryption, expected) in [
        (Encryption::Store, "AES256"),
        (Encryption::Service(Some(KMS_KEY.into())), "aws:kms"),
    ] {
        let plan = StorePlan {
            encryption: Some(encryption),
            ..store.plan()
        };
        let zone = Opener::new("/", &plan).open(&format!("s3://{bucket}/{}", &expected[..3]))?;
        let mut writer = zone.writer("large").await?;
        writer.write(Bytes::from(vec![5; 20 * 1024 * 1024])).await?;
        writer.finish().await?;
        zone.create("small", Bytes::from_static(b"small")).await?;
        for key in ["large", "small"] {
            let full = format!("{}/{key}", &expected[..3]);
            let head = store
                .client()
                .head_object()
                .bucket(&bucket)
                .key(full)
                .send()
                .await?;
            let found = head.server_side_encryption.map(|e| e.as_str().to_owned());
            ensure!(found.as_deref() == Some(expected), "{key}: {found:?}");
        }
        ensure!(zone.read("small").await? == "small");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_refused_before_an_object_is_in_it() -> Result<()> {
    for (knows, length) in [
        (Knows::Nothing, 9),
        (Knows::ThatItCannot, 9),
        (Knows::Put, 20 * 1024 * 1024),
    ] {
        let pretender = Pretender::start(knows)?;
        let plan = StorePlan {
            endpoint: Some(pretender.endpoint()),
            ..Store::shared().plan()
        };
        let zone = Opener::new("/", &plan).open("s3://lake/x")?;
        let written = async {
            let mut writer = zone.writer("an/object").await?;
            writer.write(Bytes::from(vec![7; length])).await?;
            writer.finish().await
        };
        let error = written.await.err().context("it cannot be trusted")?;
        ensure!(
            matches!(error, ZoneError::Unconditional { .. }),
            "{knows:?}: {error:?}"
        );
        ensure!(error.kind() == ErrorKind::Config);
        ensure!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("If-None-Match"))
        );
        let written = pretender.written();
        ensure!(
            written
                .iter()
                .all(|path| path.ends_with("/lake/x/_conditional")),
            "{knows:?}: {written:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_proven_once_and_not_by_whoever_only_reads() -> Result<()> {
    let pretender = Pretender::start(Knows::Put)?;
    let plan = StorePlan {
        endpoint: Some(pretender.endpoint()),
        ..Store::shared().plan()
    };
    let opener = Opener::new("/", &plan);
    let (one, two) = (opener.open("s3://lake/one")?, opener.open("s3://lake/two")?);
    ensure!(one.size("a").await?.is_none());
    ensure!(pretender.written().is_empty(), "a reader wrote");
    one.create("a", Bytes::new()).await?;
    two.create("b", Bytes::new()).await?;
    let written: Vec<String> = pretender.written().into_iter().collect();
    ensure!(
        written == ["/lake/one/_conditional", "/lake/one/a", "/lake/two/b"],
        "{written:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_bucket_is_missing_is_not_an_empty_one() -> Result<()> {
    let store = Store::shared();
    let zone = Opener::new("/", &store.plan()).open("s3://nowhere/x")?;
    for error in [
        zone.size("_manifests/0000000001.json").await.err(),
        zone.list("").await.err(),
        zone.create("a", Bytes::new()).await.err(),
    ] {
        let error = error.context("there is no bucket")?;
        ensure!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("create the bucket")),
            "{error:?}"
        );
    }
    Ok(())
}
