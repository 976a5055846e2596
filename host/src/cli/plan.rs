//! `plan`: what a run would do.

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::{self, Columns, Paint};
use crate::pipeline::report::{
    GrantState, PlanReport, PlannedGrant, PlannedSecret, PlannedTable, PlannedTransform,
    SchemaAction,
};
use crate::table::SchemaChange;

/// Show what a run would do, without moving data.
///
/// For each source table: how its changes are found and why, and what is landed as text because no type
/// holds it exactly. For each warehouse table: which module makes it and which columns that module may
/// see, with every grant of a sensitive column, used or not. For each secret: where it comes from, never
/// what it is. Ends with 4 when a run would do something new.
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
        "{}\n{}\n{}\n{}\n{}\n{}",
        paint.strong("extract"),
        sources(&report.sources, paint),
        paint.strong("transform"),
        transforms(&report.transforms, paint),
        paint.strong("secrets"),
        secrets(&report.secrets, paint)
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
            match &table.window {
                Some(window) => text::window(window),
                None => "nothing".into(),
            },
        ]);
        for note in schema(table, paint) {
            columns.note(note);
        }
        for (column, source_type, reason) in &table.as_text {
            let note = format!("{column} ({source_type}) is landed as text: {reason}");
            columns.note(paint.faint(note));
        }
    }
    columns.render(paint)
}

/// What became of the table's schema, and what a run makes of that.
fn schema(table: &PlannedTable, paint: Paint) -> Vec<String> {
    let mut notes = Vec::new();
    let action = table.schema.as_ref().map(|schema| schema.action);
    // That it is read for the first time is said already.
    let is_first = table
        .schema
        .as_ref()
        .is_some_and(|schema| schema.changes == [SchemaChange::TableAdded])
        && action == Some(SchemaAction::Land);
    if let Some(changed) = table.changed.as_ref().filter(|_| !is_first) {
        notes.push(match action {
            Some(SchemaAction::Stop) => paint.bad(format!("stops: {changed}")),
            _ => paint.doubtful(format!("new: {changed}")),
        });
    }
    let Some(schema) = &table.schema else {
        return notes;
    };
    if schema.anew {
        notes.push(paint.doubtful("every row is landed again, for its new types"));
    }
    let policy = schema.policy;
    for ignored in &schema.ignored {
        notes.push(paint.faint(format!(
            "left out, for on_schema_change is {policy}: {ignored}"
        )));
    }
    if let Some(hint) = &schema.hint {
        notes.push(paint.faint(format!("hint: {hint}")));
    }
    notes
}

fn transforms(tables: &[PlannedTransform], paint: Paint) -> String {
    let mut columns = Columns::new(&["table", "asked for", "module", "digest", ">waiting"]);
    for table in tables {
        let (module, digest) = match &table.module {
            Some(module) => (
                format!("{} {}", module.name, module.version),
                module.digest.short(),
            ),
            None => ("none in use".into(), "–".into()),
        };
        columns.row([
            table.table.clone(),
            table.requested.clone(),
            module,
            digest,
            text::count(table.pending),
        ]);
        if let Some(changed) = &table.changed {
            columns.note(paint.doubtful(format!("from the next landing on: {changed}")));
        }
        for (input, seen) in &table.inputs {
            columns.note(paint.faint(format!("sees {input}: {}", seen.join(", "))));
        }
        for grant in &table.grants {
            columns.note(self::grant(grant, paint));
        }
    }
    columns.render(paint)
}

fn secrets(secrets: &[PlannedSecret], paint: Paint) -> String {
    let mut columns = Columns::new(&["setting", "comes from"]);
    for secret in secrets {
        columns.row([secret.setting.clone(), secret.from.clone()]);
    }
    columns.render(paint)
}

fn grant(grant: &PlannedGrant, paint: Paint) -> String {
    let column = &grant.column;
    match grant.state {
        GrantState::Used => format!("is granted {column}, which is sensitive"),
        GrantState::Missing => paint.bad(format!(
            "stops: {column} is sensitive, and it has no grant for it"
        )),
        GrantState::Unused => paint.doubtful(format!(
            "is granted {column}, which is sensitive and which it does not read"
        )),
        GrantState::NotSensitive => paint.doubtful(format!(
            "is granted {column}, which is not marked sensitive"
        )),
        GrantState::Unknown => {
            paint.doubtful(format!("is granted {column}; what it reads is not known"))
        }
    }
}

#[cfg(test)]
mod tests;
