//! Changes of a source's schema: every kind under every policy, each on a table of its own, so that what one
//! comes to is seen beside the others.
//!
//! ```text
//! run ──▶ all changes at once ──▶ plan ──▶ run ──▶ run --accept … ──▶ run ──▶ verify
//! ```
//!
//! After every run the star is compared with what the source implies now for the tables that were landed, and
//! with what it implied before for those that were stopped.

mod accepted;
mod mid_run;
mod postgres;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::oracle;
use tidemill_tests::star::Star;

use super::world::{World, report_of};

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Landed,
    LeftOut,
    Stopped,
}

use Fate::{Landed, LeftOut, Stopped};

/// One change of the source.
struct Case {
    /// The table that it happens to.
    table: &'static str,
    /// The change, and an edit of a row by which one sees whether the table was landed.
    sql: &'static str,
    /// What it is called.
    told: &'static str,
    /// Under `evolve`, `freeze` and `reject`.
    fates: [Fate; 3],
    /// Whether it can be accepted.
    acceptable: bool,
    /// Tables of the star that show it.
    star: &'static [&'static str],
}

/// Which of [`Case::fates`] a policy's is.
fn place(policy: &str) -> usize {
    ["evolve", "freeze", "reject"]
        .iter()
        .position(|known| *known == policy)
        .unwrap_or_default()
}

/// Tables of the star that no module can make any more, once its change is accepted, and why.
type Broken = &'static [(&'static str, &'static str)];

/// A world whose source was changed.
struct Matrix {
    world: World,
    policy: &'static str,
    cases: &'static [Case],
    broken: Broken,
    /// The star before the changes.
    before: Star,
}

impl Matrix {
    /// Runs once, changes everything, and goes on as the head of this file says.
    async fn run(
        world: World,
        policy: &'static str,
        cases: &'static [Case],
        broken: Broken,
        change: impl AsyncFnOnce(&World, &str) -> Result<()>,
    ) -> Result<()> {
        world.run_and_compare(&[]).await.context("the first run")?;
        let before = oracle::expected(&world.source).await?;
        let sql: Vec<&str> = cases.iter().map(|case| case.sql).collect();
        change(&world, &sql.join(";\n")).await?;
        let matrix = Self {
            world,
            policy,
            cases,
            broken,
            before,
        };
        matrix.planned()?;
        matrix
            .stopped()
            .await
            .context("the run after the changes")?;
        matrix
            .accepted()
            .await
            .context("the run that accepts them")?;
        matrix.world.verify()?;
        Ok(())
    }

    fn fate(&self, case: &Case) -> Fate {
        case.fates
            .get(place(self.policy))
            .copied()
            .unwrap_or(Stopped)
    }

    fn with_fate(&self, fate: Fate) -> BTreeSet<String> {
        let cases = self.cases.iter().filter(|case| self.fate(case) == fate);
        cases.map(|case| case.table.to_owned()).collect()
    }

    /// The plan says of each table what the run then does, and in which words.
    fn planned(&self) -> Result<()> {
        let said = self.world.call(&["plan"])?;
        ensure!(said.code == Some(4), "a plan found changes: {said:#?}");
        let plan = report_of(&said)?;
        for case in self.cases {
            let tables = plan["sources"].as_array();
            let planned = tables
                .into_iter()
                .flatten()
                .find(|table| table["table"] == case.table);
            let planned = planned.with_context(|| format!("{} is not in {plan:#}", case.table))?;
            let action = match self.fate(case) {
                Landed => "land",
                LeftOut => "leave-out",
                Stopped => "stop",
            };
            let schema = &planned["schema"];
            // Another table of the same columns is no change of a schema: the window says it.
            let same = schema.is_null() && case.told.is_empty();
            ensure!(
                same || schema["action"] == action,
                "{}: {planned:#}",
                case.table
            );
            ensure!(same || schema["policy"] == self.policy, "{planned:#}");
            ensure!(
                planned["window"].is_null() == (action != "land"),
                "{planned:#}"
            );
            let is_left_out = schema["ignored"]
                .as_array()
                .is_some_and(|ignored| !ignored.is_empty());
            let changed = planned["changed"].as_str().unwrap_or_default();
            ensure!(
                is_left_out || changed.starts_with(case.told),
                "{}: {changed}",
                case.table
            );
        }
        let text = self.world.project.call(["plan"])?.stdout;
        for case in self.cases.iter().filter(|case| self.fate(case) == Stopped) {
            ensure!(
                text.contains(&format!("stops: {}", case.told)),
                "{}: {text}",
                case.told
            );
        }
        Ok(())
    }

    /// The run after the changes stops what the policy stops, and lands the rest.
    async fn stopped(&self) -> Result<()> {
        let report = self.failed(&[])?;
        self.outcome(&report)?;
        let shown = |case: &Case| self.fate(case) == Landed;
        self.compare(|table| {
            self.cases
                .iter()
                .filter(|c| c.star.contains(&table))
                .all(shown)
        })
        .await?;
        // Nobody who does nothing gets any further.
        self.outcome(&self.failed(&[])?)
    }

    fn outcome(&self, report: &Value) -> Result<()> {
        let failures = names(&report["extract"][0]["failures"]);
        ensure!(
            failures == self.with_fate(Stopped),
            "{failures:?}: {report:#}"
        );
        let left_out: BTreeSet<String> =
            serde_json::from_value(report["extract"][0]["left_out"].clone())?;
        ensure!(
            left_out == self.with_fate(LeftOut),
            "{left_out:?}: {report:#}"
        );
        let landed = names(&report["extract"][0]["tables"]);
        ensure!(
            landed.is_superset(&self.with_fate(Landed)),
            "{landed:?}: {report:#}"
        );
        let transformed = names(&report["transform"]["failures"]);
        ensure!(transformed.is_empty(), "{transformed:?}: {report:#}");
        Ok(())
    }

    /// What was stopped or left out is accepted by name; what modules cannot read any more stops them alone.
    async fn accepted(&self) -> Result<()> {
        let refused = self.cases.iter().filter(|case| self.fate(case) != Landed);
        let acceptable = refused.filter(|case| case.acceptable);
        let accept: Vec<&str> = acceptable
            .flat_map(|case| ["--accept", case.table])
            .collect();
        self.broken_only(&self.failed(&accept)?)?;
        let unbroken = |table: &str| {
            let mut shown = self.cases.iter().filter(|case| case.star.contains(&table));
            self.broken.iter().all(|(broken, _)| *broken != table)
                && shown.all(|case| case.acceptable)
        };
        self.compare(unbroken).await?;
        // From now on the new schema is the one that is known.
        self.broken_only(&self.failed(&[])?)
    }

    fn broken_only(&self, report: &Value) -> Result<()> {
        let gone = self.cases.iter().filter(|case| !case.acceptable);
        let gone: BTreeSet<String> = gone.map(|case| case.table.to_owned()).collect();
        let failures = names(&report["extract"][0]["failures"]);
        ensure!(failures == gone, "{failures:?}: {report:#}");
        let transforms = report["transform"]["failures"].as_array();
        let messages: BTreeMap<&str, &str> = transforms
            .into_iter()
            .flatten()
            .filter_map(|failure| Some((failure["table"].as_str()?, failure["message"].as_str()?)))
            .collect();
        let expected: BTreeSet<&str> = self.broken.iter().map(|(table, _)| *table).collect();
        ensure!(
            messages.keys().copied().collect::<BTreeSet<_>>() == expected,
            "{messages:#?}"
        );
        for (table, expected) in self.broken {
            let message = messages.get(table).copied().unwrap_or_default();
            ensure!(message.contains(expected), "{message}");
        }
        Ok(())
    }

    /// The tables of the star that are `current` are what the source implies now, the others what it implied
    /// before it was changed.
    async fn compare(&self, current: impl Fn(&str) -> bool) -> Result<()> {
        let mut expected = self.before.clone();
        expected.tables.extend(
            oracle::expected_of(&self.world.source, current)
                .await?
                .tables,
        );
        let found = Star::of_warehouse(self.world.warehouse.as_ref(), &expected).await?;
        match expected.differences(&found) {
            None => Ok(()),
            Some(differences) => anyhow::bail!("the star is not what it should be:\n{differences}"),
        }
    }

    fn failed(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.world.call(&[&["run"], arguments].concat())?;
        ensure!(said.code == Some(1), "tables were stopped: {said:#?}");
        report_of(&said)
    }
}

/// The names of tables in a list of a report.
fn names(list: &Value) -> BTreeSet<String> {
    let tables = list.as_array().into_iter().flatten();
    tables
        .filter_map(|table| Some(table["table"].as_str()?.to_owned()))
        .collect()
}
