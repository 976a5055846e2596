//! The commit of a manifest, where another run may be faster with its number.

use super::Transformation;
use crate::error::Result;
use crate::manifest::{ManifestError, ManifestLog, ProcessedManifest};
use crate::pipeline::sweep::{Begun, Notes};

/// A manifest that stands in the log.
pub(super) struct Committed {
    /// The newest one.
    pub(super) newest: ProcessedManifest,
    /// The note of it.
    pub(super) begun: Begun,
    /// Whether this run committed it; if not, others have made all of it.
    pub(super) ours: bool,
}

impl Transformation<'_> {
    /// Commits a manifest. Where runs share the work and another was faster with this number, it is put on top of that
    /// one's, with those of its tables that nobody else has made: what a table is made of does not depend on it.
    pub(super) async fn commit(
        &self,
        notes: &Notes<ProcessedManifest>,
        begun: Begun,
        manifest: ProcessedManifest,
        base: Option<ProcessedManifest>,
    ) -> Result<Committed> {
        if self.claims.is_none() {
            notes.commit(&begun, &self.maker.output, &manifest).await?;
            return Ok(Committed {
                newest: manifest,
                begun,
                ours: true,
            });
        }
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let (mut begun, mut manifest) = (begun, manifest);
        loop {
            match log.commit(&manifest).await {
                Ok(()) => {
                    return Ok(Committed {
                        newest: manifest,
                        begun,
                        ours: true,
                    });
                }
                Err(ManifestError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(newest) = log.newest().await? else {
                continue;
            };
            let on_top = self.on_top(manifest, base.as_ref(), &newest).await?;
            if on_top.tables.is_empty() {
                return Ok(Committed {
                    newest,
                    begun,
                    ours: false,
                });
            }
            // The new note before the old one goes: an object is never without one.
            let due = on_top.tables.keys().cloned().collect();
            let next = notes
                .begin(
                    &self.maker.run,
                    on_top.sequence,
                    self.prefixes(&on_top, &due),
                )
                .await?;
            notes.forget(&begun).await;
            tracing::info!(
                manifest = on_top.sequence,
                "another run was faster: on top of it"
            );
            (begun, manifest) = (next, on_top);
        }
    }

    /// What of `ours`, which was made on top of `base`, is still to be done on top of `newest`.
    async fn on_top(
        &self,
        ours: ProcessedManifest,
        base: Option<&ProcessedManifest>,
        newest: &ProcessedManifest,
    ) -> Result<ProcessedManifest> {
        let mut manifest = self.manifest(ours.landing, Some(newest)).await?;
        for (table, made) in ours.tables {
            let before = base.and_then(|base| base.through.get(&table));
            let rebuilt = base.and_then(|base| base.rebuilt.get(&table));
            let is_ours =
                newest.through.get(&table) == before && newest.rebuilt.get(&table) == rebuilt;
            if is_ours {
                self.note(&mut manifest, &table, ours.landing);
                manifest.tables.insert(table, made);
            }
        }
        for (table, kept) in ours.current {
            let known = manifest.current.get(&table).map(|known| known.landing);
            if known.is_none_or(|known| known < kept.landing) {
                manifest.current.insert(table, kept);
            }
        }
        Ok(manifest.formatted())
    }
}
