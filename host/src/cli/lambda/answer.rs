//! What a function answers.

use aws_lambda_events::sqs::SqsBatchResponse;
use serde::Serialize;
use serde_json::{Value, json};

use super::errand::{Errand, Wish};
use crate::cli::run;
use crate::error::{Classify, Error, ErrorKind};
use crate::pipeline::report::{LeftOver, RunReport, TableFailure, Why};
use crate::run::RunId;
use crate::warehouse::TableLoaded;

/// What came of a call.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// One of the words of [`Outcome::of`].
    pub(super) outcome: &'static str,
    stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// What it did: landings that were landed, tables that were made, landings that were loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    done: Vec<String>,
    /// Rows that modules refused.
    rejected: u64,
    /// What is left to other calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<LeftOver>,
    /// What to call the function with to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
}

/// Tables failed while others went on.
#[derive(Debug, thiserror::Error)]
#[error("{} of {stage} failed: {}", tables(failures), texts(failures))]
pub(super) struct FailedTables {
    stage: String,
    failures: Vec<TableFailure>,
}

fn tables(failures: &[TableFailure]) -> String {
    match failures.len() {
        1 => "a table".into(),
        several => format!("{several} tables"),
    }
}

fn texts(failures: &[TableFailure]) -> String {
    let texts = failures.iter().map(|failure| {
        let place = format!("{}: {}: ", failure.stage, failure.table);
        let message = failure
            .message
            .strip_prefix(&place)
            .unwrap_or(&failure.message);
        format!("{}: {message}", failure.table)
    });
    texts.collect::<Vec<_>>().join("; ")
}

impl Classify for FailedTables {
    fn kind(&self) -> ErrorKind {
        self.failures
            .first()
            .map_or(ErrorKind::Bug, |failure| failure.kind)
    }

    fn hint(&self) -> Option<String> {
        let hint = self
            .failures
            .iter()
            .find_map(|failure| failure.hint.clone());
        Some(match hint {
            Some(hint) => format!("{hint}; the other tables are done"),
            None => "the other tables are done".into(),
        })
    }
}

impl Outcome {
    /// What a report comes to: `done`, `continue` when the time was over before the work was, `shared` when other calls are
    /// at the rest of it, `nothing` when there was nothing to do.
    ///
    /// # Errors
    /// When a table failed; what the others made is committed.
    pub(super) fn of(
        stage: &str,
        report: &RunReport,
        halted: bool,
        manifests: Vec<String>,
    ) -> Result<Self, Error> {
        let failures: Vec<TableFailure> = run::failures(report).cloned().collect();
        if !failures.is_empty() {
            return Err(FailedTables {
                stage: stage.to_owned(),
                failures,
            }
            .into());
        }
        let mut left: Vec<LeftOver> = report.left().cloned().collect();
        left.sort();
        left.dedup();
        let is_left = |why: Why| left.iter().any(|left| left.why == why);
        let done = done(report);
        // A function for all stages may not have come to the last one.
        let is_cut = halted && stage == "run" && report.load.is_none();
        let outcome = match () {
            () if is_left(Why::Halted) || is_cut => "continue",
            () if is_left(Why::Elsewhere) => "shared",
            () if done.is_empty() => "nothing",
            () => "done",
        };
        let again = |manifest: &String| format!("{manifest}: is done already");
        Ok(Self {
            outcome,
            run: Some(report.run.clone()),
            rejected: report.rejected(),
            event: (outcome == "continue").then(|| rest(stage, &left)),
            words: match outcome {
                "nothing" => manifests.iter().map(again).collect(),
                _ => Vec::new(),
            },
            stage: stage.to_owned(),
            done,
            left,
        })
    }

    /// A call that asks for nothing.
    pub(super) fn ignored(stage: &str) -> Self {
        Self::bare("ignored", stage)
    }

    /// A call whose work another call is at.
    pub(super) fn shared(stage: &str, word: String) -> Self {
        Self::bare("shared", stage).saying(vec![word])
    }

    fn bare(outcome: &'static str, stage: &str) -> Self {
        Self {
            outcome,
            stage: stage.to_owned(),
            run: None,
            done: Vec::new(),
            rejected: 0,
            left: Vec::new(),
            event: None,
            words: Vec::new(),
        }
    }

    /// The same outcome with more to say; what was said already is said once.
    pub(super) fn saying(mut self, words: Vec<String>) -> Self {
        for word in words {
            let is_said = self.words.iter().any(|said| said.starts_with(&word));
            if !is_said {
                self.words.push(word);
            }
        }
        self
    }
}

/// The event that goes on with what is left: the tables of extract and transform, which are small enough to be done or are
/// refused by the next call; whatever is pending else.
fn rest(stage: &str, left: &[LeftOver]) -> Value {
    let halted = left.iter().filter(|left| left.why == Why::Halted);
    let tables: Vec<&str> = halted.map(|left| left.what.as_str()).collect();
    match stage {
        "extract" | "transform" if !tables.is_empty() => json!({ "tables": tables }),
        _ => json!({}),
    }
}

fn done(report: &RunReport) -> Vec<String> {
    let landed = report.extract.iter();
    let landed = landed.map(|e| format!("landing {} of {}", e.landing, e.source));
    let made = report.transform.iter().flat_map(|t| &t.tables);
    let made = made.map(|made| format!("{} of landing {}", made.table, made.landing));
    let anew = report.transform.iter().flat_map(|t| &t.rebuilt);
    let anew = anew.map(|made| format!("{} anew", made.table));
    // What another run loaded a moment before is its.
    let is_ours = |tables: &[TableLoaded]| tables.iter().any(|table| !table.already);
    let loads = || report.load.iter();
    let loaded = loads().flat_map(|l| &l.landings);
    let loaded = loaded.filter(|l| is_ours(&l.tables));
    let loaded = loaded.map(|l| format!("loaded landing {} of {}", l.landing, l.source));
    let rebuilt = loads().flat_map(|l| &l.rebuilds);
    let rebuilt = rebuilt.filter(|r| is_ours(&r.tables));
    let rebuilt = rebuilt.map(|r| format!("loaded rebuild {}", r.manifest));
    landed
        .chain(made)
        .chain(anew)
        .chain(loaded)
        .chain(rebuilt)
        .collect()
}

/// Which messages of a batch come again: those that could not be understood, and all that ask for work where this is not
/// done. Lambda deletes the others.
pub(super) fn of_batch(errands: &[Errand], outcome: &Result<Outcome, Error>) -> Value {
    let is_whole = matches!(outcome, Ok(outcome) if outcome.outcome != "continue");
    let mut answer = SqsBatchResponse::default();
    for Errand { message, wish } in errands {
        let failed = match wish {
            Err(error) => {
                tracing::error!(message, kind = %error.kind(), error = %error, hint = error.hint(), "message is refused");
                true
            }
            Ok(Wish::Do(..)) => !is_whole,
            Ok(Wish::Skip(words)) => {
                tracing::info!(message, word = words.join("; "), "message is ignored");
                false
            }
        };
        if failed && let Some(message) = message {
            answer.add_failure(message);
        }
    }
    if let Err(error) = outcome {
        tracing::error!(kind = %error.kind(), error = %error, hint = error.hint(), "call failed");
    }
    serde_json::to_value(answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::lambda::Asked;
    use crate::pipeline::report::{LandingLoaded, LoadReport, TransformReport};

    fn report() -> RunReport {
        RunReport {
            run: RunId::new(DateTime::UNIX_EPOCH, 1),
            started: DateTime::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            extract: Vec::new(),
            transform: None,
            load: None,
            store: None,
        }
    }

    fn left(what: &str, why: Why) -> LeftOver {
        LeftOver {
            what: what.into(),
            why,
        }
    }

    fn transform(left: Vec<LeftOver>) -> RunReport {
        RunReport {
            transform: Some(TransformReport {
                left,
                ..TransformReport::default()
            }),
            ..report()
        }
    }

    #[test]
    fn what_is_left_decides_the_outcome() {
        let outcome = |report: &RunReport| Outcome::of("transform", report, false, Vec::new());
        let halted = transform(vec![
            left("dim_date", Why::Halted),
            left("dim_staff", Why::Elsewhere),
        ]);
        let halted = outcome(&halted).expect("no table failed");
        assert_eq!(halted.outcome, "continue");
        assert_eq!(halted.event, Some(json!({"tables": ["dim_date"]})));
        let shared = transform(vec![left("dim_staff", Why::Elsewhere)]);
        assert_eq!(outcome(&shared).expect("no table failed").outcome, "shared");
        let waiting = transform(vec![left("dim_staff", Why::NotLanded)]);
        assert_eq!(
            outcome(&waiting).expect("no table failed").outcome,
            "nothing"
        );
    }

    #[test]
    fn a_manifest_that_is_done_already_is_said_to_be() {
        let manifest = "s3://acme/_manifests/0000000007.json".to_owned();
        let idle = RunReport {
            load: Some(LoadReport::default()),
            ..report()
        };
        let outcome = Outcome::of("load", &idle, false, vec![manifest.clone()]);
        let outcome = outcome.expect("no table failed").saying(vec![manifest]);
        assert_eq!(outcome.outcome, "nothing");
        assert_eq!(
            outcome.words,
            ["s3://acme/_manifests/0000000007.json: is done already"]
        );
        let loaded = |already| RunReport {
            load: Some(LoadReport {
                landings: vec![LandingLoaded {
                    source: "totesys".into(),
                    landing: 4,
                    tables: vec![TableLoaded {
                        table: "dim_staff".into(),
                        already,
                        inserted: 0,
                        updated: 0,
                        removed: 0,
                        unchanged: 0,
                        notes: Vec::new(),
                    }],
                    elapsed: Duration::ZERO,
                }],
                ..LoadReport::default()
            }),
            ..report()
        };
        let of = |report| Outcome::of("load", &report, false, Vec::new()).expect("no table failed");
        assert_eq!(of(loaded(true)).outcome, "nothing");
        let outcome = of(loaded(false));
        assert_eq!(outcome.outcome, "done");
        assert_eq!(outcome.done, ["loaded landing 4 of totesys"]);
    }

    #[test]
    fn a_function_for_all_stages_that_is_cut_goes_on() {
        let cut = transform(Vec::new());
        let outcome = Outcome::of("run", &cut, true, Vec::new()).expect("no table failed");
        assert_eq!(
            (outcome.outcome, outcome.event),
            ("continue", Some(json!({})))
        );
    }

    #[test]
    fn of_a_batch_comes_again_what_was_not_done() {
        let errand = |message: &str, wish| Errand {
            message: Some(message.into()),
            wish,
        };
        let errands = || {
            [
                errand("a", Ok(Wish::Do(Asked::default(), Vec::new()))),
                errand("b", Ok(Wish::Skip(Vec::new()))),
                errand("c", Err(super::super::time::TooLate.into())),
            ]
        };
        let again = |outcome| of_batch(&errands(), &outcome);
        let done = Outcome::of("transform", &transform(Vec::new()), false, Vec::new());
        assert_eq!(
            again(done),
            json!({"batchItemFailures": [{"itemIdentifier": "c"}]})
        );
        let both = json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "c"}]});
        let halted = transform(vec![left("dim_date", Why::Halted)]);
        assert_eq!(
            again(Outcome::of("transform", &halted, true, Vec::new())),
            both
        );
        assert_eq!(again(Err(super::super::time::TooLate.into())), both);
    }
}
