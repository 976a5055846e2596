//! A module that is swapped for one that traps, and back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::builtin;
use tidemill::registry::{Promoter, Registry};
use tidemill::sandbox::{Limits, Sandbox};
use tidemill_tests::oracle;
use tidemill_tests::star::Star;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef};

use super::world::{At, Beginning, World, report_of};

const GOOD: &str = "1.0.0";
pub(super) const TRAPPING: &str = "1.8.0";

#[tokio::test]
async fn a_trapping_module_stops_its_own_table_which_catches_up_with_an_embedded_warehouse()
-> Result<()> {
    swap(At::Folder).await
}

#[tokio::test]
async fn a_trapping_module_stops_its_own_table_which_catches_up_in_a_bucket() -> Result<()> {
    swap(At::Bucket).await
}

#[tokio::test]
async fn a_trapping_module_stops_its_own_table_which_catches_up_on_postgres() -> Result<()> {
    swap(At::Postgres).await
}

async fn swap(place: At) -> Result<()> {
    let mut world = World::begin(Beginning::at(place)).await?;
    world.run().await?;
    push_trapping(&world).await?;
    promote(&world, TRAPPING).await?;
    for _ in 0..2 {
        world.live().await?;
        let said = world.call(&["run"])?;
        ensure!(said.code == Some(1), "the module trapped: {said:#?}");
        stopped(&report_of(&said)?)?;
        others_are_exact(&world).await?;
        world.evolution.run();
    }
    let behind = world.compare().await.err().context("the table is behind")?;
    ensure!(behind.to_string().contains("fact_payment: "), "{behind:#}");
    promote(&world, GOOD).await?;
    let report = world.done(&["run"])?;
    let loaded = report["load"]["landings"].as_array().map(Vec::len);
    ensure!(
        loaded >= Some(2),
        "both landings are caught up with: {report:#}"
    );
    // Every version of both days is there, also of payments that changed on both.
    world.check().await?;
    world.live().await?;
    world.run().await?;
    world.verify()?;
    Ok(())
}

/// The report names the one table that failed, its module and the version.
fn stopped(report: &Value) -> Result<()> {
    let failures = report["transform"]["failures"].as_array();
    let failures = failures.context("a run has a transform")?;
    ensure!(failures.len() == 1, "{failures:#?}");
    for failure in failures {
        ensure!(failure["table"] == "fact_payment", "{failure:#}");
        ensure!(failure["kind"] == "module", "{failure:#}");
        let message = failure["message"].as_str().unwrap_or_default();
        ensure!(message.contains("fact-payment"), "{message}");
        ensure!(message.contains(TRAPPING), "{message}");
    }
    Ok(())
}

async fn others_are_exact(world: &World) -> Result<()> {
    let mut expected = oracle::expected(&world.source).await?;
    let payments = expected.tables.remove("fact_payment");
    ensure!(payments.is_some(), "the oracle knows fact_payment");
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    match expected.differences(&found) {
        None => Ok(()),
        Some(differences) => anyhow::bail!("tables beside the stopped one differ:\n{differences}"),
    }
}

fn builtin_of(name: &str) -> Result<&'static [u8]> {
    let modules = builtin::modules()?;
    let module = modules.into_iter().find(|module| module.name == name);
    Ok(module.context(name.to_owned())?.bytes)
}

fn registry(world: &World) -> Result<Registry> {
    Ok(Registry::new(world.place().zone("modules")?))
}

/// Puts a version of the module of payments into the registry that traps.
pub(super) async fn push_trapping(world: &World) -> Result<()> {
    push(world, &trapping(builtin_of("fact-payment")?)?).await
}

async fn push(world: &World, component: &[u8]) -> Result<()> {
    let cache = tempfile::tempdir()?;
    let module = Sandbox::new(Limits::default(), cache.path())?.load(component, b"")?;
    let description = module.description();
    ensure!(description.version == TRAPPING, "{}", description.version);
    registry(world)?.push(component, b"", description).await?;
    Ok(())
}

async fn promote(world: &World, version: &str) -> Result<()> {
    let promoter = Promoter {
        who: "test".into(),
        when: "2026-01-01T00:00:00Z".parse()?,
        why: "swapped".into(),
        shadow: None,
        rebuild: false,
    };
    registry(world)?
        .promote("fact-payment", version, &promoter)
        .await?;
    Ok(())
}

/// The same component under another version, with `unreachable` as the first instruction of `push`.
fn trapping(component: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = component.to_vec();
    let (before, after) = (
        format!("fact-payment{GOOD}"),
        format!("fact-payment{TRAPPING}"),
    );
    let places: Vec<usize> = (0..bytes.len())
        .filter(|place| {
            bytes
                .get(*place..)
                .is_some_and(|rest| rest.starts_with(before.as_bytes()))
        })
        .collect();
    ensure!(places.len() == 1, "name and version stand at {places:?}");
    for place in places {
        bytes.splice(place..place + after.len(), after.bytes());
    }
    let code = code_of(&bytes, "[method]session.push")?;
    let last = code.end.checked_sub(1).context("a body has an end")?;
    let body = bytes
        .get_mut(code.start..last)
        .context("a body is within")?;
    // What nobody gets to must still validate: a trap, then nothing.
    body.fill(0x01);
    *body.first_mut().context("a body has instructions")? = 0x00;
    Ok(bytes)
}

/// Where the instructions of the exported core function are whose name ends with `name`.
fn code_of(component: &[u8], name: &str) -> Result<std::ops::Range<usize>> {
    let (mut imported, mut seen, mut wanted) = (0_u32, 0_u32, None);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => (imported, seen, wanted) = (0, 0, None),
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.name.ends_with(name) {
                        wanted = Some(export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                if wanted == Some(imported + seen) {
                    let begin = body.get_operators_reader()?.original_position();
                    return Ok(begin..body.range().end);
                }
                seen += 1;
            }
            _ => {}
        }
    }
    anyhow::bail!("no core module exports {name}")
}
