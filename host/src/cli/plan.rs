//! `plan`: what a run would do.

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::{self, Columns, Paint};
use crate::pipeline::report::{PlanReport, PlannedTable, PlannedTransform};

/// Show what a run would do, without moving data.
///
/// For each source table: how its changes are found and why, and what is landed as text because no type
/// holds it exactly. For each warehouse table: which module makes it and which columns that module may
/// see. Ends with 4 when a run would do something new.
///
/// Example: tidemill plan --output json
#[derive(Debug, Args)]
pub(super) struct Plan {}

impl Plan {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let report = call.pipeline().await?.plan().await?;
        let exit = match report.has_changes() {
            true => Exit::Changes,
            false => Exit::Done,
        };
        Ok(Answer::new(told(&report, call.paint()), &report).ending(exit))
    }
}

fn told(report: &PlanReport, paint: Paint) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n{}",
        paint.strong("extract"),
        sources(&report.sources, paint),
        paint.strong("transform"),
        transforms(&report.transforms, paint)
    );
    for warning in &report.warnings {
        text.push_str(&format!("\n{} {warning}", paint.doubtful("warning:")));
    }
    let end = match report.has_changes() {
        true => paint.doubtful("a run would do something new"),
        false => paint.good("nothing is new: a run reads what changed"),
    };
    text.push_str(&format!("\n{end}\n"));
    text
}

fn sources(tables: &[PlannedTable], paint: Paint) -> String {
    let mut columns = Columns::new(&["source", "table", "key", ">rows", "reads"]);
    for table in tables {
        columns.row([
            table.source.clone(),
            table.table.clone(),
            match table.key.is_empty() {
                true => "none".into(),
                false => table.key.join(", "),
            },
            table
                .rows_estimate
                .map_or("?".into(), |rows| format!("~{}", text::count(rows))),
            text::window(&table.window),
        ]);
        if let Some(changed) = &table.changed {
            columns.note(paint.doubtful(format!("new: {changed}")));
        }
        for (column, source_type, reason) in &table.as_text {
            let note = format!("{column} ({source_type}) is landed as text: {reason}");
            columns.note(paint.faint(note));
        }
    }
    columns.render(paint)
}

fn transforms(tables: &[PlannedTransform], paint: Paint) -> String {
    let mut columns = Columns::new(&["table", "asked for", "module", "digest", ">waiting"]);
    for table in tables {
        let (module, digest) = match &table.module {
            Some(module) => (
                format!("{} {}", module.name, module.version),
                module.digest.short(),
            ),
            None => ("not in the registry".into(), "–".into()),
        };
        columns.row([
            table.table.clone(),
            table.requested.clone(),
            module,
            digest,
            text::count(table.pending),
        ]);
        if let Some(changed) = &table.changed {
            columns.note(paint.doubtful(format!("new: {changed}")));
        }
        for (input, seen) in &table.inputs {
            columns.note(paint.faint(format!("sees {input}: {}", seen.join(", "))));
        }
    }
    columns.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;
    use crate::watermark::{CompareReason, Window};

    fn report() -> PlanReport {
        PlanReport {
            sources: vec![
                PlannedTable {
                    source: "totesys".into(),
                    table: "staff".into(),
                    window: Window::Snapshot { xmin: 745 },
                    key: vec!["staff_id".into()],
                    rows_estimate: Some(9_845),
                    as_text: vec![(
                        "badge".into(),
                        "int4range".into(),
                        "Arrow has no ranges".into(),
                    )],
                    changed: Some("column badge added".into()),
                },
                PlannedTable {
                    source: "totesys".into(),
                    table: "staff_view".into(),
                    window: Window::Compare {
                        reason: CompareReason::NoRowVersions,
                    },
                    key: vec![],
                    rows_estimate: None,
                    as_text: vec![],
                    changed: None,
                },
            ],
            transforms: vec![PlannedTransform {
                table: "dim_staff".into(),
                requested: "dim-staff@1".into(),
                module: Some(ModuleRef {
                    name: "dim-staff".into(),
                    version: "1.0.0".into(),
                    digest: Digest::of("module"),
                }),
                inputs: vec![("staff".into(), vec!["staff_id".into(), "first_name".into()])],
                pending: 2,
                changed: None,
            }],
            warnings: vec!["staff_view has no key".into()],
        }
    }

    #[test]
    fn a_plan_says_how_why_and_what_is_seen() {
        insta::assert_snapshot!(told(&report(), Paint::new(false)));
    }
}
