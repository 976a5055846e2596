//! Rebuild: a warehouse table made anew from everything that is landed, by the version of its module that is in use.
//!
//! ```text
//! promotion (rebuild) ──▶ landing 1 … n through the module ──▶ ONE processed manifest ──▶ ONE warehouse commit
//!                           computed before? used again          `rebuilds`                rows, ledger, `rebuilt`
//! ```
//!
//! A promotion alone says what makes the rows from then on. A rebuild says that the rows that are there are to be what
//! that version would have made of them from the beginning. The source has no part in it: landings never change.
//!
//! **What it writes.** Output objects as every transform does, and one processed manifest, the next of the same log,
//! whose `rebuilds` names for each table every landing with its module, inputs, outputs and the run that executed it. One
//! manifest, because a rebuild is whole or was never there; one of the same log, because then its number says what came
//! before and after it, of two that rebuild at once (or rebuild and run) one is told, notes and sweeping hold as they
//! are, and `verify` and `replay` find it where they look. A manifest for each landing was rejected: half a rebuild
//! would have to be told from a whole one by everybody who reads the log. `rebuilt` is carried on by all later
//! manifests, so the newest still says all that a run needs to know.
//!
//! **What is pending.** A promotion that asks for a rebuild is a wish on record: until `rebuilt` names the promotion,
//! the next run fulfils it before it transforms anything, and the table stops there if it cannot. A manifest with a
//! rebuild is pending until the ledger names its number; what was processed before it is not loaded any more. So a
//! kill after the promotion, between two landings, before the manifest, before or in the swap leaves the old table
//! served, and either the next run or the same command goes on: there is nothing to undo.
//!
//! **Who is faster.** A run that began before commits its landing with the version it began with; the rebuild is then
//! refused its number, takes the next, and makes what that landing added. Nothing is computed twice for it: what it has
//! written is still named by its note. Where the other has done the same rebuild there is nothing left to do. A run that
//! loaded its modules before a rebuild and would commit after it is told so, and leaves that table alone.
//!
//! **What is not computed.** An output depends on the landing, the module with its parameters (and so the contract that
//! it was built for), the objects of its inputs and the writer's settings, and on nothing else. Where any manifest names
//! one that was made of the same, and its objects are there, it is named again, with the run that made it: going back to
//! an earlier version computes what was landed since. Of an `overwrite` table the newest landing is the whole table, so
//! no other is made; its rows then say that they come from that landing.

mod outputs;
mod rebuilding;
pub mod report;

use std::collections::BTreeMap;
use std::time::Instant;

use super::Pipeline;
use super::modules::{self, Made};
use super::report::TransformReport;
use crate::error::{Classify as _, ErrorKind, Result};
use crate::manifest::{LastRebuild, ProcessedManifest};
use crate::registry::{Promotion, Wanted};
use crate::run::{RunId, Stage};
use rebuilding::{Rebuilding, Rebuilt, Wish};
use report::RebuildReport;

/// What a run knew of rebuilds before it loaded its modules.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// By warehouse table, when it was rebuilt last.
    pub(super) rebuilt: BTreeMap<String, LastRebuild>,
    /// By warehouse table, the promotion of its module, where that wishes for a rebuild.
    pub(super) wishes: BTreeMap<String, u64>,
}

impl Pipeline {
    /// Makes `tables` anew from everything that is landed and puts them into the place of those that are there.
    ///
    /// # Errors
    /// `Config` when the project makes no such table or its module cannot be had, `Conflict` when another run loads at
    /// the same time, `Unavailable`. A module's failure is in the report instead, and its table is as it was.
    pub async fn rebuild(&self, run: &RunId, tables: &[String]) -> Result<RebuildReport> {
        let mut wishes = Vec::new();
        for table in tables {
            // First, for a later promotion may wish for another.
            let promotion = self.promotion_of(table).await?;
            let made = modules::load_one(&self.shelf(), table).await?;
            wishes.push(Wish {
                made,
                promotion: promotion.map(|promotion| promotion.sequence),
                anew: true,
            });
        }
        self.rebuilt(run, wishes).await
    }

    /// Makes those tables anew that the project makes with what was promoted.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild).
    pub async fn rebuild_promoted(
        &self,
        run: &RunId,
        promotion: &Promotion,
    ) -> Result<RebuildReport> {
        let mut wishes = Vec::new();
        for (table, transform) in &self.plan.transforms {
            let wanted: Wanted = transform.module.parse()?;
            if wanted.name != promotion.name {
                continue;
            }
            let made = modules::load_one(&self.shelf(), table).await?;
            if *made.module.reference() == promotion.module() {
                wishes.push(Wish {
                    made,
                    promotion: Some(promotion.sequence),
                    // Promoted some time ago without the wish: it is wished now.
                    anew: !promotion.rebuild,
                });
            }
        }
        self.rebuilt(run, wishes).await
    }

    /// Whether a rebuild could be loaded: asked before anything is promoted.
    ///
    /// # Errors
    /// `Config` when the warehouse's URL is wrong.
    pub async fn check_warehouse(&self) -> Result<()> {
        self.warehouse().await.map(drop)
    }

    async fn rebuilt(&self, run: &RunId, wishes: Vec<Wish>) -> Result<RebuildReport> {
        let clock = Instant::now();
        let mut report = RebuildReport::of(run);
        report.add(self.fulfil(run, wishes).await?);
        report.load = Some(self.load(run).await?);
        report.elapsed = clock.elapsed();
        Ok(report)
    }

    async fn fulfil(&self, run: &RunId, wishes: Vec<Wish>) -> Result<Rebuilt> {
        let rebuilding = Rebuilding {
            wishes,
            landed: self.landed.clone(),
            maker: self.maker(run),
        };
        let rebuilt = rebuilding.run().await;
        rebuilt.map_err(|error| error.at(Stage::Transform))
    }

    /// What was rebuilt so far, and what promotions wish. Asked before modules are loaded: whoever rebuilds later than
    /// that may do it with a version that this run does not have.
    pub(super) async fn standing(&self) -> Result<Standing> {
        let newest = self.processed_log().newest().await?;
        let mut standing = Standing {
            rebuilt: newest.map(|newest| newest.rebuilt).unwrap_or_default(),
            wishes: BTreeMap::new(),
        };
        let history = match self.registry.history().await {
            Ok(history) => history,
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.into()),
            // Then no module that is promoted can be loaded either, and that is told.
            Err(_) => Vec::new(),
        };
        if history.iter().any(|promotion| promotion.rebuild) {
            for table in self.plan.transforms.keys() {
                let promotion = self.promotion_of(table).await?;
                if let Some(wish) = promotion.filter(|promotion| promotion.rebuild) {
                    standing.wishes.insert(table.clone(), wish.sequence);
                }
            }
        }
        Ok(standing)
    }

    /// Fulfils what promotions wish that no manifest has heeded yet. Tables that cannot be rebuilt are taken out of
    /// `made`, for what they get from here on would not fit what they have.
    pub(super) async fn rebuild_due(
        &self,
        run: &RunId,
        standing: &mut Standing,
        made: &mut Vec<Made>,
        report: &mut TransformReport,
    ) -> Result<()> {
        if standing.wishes.is_empty() {
            return Ok(());
        }
        let newest = self.processed_log().newest().await?;
        let due = |made: &&Made| {
            let wish = standing.wishes.get(&made.table);
            wish.is_some_and(|wish| is_due(newest.as_ref(), &made.table, *wish))
        };
        let wishes = made.iter().filter(due).map(|made| Wish {
            made: made.clone(),
            promotion: standing.wishes.get(&made.table).copied(),
            anew: false,
        });
        let wishes: Vec<Wish> = wishes.collect();
        if wishes.is_empty() {
            return Ok(());
        }
        let rebuilt = self.fulfil(run, wishes).await?;
        let failed = |table: &str| rebuilt.failures.iter().any(|f| f.table == table);
        made.retain(|made| !failed(&made.table));
        standing.rebuilt.extend(rebuilt.committed);
        report.rebuilt.extend(rebuilt.tables);
        report.failures.extend(rebuilt.failures);
        Ok(())
    }

    /// Whether the next run makes `table` anew.
    pub(super) async fn is_rebuild_due(
        &self,
        table: &str,
        newest: Option<&ProcessedManifest>,
    ) -> Result<bool> {
        let promotion = self.promotion_of(table).await?;
        let wish = promotion.filter(|promotion| promotion.rebuild);
        Ok(wish.is_some_and(|wish| is_due(newest, table, wish.sequence)))
    }

    /// The promotion of what makes a table.
    async fn promotion_of(&self, table: &str) -> Result<Option<Promotion>> {
        let wanted = match self.plan.transforms.get(table) {
            Some(transform) => &transform.module,
            None => return Ok(None),
        };
        Ok(self.registry.promotion(wanted).await?)
    }
}

/// Whether a promotion's wish for a rebuild has not been heeded yet. A table that was never made has nothing to rebuild.
fn is_due(newest: Option<&ProcessedManifest>, table: &str, promotion: u64) -> bool {
    newest.is_some_and(|newest| {
        let heeded = newest.rebuilt.get(table).and_then(|last| last.promotion);
        newest.through.contains_key(table) && heeded != Some(promotion)
    })
}
