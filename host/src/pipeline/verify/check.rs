//! One check: a landing's objects are read, or a transform is executed again.

use std::sync::Arc;

use super::Verification;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{
    LandingManifest, ManifestLog, Object, ProcessedManifest, ProcessedTable, Transform,
};
use crate::pipeline::execute::Execution;
use crate::pipeline::inputs::Landings;
use crate::pipeline::modules;
use crate::pipeline::report::VerifyReport;
use crate::pipeline::sensitive::{Granted, NotGranted};
use crate::run::Stage;
use crate::sandbox::Module;
use crate::zone::Zone;
use crate::zone::discard::Discard;
use crate::zone::parquet::{self, Settings};

/// Why a transform cannot be made again.
#[derive(Debug, thiserror::Error)]
#[error("it was written with the settings `{0}`, which this version does not know")]
struct UnknownWriter(String);

impl Classify for UnknownWriter {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some("verify with the version of tidemill that wrote it, or a later one".into())
    }
}

impl Verification<'_> {
    /// Reads what a landing brought.
    pub(super) async fn landing(&self, source: &str, sequence: u64) -> Result<VerifyReport> {
        let mut found = VerifyReport {
            landings: 1,
            ..VerifyReport::default()
        };
        let zone = &self.reader.landed;
        let log = ManifestLog::<LandingManifest>::new(zone.clone(), source);
        let manifest = log.read(sequence).await?;
        let brought = manifest.tables.values();
        for table in brought.filter(|table| table.changed_in == sequence) {
            let newest_segment = table.index.last().into_iter().flat_map(|s| &s.parts);
            let index = newest_segment.map(|part| &part.object);
            for object in table.changed.iter().chain(&table.deleted).chain(index) {
                found.landed_objects += 1;
                read(zone, object, &mut found).await?;
            }
        }
        Ok(found)
    }

    /// Executes a transform again.
    pub(super) async fn transform(&self, sequence: u64, number: usize) -> Result<VerifyReport> {
        let mut found = VerifyReport {
            transforms: 1,
            ..VerifyReport::default()
        };
        let zone = &self.reader.processed;
        let log = ManifestLog::<ProcessedManifest>::new(zone.clone(), "");
        let manifest = log.read(sequence).await?;
        let Some(transform) = manifest.transforms().nth(number) else {
            return Ok(found);
        };
        let made = transform.made;
        for object in [&made.rows, &made.retractions, &made.rejects]
            .into_iter()
            .flatten()
        {
            found.processed_objects += 1;
            read(zone, object, &mut found).await?;
        }
        let name = transform.table;
        self.observer.began(Stage::Transform, name, None);
        match self.again(&transform).await {
            Ok(again) => compare(&manifest, &transform, &again, &mut found),
            Err(error) => differs_or_fails(error.on(name), &mut found)?,
        }
        self.observer.ended(Stage::Transform, name, "replayed");
        Ok(found)
    }

    /// What the module of then makes of the objects of then.
    async fn again(&self, transform: &Transform<'_>) -> Result<ProcessedTable> {
        let recorded = transform.made;
        let settings = Settings::named(transform.writer)
            .ok_or_else(|| UnknownWriter(transform.writer.to_owned()))?;
        let module = self.module(recorded).await?;
        let (table, source) = (transform.table, transform.source);
        let module = Granted::new(self.plan, table, source, module)?;
        let landings = Landings::new(self.reader.landed.clone(), transform.source);
        let mut keys = Vec::new();
        for input in &recorded.inputs {
            let table = input.table.as_str();
            let state = landings.state(table, transform.landing).await?;
            keys.push(state.map(|s| s.table.key).unwrap_or_default());
        }
        let execution = Execution {
            module,
            reader: self.reader.clone(),
            inputs: recorded.inputs.clone(),
            keys,
            logical_time: transform.logical_time,
            landing_sha256: transform.landing_sha256,
            output: Arc::new(Discard),
            prefix: "replay".into(),
            settings,
            observer: self.observer.clone(),
            keep: None,
        };
        Ok(execution.run().await?.table)
    }

    async fn module(&self, recorded: &ProcessedTable) -> Result<Module> {
        // Held while it is compiled, for others would compile the same.
        let mut loaded = self.loaded.lock().await;
        if let Some(module) = loaded.get(&recorded.module.digest) {
            return Ok(module.clone());
        }
        let stored = self.registry.fetch(&recorded.module).await?;
        let (component, parameters) = (stored.component, stored.parameters);
        let known = recorded.module.clone();
        let module = modules::compile(self.sandbox, component, parameters, known).await?;
        loaded.insert(recorded.module.digest, module.clone());
        Ok(module)
    }
}

fn compare(
    manifest: &ProcessedManifest,
    transform: &Transform<'_>,
    again: &ProcessedTable,
    found: &mut VerifyReport,
) {
    let recorded = transform.made;
    for (what, before, now) in [
        ("rows", &recorded.rows, &again.rows),
        ("retractions", &recorded.retractions, &again.retractions),
        ("rejects", &recorded.rejects, &again.rejects),
    ] {
        let digests = |objects: &[Object]| objects.iter().map(|o| o.sha256).collect::<Vec<_>>();
        if digests(before) != digests(now) {
            let (table, landing) = (transform.table, transform.landing);
            let (module, run) = (&recorded.module, &manifest.run);
            found.differences.push(format!(
                "{table} of landing {landing}: {module} gives other {what} than it did in run {run}"
            ));
        }
    }
}

async fn read(zone: &Arc<dyn Zone>, object: &Object, found: &mut VerifyReport) -> Result<()> {
    match parquet::read_verified(zone.as_ref(), &object.key, object.sha256).await {
        Ok(_) => Ok(()),
        Err(error) => differs_or_fails(error.into(), found),
    }
}

/// Notes what is wrong with the data or the code; fails where nothing was found out.
fn differs_or_fails(error: crate::Error, found: &mut VerifyReport) -> Result<()> {
    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Bug) {
        return Err(error);
    }
    found.differences.push(said(&error));
    Ok(())
}

/// An error with its causes.
pub(super) fn said(error: &crate::Error) -> String {
    let mut said = error.story();
    // Nothing differs here: it was not looked at, and whoever reads that can do something about it.
    if let Some(refused) = error.downcast_ref::<NotGranted>()
        && let Some(hint) = refused.hint()
    {
        said = format!("{said}; {hint}");
    }
    said
}
