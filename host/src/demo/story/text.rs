//! Everything the story says, in one place: at most 100 columns wide, the same on every machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::rows::{Row, Value};
use super::super::{Change, Commit, Day, Event, Generated};
use super::Told;
use crate::pipeline::report::RunReport;

/// What names of number columns begin with.
pub(super) const NUMBER: &str = "n_";

pub(super) const OPENING: &str = "
  A company

  totesys is the back end of a company that sells tote bags. Here it is a SQLite file with the
  history of nearly two years, invented but true to the real thing.
";

pub(super) const FIRST_RUN: &str = "
  The first run

  Everything is landed in one snapshot, remodelled by eleven WebAssembly modules, and loaded.
";

pub(super) const DAYS: &str = "
  Days pass

  Deals are entered, payments fall due. Now and then somebody edits an order and the application
  does not say so: last_updated stays as it was, and a watermark on it would never see the edit.
";

pub(super) const QUESTIONS: &str = "
  Asking the star
";

/// The tables that were generated, in two columns.
pub(super) fn company(generated: &Generated) -> String {
    let entries: Vec<String> = generated
        .rows
        .iter()
        .map(|(table, rows)| format!("{table:<16}{:>8}", grouped(&rows.to_string())))
        .collect();
    let mut text = String::from("\n");
    for pair in entries.chunks(2) {
        line(&mut text, &format!("    {}", pair.join("        ")));
    }
    line(
        &mut text,
        &format!("\n  The last working day is {}.", generated.today),
    );
    text
}

/// What the first run did.
pub(super) fn first_run(report: &RunReport) -> String {
    let mut text = String::from("\n");
    let landed: u64 = report
        .extract
        .iter()
        .flat_map(|e| &e.tables)
        .map(|t| t.rows_new)
        .sum();
    line(
        &mut text,
        &format!("    landed   {:>9} rows", grouped(&landed.to_string())),
    );
    let made: u64 = report
        .transform
        .iter()
        .flat_map(|t| &t.tables)
        .map(|t| t.rows_out)
        .sum();
    line(
        &mut text,
        &format!("    made     {:>9} rows", grouped(&made.to_string())),
    );
    let refused = report.rejected();
    line(
        &mut text,
        &format!("    refused  {:>9} rows", grouped(&refused.to_string())),
    );
    line(
        &mut text,
        &format!(
            "    loaded   {:>9} rows",
            grouped(&loaded(report).to_string())
        ),
    );
    text
}

/// What happened on a day; silent edits in full.
pub(super) fn day(day: &Day) -> String {
    let count = |event: Event| -> usize {
        let commits = day.commits.iter().filter(|commit| commit.event == event);
        commits
            .map(|commit| {
                if event == Event::Payday {
                    commit.changes.len()
                } else {
                    1
                }
            })
            .sum()
    };
    let mut happened = vec![format!("{} deals", count(Event::Deal))];
    for (event, one, many) in [
        (Event::Payday, "payment fell due", "payments fell due"),
        (Event::NewDesign, "new design", "new designs"),
        (Event::SilentEdit, "silent edit", "silent edits"),
    ] {
        match count(event) {
            0 => {}
            1 => happened.push(format!("1 {one}")),
            several => happened.push(format!("{several} {many}")),
        }
    }
    let mut text = format!(
        "\n  {}   {}\n",
        day.date.format("%a %Y-%m-%d"),
        happened.join(", ")
    );
    let silent = day
        .commits
        .iter()
        .filter(|commit| commit.event == Event::SilentEdit);
    for sentence in silent.flat_map(edits) {
        line(&mut text, &format!("    silently   {sentence}"));
    }
    text
}

/// What a run after the first one found.
pub(super) fn found(report: &RunReport) -> String {
    let tables = || report.extract.iter().flat_map(|extract| &extract.tables);
    let new: u64 = tables().map(|table| table.rows_new).sum();
    let changed: u64 = tables().map(|table| table.rows_changed).sum();
    let gone: u64 = tables().map(|table| table.rows_deleted).sum();
    format!("    found      {new} new rows, {changed} changed, {gone} gone\n")
}

/// Rows that a run found new, changed or gone.
pub(super) fn changes(report: &RunReport) -> u64 {
    let tables = report.extract.iter().flat_map(|extract| &extract.tables);
    tables
        .map(|table| table.rows_new + table.rows_changed + table.rows_deleted)
        .sum()
}

/// That the star is what the source implies; said only when it is.
pub(super) fn exact(compared: &BTreeMap<String, u64>) -> String {
    let rows = grouped(&compared.values().sum::<u64>().to_string());
    format!(
        "    exact      star = source in {rows} rows of {} tables\n",
        compared.len()
    )
}

/// The last words.
pub(super) fn ending(told: &Told) -> String {
    let found = grouped(&told.found.to_string());
    format!(
        "\n  {} days, {found} changes found, {} of them silent edits; the star was exact after every run.\n",
        told.days, told.silent_edits
    )
}

/// A titled table; the columns of numbers are flush right.
pub(super) fn table(title: &str, names: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = names
        .iter()
        .map(|name| name.trim_start_matches(NUMBER).replace('_', " "))
        .collect();
    let width = |place: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(place))
            .chain(heads.get(place));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let written = |cells: &[String]| {
        let cells = cells
            .iter()
            .zip(&widths)
            .zip(names)
            .map(|((cell, &width), name)| match name.starts_with(NUMBER) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
        cells.collect::<Vec<_>>().join("   ")
    };
    let mut text = format!("\n  {title}\n\n");
    line(&mut text, &format!("    {}", written(&heads)));
    let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
    line(&mut text, &format!("    {}", rule.join("   ")));
    for row in rows {
        line(&mut text, &format!("    {}", written(row)));
    }
    text
}

/// A number with a thin gap between its thousands: `1 234 567.80`.
pub(super) fn grouped(number: &str) -> String {
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number, None), |(w, f)| (w, Some(f)));
    let digits = whole.len();
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let is_start = text.is_empty() || text == "-";
        if !is_start && (digits - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        // Writing to a String does not fail.
        let _ = write!(text, ".{fraction}");
    }
    text
}

/// One sentence per column that an edit changed.
fn edits(commit: &Commit) -> impl Iterator<Item = String> {
    commit.changes.iter().flat_map(|change| match change {
        Change::Update { before, after } => differences(before, after),
        _ => Vec::new(),
    })
}

fn differences(before: &Row, after: &Row) -> Vec<String> {
    let (table, key) = (after.table().name().replace('_', " "), after.key());
    let columns = after.table().columns().iter();
    let changed = columns.zip(before.values().into_iter().zip(after.values()));
    changed
        .filter(|(_, (before, after))| before != after)
        .map(|((column, _), (before, after))| {
            format!(
                "{table} {key}: {column} {} → {}",
                shown(&before),
                shown(&after)
            )
        })
        .collect()
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "NULL".into(),
        other => other.to_string(),
    }
}

fn loaded(report: &RunReport) -> u64 {
    let tables = report
        .load
        .iter()
        .flat_map(|load| &load.landings)
        .flat_map(|l| &l.tables);
    tables.map(|table| table.inserted + table.updated).sum()
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::super::{Options, Totesys};
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let written = ["7", "1234", "-123456.70", "1000000"].map(grouped);
        assert_eq!(written, ["7", "1 234", "-123 456.70", "1 000 000"]);
    }

    #[test]
    fn tables_put_numbers_to_the_right() {
        let rows = [["Leeds", "1 000"], ["York", "7"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table("Towns", &["town", "n_bags_sold"], &rows),
            "\n  Towns\n\n    town    bags sold\n    ─────   ─────────\n    Leeds       1 000\n    York            7\n"
        );
    }

    #[test]
    fn nothing_that_is_said_of_a_hundred_days_is_wider_than_a_terminal() {
        let mut company = Totesys::new(Options {
            history_days: 10,
            ..Options::default()
        });
        while company.next_of_history().is_some() {}
        for _ in 0..100 {
            let text = day(&company.next_day());
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
        for text in [OPENING, FIRST_RUN, DAYS, QUESTIONS] {
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
    }
}
