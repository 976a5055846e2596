//! `verify`: proof that the lake is what its manifests say.

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::{Paint, counted};
use crate::pipeline::report::VerifyReport;

/// Read every landed object, run every transform again, and compare all digests.
///
/// As many are run at a time as there are cores, and memory for. Nothing is written but how far it
/// is, so that one that was interrupted can go on. Ends with 3 when something differs.
///
/// Example: tidemill verify
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Go on where the last verification was interrupted; what it had verified is not looked at again.
    #[arg(long)]
    resume: bool,
}

impl Verify {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let report = call.pipeline().await?.verify(self.resume).await?;
        let exit = match report.differences.is_empty() {
            true => Exit::Done,
            false => Exit::Flawed,
        };
        Ok(Answer::new(told(&report, call.paint()), &report).ending(exit))
    }
}

pub(super) fn told(report: &VerifyReport, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(done) = report.resumed_after {
        let checks = counted(done, "check", "checks");
        text.push_str(&format!("gone on with after {checks}\n"));
    }
    if let Some(why) = &report.begun_again {
        let again = format!("begun again: {why}");
        text.push_str(&format!("{}\n", paint.doubtful(again)));
    }
    text.push_str(&format!(
        "{} with {} read\n{} made again with {} compared\n",
        counted(report.landings, "landing", "landings"),
        counted(report.landed_objects, "object", "objects"),
        counted(report.transforms, "table", "tables"),
        counted(report.processed_objects, "object", "objects"),
    ));
    for difference in &report.differences {
        text.push_str(&format!("{} {difference}\n", paint.bad("differs:")));
    }
    if report.differences.is_empty() {
        text.push_str(&format!("{}\n", paint.good("everything is as it was made")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let mut report = VerifyReport {
            landings: 1,
            landed_objects: 11,
            transforms: 1,
            processed_objects: 2,
            ..VerifyReport::default()
        };
        let paint = Paint::new(false);
        assert_eq!(
            told(&report, paint),
            "1 landing with 11 objects read\n1 table made again with 2 objects compared\n\
             everything is as it was made\n"
        );
        report
            .differences
            .push("a/part-00000.parquet has another digest".into());
        assert!(
            told(&report, paint).ends_with("differs: a/part-00000.parquet has another digest\n")
        );
    }
}
