//! Survey: what a run would do, what past runs did, and whether everything is in place. Nothing is written
//! but the probe of a zone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declared::check_columns;
use super::extract::{ExtractError, gone, is_expected, taken};
use super::inputs::Landings;
use super::modules::Made;
use super::report::{
    Check, LandedSummary, LandingSummary, ModuleListing, PlanReport, PlannedSchema, PlannedTable,
    PlannedTransform, RunSummary, SchemaAction, TableFailure, TransformSummary,
};
use super::schema::{Candidate, Verdict, listed};
use super::transform::pending_landings;
use super::window::{self, Asked};
use crate::config::{Cursor, OnSchemaChange, Plan, SourcePlan};
use crate::error::{Classify as _, Result};
use crate::manifest::{LandedTable, LandingManifest, ManifestLog, ProcessedManifest, rows_of};
use crate::registry::Registry;
use crate::run::{RunId, Stage};
use crate::source::{Discovered, Snapshot};
use crate::table::{Column, Fidelity, KeyOrigin, SchemaChange, Table, TableName};
use crate::zone::Zone;

/// What to do about a table that is new where new tables are not taken.
const LEFT_OUT: &str = "name it in `include` of the source, or `tidemill run --accept` it";

/// What a run would read from one source.
///
/// # Errors
/// The source's own.
pub(super) async fn source(
    name: &str,
    plan: &SourcePlan,
    landed: Option<&LandingManifest>,
    report: &mut PlanReport,
) -> Result<Vec<Table>> {
    let source = crate::source::open(plan.url.expose()?, &plan.options)?;
    let snapshot = source.snapshot().await?;
    let discovered = taken(plan, snapshot.tables().await?);
    for found in &discovered {
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
pub(super) async fn transform(
    plan: &Plan,
    table: &str,
    made: Option<&Made>,
    landings: Option<&Landings>,
    processed: Option<&ProcessedManifest>,
) -> Result<PlannedTransform> {
    let requested = plan
        .transforms
        .get(table)
        .map(|t| t.module.clone())
        .unwrap_or_default();
    let mut planned = PlannedTransform {
        table: table.to_owned(),
        requested,
        module: made.map(|m| m.module.reference().clone()),
        inputs: Vec::new(),
        pending: 0,
        changed: None,
    };
    let Some(made) = made else {
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
            Err(error) if error.downcast_ref::<super::inputs::InputError>().is_some() => 0,
            Err(error) => return Err(error),
        };
    }
    planned.changed = change_of_module(made, processed);
    Ok(planned)
}

fn change_of_module(made: &Made, processed: Option<&ProcessedManifest>) -> Option<String> {
    let before = processed?.tables.get(&made.table)?;
    let now = made.module.reference();
    (before.module.digest != now.digest).then(|| format!("{} → {now}", before.module))
}

/// Where a module's inputs do not fit what the source has; `landed` is what it had.
pub(super) fn misfits(
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

/// Past runs put together from the manifests, the newest first.
///
/// # Errors
/// `Data` when a manifest is damaged, `Unavailable`.
pub(super) async fn runs(
    sources: impl Iterator<Item = &String>,
    landed: &Arc<dyn Zone>,
    processed: &Arc<dyn Zone>,
) -> Result<Vec<RunSummary>> {
    let mut runs: BTreeMap<RunId, RunSummary> = BTreeMap::new();
    for source in sources {
        let log = ManifestLog::<LandingManifest>::new(landed.clone(), source);
        let newest = log.newest().await?.map_or(0, |m| m.sequence);
        for sequence in 1..=newest {
            let manifest = log.read(sequence).await?;
            let run = summary(&mut runs, &manifest.run);
            run.landings.push(landing_summary(manifest));
        }
    }
    let log = ManifestLog::<ProcessedManifest>::new(processed.clone(), "");
    let newest = log.newest().await?.map_or(0, |m| m.sequence);
    for sequence in 1..=newest {
        let manifest = log.read(sequence).await?;
        let landing = manifest.landing;
        let run = summary(&mut runs, &manifest.run);
        run.transforms.extend(
            manifest
                .tables
                .into_iter()
                .map(|(table, made)| TransformSummary {
                    table,
                    landing,
                    rows_in: made.rows_in,
                    rows_out: rows_of(&made.rows),
                    rows_rejected: rows_of(&made.rejects),
                    module: made.module,
                }),
        );
    }
    Ok(runs.into_values().rev().collect())
}

fn summary<'a>(runs: &'a mut BTreeMap<RunId, RunSummary>, run: &RunId) -> &'a mut RunSummary {
    runs.entry(run.clone()).or_insert_with(|| RunSummary {
        run: run.clone(),
        landings: Vec::new(),
        transforms: Vec::new(),
    })
}

fn landing_summary(manifest: LandingManifest) -> LandingSummary {
    let tables = manifest
        .tables
        .into_iter()
        .filter_map(|(name, table)| {
            Some(LandedSummary {
                table: name.as_str().to_owned(),
                window: table.window.clone()?,
                rows_changed: table.changed_rows(),
                rows_deleted: table.deleted_rows(),
            })
        })
        .collect();
    LandingSummary {
        source: manifest.source,
        landing: manifest.sequence,
        logical_time: manifest.logical_time,
        tables,
    }
}

/// Whether a zone can be written and read.
pub(super) async fn zone(name: &str, zone: &Arc<dyn Zone>, run: &RunId) -> Check {
    let key = format!("_doctor/{run}");
    let probe = async {
        zone.create(&key, bytes::Bytes::from_static(b"probe"))
            .await?;
        let read = zone.read(&key).await;
        zone.delete(&key).await?;
        read
    };
    let name = format!("{name} zone");
    match probe.await {
        Ok(_) => passed(name, format!("{} can be written and read", zone.url())),
        Err(error) => failed(name, &error.into()),
    }
}

/// Whether a source answers, and how changes are found in each of its tables.
pub(super) async fn source_checks(name: &str, plan: &SourcePlan) -> Vec<Check> {
    let name = format!("source {name}");
    let discovered = async {
        let source = crate::source::open(plan.url.expose()?, &plan.options)?;
        let target = source.target().to_owned();
        let snapshot = source.snapshot().await?;
        Ok((target, taken(plan, snapshot.tables().await?)))
    };
    match discovered.await {
        Err(error) => vec![failed(name, &error)],
        Ok((target, tables)) => {
            let mut checks = vec![passed(
                name.clone(),
                format!("{target} answers and gives {} tables", tables.len()),
            )];
            checks.extend(tables.iter().filter_map(|found| method(&name, plan, found)));
            checks
        }
    }
}

/// How changes of one table are found, where that is not what one would expect.
fn method(name: &str, plan: &SourcePlan, found: &Discovered) -> Option<Check> {
    let name = format!("{name}: {}", found.table.name);
    let Cursor::Column { name: column, .. } = plan.cursor_of(found.table.name.as_str()) else {
        let reason = found.changes.as_ref().err()?;
        let detail = format!("every run compares the whole table, because {reason}");
        return Some(passed(name, detail));
    };
    match found.cursor_candidates.iter().find(|c| c.column == *column) {
        Some(candidate) if candidate.indexed => None,
        Some(_) => Some(passed(
            name,
            format!(
                "no index begins with {column}, so that every run reads the whole table to find what is new"
            ),
        )),
        None => Some(Check {
            name,
            ok: false,
            detail: format!("{column} is no column that can tell what is new"),
            hint: Some(match found.cursor_candidates.first() {
                Some(other) => format!(
                    "use `cursor = \"{}\"` or `cursor = \"snapshot\"`",
                    other.column
                ),
                None => "use `cursor = \"snapshot\"`".to_owned(),
            }),
        }),
    }
}

/// Whether the warehouse answers.
pub(super) async fn warehouse(warehouse: &dyn crate::warehouse::Warehouse) -> Check {
    let name = "warehouse".to_owned();
    match warehouse.ledger().await {
        Ok(ledger) => passed(
            name,
            format!(
                "{} answers and has {} loaded tables",
                warehouse.target(),
                ledger.through.len()
            ),
        ),
        Err(error) => failed(name, &error.into()),
    }
}

/// Whether the modules of the project can be loaded.
pub(super) fn module_checks(made: &[Made], failures: &[TableFailure]) -> Vec<Check> {
    let loaded = made.iter().map(|made| {
        passed(
            format!("module of {}", made.table),
            format!("{} is compiled", made.module.reference()),
        )
    });
    let broken = failures.iter().map(|failure| Check {
        name: format!("module of {}", failure.table),
        ok: false,
        detail: failure.message.clone(),
        hint: failure.hint.clone(),
    });
    loaded.chain(broken).collect()
}

fn passed(name: String, detail: String) -> Check {
    Check {
        name,
        ok: true,
        detail,
        hint: None,
    }
}

pub(super) fn failed(name: String, error: &crate::Error) -> Check {
    let failure = TableFailure::new(&name, Stage::Extract, error);
    Check {
        name,
        ok: false,
        detail: failure.message,
        hint: failure.hint,
    }
}

/// The modules in the registry, by name and version.
///
/// # Errors
/// `Data` when a record is damaged, `Unavailable`.
pub(super) async fn modules(registry: &Registry) -> Result<Vec<ModuleListing>> {
    let history = registry.history().await?;
    let mut modules = Vec::new();
    for name in registry.names().await? {
        let active = history
            .iter()
            .rev()
            .find(|promotion| promotion.name == name);
        for version in registry.versions(&name).await? {
            let stored = registry.read(&name, &version.to_string()).await?;
            let module = stored.module();
            let promotion = history.iter().rev().find(|p| p.module() == module);
            modules.push(ModuleListing {
                active: active.is_some_and(|active| active.module() == module),
                promoted: promotion.map(|p| p.when),
                by: promotion.map(|p| p.who.clone()),
                bytes: stored.component.len() as u64,
                module,
            });
        }
    }
    Ok(modules)
}
