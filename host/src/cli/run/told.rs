//! A run as people read it.

use crate::cli::rebuild::rebuilt;
use crate::cli::text::{self, Columns, Paint, count, counted};
use crate::pipeline::report::{
    ExtractReport, LandingLoaded, RejectReason, RunReport, SweepReport, TableExtracted,
    TableTransformed,
};
use crate::warehouse::TableLoaded;

/// The whole run: one block per stage and one line of totals.
pub(super) fn report(report: &RunReport, paint: Paint) -> String {
    let mut blocks = vec![format!("{} {}\n", paint.strong("run"), report.run)];
    blocks.extend(report.extract.iter().map(|e| extract(e, paint)));
    if let Some(transform) = &report.transform {
        if !transform.rebuilt.is_empty() {
            blocks.push(rebuilt(&transform.rebuilt, paint));
        }
        blocks.push(transformed(&transform.tables, paint));
    }
    if let Some(load) = &report.load {
        blocks.extend(load.landings.iter().map(|landing| loaded(landing, paint)));
        for loaded in &load.rebuilds {
            let (head, elapsed) = (paint.strong("load"), text::elapsed(loaded.elapsed));
            let rows = table_rows(&loaded.tables, paint);
            let number = loaded.manifest;
            blocks.push(format!("{head}  rebuild {number}  in {elapsed}\n{rows}"));
        }
        if load.landings.is_empty() && load.rebuilds.is_empty() && load.failures.is_empty() {
            blocks.push(format!("{}  nothing is waiting\n", paint.strong("load")));
        }
    }
    blocks.push(totals(report, paint));
    blocks.join("\n")
}

fn extract(report: &ExtractReport, paint: Paint) -> String {
    let mut columns = Columns::new(&[
        "table",
        "method",
        ">read",
        ">new",
        ">changed",
        ">deleted",
        ">live",
        "watermark",
    ]);
    for table in &report.tables {
        columns.row(extracted(table));
        if let crate::watermark::Window::Compare { reason } = &table.window {
            columns.note(paint.faint(format!("compared because: {reason}")));
        }
        for change in &table.changes {
            columns.note(paint.doubtful(format!("new: {change}")));
        }
        for change in &table.ignored {
            columns.note(paint.faint(format!("left out: {change}")));
        }
    }
    let left_out = match report.left_out.is_empty() {
        true => String::new(),
        false => paint.faint(format!(
            "  new and left out: {}\n",
            report.left_out.join(", ")
        )),
    };
    format!(
        "{}  {}  landing {}  at {}\n{}{left_out}",
        paint.strong("extract"),
        report.source,
        report.landing,
        text::time(report.logical_time),
        columns.render(paint)
    )
}

fn extracted(table: &TableExtracted) -> [String; 8] {
    [
        table.table.clone(),
        text::method(&table.window).into(),
        count(table.rows_read),
        count(table.rows_new),
        count(table.rows_changed),
        count(table.rows_deleted),
        count(table.rows_live),
        text::moved(
            table.watermark_before.as_ref(),
            table.watermark_after.as_ref(),
        ),
    ]
}

fn transformed(tables: &[TableTransformed], paint: Paint) -> String {
    let head = paint.strong("transform");
    if tables.is_empty() {
        return format!("{head}  nothing is waiting\n");
    }
    let mut columns = Columns::new(&[
        "table",
        ">landing",
        "module",
        "digest",
        ">in",
        ">out",
        ">retracted",
        ">rejected",
        ">time",
    ]);
    for table in tables {
        columns.row([
            table.table.clone(),
            table.landing.to_string(),
            format!("{} {}", table.module.name, table.module.version),
            table.module.digest.short(),
            count(table.rows_in),
            count(table.rows_out),
            count(table.rows_retracted),
            count(table.rows_rejected),
            text::elapsed(table.elapsed),
        ]);
        for reason in &table.reasons {
            columns.note(paint.doubtful(refused(reason)));
        }
    }
    format!("{head}\n{}", columns.render(paint))
}

/// Why rows were refused, with the first of them.
pub(in crate::cli) fn refused(reason: &RejectReason) -> String {
    format!(
        "{} rejected, {}: {}",
        count(reason.rows),
        reason.code,
        reason.message
    )
}

/// What a load did to each table.
pub(in crate::cli) fn table_rows(tables: &[TableLoaded], paint: Paint) -> String {
    let mut columns = Columns::new(&["table", ">inserted", ">updated", ">removed", ">unchanged"]);
    for table in tables {
        columns.row([
            table.table.clone(),
            count(table.inserted),
            count(table.updated),
            count(table.removed),
            count(table.unchanged),
        ]);
        if table.already {
            columns.note(paint.faint("was loaded before: nothing to do"));
        }
        for note in &table.notes {
            columns.note(paint.faint(note));
        }
    }
    columns.render(paint)
}

fn loaded(landing: &LandingLoaded, paint: Paint) -> String {
    format!(
        "{}  {}  landing {}  in {}\n{}",
        paint.strong("load"),
        landing.source,
        landing.landing,
        text::elapsed(landing.elapsed),
        table_rows(&landing.tables, paint)
    )
}

fn totals(report: &RunReport, paint: Paint) -> String {
    let mut parts = Vec::new();
    if !report.extract.is_empty() {
        let tables = || report.extract.iter().flat_map(|e| &e.tables);
        let changed: u64 = tables().map(|t| t.rows_new + t.rows_changed).sum();
        let deleted: u64 = tables().map(|t| t.rows_deleted).sum();
        let bytes: u64 = tables().map(|t| t.bytes).sum();
        parts.push(format!(
            "landed {} and {} ({})",
            counted(changed, "row", "rows"),
            counted(deleted, "delete", "deletes"),
            text::size(bytes)
        ));
    }
    if let Some(transform) = &report.transform {
        let made: u64 = transform.tables.iter().map(|t| t.rows_out).sum();
        parts.push(format!("made {}", counted(made, "row", "rows")));
    }
    let rejected = report.rejected();
    if rejected > 0 {
        parts.push(paint.doubtful(format!("rejected {}", counted(rejected, "row", "rows"))));
    }
    if let Some(load) = &report.load {
        let landings = || load.landings.iter().flat_map(|l| &l.tables);
        let rebuilds = || load.rebuilds.iter().flat_map(|l| &l.tables);
        let tables = || landings().chain(rebuilds());
        let sum = |rows: fn(&TableLoaded) -> u64| tables().map(rows).sum();
        parts.push(format!(
            "inserted {}, updated {}, removed {}",
            count(sum(|t| t.inserted)),
            count(sum(|t| t.updated)),
            count(sum(|t| t.removed))
        ));
    }
    let mut swept = SweepReport::default();
    let extracted = report.extract.iter().map(|e| &e.swept);
    let transformed = report.transform.iter().map(|t| &t.swept);
    let loaded = report.load.iter().map(|l| &l.swept);
    extracted
        .chain(transformed)
        .chain(loaded)
        .for_each(|zone| swept.add(zone.clone()));
    if !swept.swept.is_empty() {
        let objects = counted(swept.swept.len() as u64, "object", "objects");
        let size = text::size(swept.bytes());
        parts.push(format!("swept {objects} of dead runs ({size})"));
    }
    let failed = super::failures(report).count() as u64;
    let end = match failed {
        0 => paint.good("done"),
        failed => paint.bad(counted(failed, "table failed", "tables failed")),
    };
    parts.push(format!("in {}", text::elapsed(report.elapsed)));
    let mut told = format!("{end}  {}\n", parts.join(" · "));
    if let Some(store) = &report.store {
        let requests = counted(store.requests(), "request", "requests");
        let (sent, received) = (store.bytes_sent, store.bytes_received);
        told.push_str(&format!(
            "{}  {requests} · {} sent, {} received\n",
            paint.faint("store"),
            text::size(sent),
            text::size(received)
        ));
    }
    told
}

#[cfg(test)]
mod tests;
