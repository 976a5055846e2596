//! What a run would do.

use crate::config::{OnSchemaChange, Plan, SourcePlan};
use crate::error::{Classify as _, Result};
use crate::manifest::{LandedTable, LandingManifest, ProcessedManifest};
use crate::pipeline::access;
use crate::pipeline::declared::check_columns;
use crate::pipeline::extract::{
    ExtractError, check_marks, gone, is_expected, marked_nowhere, taken,
};
use crate::pipeline::inputs::{InputError, Landings};
use crate::pipeline::modules::Made;
use crate::pipeline::report::{
    PlanReport, PlannedSchema, PlannedTable, PlannedTransform, SchemaAction, TableFailure,
};
use crate::pipeline::schema::{Candidate, Verdict, listed};
use crate::pipeline::sensitive::{self, NotGranted};
use crate::pipeline::transform::pending_landings;
use crate::pipeline::window::{self, Asked};
use crate::run::Stage;
use crate::source::{Discovered, Snapshot};
use crate::table::{Column, Fidelity, KeyOrigin, SchemaChange, Table, TableName};
use crate::vault::Vault;

/// What to do about a table that is new where new tables are not taken.
const LEFT_OUT: &str = "name it in `include` of the source, or `tidemill run --accept` it";

/// What a run would read from one source.
///
/// # Errors
/// The source's own.
pub(in crate::pipeline) async fn source(
    name: &str,
    plan: &SourcePlan,
    vault: &Vault,
    landed: Option<&LandingManifest>,
    report: &mut PlanReport,
) -> Result<Vec<Table>> {
    let (_source, snapshot) = access::source(plan, vault).await?;
    let discovered = taken(plan, snapshot.tables().await?);
    let mut wrong_marks = Vec::new();
    for found in &discovered {
        let table = &found.table;
        let before = landed.and_then(|manifest| manifest.tables.get(&table.name));
        if let Err(error) = check_marks(plan, table, before) {
            wrong_marks.push((table.name.as_str(), error));
        }
        report
            .sources
            .push(planned(name, plan, snapshot.as_ref(), found, landed));
        if found.table.key_origin == KeyOrigin::None {
            report.warnings.push(format!(
                "{} has no key: it is landed whole whenever it changed",
                found.table.name
            ));
        }
    }
    let nowhere = marked_nowhere(plan, &discovered, landed).into_iter();
    wrong_marks.extend(nowhere.map(|table| (table.as_str(), ExtractError::NoSensitiveTable)));
    for (table, error) in wrong_marks {
        let hint = error.hint().unwrap_or_default();
        report
            .warnings
            .push(format!("{name}.{table}: {error} ({hint})"));
    }
    for (table, renamed_to) in gone(plan, snapshot.position(), &discovered, landed) {
        let landed = landed.and_then(|manifest| manifest.tables.get(table));
        report
            .sources
            .push(missing(name, plan, table, landed, renamed_to));
    }
    report
        .sources
        .sort_by(|a, b| (&a.source, &a.table).cmp(&(&b.source, &b.table)));
    Ok(discovered.into_iter().map(|d| d.table).collect())
}

fn planned(
    name: &str,
    plan: &SourcePlan,
    snapshot: &dyn Snapshot,
    found: &Discovered,
    landing: Option<&LandingManifest>,
) -> PlannedTable {
    let table = &found.table;
    let landed = landing.and_then(|m| m.tables.get(&table.name));
    let policy = plan.on_schema_change_of(table.name.as_str());
    let candidate = Candidate {
        found,
        landed,
        position: snapshot.position(),
        policy,
        expected: is_expected(plan, landing, &table.name),
        accepted: false,
    };
    let mut planned = PlannedTable {
        source: name.to_owned(),
        table: table.name.as_str().to_owned(),
        window: None,
        key: table.key.clone(),
        rows_estimate: found.rows_estimate,
        as_text: as_text(table),
        changed: None,
        schema: None,
    };
    match candidate.judge() {
        Verdict::Land(admitted) => {
            let asked = Asked {
                compare: false,
                schema: admitted.compare.clone(),
                interval: plan.reconcile,
                now: snapshot.clock(),
            };
            let cursor = plan.cursor_of(table.name.as_str());
            planned.window = Some(window::choose(
                &admitted.table,
                landed,
                cursor,
                &asked,
                |previous| snapshot.changes_since(table, previous),
            ));
            planned.as_text = as_text(&admitted.table);
            planned.changed = Some(listed(&admitted.changes)).filter(|changes| !changes.is_empty());
            planned.schema = PlannedSchema {
                policy,
                action: SchemaAction::Land,
                changes: admitted.changes,
                ignored: admitted.ignored,
                anew: admitted.anew,
                hint: None,
            }
            .if_any();
        }
        Verdict::LeaveOut => {
            planned.schema = PlannedSchema {
                policy,
                action: SchemaAction::LeaveOut,
                changes: Vec::new(),
                ignored: vec![SchemaChange::TableAdded],
                anew: false,
                hint: Some(LEFT_OUT.to_owned()),
            }
            .if_any();
        }
        Verdict::Stop(error) => stop(&mut planned, policy, candidate.changes(), &error),
    }
    planned
}

/// Columns that are landed as text, each with its type and the reason.
fn as_text(table: &Table) -> Vec<(String, String, String)> {
    let texts = table
        .columns
        .iter()
        .filter_map(|column| match &column.fidelity {
            Fidelity::Exact => None,
            Fidelity::Text(reason) => Some((
                column.name.clone(),
                column.source_type.clone(),
                reason.clone(),
            )),
        });
    texts.collect()
}

/// A table that was landed and is not there any more.
fn missing(
    name: &str,
    plan: &SourcePlan,
    table: &TableName,
    landed: Option<&LandedTable>,
    renamed_to: Option<TableName>,
) -> PlannedTable {
    let mut planned = PlannedTable {
        source: name.to_owned(),
        table: table.as_str().to_owned(),
        window: None,
        key: landed
            .map(|landed| landed.table.key.clone())
            .unwrap_or_default(),
        rows_estimate: None,
        as_text: Vec::new(),
        changed: None,
        schema: None,
    };
    let error = ExtractError::gone(renamed_to.clone());
    let changes = vec![SchemaChange::TableDropped { renamed_to }];
    stop(
        &mut planned,
        plan.on_schema_change_of(table.as_str()),
        changes,
        &error,
    );
    planned
}

fn stop(
    planned: &mut PlannedTable,
    policy: OnSchemaChange,
    changes: Vec<SchemaChange>,
    error: &ExtractError,
) {
    planned.changed = Some(listed(&changes));
    planned.schema = Some(PlannedSchema {
        policy,
        action: SchemaAction::Stop,
        changes,
        ignored: Vec::new(),
        anew: false,
        hint: error.hint(),
    });
}

/// What a run would make of one table.
///
/// # Errors
/// `Unavailable` when a zone does not answer.
pub(in crate::pipeline) async fn transform(
    plan: &Plan,
    table: &str,
    loaded: std::result::Result<&Made, &crate::Error>,
    landings: Option<&Landings>,
    processed: Option<&ProcessedManifest>,
) -> Result<PlannedTransform> {
    let requested = plan
        .transforms
        .get(table)
        .map(|t| t.module.clone())
        .unwrap_or_default();
    let refused = loaded
        .err()
        .and_then(|error| error.downcast_ref::<NotGranted>());
    let reads = match (loaded, refused) {
        (Ok(made), _) => Some(made.module.sensitive()),
        (Err(_), refused) => refused.map(|refused| refused.reads.as_slice()),
    };
    let module = match loaded {
        Ok(made) => Some(made.module.reference()),
        Err(_) => refused.map(|refused| refused.module.as_ref()),
    };
    let mut planned = PlannedTransform {
        table: table.to_owned(),
        requested,
        module: module.cloned(),
        inputs: Vec::new(),
        pending: 0,
        changed: None,
        grants: sensitive::planned(plan, table, reads),
    };
    let Ok(made) = loaded else {
        return Ok(planned);
    };
    planned.inputs = made
        .module
        .description()
        .inputs
        .iter()
        .map(|input| {
            let columns = input
                .schema
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect();
            (input.table.clone(), columns)
        })
        .collect();
    if let Some(landings) = landings
        && let Some(newest) = landings.newest().await?
    {
        let done = processed
            .and_then(|m| m.through.get(table))
            .map_or(0, |t| t.landing);
        planned.pending = match pending_landings(landings, made, done, newest.sequence).await {
            Ok(pending) => pending.len() as u64,
            Err(error) if error.downcast_ref::<InputError>().is_some() => 0,
            Err(error) => return Err(error),
        };
    }
    planned.changed = change_of_module(made, processed);
    Ok(planned)
}

/// Why the module of a table cannot be loaded, and what to do about it.
pub(in crate::pipeline) fn failing(table: &str, loaded: &Result<Made>) -> Option<String> {
    let error = loaded.as_ref().err()?;
    let failure = TableFailure::new(table, Stage::Transform, error);
    let hint = failure.hint.map(|hint| format!(" ({hint})"));
    let hint = hint.unwrap_or_default();
    Some(format!("{table}: {}{hint}", failure.message))
}

fn change_of_module(made: &Made, processed: Option<&ProcessedManifest>) -> Option<String> {
    let before = processed?.tables.get(&made.table)?;
    let now = made.module.reference();
    (before.module.digest != now.digest).then(|| format!("{} → {now}", before.module))
}

/// Where a module's inputs do not fit what the source has; `landed` is what it had.
pub(in crate::pipeline) fn misfits(
    made: &Made,
    tables: &[Table],
    landed: Option<&LandingManifest>,
) -> Vec<String> {
    let mut misfits = Vec::new();
    for input in &made.module.description().inputs {
        let Some(table) = tables.iter().find(|t| t.name.as_str() == input.table) else {
            misfits.push(format!(
                "{} reads {}, which the source does not give",
                made.table, input.table
            ));
            continue;
        };
        let landed = landed.and_then(|manifest| manifest.tables.get(&table.name));
        let known = landed
            .iter()
            .flat_map(|l| l.table.columns.iter().chain(&l.dropped));
        let dropped: Vec<Column> = known
            .filter(|c| table.column(&c.name).is_none())
            .cloned()
            .collect();
        if let Err(error) = check_columns(input, table, &dropped) {
            misfits.push(format!("{}: {error}", made.table));
        }
    }
    misfits
}
