//! The tables of one landing on their way through their modules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tracing::{Instrument as _, Span};

use super::Transformation;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{InputObjects, ManifestLog, ProcessedManifest};
use crate::pipeline::execute::{Outcome, inputs_of};
use crate::pipeline::folder;
use crate::pipeline::modules::Made;
use crate::pipeline::report::{RejectReason, TableTransformed};
use crate::pipeline::spans;
use crate::run::Stage;
use crate::sandbox::Reject;

/// Reasons of refused rows that a report shows.
const REASONS: usize = 8;

/// What became of one table of a landing.
pub(super) enum Attempt {
    /// What was made, and the span in which it was.
    Made(Box<Outcome>, Span),
    Failed(crate::Error),
    /// Another run is at it, or has just made it.
    Elsewhere,
}

impl Transformation<'_> {
    /// Makes the tables that are due, several at a time, until the word to stop comes.
    pub(super) async fn make(
        &self,
        manifest: &ProcessedManifest,
        due: &BTreeSet<String>,
    ) -> Vec<(String, Duration, Attempt)> {
        let mut due: Vec<&Made> = self
            .tables
            .iter()
            .filter(|made| due.contains(&made.table))
            .collect();
        if self.claims.is_some() && !due.is_empty() {
            // Runs that begin at the same time do not all ask for the same table first.
            let first = self
                .maker
                .run
                .as_str()
                .bytes()
                .map(usize::from)
                .sum::<usize>()
                % due.len();
            due.rotate_left(first);
        }
        let mut attempts: Vec<_> = stream::iter(due.into_iter().enumerate())
            .map(|(place, made)| async move {
                let started = Instant::now();
                let attempt = self.attempt(manifest, made).await;
                (place, (made.table.clone(), started.elapsed(), attempt))
            })
            // Not in their order: what is complete must not wait for what is not.
            .buffer_unordered(self.maker.at_once.max(1))
            .take_until(Box::pin(self.halt.called()))
            .collect()
            .await;
        attempts.sort_by_key(|(place, _)| *place);
        attempts.into_iter().map(|(_, attempt)| attempt).collect()
    }

    async fn attempt(&self, manifest: &ProcessedManifest, made: &Made) -> Attempt {
        match self.claim(manifest, made).await {
            Ok(true) => {}
            Ok(false) => return Attempt::Elsewhere,
            Err(error) => return Attempt::Failed(error),
        }
        let observer = &self.maker.observer;
        observer.began(Stage::Transform, &made.table, None);
        let span = spans::table(Stage::Transform, &made.source, &made.table);
        let making = self.make_one(manifest, made).instrument(span.clone());
        let outcome = making.await;
        let said = match &outcome {
            Ok(outcome) => format!(
                "{} rows, {} rejected",
                outcome.rows_out(),
                outcome.rows_rejected()
            ),
            Err(error) => format!("failed: {error}"),
        };
        observer.ended(Stage::Transform, &made.table, &said);
        match outcome {
            Ok(outcome) => Attempt::Made(Box::new(outcome), span),
            Err(error) => {
                spans::failed(&span);
                Attempt::Failed(error)
            }
        }
    }

    /// Takes a table of a landing where runs share the work; false where another has it, or has just made it.
    async fn claim(&self, manifest: &ProcessedManifest, made: &Made) -> Result<bool> {
        let Some(claims) = &self.claims else {
            return Ok(true);
        };
        let work = format!("{}/{:010}", folder(&made.table), manifest.landing);
        if !claims.take(&work).await? {
            return Ok(false);
        }
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        if log.find(manifest.sequence).await?.is_some() {
            // Somebody has committed since the backlog was looked at.
            let newest = log.newest().await?;
            let through = newest.as_ref().and_then(|n| n.through.get(&made.table));
            if through.is_some_and(|through| through.landing >= manifest.landing) {
                claims.release(&work).await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn make_one(&self, manifest: &ProcessedManifest, made: &Made) -> Result<Outcome> {
        let (landing, kept) = (manifest.landing, &manifest.current);
        let (inputs, keys) = inputs_of(&self.landings, &made.module, landing, kept).await?;
        let landing = self.landings.get(landing).await?;
        let prefix = self.made_below(manifest, &made.table);
        let given = (inputs, keys);
        self.maker.make(made, &landing, given, prefix).await
    }
}

pub(super) fn transformed(
    table: &str,
    landing: u64,
    outcome: &Outcome,
    elapsed: Duration,
) -> TableTransformed {
    TableTransformed {
        table: table.to_owned(),
        landing,
        module: outcome.table.module.clone(),
        rows_in: outcome.table.rows_in,
        rows_out: outcome.rows_out(),
        rows_retracted: outcome.rows_retracted(),
        rows_rejected: outcome.rows_rejected(),
        reasons: reasons(&outcome.rejects, |message| outcome.shown(message)),
        fuel: outcome.table.fuel,
        bytes: outcome.bytes(),
        elapsed,
    }
}

/// The commonest reasons for which rows were refused, at most [`REASONS`].
///
/// `shown` makes of a message what may be shown of it.
pub(in crate::pipeline) fn reasons<'r>(
    rejects: &'r [Reject],
    shown: impl Fn(&'r str) -> &'r str,
) -> Vec<RejectReason> {
    let mut by_code: BTreeMap<&str, RejectReason> = BTreeMap::new();
    for reject in rejects {
        by_code
            .entry(&reject.code)
            .or_insert_with(|| RejectReason {
                code: reject.code.clone(),
                message: shown(&reject.message).to_owned(),
                rows: 0,
            })
            .rows += 1;
    }
    let mut reasons: Vec<RejectReason> = by_code.into_values().collect();
    reasons.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.code.cmp(&b.code)));
    reasons.truncate(REASONS);
    reasons
}

/// What a table of a landing is made from, as one digest: the landing, the module with its parameters, and every object
/// in its order. What else decides about the bytes is how they are written.
pub(in crate::pipeline) fn inputs_digest(
    module: &Digest,
    inputs: &[InputObjects],
    landing: &Digest,
) -> Digest {
    let mut parts: Vec<Vec<u8>> = vec![landing.as_bytes().to_vec(), module.as_bytes().to_vec()];
    for input in inputs {
        parts.push(input.table.as_str().as_bytes().to_vec());
        parts.extend(input.base.iter().map(|o| o.sha256.as_bytes().to_vec()));
        for landed in &input.landings {
            parts.push(landed.landing.to_le_bytes().to_vec());
            parts.extend(landed.changed.iter().map(|o| o.sha256.as_bytes().to_vec()));
            parts.push(b"deleted".to_vec());
            parts.extend(landed.deleted.iter().map(|o| o.sha256.as_bytes().to_vec()));
        }
    }
    Digest::of_parts(parts.iter().map(Vec::as_slice))
}
