//! `sweep`: removes what died runs left.

use clap::Args;

use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{self, Paint, counted};
use crate::pipeline::report::SweepReport;

/// Remove objects that no manifest names and files that no table needs.
///
/// Runs do this themselves for what runs before them left. This looks at every object of the lake and of an embedded
/// warehouse instead. What is younger than `lake.sweep_after` stays, and what a run that is still going may yet commit.
///
/// Example: tidemill sweep --dry-run
#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

impl Sweep {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let id = call.run_id(call.clock()())?;
        let report = call.pipeline().await?.sweep(&id, self.dry_run).await?;
        let text = told(&report, self.dry_run, call.paint());
        Ok(Answer::new(text, &report))
    }
}

fn told(report: &SweepReport, dry_run: bool, paint: Paint) -> String {
    let mut text = String::new();
    for object in &report.swept {
        text.push_str(&format!(
            "{} {}/{}\n",
            paint.faint(object.created.format("%Y-%m-%d %H:%M").to_string()),
            object.zone,
            object.key
        ));
    }
    let what = match dry_run {
        true => "would be removed",
        false => "removed",
    };
    let objects = counted(report.swept.len() as u64, "object", "objects");
    let looked_at = counted(report.looked_at, "object", "objects");
    let size = text::size(report.bytes());
    text.push_str(&format!(
        "{looked_at} of the lake looked at, {objects} {what} ({size})\n"
    ));
    if report.kept > 0 {
        let kept = counted(report.kept, "object", "objects");
        text.push_str(&format!(
            "{} {kept} of runs that may still commit\n",
            paint.doubtful("kept")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::pipeline::report::SweptObject;

    #[test]
    fn what_is_swept_is_listed_with_its_age() {
        let object = SweptObject {
            zone: "file:///lake/ingestion".into(),
            key: "totesys/staff/2026/11/14/run/part-00000.parquet".into(),
            bytes: 2_048,
            created: DateTime::UNIX_EPOCH,
        };
        let report = SweepReport {
            swept: vec![object],
            kept: 2,
            looked_at: 40,
        };
        assert_eq!(
            told(&report, true, Paint::new(false)),
            "1970-01-01 00:00 file:///lake/ingestion/totesys/staff/2026/11/14/run/part-00000.parquet\n\
             40 objects of the lake looked at, 1 object would be removed (2.0 KiB)\n\
             kept 2 objects of runs that may still commit\n"
        );
    }
}
