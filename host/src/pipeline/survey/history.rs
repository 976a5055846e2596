//! What there is: past runs, and modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::manifest::{LandingManifest, ManifestLog, ProcessedManifest, rows_of};
use crate::pipeline::report::{
    LandedSummary, LandingSummary, ModuleListing, RunSummary, TransformSummary,
};
use crate::registry::{Registry, RegistryError, Trust};
use crate::run::RunId;
use crate::zone::Zone;

/// Past runs put together from the manifests, the newest first.
///
/// # Errors
/// `Data` when a manifest is damaged, `Unavailable`.
pub(in crate::pipeline) async fn runs(
    sources: impl Iterator<Item = &String>,
    landed: &Arc<dyn Zone>,
    processed: &Arc<dyn Zone>,
) -> Result<Vec<RunSummary>> {
    let mut runs: BTreeMap<RunId, RunSummary> = BTreeMap::new();
    for source in sources {
        let log = ManifestLog::<LandingManifest>::new(landed.clone(), source);
        let newest = log.newest().await?.map_or(0, |m| m.sequence);
        for sequence in 1..=newest {
            let manifest = log.read(sequence).await?;
            let run = summary(&mut runs, &manifest.run);
            run.landings.push(landing_summary(manifest));
        }
    }
    let log = ManifestLog::<ProcessedManifest>::new(processed.clone(), "");
    let newest = log.newest().await?.map_or(0, |m| m.sequence);
    for sequence in 1..=newest {
        let manifest = log.read(sequence).await?;
        let run = summary(&mut runs, &manifest.run);
        run.transforms
            .extend(manifest.transforms().map(|transform| TransformSummary {
                table: transform.table.to_owned(),
                landing: transform.landing,
                rows_in: transform.made.rows_in,
                rows_out: rows_of(&transform.made.rows),
                rows_rejected: rows_of(&transform.made.rejects),
                reused: *transform.run != manifest.run,
                module: transform.made.module.clone(),
            }));
    }
    Ok(runs.into_values().rev().collect())
}

fn summary<'a>(runs: &'a mut BTreeMap<RunId, RunSummary>, run: &RunId) -> &'a mut RunSummary {
    runs.entry(run.clone()).or_insert_with(|| RunSummary {
        run: run.clone(),
        landings: Vec::new(),
        transforms: Vec::new(),
    })
}

fn landing_summary(manifest: LandingManifest) -> LandingSummary {
    let tables = manifest
        .tables
        .into_iter()
        .filter_map(|(name, table)| {
            Some(LandedSummary {
                table: name.as_str().to_owned(),
                window: table.window.clone()?,
                rows_changed: table.changed_rows(),
                rows_deleted: table.deleted_rows(),
            })
        })
        .collect();
    LandingSummary {
        source: manifest.source,
        landing: manifest.sequence,
        logical_time: manifest.logical_time,
        tables,
    }
}

/// The modules in the registry, by name and version.
///
/// # Errors
/// `Data` when a record is damaged, `Unavailable`.
pub(in crate::pipeline) async fn modules(
    registry: &Registry,
    trust: &Trust,
) -> Result<Vec<ModuleListing>> {
    let history = registry.history().await?;
    let mut modules = Vec::new();
    for name in registry.names().await? {
        let active = history
            .iter()
            .rev()
            .find(|promotion| promotion.name == name);
        for version in registry.versions(&name).await? {
            let stored = registry.read(&name, &version.to_string()).await?;
            let module = stored.module();
            let promotion = history.iter().rev().find(|p| p.module() == module);
            let vouched_by = match registry.voucher(&stored, trust).await {
                Ok(voucher) => Some(voucher),
                Err(RegistryError::Zone(error)) => return Err(error.into()),
                Err(_) => None,
            };
            modules.push(ModuleListing {
                active: active.is_some_and(|active| active.module() == module),
                promoted: promotion.map(|p| p.when),
                by: promotion.map(|p| p.who.clone()),
                why: promotion.map(|p| p.why.clone()),
                vouched_by,
                bytes: stored.component.len() as u64,
                module,
            });
        }
    }
    Ok(modules)
}
