//! Whether the zones and the warehouse tell one history. A zone that lost its newest manifests, or was restored
//! from an older copy, or is another one, looks like one that has nothing new.

use super::inputs::Landings;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::ProcessedManifest;
use crate::warehouse::Ledger;

/// What one place has and the place before it does not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// Landings are gone that were made into tables.
    #[error(
        "landing {done} of `{source_name}` has been transformed, and the landing zone ends at {newest}"
    )]
    Landed {
        /// The source's name.
        source_name: String,
        /// The newest landing that was transformed.
        done: u64,
        /// The newest landing there is; 0 for none.
        newest: u64,
    },
    /// A landing is not the one that was made into tables.
    #[error("landing {landing} of `{source_name}` is not the one that has been transformed")]
    Other {
        /// The source's name.
        source_name: String,
        /// The landing.
        landing: u64,
    },
    /// Processed landings are gone that were loaded.
    #[error(
        "landing {done} of `{source_name}` has been loaded, and the processed zone ends at {newest}"
    )]
    Processed {
        /// The source's name.
        source_name: String,
        /// The newest landing that was loaded.
        done: u64,
        /// The newest landing that is processed; 0 for none.
        newest: u64,
    },
}

impl Classify for HistoryError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Data
    }

    fn hint(&self) -> Option<String> {
        Some(
            "manifests were lost or replaced, or `lake` names another zone: restore them from a copy, or name the \
             zone that belongs to the rest"
                .into(),
        )
    }
}

/// Whether every landing of `source` that is processed is landed, and the newest of them is the same.
///
/// # Errors
/// `Data` when not, `Unavailable` when the zone does not answer.
pub(super) async fn check_landed(
    source: &str,
    landings: &Landings,
    processed: &ProcessedManifest,
) -> Result<()> {
    let done = through(processed, source);
    if done == 0 {
        return Ok(());
    }
    let newest = landings.newest().await?.map_or(0, |m| m.sequence);
    if newest < done {
        return Err(HistoryError::Landed {
            source_name: source.to_owned(),
            done,
            newest,
        }
        .into());
    }
    let landing = processed.landing;
    if processed.source == source && landings.get(landing).await?.1 != processed.landing_sha256 {
        return Err(HistoryError::Other {
            source_name: source.to_owned(),
            landing,
        }
        .into());
    }
    Ok(())
}

/// Whether every landing that is loaded is processed.
///
/// # Errors
/// `Data` when not.
pub(super) fn check_processed(
    ledger: &Ledger,
    processed: Option<&ProcessedManifest>,
) -> Result<(), HistoryError> {
    for sources in ledger.through.values() {
        for (source, &done) in sources {
            let newest = processed.map_or(0, |processed| through(processed, source));
            if newest < done {
                return Err(HistoryError::Processed {
                    source_name: source.clone(),
                    done,
                    newest,
                });
            }
        }
    }
    Ok(())
}

/// The newest landing of `source` that some table is made of; 0 for none.
fn through(processed: &ProcessedManifest, source: &str) -> u64 {
    let of_source = processed.through.values().filter(|t| t.source == source);
    of_source.map(|t| t.landing).max().unwrap_or(0)
}
