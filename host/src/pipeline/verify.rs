//! Verify: every landed object is what its manifest says, and every transform gives the same bytes again. Replay is the
//! same for what one run made.

use std::collections::HashMap;
use std::sync::Arc;

use super::execute::Execution;
use super::inputs::{Landings, Reader};
use super::report::{Observer, VerifyReport};
use super::sensitive::{Granted, NotGranted};
use crate::config::Plan;
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{LandingManifest, ManifestLog, Object, ProcessedManifest, ProcessedTable};
use crate::registry::Registry;
use crate::run::{RunId, Stage};
use crate::sandbox::{Module, Sandbox};
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

/// The verification of one project.
pub(super) struct Verification<'a> {
    /// The project: its sources, and what it grants.
    pub(super) plan: &'a Plan,
    /// Both zones.
    pub(super) reader: Reader,
    /// Where the code is.
    pub(super) registry: &'a Registry,
    /// What runs it.
    pub(super) sandbox: &'a Arc<Sandbox>,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
    /// The run to look at; `None` for all.
    pub(super) only: Option<RunId>,
    /// Modules that are loaded, by digest.
    pub(super) loaded: HashMap<Digest, Module>,
    /// What was found.
    pub(super) report: VerifyReport,
}

impl Verification<'_> {
    /// Checks every manifest of every source, and everything that was processed.
    ///
    /// # Errors
    /// `Unavailable` when a zone does not answer. What differs is in the report instead.
    pub(super) async fn run(mut self) -> Result<VerifyReport> {
        let plan = self.plan;
        for source in plan.sources.keys() {
            self.landings(source).await?;
        }
        self.processed().await?;
        Ok(self.report)
    }

    async fn landings(&mut self, source: &str) -> Result<()> {
        let log = ManifestLog::<LandingManifest>::new(self.reader.landed.clone(), source);
        let newest = match log.newest().await {
            Ok(newest) => newest.map_or(0, |m| m.sequence),
            Err(error) => return self.differs_or_fails(error.into()),
        };
        let zone = self.reader.landed.clone();
        for sequence in 1..=newest {
            let manifest = match log.read(sequence).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    self.differs_or_fails(error.into())?;
                    continue;
                }
            };
            if !self.is_wanted(&manifest.run) {
                continue;
            }
            self.report.landings += 1;
            for table in manifest
                .tables
                .values()
                .filter(|t| t.changed_in == sequence)
            {
                let newest_segment = table.index.last().into_iter().flat_map(|s| &s.parts);
                let index = newest_segment.map(|part| &part.object);
                for object in table.changed.iter().chain(&table.deleted).chain(index) {
                    self.object(&zone, object).await?;
                }
            }
        }
        Ok(())
    }

    fn is_wanted(&self, run: &RunId) -> bool {
        self.only.as_ref().is_none_or(|only| only == run)
    }

    async fn object(&mut self, zone: &Arc<dyn Zone>, object: &Object) -> Result<()> {
        self.report.landed_objects += 1;
        match parquet::read_verified(zone.as_ref(), &object.key, object.sha256).await {
            Ok(_) => Ok(()),
            Err(error) => self.differs_or_fails(error.into()),
        }
    }

    async fn processed(&mut self) -> Result<()> {
        let log = ManifestLog::<ProcessedManifest>::new(self.reader.processed.clone(), "");
        let newest = match log.newest().await {
            Ok(newest) => newest.map_or(0, |m| m.sequence),
            Err(error) => return self.differs_or_fails(error.into()),
        };
        for sequence in 1..=newest {
            let manifest = match log.read(sequence).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    self.differs_or_fails(error.into())?;
                    continue;
                }
            };
            if !self.is_wanted(&manifest.run) {
                continue;
            }
            let landings = Landings::new(self.reader.landed.clone(), &manifest.source);
            for (name, table) in &manifest.tables {
                self.report.transforms += 1;
                self.observer.began(Stage::Transform, name, None);
                if let Err(error) = self.table(&manifest, name, table, &landings).await {
                    self.differs_or_fails(error.on(name))?;
                }
                self.observer.ended(Stage::Transform, name, "replayed");
            }
        }
        Ok(())
    }

    /// Executes one transform again and compares every object.
    async fn table(
        &mut self,
        manifest: &ProcessedManifest,
        name: &str,
        recorded: &ProcessedTable,
        landings: &Landings,
    ) -> Result<()> {
        let zone = self.reader.processed.clone();
        let written = [&recorded.rows, &recorded.retractions, &recorded.rejects];
        for object in written.into_iter().flatten() {
            self.report.processed_objects += 1;
            if let Err(error) =
                parquet::read_verified(zone.as_ref(), &object.key, object.sha256).await
            {
                self.differs_or_fails(error.into())?;
            }
        }
        let settings = Settings::named(&manifest.writer)
            .ok_or_else(|| UnknownWriter(manifest.writer.clone()))?;
        let module = self.module(recorded).await?;
        let module = Granted::new(self.plan, name, &manifest.source, module)?;
        let mut keys = Vec::new();
        for input in &recorded.inputs {
            let state = landings
                .state(input.table.as_str(), manifest.landing)
                .await?;
            keys.push(state.map(|s| s.table.key).unwrap_or_default());
        }
        let execution = Execution {
            module,
            reader: self.reader.clone(),
            inputs: recorded.inputs.clone(),
            keys,
            logical_time: manifest.logical_time,
            landing_sha256: manifest.landing_sha256,
            output: Arc::new(Discard),
            prefix: "replay".into(),
            settings,
            observer: self.observer.clone(),
            keep: None,
        };
        let again = execution.run().await?.table;
        for (what, before, now) in [
            ("rows", &recorded.rows, &again.rows),
            ("retractions", &recorded.retractions, &again.retractions),
            ("rejects", &recorded.rejects, &again.rejects),
        ] {
            let digests = |objects: &[Object]| objects.iter().map(|o| o.sha256).collect::<Vec<_>>();
            if digests(before) != digests(now) {
                self.report.differences.push(format!(
                    "{name} of landing {}: {} gives other {what} than it did in run {}",
                    manifest.landing, recorded.module, manifest.run
                ));
            }
        }
        Ok(())
    }

    async fn module(&mut self, recorded: &ProcessedTable) -> Result<Module> {
        if let Some(module) = self.loaded.get(&recorded.module.digest) {
            return Ok(module.clone());
        }
        let stored = self.registry.fetch(&recorded.module).await?;
        let module = super::modules::compile(
            self.sandbox,
            stored.component,
            stored.parameters,
            recorded.module.clone(),
        )
        .await?;
        self.loaded.insert(recorded.module.digest, module.clone());
        Ok(module)
    }

    /// Notes what is wrong with the data or the code; fails where nothing was found out.
    fn differs_or_fails(&mut self, error: crate::Error) -> Result<()> {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Bug) {
            return Err(error);
        }
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            said = format!("{said}: {inner}");
            cause = inner.source();
        }
        // Nothing differs here: it was not looked at, and whoever reads that can do something about it.
        if let Some(refused) = error.downcast_ref::<NotGranted>()
            && let Some(hint) = refused.hint()
        {
            said = format!("{said}; {hint}");
        }
        self.report.differences.push(said);
        Ok(())
    }
}
