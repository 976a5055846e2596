//! Tables made anew by another version of their module, and back: what they hold is what they would hold had that
//! version made them from the beginning.
//!
//! ```text
//! days ──▶ promote --rebuild, the source away ──▶ = a fresh project over the same landings ──▶ days ──▶ rollback --rebuild
//! ```
//!
//! Several threads, because a query of the test's own ends on another one while the test waits for a program: PostgreSQL
//! would keep its locks until then, and a table whose columns change waits for them.

#[cfg(target_os = "linux")]
mod kills;
mod modes;
mod races;
mod table;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill::connection::traffic::Traffic;
use tidemill_tests::project::{Project, Said};
use tidemill_tests::versions::component;

use super::world::{At, Beginning, World, report_of};
use table::{Dump, dump};

/// A dimension that every landing makes whole, and a fact of which every version is kept.
const TABLES: [&str; 2] = ["dim_currency", "fact_payment"];

/// What another version does otherwise: a value of the dimension, the name of a column of the fact.
const EDITS: [(&str, &str, &str); 2] = [
    ("dim-currency", "Pound Sterling", "Pound sterling"),
    ("fact-payment", "created_date", "creation_day"),
];

const UNSIGNED: &str = "[modules]\nunsigned = true\n\n[warehouse]\n";

const FIRST: &str = "1.0.0";
const SECOND: &str = "1.9.0";

/// A project whose modules nobody has signed, on its way from the first versions to the second.
struct Edited {
    world: World,
}

impl Edited {
    /// A world of two days with both versions in its registry; the first is active.
    async fn begin(place: At) -> Result<Self> {
        let mut world = World::begin(Beginning {
            edits: &[("[warehouse]\n", UNSIGNED)],
            ..Beginning::at(place)
        })
        .await?;
        world.run().await?;
        world.live().await?;
        world.run().await?;
        push(&world.project)?;
        Ok(Self { world })
    }

    /// Makes the second versions active and the tables theirs.
    fn promote(&self) -> Result<Vec<Value>> {
        let names = EDITS.iter().map(|(name, ..)| format!("{name}@{SECOND}"));
        names
            .map(|name| self.away(&["module", "promote", &name, "--why", "a test", "--rebuild"]))
            .collect()
    }

    /// Makes the versions active again that were before, and the tables theirs.
    fn roll_back(&self) -> Result<Vec<Value>> {
        let names = EDITS.iter().map(|(name, ..)| *name);
        names
            .map(|name| self.away(&["module", "rollback", name, "--why", "a test", "--rebuild"]))
            .collect()
    }

    /// What a call says that must end well though the source is not there.
    fn away(&self, arguments: &[&str]) -> Result<Value> {
        let output = without_source(&self.world, arguments)?.output()?;
        let said = Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        ensure!(matches!(said.code, Some(0 | 3)), "{said:#?}");
        report_of(&said)
    }

    async fn dump(&self) -> Result<Vec<Dump>> {
        let mut dumps = Vec::new();
        for table in TABLES {
            dumps.push(dump(self.world.warehouse.as_ref(), table).await?);
        }
        Ok(dumps)
    }

    /// The tables are what they are in a project that had these versions from the beginning.
    async fn is_as_if_always(&self, edited: bool) -> Result<()> {
        let fresh = fresh(&self.world, edited)?;
        let warehouse = tidemill::warehouse::open(
            "delta://./fresh",
            "public",
            fresh.path(),
            &Traffic::default(),
        )?;
        for (table, found) in TABLES.into_iter().zip(self.dump().await?) {
            let expected = dump(warehouse.as_ref(), table).await?;
            found.is_like(&expected).with_context(|| table.to_owned())?;
        }
        Ok(())
    }
}

/// Puts the edited components into the registry.
fn push(project: &Project) -> Result<()> {
    for (name, from, to) in EDITS {
        let file = project.path().join(format!("{name}.wasm"));
        std::fs::write(&file, component(name, &[(FIRST, SECOND), (from, to)])?)?;
        let file = file.to_str().context("a name")?;
        project.done(["module", "push", file, "--breaking"])?;
    }
    Ok(())
}

/// A call where the source cannot be reached.
fn without_source(world: &World, arguments: &[&str]) -> Result<Command> {
    let mut command = world
        .project
        .command([arguments, &["--output", "json"]].concat())?;
    command.env("TOTESYS_URL", "postgresql://nobody@127.0.0.1:1/gone");
    Ok(command)
}

/// Another project over a copy of what is landed, with one version of each module only.
fn fresh(world: &World, edited: bool) -> Result<Project> {
    let project = Project::totesys(None, Some("delta://./fresh"))?;
    let file = project.path().join("tidemill.toml");
    let text = std::fs::read_to_string(&file)?;
    let text = text.replace("[warehouse]\n", UNSIGNED);
    std::fs::write(&file, text)?;
    world.place().copy_to("lake/ingestion/", project.path())?;
    if edited {
        push(&project)?;
        for (name, ..) in EDITS {
            let module = format!("{name}@{SECOND}");
            project.done(["module", "promote", &module, "--why", "from the beginning"])?;
        }
    }
    for stage in ["transform", "load"] {
        let said = project.call([stage])?;
        ensure!(matches!(said.code, Some(0 | 3)), "{said:#?}");
    }
    Ok(project)
}

/// How many outputs of each table were used again, and how many computed.
fn counts(reports: &[Value]) -> Result<Vec<(u64, u64)>> {
    let count = |report: &Value| {
        let table = &report["rebuild"]["tables"][0];
        let count = |what: &str| table[what].as_u64();
        let counts = count("reused").zip(count("recomputed"));
        counts.with_context(|| format!("nothing was rebuilt: {report:#}"))
    };
    reports.iter().map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_what_its_new_version_would_have_made_and_back_with_an_embedded_warehouse()
-> Result<()> {
    there_and_back(At::Folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_what_its_new_version_would_have_made_and_back_in_a_bucket() -> Result<()> {
    there_and_back(At::Bucket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_what_its_new_version_would_have_made_and_back_on_postgres() -> Result<()> {
    there_and_back(At::Postgres).await
}

async fn there_and_back(place: At) -> Result<()> {
    let mut edited = Edited::begin(place).await?;
    let first = edited.dump().await?;

    // Of a table that is made whole by each landing the newest alone; of a fact all, and none was computed before.
    let promoted = edited.promote()?;
    assert_eq!(counts(&promoted)?, [(0, 1), (0, 2)]);
    edited.is_as_if_always(true).await?;
    ensure!(edited.dump().await? != first, "nothing was planted");
    // Rows and columns come from the version that made them anew, and from no other.
    for asked in [
        &["trace", "fact_payment", "1"][..],
        &["lineage", "fact_payment"],
    ] {
        let said = edited.world.call(asked)?;
        ensure!(said.code == Some(0), "{said:#?}");
        let is_anew = said.stdout.contains(SECOND) && !said.stdout.contains(FIRST);
        ensure!(is_anew, "{asked:?}: {}", said.stdout);
    }

    // Everything that the first version would make, it has made.
    assert_eq!(counts(&edited.roll_back()?)?, [(1, 0), (2, 0)]);
    for (found, first) in edited.dump().await?.iter().zip(&first) {
        found.is_like(first)?;
        let is_versions = found.has_record_id();
        ensure!(!is_versions || found == first, "rows say another origin");
    }
    edited.world.check().await?;

    // And so has the second.
    assert_eq!(counts(&edited.promote()?)?, [(1, 0), (2, 0)]);
    for _ in 0..2 {
        edited.world.live().await?;
        edited.world.done(&["run"])?;
        edited.world.evolution.run();
        edited.is_as_if_always(true).await?;
    }
    let idle = edited.world.done(&["run"])?;
    let load = &idle["load"];
    ensure!(load["rebuilds"] == Value::Array(Vec::new()), "{load:#}");

    // What was landed since is all there is to compute.
    let [currency, payment] = counts(&edited.roll_back()?)?[..] else {
        anyhow::bail!("two tables");
    };
    assert_eq!(currency.0 + currency.1, 1);
    assert_eq!(payment, (2, 2));
    edited.is_as_if_always(false).await?;
    edited.world.check().await?;
    edited.world.live().await?;
    edited.world.run().await?;
    everything_is_made_again(&edited.world, 8)
}

/// `verify` and `replay` of every run, of rebuilds and others.
fn everything_is_made_again(world: &World, at_least: usize) -> Result<()> {
    world.verify()?;
    let said = world.call(&["runs"])?;
    let runs = report_of(&said)?;
    let runs = runs.as_array().context("runs")?;
    ensure!(runs.len() >= at_least, "rebuilds are runs: {runs:#?}");
    for run in runs {
        let id = run["run"].as_str().context("an id")?;
        let said = world.call(&["replay", id])?;
        ensure!(said.code == Some(0), "{said:#?}");
    }
    Ok(())
}
