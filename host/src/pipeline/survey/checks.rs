//! Whether everything is in place.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Cursor, Secret, SourcePlan};
use crate::pipeline::access;
use crate::pipeline::extract::taken;
use crate::pipeline::modules::Made;
use crate::pipeline::report::{Check, TableFailure};
use crate::run::RunId;
use crate::source::Discovered;
use crate::vault::Vault;
use crate::zone::Zone;

/// Whether a zone can be written and read.
pub(in crate::pipeline) async fn zone(name: &str, zone: &Arc<dyn Zone>, run: &RunId) -> Check {
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
        Err(error) => Check::failed(name, &error.into()),
    }
}

/// Whether what is asked answers in time; nothing is written and nothing is discovered.
pub(in crate::pipeline) async fn ready(
    name: String,
    patience: Duration,
    asked: impl Future<Output = crate::Result<String>>,
) -> Check {
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(detail)) => passed(name, detail),
        Ok(Err(error)) => Check::failed(name, &error),
        Err(_) => Check {
            name,
            ok: false,
            detail: format!("no answer within {} s", patience.as_secs_f32()),
            hint: None,
        },
    }
}

/// Whether a source answers, and how changes are found in each of its tables.
pub(in crate::pipeline) async fn source_checks(
    name: &str,
    plan: &SourcePlan,
    vault: &Vault,
) -> Vec<Check> {
    let name = format!("source {name}");
    let discovered = async {
        let (source, snapshot) = access::source(plan, vault).await?;
        let target = source.target().to_owned();
        Ok((target, taken(plan, snapshot.tables().await?)))
    };
    let mut checks: Vec<Check> = origin(&name, &plan.url).into_iter().collect();
    match discovered.await {
        Err(error) => {
            checks.push(Check::failed(name, &error));
            checks
        }
        Ok((target, tables)) => {
            checks.push(passed(
                name.clone(),
                format!("{target} answers and gives {} tables", tables.len()),
            ));
            checks.extend(tables.iter().filter_map(|found| method(&name, plan, found)));
            checks
        }
    }
}

/// Where a URL comes from, where a service keeps it. Whether it can be had is told by whoever connects with it.
pub(in crate::pipeline) fn origin(name: &str, url: &Secret) -> Option<Check> {
    let origin = url.origin()?;
    Some(passed(
        format!("{name}: url"),
        format!("comes from {origin}, which is read for a connection only"),
    ))
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
pub(in crate::pipeline) async fn warehouse(warehouse: &dyn crate::warehouse::Warehouse) -> Check {
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
        Err(error) => Check::failed(name, &error.into()),
    }
}

/// Whether the modules of the project can be loaded.
pub(in crate::pipeline) fn module_checks(made: &[Made], failures: &[TableFailure]) -> Vec<Check> {
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
