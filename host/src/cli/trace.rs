//! `trace`: which run, module and landed row made a row of the warehouse.

use std::fmt::Write as _;

use clap::Args;

use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{self, Paint};
use crate::pipeline::trace::report::{
    LandedRow, Making, Removal, TraceReport, TracedInput, TracedVersion, Value, VersionState,
};

/// Objects of one input that are named; the others are counted.
const OBJECTS: usize = 3;

/// Show what made a row of the warehouse: run, module, landed rows, and all its versions.
///
/// The key is given in its order, or as column=value. A landed row is shown where the input's key has the
/// same columns as the table's, or where it is proved: the module is run on that row alone, and makes this
/// row. Of other inputs, such as lookups, the objects are named that the module was given. Values of columns
/// that are marked sensitive are replaced, and so is in the warehouse's rows what may come of them. A row
/// that is gone is told with the landing that took it away.
///
/// Example: tidemill trace fact_sales_order 42
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The warehouse table.
    table: String,
    /// The row's key: its values in order, or column=value.
    #[arg(required = true, value_name = "KEY", allow_negative_numbers = true)]
    key: Vec<String>,
}

impl Trace {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let report = call.pipeline().await?.trace(&self.table, &self.key).await?;
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

fn told(report: &TraceReport, paint: Paint) -> String {
    let key: Vec<String> = report.key.iter().map(pair).collect();
    let count = text::counted(report.versions.len() as u64, "version", "versions");
    let mut text = format!(
        "{}  {}  {}, {count} in the warehouse\n",
        paint.strong(&report.table),
        key.join(", "),
        report.mode
    );
    // Writing to a String cannot fail, here and below.
    for note in &report.notes {
        let _ = writeln!(text, "{} {note}", paint.doubtful("warning:"));
    }
    let mut before = None;
    for (number, version) in report.versions.iter().enumerate() {
        self::version(&mut text, number + 1, version, before, paint);
        before = Some(version);
    }
    for removal in &report.removals {
        self::removal(&mut text, removal, paint);
    }
    for making in &report.waiting {
        let _ = writeln!(text, "\n{}", paint.doubtful("made and not loaded yet"));
        self::making(&mut text, making, paint);
    }
    text
}

fn version(
    text: &mut String,
    number: usize,
    version: &TracedVersion,
    before: Option<&TracedVersion>,
    paint: Paint,
) {
    let state = match version.state {
        VersionState::Current => paint.good("current"),
        VersionState::Superseded => paint.faint("superseded"),
        VersionState::Ended => paint.doubtful("ended"),
    };
    let _ = writeln!(
        text,
        "\n{} {state}",
        paint.strong(format!("version {number}"))
    );
    let values: Vec<String> = match before {
        Some(before) => changes(before, version),
        None => version.values.iter().map(pair).collect(),
    };
    let what = match before {
        Some(_) => "changed",
        None => "values",
    };
    let _ = writeln!(text, "  {what:<8} {}", values.join(", "));
    match &version.made {
        Some(made) => making(text, made, paint),
        None => {
            let _ = writeln!(text, "  made by  {}", paint.doubtful("not known"));
        }
    }
}

/// What is different from the version before.
fn changes(before: &TracedVersion, version: &TracedVersion) -> Vec<String> {
    let was = |column: &str| before.values.iter().find(|v| v.column == column);
    let changed = version.values.iter().filter_map(|value| {
        let was = was(&value.column);
        let is_same = was.is_some_and(|was| was.value == value.value);
        (!is_same).then(|| {
            let was = was.map_or("–", |was| shown(was));
            format!("{} {was} → {}", value.column, shown(value))
        })
    });
    changed.collect()
}

fn making(text: &mut String, making: &Making, paint: Paint) {
    let _ = writeln!(text, "  made by  {} in run {}", making.module, making.run);
    let _ = writeln!(
        text,
        "  out of   landing {} of {}, at {}",
        making.landing,
        making.source,
        self::text::time(making.logical_time)
    );
    if let Some(place) = &making.object {
        let at = format!("row {} of {}", place.row, place.object);
        let _ = writeln!(text, "  kept in  {}", paint.faint(at));
    }
    for input in &making.inputs {
        self::input(text, input, paint);
    }
}

fn input(text: &mut String, input: &TracedInput, paint: Paint) {
    match &input.row {
        Some(row) => landed(text, &input.table, row, paint),
        None => {
            let mut objects: Vec<String> = input.objects.iter().take(OBJECTS).cloned().collect();
            let more = input.objects.len().saturating_sub(OBJECTS);
            if more > 0 {
                objects.push(format!("{more} more"));
            }
            let objects = match objects.is_empty() {
                true => "nothing of this landing".to_owned(),
                false => objects.join(", "),
            };
            let _ = writeln!(text, "  given    {}: {}", input.table, paint.faint(objects));
        }
    }
}

fn landed(text: &mut String, table: &str, row: &LandedRow, paint: Paint) {
    let values: Vec<String> = row.values.iter().map(pair).collect();
    let what = match row.deleted {
        true => "gone from",
        false => "row of",
    };
    let _ = writeln!(text, "  landed   {what} {table}: {}", values.join(", "));
    let _ = writeln!(
        text,
        "           {}",
        paint.faint(format!(
            "row {} of {}, landing {} by run {}{}",
            row.object.row,
            row.object.object,
            row.landing,
            row.run,
            match row.proved {
                true => "; given it alone, the module makes this row",
                false => "",
            }
        ))
    );
}

fn removal(text: &mut String, removal: &Removal, paint: Paint) {
    let by = &removal.by;
    let loaded = match removal.loaded {
        true => "",
        false => ", not loaded yet",
    };
    let head = format!(
        "taken away by landing {} of {}{loaded}",
        by.landing, by.source
    );
    let _ = writeln!(text, "\n{}", paint.doubtful(head));
    if let Some(refused) = &removal.refused {
        let _ = writeln!(text, "  refused  {refused}");
    }
    if let Some(place) = &removal.retraction {
        let at = format!("row {} of {}", place.row, place.object);
        let _ = writeln!(text, "  said in  {}", paint.faint(at));
    }
    making(text, by, paint);
}

fn pair(value: &Value) -> String {
    format!("{} {}", value.column, shown(value))
}

fn shown(value: &Value) -> &str {
    value.value.as_deref().unwrap_or("NULL")
}
