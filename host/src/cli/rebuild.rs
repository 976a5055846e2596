//! `rebuild`: tables made anew from everything that is landed.

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::run::{refused, table_rows};
use super::text::{self, Columns, Paint, count, counted};
use crate::pipeline::rebuild::report::{RebuildReport, TableRebuilt};

/// Make tables anew from everything that is landed, with the modules that make them now.
///
/// The source is not asked. What a module has already made of a landing is used again. The new
/// rows take the place of the old ones in one transaction of the warehouse: whoever reads sees
/// the table as it was or as it is. Promotions and rollbacks do the same with --rebuild.
///
/// Example: tidemill rebuild fact_payment
#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// A table of the warehouse; may be given more than once.
    #[arg(value_name = "TABLE", required = true)]
    tables: Vec<String>,
}

impl Rebuild {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let run = call.run_id(call.clock()())?;
        let mut tables = self.tables;
        tables.sort();
        tables.dedup();
        let pipeline = call.pipeline().await?;
        let report = pipeline.rebuild(&run, &tables).await?;
        let mut answer = Answer::new(told(&report, call.paint()), &report).ending(exit(&report));
        answer.failures = report.failures.clone();
        Ok(answer)
    }
}

/// How a program ends that made this rebuild.
pub(super) fn exit(report: &RebuildReport) -> Exit {
    match (report.failures.is_empty(), report.rejected()) {
        (false, _) => Exit::Failed,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Flawed,
    }
}

/// A rebuild as people read it.
pub(super) fn told(report: &RebuildReport, paint: Paint) -> String {
    let mut blocks = vec![format!("{} {}\n", paint.strong("run"), report.run)];
    if !report.tables.is_empty() {
        blocks.push(rebuilt(&report.tables, paint));
    }
    for table in &report.nothing_to_do {
        let said = "nothing to make anew: it was never made, or another run was faster";
        blocks.push(paint.faint(format!("{table}: {said}\n")));
    }
    let loaded = report.load.iter().flat_map(|load| &load.rebuilds);
    for loaded in loaded {
        let elapsed = text::elapsed(loaded.elapsed);
        let head = paint.strong("load");
        let rows = table_rows(&loaded.tables, paint);
        blocks.push(format!(
            "{head}  rebuild {}  in {elapsed}\n{rows}",
            loaded.manifest
        ));
    }
    let failed = report.failures.len() as u64;
    let end = match failed {
        0 => paint.good("done"),
        failed => paint.bad(counted(failed, "table failed", "tables failed")),
    };
    blocks.push(format!("{end}  in {}\n", text::elapsed(report.elapsed)));
    blocks.join("\n")
}

/// Tables that were made anew, with what was computed for it.
pub(super) fn rebuilt(tables: &[TableRebuilt], paint: Paint) -> String {
    let mut columns = Columns::new(&[
        "table",
        ">through",
        "module",
        "digest",
        ">reused",
        ">recomputed",
        ">out",
        ">rejected",
        ">time",
    ]);
    for table in tables {
        columns.row([
            table.table.clone(),
            table.through.to_string(),
            format!("{} {}", table.module.name, table.module.version),
            table.module.digest.short(),
            count(table.reused),
            count(table.recomputed),
            count(table.rows_out),
            count(table.rows_rejected),
            text::elapsed(table.elapsed),
        ]);
        for reason in &table.reasons {
            columns.note(paint.doubtful(refused(reason)));
        }
    }
    format!("{}\n{}", paint.strong("rebuild"), columns.render(paint))
}
