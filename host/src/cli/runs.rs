//! `runs`: what was run before.

use clap::Args;

use super::UsageError;
use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{self, Columns, Paint, count};
use crate::pipeline::report::RunSummary;

/// List past runs, or show one.
///
/// Example: tidemill runs last
#[derive(Debug, Args)]
pub(super) struct Runs {
    /// A run's id, the beginning of one, or `last`.
    id: Option<String>,
}

impl Runs {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let runs = call.pipeline().await?.runs().await?;
        let paint = call.paint();
        Ok(match &self.id {
            Some(id) => {
                let run = find(&runs, id)?;
                Answer::new(one(run, paint), run)
            }
            None => Answer::new(all(&runs, paint), &runs),
        })
    }
}

/// The one run whose id begins with `id`.
pub(super) fn find<'r>(runs: &'r [RunSummary], id: &str) -> Result<&'r RunSummary, UsageError> {
    let newest = || runs.iter().max_by(|a, b| a.run.cmp(&b.run));
    if id == "last" {
        return newest().ok_or_else(|| UsageError::Choice {
            what: "there is no run yet".into(),
            hint: "make the first with `tidemill run`".into(),
        });
    }
    let fitting: Vec<_> = runs
        .iter()
        .filter(|run| run.run.as_str().starts_with(id))
        .collect();
    match fitting.as_slice() {
        [run] => Ok(run),
        [] => Err(UsageError::Choice {
            what: format!("there is no run `{id}`"),
            hint: "list them with `tidemill runs`".into(),
        }),
        several => Err(UsageError::Choice {
            what: format!("{} runs begin with `{id}`", several.len()),
            hint: "write more of the id".into(),
        }),
    }
}

fn all(runs: &[RunSummary], paint: Paint) -> String {
    if runs.is_empty() {
        return "no runs yet\n".into();
    }
    let mut columns = Columns::new(&[
        "run",
        ">landings",
        ">changed",
        ">deleted",
        ">tables made",
        ">rows out",
        ">rejected",
    ]);
    for run in runs {
        let tables = || run.landings.iter().flat_map(|landing| &landing.tables);
        let made = &run.transforms;
        columns.row([
            run.run.to_string(),
            count(run.landings.len() as u64),
            count(tables().map(|t| t.rows_changed).sum()),
            count(tables().map(|t| t.rows_deleted).sum()),
            count(made.len() as u64),
            count(made.iter().map(|t| t.rows_out).sum()),
            count(made.iter().map(|t| t.rows_rejected).sum()),
        ]);
    }
    columns.render(paint)
}

fn one(run: &RunSummary, paint: Paint) -> String {
    let mut text = format!("{} {}\n", paint.strong("run"), run.run);
    for landing in &run.landings {
        let mut columns = Columns::new(&["table", ">changed", ">deleted", "read"]);
        for table in &landing.tables {
            columns.row([
                table.table.clone(),
                count(table.rows_changed),
                count(table.rows_deleted),
                text::window(&table.window),
            ]);
        }
        text.push_str(&format!(
            "\n{}  {}  landing {}  at {}\n{}",
            paint.strong("extract"),
            landing.source,
            landing.landing,
            text::time(landing.logical_time),
            columns.render(paint)
        ));
    }
    if !run.transforms.is_empty() {
        let mut columns = Columns::new(&[
            "table",
            ">landing",
            "module",
            "digest",
            ">in",
            ">out",
            ">rejected",
        ]);
        for table in &run.transforms {
            columns.row([
                table.table.clone(),
                table.landing.to_string(),
                format!("{} {}", table.module.name, table.module.version),
                table.module.digest.short(),
                count(table.rows_in),
                count(table.rows_out),
                count(table.rows_rejected),
            ]);
        }
        let head = paint.strong("transform");
        text.push_str(&format!("\n{head}\n{}", columns.render(paint)));
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;
    use crate::pipeline::report::{LandedSummary, LandingSummary, TransformSummary};
    use crate::run::RunId;
    use crate::watermark::Window;

    fn run(second: i64, random: u32) -> RunSummary {
        let time = DateTime::from_timestamp(1_795_253_400 + second, 0).expect("a time");
        RunSummary {
            run: RunId::new(time, random),
            landings: vec![LandingSummary {
                source: "totesys".into(),
                landing: 1,
                logical_time: time,
                tables: vec![LandedSummary {
                    table: "staff".into(),
                    window: Window::First,
                    rows_changed: 20,
                    rows_deleted: 0,
                }],
            }],
            transforms: vec![TransformSummary {
                table: "dim_staff".into(),
                landing: 1,
                module: ModuleRef {
                    name: "dim-staff".into(),
                    version: "1.0.0".into(),
                    digest: Digest::of("module"),
                },
                rows_in: 28,
                rows_out: 19,
                rows_rejected: 1,
                reused: false,
            }],
        }
    }

    #[test]
    fn runs_are_listed_and_shown() {
        let runs = [run(0, 7), run(60, 8)];
        let paint = Paint::new(false);
        insta::assert_snapshot!(format!("{}\n{}", all(&runs, paint), one(&runs[0], paint)));
    }

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_id() {
        let runs = [run(0, 7), run(60, 8)];
        assert_eq!(
            find(&runs, "20261121T093000").ok().map(|r| &r.run),
            Some(&runs[0].run)
        );
        assert_eq!(find(&runs, "last").ok().map(|r| &r.run), Some(&runs[1].run));
        let told = |id| find(&runs, id).err().map(|e| e.to_string());
        assert_eq!(told("2026").as_deref(), Some("2 runs begin with `2026`"));
        assert_eq!(told("x").as_deref(), Some("there is no run `x`"));
    }
}
