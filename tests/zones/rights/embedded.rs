//! The rights in an embedded warehouse that is in a bucket, here the very bucket in which every zone is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;
use tidemill::config::{Secret, StoreCredentials, StorePlan};
use tidemill::connection::traffic::Traffic;
use tidemill::warehouse::{self, Sweep, WarehouseOptions};
use tidemill_tests::gate::{Fate, Gate};
use tidemill_tests::iam::{Iam, Key};
use tidemill_tests::store::{self, KMS_KEY, SECRET, USER};
use tidemill_tests::users::User;
use tidemill_tests::world::{At, Beginning, Lake, World};

use super::{Denied, STAGES, is_denied};

const COUNT: &str = "SELECT count(*) FROM fact_sales_order_current";

/// A company whose rows are all in one bucket.
struct Shop {
    world: World,
}

impl Shop {
    async fn begin() -> Result<Self> {
        let world = World::begin(Beginning {
            scale: 0.2,
            lake: At::Bucket,
            warehouse: At::Bucket,
            ..Beginning::at(At::Folder)
        });
        let world = world.await?;
        Ok(Self { world })
    }

    fn lake(&self) -> Result<&Lake> {
        self.world
            .lake
            .as_ref()
            .context("the zones are in a bucket")
    }

    fn bucket(&self) -> Result<String> {
        Ok(self.lake()?.bucket.clone())
    }

    /// From here on the program asks the store at `endpoint` as this user.
    fn enter(&mut self, endpoint: &str, user: Option<&User>) {
        let (name, secret) = user.map_or((USER, SECRET), |user| (&user.name, &user.secret));
        for (variable, value) in store::environment(endpoint, name, secret) {
            self.world.project.set(&variable, &value);
        }
    }

    fn policy(&mut self, role: &str, endpoint: &str) -> Result<String> {
        self.enter(endpoint, None);
        let asked = ["policy", role, "--output", "json"];
        self.world.project.done(asked)
    }

    fn user(&mut self, role: &str) -> Result<User> {
        let store = self.lake()?.store.clone();
        let policy = self.policy(role, &store.endpoint())?;
        store.user(&format!("{role}-{}", self.bucket()?), &policy)
    }

    /// Does what `arguments` say as `user`, who is refused nothing.
    fn done(&mut self, user: &User, arguments: &[&str]) -> Result<()> {
        let endpoint = self.lake()?.store.endpoint();
        self.enter(&endpoint, Some(user));
        let said = self.world.call(arguments)?;
        let talk = format!("{}{}", said.stdout, said.stderr);
        let is_well = matches!(said.code, Some(0 | 3)) && !talk.contains("AccessDenied");
        ensure!(
            is_well,
            "{} as {}: {said:#?}",
            arguments.join(" "),
            user.name
        );
        Ok(())
    }

    async fn day(&mut self, users: &[User]) -> Result<()> {
        for (stage, user) in STAGES.iter().zip(users) {
            self.done(user, &[stage])?;
        }
        self.world.evolution.run();
        self.world.check().await
    }

    /// Removes what no version of a table needs now, as `user`; gives how many files that were.
    async fn sweep_at_once(&self, user: &User) -> Result<usize> {
        let store = StorePlan {
            credentials: Some(StoreCredentials {
                id: user.name.clone(),
                key: Secret::new(&user.secret),
                token: None,
            }),
            ..self.lake()?.store.plan()
        };
        let options = WarehouseOptions {
            store,
            ..WarehouseOptions::from("public")
        };
        let (url, folder) = (Secret::new(&self.world.star), self.world.project.path());
        let warehouse = warehouse::open(url.expose()?, options, folder, &Traffic::default())?;
        Ok(warehouse.sweep(Duration::ZERO, Sweep::Now).await?.len())
    }

    /// The first object whose key has these texts.
    async fn object(&self, texts: [&str; 2]) -> Result<String> {
        let lake = self.lake()?;
        let objects = lake.store.objects(&lake.bucket).await.into_iter();
        let mut keys = objects.map(|(key, _)| key);
        let found = keys.find(|key| texts.iter().all(|text| key.contains(text)));
        found.with_context(|| format!("nothing has {texts:?}"))
    }
}

/// What a user may do to single objects.
struct Hand {
    client: Client,
    bucket: String,
}

impl Hand {
    fn of(shop: &Shop, user: &User) -> Result<Self> {
        let client = store::client(&shop.lake()?.store.endpoint(), &user.name, &user.secret);
        let bucket = shop.bucket()?;
        Ok(Self { client, bucket })
    }

    async fn reads(&self, key: &str) -> bool {
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        !is_denied(get.send().await)
    }

    async fn writes(&self, key: &str) -> bool {
        let put = self.client.put_object().bucket(&self.bucket).key(key);
        !is_denied(put.body(b"other".to_vec().into()).send().await)
    }

    async fn removes(&self, key: &str) -> bool {
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        !is_denied(delete.send().await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_warehouse_in_a_bucket_is_loaded_read_and_swept_by_those_who_may() -> Result<()>
{
    let mut shop = Shop::begin().await?;
    let users: Result<Vec<User>> = STAGES.iter().map(|stage| shop.user(stage)).collect();
    let users = users?;
    let (verify, sweep) = (shop.user("verify")?, shop.user("sweep")?);
    for _ in 0..2 {
        shop.day(&users).await?;
        shop.world.live().await?;
    }
    for arguments in [&["verify"][..], &["query", COUNT], &["runs"], &["plan"]] {
        shop.done(&verify, arguments)
            .or_else(|error| match arguments {
                // It found changes, which is no refusal.
                ["plan"] if !error.to_string().contains("AccessDenied") => Ok(()),
                _ => Err(error),
            })?;
    }
    let doctor = shop.user("doctor")?;
    shop.done(&doctor, &["doctor"])?;
    shop.done(&sweep, &["sweep"])?;
    let [extract, transform, load] = users.as_slice() else {
        anyhow::bail!("three stages");
    };
    for (other, role) in [
        (extract, "extract"),
        (transform, "transform"),
        (&verify, "verify"),
    ] {
        let swept = shop.sweep_at_once(other).await;
        ensure!(swept.is_err(), "{role} may sweep the warehouse");
    }
    // It asks the store for its time and notes that it looked, whether or not two days left anything.
    shop.sweep_at_once(&sweep).await?;
    shop.day(&users).await?;

    let landed = shop.object(["lake/ingestion/", "/part-"]).await?;
    let made = shop.object(["lake/processed/", "/part-"]).await?;
    let rows = shop.object(["warehouse/dim_staff/", ".parquet"]).await?;
    let log = shop.object(["warehouse/dim_staff/", "_delta_log/"]).await?;
    let published = shop.object(["warehouse/", "publications/"]).await?;
    for (user, reads) in [
        (extract, false),
        (transform, false),
        (load, true),
        (&verify, true),
    ] {
        let hand = Hand::of(&shop, user)?;
        for key in [&rows, &log, &published] {
            ensure!(hand.reads(key).await == reads, "{} reads {key}", user.name);
        }
    }
    for user in [extract, transform, &verify, &sweep] {
        let hand = Hand::of(&shop, user)?;
        for key in [&log, &published] {
            ensure!(!hand.writes(key).await, "{} writes {key}", user.name);
            ensure!(!hand.removes(key).await, "{} removes {key}", user.name);
        }
        ensure!(!hand.writes(&rows).await, "{} writes {rows}", user.name);
    }
    let stray = "warehouse/dim_staff/part-00000-nobodys.parquet";
    ensure!(Hand::of(&shop, load)?.writes(stray).await);
    ensure!(!Hand::of(&shop, &verify)?.removes(stray).await);
    ensure!(Hand::of(&shop, &sweep)?.removes(stray).await);
    let hand = Hand::of(&shop, load)?;
    ensure!(hand.reads(&made).await && !hand.reads(&landed).await);
    for key in [&landed, &made] {
        ensure!(
            !hand.writes(key).await && !hand.removes(key).await,
            "load and {key}"
        );
    }
    shop.done(&verify, &["verify"])?;
    shop.world.check().await
}

/// With the policy for Amazon, and a key that everything is encrypted with: judged by a model of IAM.
#[tokio::test(flavor = "multi_thread")]
async fn at_amazon_a_policy_is_enough_for_an_embedded_warehouse_and_its_key() -> Result<()> {
    let mut shop = Shop::begin().await?;
    let gate = Gate::before(shop.lake()?.store.port())?;
    shop.world
        .project
        .set("TIDEMILL_LAKE__S3__KMS_KEY", KMS_KEY);
    let key = Key {
        id: KMS_KEY.to_owned(),
        alias: "alias/unused".to_owned(),
        region: "us-east-1".to_owned(),
    };
    for day in 0..2 {
        for (role, arguments) in [
            ("extract", &["extract"][..]),
            ("transform", &["transform"]),
            ("load", &["load"]),
            ("verify", &["query", COUNT]),
            ("sweep", &["sweep"]),
        ] {
            let iam = Iam::new(&shop.policy(role, "")?)?.encrypted_with(key.clone());
            let denied = Denied::default();
            gate.set(denied.noting(iam));
            shop.enter(&gate.endpoint(), None);
            let said = shop.world.call(arguments)?;
            // Rows and indexes of nothing new are left for the sweep.
            let mut denied = denied.take();
            denied.retain(|request| !(request.starts_with("DELETE") && request.contains("/lake/")));
            let is_well = matches!(said.code, Some(0 | 3)) && denied.is_empty();
            ensure!(
                is_well,
                "{role} on day {day} was denied {denied:#?}: {said:#?}"
            );
        }
        shop.world.evolution.run();
        gate.set(|_| Fate::Pass);
        shop.world.check().await?;
        shop.world.live().await?;
    }
    // Without the right to use the key nothing is read or written.
    for (role, statement) in [
        ("extract", "kms:GenerateDataKey"),
        ("verify", "kms:Decrypt"),
    ] {
        let policy = shop.policy(role, "")?;
        ensure!(policy.contains(statement), "{policy}");
        let iam = Iam::new(&policy.replace(statement, "kms:DescribeKey"))?;
        let denied = Denied::default();
        gate.set(denied.noting(iam.encrypted_with(key.clone())));
        shop.enter(&gate.endpoint(), None);
        let call: &[&str] = if role == "extract" {
            &["extract"]
        } else {
            &["query", COUNT]
        };
        let said = shop.world.call(call)?;
        ensure!(
            said.code == Some(1) && !denied.take().is_empty(),
            "{role}: {said:#?}"
        );
    }
    Ok(())
}
