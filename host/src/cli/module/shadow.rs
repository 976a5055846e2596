//! `module shadow`: what a version would have made of history.

mod html;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;

use crate::authoring::AuthoringError;
use crate::cli::answer::{Answer, Exit};
use crate::cli::invocation::Invocation;
use crate::cli::text::{self, Columns, Paint};
use crate::pipeline::shadow::Since;
use crate::pipeline::shadow::report::{
    ColumnChange, ColumnDifferences, RowDifferences, ShadowReport, ShadowSide,
};

/// Run a version over landed history beside the one in use, and say what it makes otherwise.
///
/// Both run at the same time in the same engine over the same landed objects; nothing is written,
/// neither into the lake nor into the warehouse. A table that every landing makes anew is compared at
/// the newest landing, any other at each. Ends with 4 where they differ.
///
/// Example: tidemill module shadow dim-staff@1.1.0 --report shadow.html
#[derive(Debug, Args)]
pub(in crate::cli) struct Shadow {
    /// The module and the version to try.
    #[arg(value_name = "NAME@VERSION")]
    module: String,
    /// From which landing on: its number, or a time such as 2026-01-31 or 2026-01-31T09:00:00Z.
    #[arg(long, value_name = "LANDING|TIME", value_parser = since)]
    since: Option<Since>,
    /// Also write the report as a page that needs nothing else, to attach to a review.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Shadow {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let pipeline = call.pipeline().await?;
        let report = pipeline.shadow(&self.module, self.since).await?;
        if let Some(file) = &self.report {
            write(&call.folder().join(file), &html::page(&report))?;
        }
        let exit = match report.differs {
            true => Exit::Changes,
            false => Exit::Done,
        };
        Ok(Answer::new(told(&report, call.paint()), &report).ending(exit))
    }
}

fn since(written: &str) -> Result<Since, String> {
    if let Ok(landing) = written.parse() {
        return Ok(Since::Landing(landing));
    }
    if let Ok(time) = written.parse::<DateTime<Utc>>() {
        return Ok(Since::Time(time));
    }
    let day = written.parse::<NaiveDate>().ok();
    let midnight = day.and_then(|day| day.and_hms_opt(0, 0, 0));
    let time = midnight.map(|time| Since::Time(time.and_utc()));
    time.ok_or_else(|| "it is neither the number of a landing nor a time".into())
}

fn write(file: &Path, page: &str) -> Result<(), AuthoringError> {
    std::fs::write(file, page).map_err(|cause| AuthoringError::Write {
        file: file.to_owned(),
        cause,
    })
}

fn told(report: &ShadowReport, paint: Paint) -> String {
    let mut text = format!(
        "{} over {}\n{}\n",
        paint.strong(format!("shadow of {}", report.table)),
        landings(report),
        sides(report, paint),
    );
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{}\n", report.inputs);
    if let Some(hidden) = hidden(report) {
        let _ = writeln!(text, "{hidden}\n");
    }
    for skipped in &report.skipped {
        let _ = writeln!(
            text,
            "{} landing {} was left out, {} cannot be run on it: {}",
            paint.doubtful("warning:"),
            skipped.landing,
            skipped.module,
            skipped.reason
        );
    }
    rows(&mut text, "rows", &report.rows);
    rows(&mut text, "retractions", &report.retractions);
    let rejects = &report.rejects;
    let _ = writeln!(
        text,
        "refused      {} alike, {} by the candidate only, {} by the active version only",
        text::count(rejects.same),
        text::count(rejects.added),
        text::count(rejects.dropped)
    );
    for column in report.columns.iter().filter(|column| is_other(column)) {
        self::column(&mut text, column, paint);
    }
    examples(&mut text, report);
    let end = match report.differs {
        true => paint.doubtful("they differ"),
        false => paint.good("they make the same"),
    };
    let _ = writeln!(text, "\n{end}");
    text
}

fn landings(report: &ShadowReport) -> String {
    match (report.landings.first(), report.landings.last()) {
        (Some(first), Some(last)) if first != last => format!(
            "{}, from {first} to {last}",
            text::counted(report.landings.len() as u64, "landing", "landings")
        ),
        (Some(only), _) => format!("landing {only}"),
        _ => "no landing".into(),
    }
}

fn sides(report: &ShadowReport, paint: Paint) -> String {
    let mut columns = Columns::new(&[
        "",
        "module",
        ">rows in",
        ">rows out",
        ">fuel",
        ">time",
        ">memory",
    ]);
    for (name, side) in [("active", &report.active), ("candidate", &report.candidate)] {
        let [rows_in, rows_out, fuel, time, memory] = cost(side);
        let module = side.module.to_string();
        columns.row([
            name.to_owned(),
            module,
            rows_in,
            rows_out,
            fuel,
            time,
            memory,
        ]);
    }
    columns.render(paint)
}

/// Rows in, rows out, fuel, time and memory of a side, for people.
fn cost(side: &ShadowSide) -> [String; 5] {
    [
        text::count(side.rows_in),
        text::count(side.rows_out),
        text::count(side.fuel),
        text::elapsed(std::time::Duration::from_micros(side.elapsed_us)),
        text::size(side.peak_memory_bytes),
    ]
}

/// Which values are not shown, where some are not.
fn hidden(report: &ShadowReport) -> Option<String> {
    (!report.hidden.is_empty()).then(|| {
        format!(
            "values of {} are not shown: they may come from columns that are marked sensitive",
            report.hidden.join(", ")
        )
    })
}

fn rows(text: &mut String, name: &str, rows: &RowDifferences) {
    let _ = writeln!(
        text,
        "{name:<11}  {} alike, {} added, {} dropped, {} changed",
        text::count(rows.same),
        text::count(rows.added),
        text::count(rows.dropped),
        text::count(rows.changed)
    );
}

fn is_other(column: &ColumnDifferences) -> bool {
    column.changed > 0 || column.change != ColumnChange::Kept
}

/// What became of a column, in words.
fn change(column: &ColumnDifferences) -> String {
    let rows = text::counted(column.changed, "row", "rows");
    match column.change {
        ColumnChange::Kept => format!("changed in {rows}"),
        ColumnChange::Added => format!("is new, with a value in {rows}"),
        ColumnChange::Dropped => format!("is gone, with a value in {rows}"),
        ColumnChange::Retyped => format!("has another type, and another value in {rows}"),
    }
}

fn column(text: &mut String, column: &ColumnDifferences, paint: Paint) {
    let _ = writeln!(text, "\n{} {}", paint.strong(&column.name), change(column));
    for example in &column.examples {
        let _ = writeln!(
            text,
            "  {} of landing {}: {} → {}",
            example.key.join(", "),
            example.landing,
            shown(example.active.as_ref()),
            shown(example.candidate.as_ref())
        );
    }
}

fn shown(value: Option<&String>) -> String {
    value.map_or_else(|| "NULL".into(), |value| format!("{value:?}"))
}

fn examples(text: &mut String, report: &ShadowReport) {
    let kinds = [
        ("added", &report.rows.added_examples),
        ("dropped", &report.rows.dropped_examples),
        (
            "taken back by the candidate only",
            &report.retractions.added_examples,
        ),
        (
            "taken back by the active version only",
            &report.retractions.dropped_examples,
        ),
    ];
    for (kind, examples) in kinds.iter().filter(|(_, examples)| !examples.is_empty()) {
        let _ = writeln!(text, "\n{kind}");
        for example in *examples {
            let values = example.values.iter();
            let values: Vec<String> = values
                .map(|(name, value)| format!("{name} {}", shown(value.as_ref())))
                .collect();
            let _ = writeln!(text, "  landing {}: {}", example.landing, values.join(", "));
        }
    }
    for example in &report.rejects.examples {
        let by = match example.by_candidate {
            true => "candidate",
            false => "active version",
        };
        let _ = writeln!(
            text,
            "\nrefused by the {by} only: row {} of {} in landing {}: {} ({})",
            example.row, example.table, example.landing, example.message, example.code
        );
    }
}

#[cfg(test)]
mod tests;
