//! An account: buckets, a source, a warehouse, and the functions of the three stages.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use tidemill_tests::lambda::{Answer, Function};
use tidemill_tests::store::Store;
use tidemill_tests::world::{At, Beginning, World};

use super::LONG;

/// Everything that a company has in its account.
pub(crate) struct Account {
    pub(crate) world: World,
    pub(crate) store: Arc<Store>,
    pub(crate) ingestion: String,
    pub(crate) processed: String,
    /// Manifests that a function has been told of.
    told: BTreeSet<String>,
}

impl Account {
    /// A company that nothing has run for.
    pub(crate) async fn empty(beginning: Beginning) -> Result<Self> {
        let store = Store::shared();
        let mut world = World::begin(beginning).await?;
        for (name, value) in store.environment() {
            world.project.set(&name, &value);
        }
        let (ingestion, processed, modules) = (
            store.fresh_bucket().await,
            store.fresh_bucket().await,
            store.fresh_bucket().await,
        );
        for (zone, bucket) in [
            ("INGESTION", &ingestion),
            ("PROCESSED", &processed),
            ("MODULES", &modules),
        ] {
            let name = format!("TIDEMILL_LAKE__{zone}");
            world.project.set(&name, &format!("s3://{bucket}"));
        }
        copy(&world.project.path().join("lake/modules"), &store, &modules).await?;
        Ok(Self {
            world,
            store,
            ingestion,
            processed,
            told: BTreeSet::new(),
        })
    }

    /// A company with everything on real servers.
    pub(crate) async fn on_servers() -> Result<Self> {
        Self::sized(0.2).await
    }

    /// The same in another size.
    pub(crate) async fn sized(scale: f64) -> Result<Self> {
        Self::empty(Beginning {
            scale,
            ..Beginning::at(At::Postgres)
        })
        .await
    }

    /// The same after the first landing, and the function that made it.
    pub(crate) async fn landed() -> Result<(Self, Function)> {
        let account = Self::on_servers().await?;
        let mut extract = account.function("extract")?;
        let answer = account.call(&mut extract, &schedule()).await?;
        answer.being("done")?;
        Ok((account, extract))
    }

    /// A function that does one stage.
    pub(crate) fn function(&self, stage: &str) -> Result<Function> {
        self.function_with(stage, &[])
    }

    /// The same with more variables.
    pub(crate) fn function_with(&self, stage: &str, more: &[(&str, &str)]) -> Result<Function> {
        let variables = [&[("TIDEMILL_STAGE", stage)], more].concat();
        Function::new(&self.world.project, stage, &variables)
    }

    /// Calls a function with all the time that it could need.
    pub(crate) async fn call(&self, function: &mut Function, event: &Value) -> Result<Answer> {
        function.call(&self.world.project, event, LONG).await
    }

    /// The manifests in a bucket of which nobody has been told, each as `bucket/key`.
    pub(crate) async fn news(&mut self, bucket: &str) -> Vec<(String, String)> {
        let mut news = Vec::new();
        for (key, _) in self.store.objects(bucket).await {
            let is_manifest = key.contains("_manifests/");
            if is_manifest && self.told.insert(format!("{bucket}/{key}")) {
                news.push((bucket.to_owned(), key));
            }
        }
        news
    }

    /// The keys of a bucket that begin so.
    pub(crate) async fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let objects = self.store.objects(bucket).await.into_iter();
        let keys = objects.map(|(key, _)| key);
        keys.filter(|key| key.starts_with(prefix)).collect()
    }

    /// Checks star and versions after a landing of everything.
    pub(crate) async fn check(&mut self) -> Result<()> {
        self.world.evolution.run();
        self.world.check().await
    }
}

/// The input of a schedule that says nothing.
pub(crate) fn schedule() -> Value {
    json!({
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "resources": ["arn:aws:scheduler:eu-west-2:123456789012:schedule/default/tidemill"],
        "detail": "{}",
    })
}

/// Puts the files of a folder into a bucket.
async fn copy(folder: &Path, store: &Store, bucket: &str) -> Result<()> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let key = path.strip_prefix(folder)?.display().to_string();
            let put = store.client().put_object().bucket(bucket).key(&key);
            put.body(std::fs::read(&path)?.into()).send().await?;
        }
    }
    Ok(())
}
