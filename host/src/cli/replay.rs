//! `replay`: a past run made again.

use clap::Args;
use serde::Serialize;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::runs::find;
use super::text::Paint;
use super::verify;
use crate::pipeline::report::VerifyReport;
use crate::run::RunId;

/// Make everything that a past run made again, and compare all digests.
///
/// Every table is made by the module that made it then, by its recorded digest, whichever version is
/// active now, from the landed objects of then. Nothing is written. Ends with 3 when something differs.
///
/// Example: tidemill replay last
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A run's id, the beginning of one, or `last`.
    run: String,
}

#[derive(Debug, Serialize)]
struct Replayed<'r> {
    run: &'r RunId,
    #[serde(flatten)]
    report: &'r VerifyReport,
}

impl Replay {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let pipeline = call.pipeline().await?;
        let runs = pipeline.runs().await?;
        let run = &find(&runs, &self.run)?.run;
        let report = pipeline.replay(run).await?;
        let exit = match report.differences.is_empty() {
            true => Exit::Done,
            false => Exit::Flawed,
        };
        let replayed = Replayed {
            run,
            report: &report,
        };
        Ok(Answer::new(told(&replayed, call.paint()), &replayed).ending(exit))
    }
}

fn told(replayed: &Replayed<'_>, paint: Paint) -> String {
    format!(
        "{} {}\n{}",
        paint.strong("run"),
        replayed.run,
        verify::told(replayed.report, paint)
    )
}
