//! What a warehouse in a bucket asks of its store by a client of its own, and with it the whole project: encryption, and
//! credentials that end while a run is at work.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use tidemill_tests::gate::{Fate, Gate, Refusal, Request};
use tidemill_tests::project::Project;
use tidemill_tests::store::{KMS_KEY, Store};
use tidemill_tests::users::Session;
use tidemill_tests::world::{At, Beginning, World};

/// For how long the first credentials are good.
const LIFE: Duration = Duration::from_secs(3);

/// A company with everything in a bucket but its source.
async fn company() -> Result<(World, Arc<Store>, String)> {
    let world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Bucket)
    })
    .await?;
    let lake = world.lake.as_ref().context("the zones are in a bucket")?;
    let (store, bucket) = (Arc::clone(&lake.store), lake.bucket.clone());
    Ok((world, store, bucket))
}

fn keys(store: &Store, bucket: &str) -> BTreeSet<String> {
    let listed = store.listed(bucket).into_iter();
    listed.map(|(key, ..)| key).collect()
}

#[tokio::test]
async fn zones_and_tables_are_encrypted_as_the_project_says() -> Result<()> {
    let (mut world, store, bucket) = company().await?;
    for (how, key, expected) in [
        ("sse-s3", None, "AES256"),
        ("sse-kms", Some(KMS_KEY), "aws:kms"),
    ] {
        let before = keys(&store, &bucket);
        world.project.set("TIDEMILL_LAKE__S3__ENCRYPTION", how);
        if let Some(key) = key {
            world.project.set("TIDEMILL_LAKE__S3__KMS_KEY", key);
        }
        world.run().await.with_context(|| how.to_owned())?;
        let after = keys(&store, &bucket);
        let new: Vec<&String> = after.difference(&before).collect();
        for part in [
            "lake/ingestion/totesys/_manifests/",
            "lake/ingestion/totesys/payment/",
            "lake/processed/_manifests/",
            "lake/processed/fact_payment/",
            "warehouse/_tidemill/publications/",
            "warehouse/fact_payment/_delta_log/",
            "warehouse/fact_payment/part-",
        ] {
            ensure!(
                new.iter().any(|key| key.starts_with(part)),
                "{how}: nothing new in {part}: {new:#?}"
            );
        }
        for object in new {
            let head = store.client().head_object().bucket(&bucket).key(object);
            let head = head.send().await?;
            let found = head.server_side_encryption.map(|e| e.as_str().to_owned());
            ensure!(
                found.as_deref() == Some(expected),
                "{how}: {object} has {found:?}"
            );
            let found = head.ssekms_key_id.as_deref();
            ensure!(
                key.is_none_or(|key| found.is_some_and(|found| found.ends_with(key))),
                "{how}: {object} has the key {found:?}"
            );
        }
        world.live().await?;
    }
    world.run().await?;
    world.verify()?;
    Ok(())
}

/// Who asks the store, and by which client.
type Seen = Arc<Mutex<BTreeMap<(String, &'static str), u64>>>;

/// Sessions of the store itself. That the first has ended is said by the gate, because the store gives none for less than
/// a quarter of an hour. Until then a request is held: one of the client of zones, and one of that of tables.
#[tokio::test]
async fn a_run_whose_credentials_end_goes_on_with_the_next() -> Result<()> {
    let (mut world, store, _) = company().await?;
    world.run().await?;
    let gate = Gate::before(store.port())?;
    world.project.set("AWS_ENDPOINT_URL_S3", &gate.endpoint());
    for (client, held) in [
        ("zones", "lake/ingestion/totesys/_manifests/"),
        ("tables", "warehouse/fact_payment/part-"),
    ] {
        world.live().await?;
        let [first, second] = [store.session()?, store.session()?];
        let ends = now() + LIFE;
        let next = hand_out(&mut world.project, &first, &second, ends)?;
        let seen = until_it_ends(&gate, first.id.clone(), ends, next, held);
        let run = world.run().await;
        let seen = seen.lock().expect("no thread fails").clone();
        run.with_context(|| format!("{client}: {seen:?}"))?;
        let fates = gate.fates();
        ensure!(
            fates.contains_key("late") && !fates.contains_key("ExpiredToken"),
            "{client}: credentials were used that had ended: {fates:?}"
        );
        for session in [&first, &second] {
            let asked = seen.get(&(session.id.clone(), client));
            ensure!(
                asked.is_some_and(|requests| *requests > 3),
                "{client}: {seen:?}"
            );
        }
    }
    Ok(())
}

/// Has the gate hold the first request that creates what is called so until the session of `old` ends, and refuse that
/// from then on. Meanwhile there is a `next` one.
fn until_it_ends(
    gate: &Gate,
    old: String,
    ends: DateTime<Utc>,
    next: PathBuf,
    held: &'static str,
) -> Seen {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let mut is_over = false;
    gate.set(move |request| {
        let asks = asks(request);
        let is_old = asks.0 == old;
        let mut seen = noted.lock().expect("no thread fails");
        *seen.entry(asks).or_default() += 1;
        if is_over && is_old && now() > ends {
            return Fate::Refuse(Refusal::EXPIRED);
        }
        if is_over || !(request.creates() && request.key.starts_with(held)) {
            return Fate::Pass;
        }
        is_over = true;
        let made = std::fs::write(&next, "");
        made.expect("the folder of a project can be written");
        let left = (ends - now()).to_std().unwrap_or_default();
        Fate::Late(left + Duration::from_millis(50))
    });
    seen
}

fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Whose key a request is signed with, and which client sent it.
fn asks(request: &Request) -> (String, &'static str) {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let key = header("authorization").split_once("Credential=");
    let key = key.and_then(|(_, rest)| rest.split('/').next());
    let client = match header("user-agent").contains("aws-sdk-rust") {
        true => "zones",
        false => "tables",
    };
    (key.unwrap_or_default().to_owned(), client)
}

/// Has the project's profile ask a program for its credentials: `first`, and `second` once a file is there. Gives the
/// path of that file.
fn hand_out(
    project: &mut Project,
    first: &Session,
    second: &Session,
    ends: DateTime<Utc>,
) -> Result<PathBuf> {
    let folder = project.path().to_owned();
    let write = |name: &str, session: &Session, ends: DateTime<Utc>| {
        let said = json!({
            "Version": 1,
            "AccessKeyId": session.id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": ends.to_rfc3339_opts(SecondsFormat::Secs, true),
        });
        std::fs::write(folder.join(name), said.to_string())
    };
    write("first.json", first, ends)?;
    write("second.json", second, ends + Duration::from_secs(3_600))?;
    let path = |name: &str| folder.join(name).display().to_string();
    let (program, next) = (folder.join("credentials"), folder.join("next"));
    // That of before.
    let _ = std::fs::remove_file(&next);
    let script = format!(
        "#!/bin/sh\nif [ -e '{}' ]; then cat '{}'; else cat '{}'; fi\n",
        next.display(),
        path("second.json"),
        path("first.json")
    );
    executable(&program, &script)?;
    let config = format!(
        "[default]\nregion = us-east-1\ncredential_process = {}\n",
        program.display()
    );
    std::fs::write(folder.join("aws"), config)?;
    project.set("AWS_CONFIG_FILE", &path("aws"));
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        project.unset(variable);
    }
    Ok(next)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    let all = std::fs::Permissions::from_mode(0o755);
    Ok(std::fs::set_permissions(path, all)?)
}
