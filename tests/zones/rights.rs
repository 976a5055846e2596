//! Least privilege: every stage does its work as a user of the S3 server that has the policy which `tidemill policy`
//! prints and nothing else, and is refused what is not in it.
//!
//! MinIO checks signatures and policies for real. The conditions on creating objects, which only Amazon knows, are judged
//! by a model of IAM at the gate; so are answers that tell a missing object from a forbidden one.

mod embedded;

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tidemill::demo::Oddity;
use tidemill_tests::gate::{Fate, Gate, Request};
use tidemill_tests::iam::Iam;
use tidemill_tests::lake::{Lake, Place};
use tidemill_tests::store::{self, Store};
use tidemill_tests::users::User;
use tidemill_tests::world::{At, Beginning, World};

const STAGES: [&str; 3] = ["extract", "transform", "load"];

/// A company with databases on PostgreSQL, whose zones are buckets.
struct Company {
    world: World,
    lake: Lake,
    store: Arc<Store>,
}

impl Company {
    async fn begin() -> Result<Self> {
        let store = Store::shared();
        let mut world = World::begin(Beginning {
            scale: 0.2,
            ..Beginning::at(At::Postgres)
        })
        .await?;
        let lake = Lake::of(&mut world.project, &store).await?;
        Ok(Self { world, lake, store })
    }

    /// The policy of a role: that for Amazon, or that for the store.
    fn policy(&mut self, role: &str, at_amazon: bool) -> Result<String> {
        let endpoint = if at_amazon {
            String::new()
        } else {
            self.store.endpoint()
        };
        self.lake.enter(&mut self.world.project, &endpoint, None);
        self.world
            .project
            .done(["policy", role, "--output", "json"])
    }

    /// A user who has the policy of a role.
    fn user(&mut self, role: &str) -> Result<User> {
        let policy = self.policy(role, false)?;
        let name = format!("{role}-{}", self.lake.ingestion.bucket);
        self.store.user(&name, &policy)
    }

    /// Gives the program the secrets that a stage needs, and no others.
    fn hand_out(&mut self, stage: &str) {
        let only = |of, url: &str| {
            if stage == of {
                url.to_owned()
            } else {
                String::new()
            }
        };
        let (source, star) = (
            only("extract", &self.world.source),
            only("load", &self.world.star),
        );
        self.world.project.set("TOTESYS_URL", &source);
        self.world.project.set("WAREHOUSE_URL", &star);
    }

    /// Does what `arguments` say as `user`.
    fn act(&mut self, user: &User, arguments: &[&str]) -> Result<tidemill_tests::project::Said> {
        let endpoint = self.store.endpoint();
        self.lake
            .enter(&mut self.world.project, &endpoint, Some(user));
        self.world.call(arguments)
    }

    /// Does it, and it must end well, and must not have been refused anything.
    fn done(&mut self, user: &User, arguments: &[&str]) -> Result<()> {
        let said = self.act(user, arguments)?;
        ensure!(
            matches!(said.code, Some(0 | 3)),
            "{} as {}: {said:#?}",
            arguments.join(" "),
            user.name
        );
        let talk = format!("{}{}", said.stdout, said.stderr);
        ensure!(
            !talk.contains("AccessDenied"),
            "{} as {}: {talk}",
            arguments.join(" "),
            user.name
        );
        Ok(())
    }

    fn client(&self, user: &User) -> Client {
        store::client(&self.store.endpoint(), &user.name, &user.secret)
    }

    /// The first object below a zone whose key has this text.
    async fn object(&self, place: &Place, text: &str) -> Result<String> {
        let objects = self.store.objects(&place.bucket).await;
        let found = objects
            .into_iter()
            .map(|(key, _)| key)
            .find(|key| key.contains(text));
        found.with_context(|| format!("no {text} in {}", place.bucket))
    }
}

/// Whether the store refused a request because of who asked.
fn is_denied<T, E>(result: Result<T, SdkError<E>>) -> bool {
    match result {
        Err(error) => error
            .raw_response()
            .is_some_and(|answer| answer.status().as_u16() == 403),
        Ok(_) => false,
    }
}

#[tokio::test]
async fn each_stage_works_with_its_own_rights_and_no_other_stage_does_with_them() -> Result<()> {
    let mut company = Company::begin().await?;
    let users = STAGES.map(|stage| company.user(stage));
    let [extract, transform, load] = users;
    let users = [extract?, transform?, load?];
    let [extract, transform, load] = &users;
    for _ in 0..3 {
        for (stage, user) in STAGES.iter().zip(&users) {
            company.hand_out(stage);
            company.done(user, &[stage])?;
        }
        company.world.evolution.run();
        company.world.check().await?;
        company.lake.look().await?;
        company.world.live().await?;
        // The rows are then read a second time, and what was written of the first reading is nobody's.
        company.world.cause(Oddity::Deletes).await?;
    }
    ensure!(
        !company.lake.orphans().is_empty(),
        "extract had nothing to leave behind"
    );
    // Who transforms may read what is loaded; that it is not loaded is for the warehouse's password.
    for (stage, user, others) in [
        ("extract", extract, ["transform", "load"]),
        ("transform", transform, ["extract", "extract"]),
        ("load", load, ["extract", "transform"]),
    ] {
        for other in others {
            company.hand_out(other);
            let said = company.act(user, &[other])?;
            ensure!(
                said.code == Some(1),
                "{other} with the rights of {stage}: {said:#?}"
            );
            ensure!(said.stderr.contains("let the role or user"), "{said:#?}");
        }
    }
    company.lake.look().await?;
    Ok(())
}

#[tokio::test]
async fn stages_are_refused_what_is_not_theirs() -> Result<()> {
    let mut company = Company::begin().await?;
    let users = STAGES.map(|stage| company.user(stage));
    let [extract, transform, load] = users;
    let users = [extract?, transform?, load?];
    for (stage, user) in STAGES.iter().zip(&users) {
        company.done(user, &[stage])?;
    }
    let [extract, transform, load] = &users;
    let (ingestion, processed) = (
        company.lake.ingestion.clone(),
        company.lake.processed.clone(),
    );
    let modules = company.lake.modules.clone();
    let landed = company.object(&ingestion, "/part-").await?;
    let landing = company.object(&ingestion, "_manifests/").await?;
    let made = company.object(&processed, "/part-").await?;
    let making = company.object(&processed, "_manifests/").await?;
    let module = company.object(&modules, "module.json").await?;

    let reads = async |user: &User, place: &Place, key: &str| {
        let get = company
            .client(user)
            .get_object()
            .bucket(&place.bucket)
            .key(key);
        !is_denied(get.send().await)
    };
    ensure!(reads(extract, &ingestion, &landed).await);
    ensure!(!reads(extract, &processed, &made).await && !reads(extract, &processed, &making).await);
    ensure!(!reads(extract, &modules, &module).await);
    ensure!(
        reads(transform, &ingestion, &landed).await && reads(transform, &modules, &module).await
    );
    ensure!(reads(load, &processed, &made).await);
    ensure!(!reads(load, &ingestion, &landed).await && !reads(load, &modules, &module).await);

    let creates = async |user: &User, place: &Place, key: String| {
        let put = company
            .client(user)
            .put_object()
            .bucket(&place.bucket)
            .key(key);
        !is_denied(put.if_none_match("*").send().await)
    };
    let new = "totesys/staff/2026/11/21/another/part-00000.parquet";
    ensure!(creates(extract, &ingestion, new.into()).await);
    ensure!(!creates(extract, &ingestion, "another/part-00000.parquet".into()).await);
    ensure!(!creates(extract, &processed, format!("{}{new}", processed.prefix)).await);
    ensure!(!creates(transform, &ingestion, new.into()).await);
    ensure!(
        !creates(
            transform,
            &modules,
            format!("{}_promotions/0000000099.json", modules.prefix)
        )
        .await
    );
    ensure!(!creates(load, &ingestion, new.into()).await);
    ensure!(!creates(load, &processed, format!("{}{new}", processed.prefix)).await);

    for user in &users {
        for (place, key) in [
            (&ingestion, &landed),
            (&ingestion, &landing),
            (&processed, &made),
            (&processed, &making),
            (&modules, &module),
        ] {
            let delete = company
                .client(user)
                .delete_object()
                .bucket(&place.bucket)
                .key(key);
            ensure!(
                is_denied(delete.send().await),
                "{} may remove {key}",
                user.name
            );
            // The store itself keeps a create from being a write over: whoever may create gets 412, the others 403.
            let put = company
                .client(user)
                .put_object()
                .bucket(&place.bucket)
                .key(key);
            let put = put
                .if_none_match("*")
                .body(b"other".to_vec().into())
                .send()
                .await;
            ensure!(put.is_err(), "{} wrote over {key}", user.name);
        }
    }
    // What may be removed are notes of runs that have begun.
    let note = "totesys/_begun/note.json";
    ensure!(creates(extract, &ingestion, note.into()).await);
    let delete = company
        .client(extract)
        .delete_object()
        .bucket(&ingestion.bucket)
        .key(note);
    ensure!(!is_denied(delete.send().await));
    company.lake.look().await
}

#[tokio::test]
async fn the_other_roles_work_with_their_own_rights() -> Result<()> {
    let mut company = Company::begin().await?;
    let run = company.user("run")?;
    company.done(&run, &["run"])?;
    company.world.evolution.run();
    company.world.check().await?;
    for (role, arguments) in [
        ("verify", &["verify"][..]),
        ("verify", &["lineage"]),
        ("verify", &["runs"]),
        ("doctor", &["doctor"]),
        ("sweep", &["sweep"]),
        ("publish", &["module", "list"]),
    ] {
        let name = company.policy(role, false)?;
        let user = format!(
            "{role}-{}-{}",
            arguments.join("-"),
            company.lake.ingestion.bucket
        );
        let user = company.store.user(&user, &name)?;
        company.done(&user, arguments)?;
    }
    let sweep = company.user("sweep")?;
    let landing = company
        .object(&company.lake.ingestion, "_manifests/")
        .await?;
    let delete = company
        .client(&sweep)
        .delete_object()
        .bucket(&company.lake.ingestion.bucket)
        .key(landing);
    ensure!(
        is_denied(delete.send().await),
        "sweeping may remove a manifest"
    );
    company.world.live().await?;
    company.done(&run, &["run"])?;
    company.world.evolution.run();
    company.world.check().await?;
    company.lake.look().await
}

/// With the policy for Amazon, judged by a model of IAM: it is enough for every request, and it lets nobody write over
/// anything.
#[tokio::test]
async fn at_amazon_a_policy_is_enough_and_lets_nobody_write_over_anything() -> Result<()> {
    let mut company = Company::begin().await?;
    let gate = Gate::before(company.store.port())?;
    for day in 0..2 {
        for stage in STAGES {
            let iam = Iam::new(&company.policy(stage, true)?)?;
            let denied = Denied::default();
            gate.set(denied.noting(iam));
            company
                .lake
                .enter(&mut company.world.project, &gate.endpoint(), None);
            let said = company.world.call(&[stage])?;
            ensure!(matches!(said.code, Some(0 | 3)), "{stage}: {said:#?}");
            // Rows that were read twice leave objects behind, which are for the sweep.
            let denied = denied.take();
            let is_tidying =
                |request: &String| request.starts_with("DELETE") && request.ends_with(".parquet");
            ensure!(
                denied.iter().all(is_tidying),
                "{stage} on day {day} was denied {denied:#?}: {said:#?}"
            );
        }
        company.world.evolution.run();
        company.world.check().await?;
        company.world.live().await?;
    }
    company.lake.look().await?;
    let ingestion = company.lake.ingestion.clone();
    let landed = company.object(&ingestion, "/part-").await?;
    for stage in STAGES {
        let iam = Iam::new(&company.policy(stage, true)?)?;
        gate.set(move |request| iam.judge(request));
        nothing_is_written_over(&gate, &ingestion, &landed).await?;
    }
    gate.set(|_| Fate::Pass);
    company.lake.look().await
}

/// Requests that were denied, by method and key.
#[derive(Debug, Clone, Default)]
struct Denied(Arc<Mutex<Vec<String>>>);

impl Denied {
    /// Judges by a policy and notes what it denies.
    fn noting(&self, iam: Iam) -> impl FnMut(&Request) -> Fate + Send + use<> {
        let denied = self.0.clone();
        move |request| {
            let fate = iam.judge(request);
            if matches!(fate, Fate::Refuse(_)) {
                let told = format!("{} {}/{}", request.method, request.bucket, request.key);
                denied.lock().expect("nobody panics with it").push(told);
            }
            fate
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

/// Every way to change an object that is there.
async fn nothing_is_written_over(gate: &Gate, place: &Place, key: &str) -> Result<()> {
    let client = store::client(&gate.endpoint(), store::USER, store::SECRET);
    let put = || {
        let put = client.put_object().bucket(&place.bucket).key(key);
        put.body(b"other".to_vec().into())
    };
    ensure!(is_denied(put().send().await), "put");
    ensure!(
        put().if_none_match("*").send().await.is_err(),
        "put under the condition"
    );
    let source = format!("{}/{key}", place.bucket);
    let copy = client
        .copy_object()
        .bucket(&place.bucket)
        .key(key)
        .copy_source(source);
    ensure!(is_denied(copy.send().await), "copy");
    let delete = client.delete_object().bucket(&place.bucket).key(key);
    ensure!(is_denied(delete.send().await), "delete");
    let begin = client
        .create_multipart_upload()
        .bucket(&place.bucket)
        .key(key)
        .send()
        .await;
    let Ok(begun) = begin else {
        // Only extracting may send parts there.
        return Ok(());
    };
    let id = begun.upload_id.context("an upload has an id")?;
    let part = client
        .upload_part()
        .bucket(&place.bucket)
        .key(key)
        .upload_id(&id)
        .part_number(1);
    let sent = part.body(b"other".to_vec().into()).send().await?;
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(sent.e_tag)
        .build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client
        .complete_multipart_upload()
        .bucket(&place.bucket)
        .key(key)
        .upload_id(&id);
    let complete = complete.multipart_upload(parts);
    ensure!(is_denied(complete.clone().send().await), "complete");
    ensure!(
        complete.if_none_match("*").send().await.is_err(),
        "complete under the condition"
    );
    Ok(())
}
