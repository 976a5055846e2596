//! What is counted over all landings: differences, refusals, and what both versions cost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::sync::mpsc;

use super::ShadowError;
use super::comparison::Comparison;
use super::differences::Columns;
use super::pairs::Side;
use super::report::{
    ColumnChange, IDENTICAL_INPUTS, RejectCode, RejectDifferences, RejectExample, ShadowReport,
    ShadowSide, SkippedLanding,
};
use super::trial::Landing;
use crate::contract::Description;
use crate::error::Result;
use crate::pipeline::execute::Ran;
use crate::pipeline::sensitive::{Granted, PLACEHOLDER};
use crate::sandbox::{Reject, Step};

/// Steps on their way from a module to where they are compared, as executions have them.
const STEPS_UNDER_WAY: usize = 4;
/// Examples of refusals.
const EXAMPLES: usize = 10;

/// Everything that is counted.
pub(super) struct Found {
    columns: Columns,
    retractions: Columns,
    rejects: RejectDifferences,
    codes: BTreeMap<String, (u64, u64)>,
    active: ShadowSide,
    candidate: ShadowSide,
    hidden: BTreeSet<String>,
}

impl Found {
    pub(super) fn new(active: &Granted, candidate: &Granted) -> Self {
        let (was, is) = (
            &active.description().output,
            &candidate.description().output,
        );
        let hidden: BTreeSet<String> = &active.hidden() | &candidate.hidden();
        let side = |module: &Granted| ShadowSide {
            module: module.reference().clone(),
            rows_in: 0,
            rows_out: 0,
            fuel: 0,
            elapsed_us: 0,
            peak_memory_bytes: 0,
        };
        let places = |columns: &[String]| -> Vec<usize> {
            let places = columns.iter().map(|name| was.schema.index_of(name));
            places.flatten().collect()
        };
        let (was_gone, is_gone) = (was.key_schema(), is.key_schema());
        Self {
            columns: Columns::new(
                &was.schema,
                &is.schema,
                places(&was.primary_key),
                hidden.clone(),
            ),
            retractions: Columns::new(
                &was_gone,
                &is_gone,
                (0..was_gone.fields().len()).collect(),
                hidden.clone(),
            ),
            hidden,
            rejects: RejectDifferences::default(),
            codes: BTreeMap::new(),
            active: side(active),
            candidate: side(candidate),
        }
    }

    /// Runs both versions on one landing and compares what they give while they give it.
    pub(super) async fn compare(
        &mut self,
        landing: Landing,
        was: &Description,
        is: &Description,
    ) -> Result<()> {
        let (give_active, mut from_active) = mpsc::channel::<Step>(STEPS_UNDER_WAY);
        let (give_candidate, mut from_candidate) = mpsc::channel::<Step>(STEPS_UNDER_WAY);
        let mut comparison = Comparison::new(landing.number, &was.output, &is.output)?;
        let comparing = async {
            // Whoever gives is heard: waiting for one of them only could hold the other for ever.
            loop {
                let (side, step) = tokio::select! {
                    Some(step) = from_active.recv() => (Side::Active, step),
                    Some(step) = from_candidate.recv() => (Side::Candidate, step),
                    else => break,
                };
                let counted = match side {
                    Side::Active => &mut self.active,
                    Side::Candidate => &mut self.candidate,
                };
                counted.rows_in += step.rows_in;
                counted.rows_out += step.rows_out();
                comparison.take(side, step, &mut self.columns, &mut self.retractions)?;
            }
            Ok::<_, ShadowError>(())
        };
        let (active, candidate, compared) = tokio::join!(
            landing.active.stream(give_active),
            landing.candidate.stream(give_candidate),
            comparing
        );
        // A module's own error comes first: that rows cannot be compared may be what follows from it.
        let ran = (active?, candidate?);
        compared?;
        self.active.count(ran.0);
        self.candidate.count(ran.1);
        let rejects = comparison.finish(&mut self.columns, &mut self.retractions)?;
        self.refused(landing.number, rejects, was, is);
        Ok(())
    }

    fn refused(
        &mut self,
        landing: u64,
        [active, candidate]: [Vec<Reject>; 2],
        was: &Description,
        is: &Description,
    ) {
        for reject in &active {
            self.codes.entry(reject.code.clone()).or_default().0 += 1;
        }
        for reject in &candidate {
            self.codes.entry(reject.code.clone()).or_default().1 += 1;
        }
        let mut known: HashMap<(&str, u64, &str), &Reject> = active
            .iter()
            .map(|reject| {
                (
                    (table(was, reject), reject.row, reject.code.as_str()),
                    reject,
                )
            })
            .collect();
        let mut examples = Vec::new();
        for reject in &candidate {
            let place = (table(is, reject), reject.row, reject.code.as_str());
            match known.remove(&place) {
                Some(_) => self.rejects.same += 1,
                None => {
                    self.rejects.added += 1;
                    examples.push((place.0, true, reject));
                }
            }
        }
        self.rejects.dropped += known.len() as u64;
        let mut dropped: Vec<_> = known.into_iter().collect();
        dropped.sort_by_key(|(place, _)| *place);
        examples.extend(
            dropped
                .into_iter()
                .map(|((table, ..), reject)| (table, false, reject)),
        );
        let shown = |message: &String| match self.hidden.is_empty() {
            true => message.clone(),
            false => PLACEHOLDER.to_owned(),
        };
        let missing = EXAMPLES.saturating_sub(self.rejects.examples.len());
        let examples = examples.into_iter().take(missing);
        self.rejects
            .examples
            .extend(examples.map(|(table, by_candidate, reject)| RejectExample {
                landing,
                by_candidate,
                table: table.to_owned(),
                row: reject.row,
                code: reject.code.clone(),
                message: shown(&reject.message),
            }));
    }

    /// The report on a `candidate`.
    pub(super) fn report(
        self,
        candidate: &Description,
        key: Vec<String>,
        landings: Vec<u64>,
        skipped: Vec<SkippedLanding>,
    ) -> ShadowReport {
        let (rows, columns) = self.columns.found();
        let (retractions, _) = self.retractions.found();
        let mut rejects = self.rejects;
        rejects.codes = self
            .codes
            .into_iter()
            .map(|(code, (active, candidate))| RejectCode {
                code,
                active,
                candidate,
            })
            .collect();
        let is_other = |change| change != ColumnChange::Kept;
        let differs = rows.any()
            || retractions.any()
            || rejects.added + rejects.dropped > 0
            || !skipped.is_empty()
            || columns.iter().any(|column| is_other(column.change));
        ShadowReport {
            table: candidate.output.table.clone(),
            mode: candidate.output.mode,
            key,
            active: self.active,
            candidate: self.candidate,
            landings,
            skipped,
            inputs: IDENTICAL_INPUTS.to_owned(),
            differs,
            rows,
            columns,
            retractions,
            rejects,
            hidden: self.hidden.into_iter().collect(),
        }
    }
}

impl ShadowSide {
    fn count(&mut self, ran: Option<Ran>) {
        let ran = ran.unwrap_or_default();
        let elapsed = Duration::from_micros(self.elapsed_us) + ran.inside;
        self.fuel += ran.usage.fuel;
        self.elapsed_us = elapsed.as_micros() as u64;
        self.peak_memory_bytes = self.peak_memory_bytes.max(ran.usage.peak_memory_bytes);
    }
}

/// The table that a refused row is of.
fn table<'d>(description: &'d Description, reject: &Reject) -> &'d str {
    let input = description.inputs.get(reject.input);
    input.map_or("", |input| &input.table)
}
