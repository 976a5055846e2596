//! Verify: every landed object is what its manifest says, and every transform gives the same bytes again. Replay is the
//! same for what one run made.
//!
//! ```text
//! manifests ──▶ checks, in an order that never changes ──several at a time──▶ findings, in that order ──▶ report
//!                                                                              └──▶ position, for who is interrupted
//! ```
//!
//! Checks do not depend on each other, so as many are made at a time as there are cores, and as many modules as memory
//! has room for. What a rebuild names that an earlier manifest names as well is checked once.

mod check;
mod checks;
mod position;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tokio::sync::Mutex;

use super::Pipeline;
use super::inputs::Reader;
use super::report::{Observer, VerifyReport};
use crate::config::Plan;
use crate::digest::Digest;
use crate::error::Result;
use crate::registry::Registry;
use crate::run::RunId;
use crate::sandbox::{Module, Sandbox};
use checks::{Check, Listing};
use position::{Position, PositionFile};

/// How often a line of the log says how far it is.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The verification of one project.
struct Verification<'a> {
    /// The project, for what it grants.
    plan: &'a Plan,
    /// Both zones.
    reader: Reader,
    /// Where the code is.
    registry: &'a Registry,
    /// What runs it.
    sandbox: &'a Arc<Sandbox>,
    /// The names of the sources.
    sources: Vec<String>,
    /// Told of progress.
    observer: Arc<dyn Observer>,
    /// The run to look at; `None` for all.
    only: Option<RunId>,
    /// Checks at the same time.
    at_once: usize,
    /// Where it is noted how far it is, and whether to go on from there; `None` of what takes no time.
    position: Option<(PositionFile, bool)>,
    /// Modules that are loaded, by digest.
    loaded: Mutex<HashMap<Digest, Module>>,
}

impl Pipeline {
    /// Checks every landed object and executes every transform again, where it is to `resume` from where one was
    /// interrupted.
    ///
    /// # Errors
    /// `Unavailable` when a zone does not answer. What differs is in the report instead.
    pub async fn verify(&self, resume: bool) -> Result<VerifyReport> {
        let position = PositionFile::of(&self.plan.base);
        self.verified(None, Some((position, resume))).await
    }

    /// Checks what `run` landed, and executes the transforms of that run again: each with the module that it recorded,
    /// on the objects that it recorded.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn replay(&self, run: &RunId) -> Result<VerifyReport> {
        self.verified(Some(run.clone()), None).await
    }

    async fn verified(
        &self,
        only: Option<RunId>,
        position: Option<(PositionFile, bool)>,
    ) -> Result<VerifyReport> {
        let verification = Verification {
            only,
            plan: &self.plan,
            reader: self.reader(),
            registry: &self.registry,
            sandbox: &self.sandbox,
            sources: self.plan.sources.keys().cloned().collect(),
            observer: self.observer.clone(),
            at_once: at_once(self.plan.limits.memory_bytes),
            position,
            loaded: Mutex::default(),
        };
        verification.run().await
    }
}

impl Verification<'_> {
    /// Checks every manifest of every source, and everything that was processed.
    ///
    /// # Errors
    /// `Unavailable` when a zone does not answer. What differs is in the report instead.
    async fn run(self) -> Result<VerifyReport> {
        let mut listing = Listing::new(&self.reader, &self.sources, self.only.as_ref());
        let mut position = self.begin(&mut listing).await?;
        position.segments.push(listing.rest().await?);
        let of = listing.checks.len() as u64;
        let rest = listing.checks.into_iter().skip(position.done_as_usize());
        let mut findings = stream::iter(rest)
            .map(|check| self.check(check))
            .buffered(self.at_once.max(1));
        let mut logged = Instant::now();
        while let Some(found) = findings.next().await {
            position.report.add(found?);
            position.done += 1;
            self.observer.checked(position.done, of);
            if logged.elapsed() >= LOG_EVERY {
                tracing::info!(done = position.done, of, "verifying");
                logged = Instant::now();
            }
            if let Some((file, _)) = &self.position {
                file.write(&position);
            }
        }
        if let Some((file, _)) = &self.position {
            file.remove();
        }
        tracing::info!(done = position.done, of, "verified");
        Ok(position.report)
    }

    /// The position to go on from: that of before, where that is wanted and the history is still the same.
    async fn begin(&self, listing: &mut Listing<'_>) -> Result<Position> {
        let Some((file, true)) = &self.position else {
            return Ok(Position::default());
        };
        let begin_again = |why: &str| {
            tracing::warn!(why, "verifying from the beginning");
            let mut position = Position::default();
            position.report.begun_again = Some(why.to_owned());
            position
        };
        let mut position = match file.read() {
            Ok(Some(position)) => position,
            Ok(None) => return Ok(begin_again("no verification was interrupted")),
            Err(why) => return Ok(begin_again(&why)),
        };
        for segment in &position.segments {
            if listing.segment(&segment.through).await? != segment.sha256 {
                listing.clear();
                return Ok(begin_again("the position is of another history"));
            }
        }
        if position.done > listing.checks.len() as u64 {
            listing.clear();
            return Ok(begin_again("the position is of another history"));
        }
        position.report.resumed_after = Some(position.done);
        Ok(position)
    }

    async fn check(&self, check: Check) -> Result<VerifyReport> {
        match check {
            Check::Unreadable(said) => Ok(VerifyReport {
                differences: vec![said],
                ..VerifyReport::default()
            }),
            Check::Landing { source, sequence } => self.landing(&source, sequence).await,
            Check::Transform { sequence, number } => self.transform(sequence, number).await,
        }
    }
}

/// Checks that are made at the same time: one for each core, but no more than there is memory for modules that all take
/// what they may.
fn at_once(memory_bytes: u64) -> usize {
    /// What the host needs beside a module: batches on their way in and out, and what is written.
    const BESIDE: u64 = 64 << 20;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let Some(available) = available_bytes() else {
        return cores;
    };
    let fitting = available / 2 / memory_bytes.saturating_add(BESIDE).max(1);
    usize::try_from(fitting).unwrap_or(cores).clamp(1, cores)
}

/// The memory that can be had without swapping, where the system says it.
fn available_bytes() -> Option<u64> {
    let said = std::fs::read_to_string("/proc/meminfo").ok()?;
    available_of(&said)
}

fn available_of(said: &str) -> Option<u64> {
    let mut lines = said.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_system_says_is_available() {
        let said = "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available_of(said), Some(2 << 20));
        assert_eq!(available_of("MemAvailable: many kB"), None);
        assert_eq!(available_of(""), None);
    }

    #[test]
    fn one_check_at_least_is_made_whatever_a_module_may_take() {
        assert_eq!(at_once(u64::MAX), 1);
        assert!(at_once(1) >= 1);
    }
}
