//! A totesys, a project that reads it, its warehouse, and what the warehouse should hold.

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null where there is nothing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::evolution::Evolution;
use super::oracle;
use super::place::Place;
use super::postgres::{Server, database_of};
use super::project::{Project, Said};
use super::sessions;
use super::star::query;
use super::store::Store;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidemill::connection::traffic::Traffic;
use tidemill::demo::{Commit, Day, Oddity, Options, Simulation, Totesys};
use tidemill::warehouse::{self, Warehouse, WarehouseOptions};

/// Where a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In the project's folder: SQLite as the source, Delta as the warehouse.
    Folder,
    /// In a bucket of an S3 server: Delta as the warehouse, and every zone. The source is in the project's folder.
    Bucket,
    /// On a PostgreSQL server.
    Postgres,
}

/// How a world begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Where totesys is.
    pub source: At,
    /// Where the star is.
    pub warehouse: At,
    /// Where the zones are; on PostgreSQL they cannot be, and are in the project's folder. A warehouse in a bucket is
    /// beside them, or alone where they are elsewhere.
    pub lake: At,
    /// The schema of the warehouse.
    pub schema: &'static str,
    /// Texts of the project file, and what stands there instead.
    pub edits: &'static [(&'static str, &'static str)],
    /// The size of the company.
    pub scale: f64,
    /// What its people and its days are drawn from.
    pub seed: u64,
    /// What happens on its days.
    pub oddities: Vec<Oddity>,
    /// The server, where a test needs one of its own.
    pub server: Option<Arc<Server>>,
}

impl Beginning {
    /// Both databases at the same place, an ordinary company.
    pub fn at(place: At) -> Self {
        Self {
            source: place,
            warehouse: place,
            lake: place,
            schema: "public",
            edits: &[],
            scale: 0.5,
            seed: 7,
            oddities: Vec::new(),
            server: None,
        }
    }
}

/// The bucket of a project of its own.
#[derive(Debug)]
pub struct Lake {
    /// The server.
    pub store: Arc<Store>,
    /// In which the zones and the warehouse have the names that they have in a project's folder.
    pub bucket: String,
}

impl Lake {
    /// One in a bucket of its own.
    pub async fn fresh() -> Self {
        let store = Store::shared();
        let bucket = store.fresh_bucket().await;
        Self { store, bucket }
    }

    /// The variables by which a project has its zones there.
    pub fn environment(&self) -> Vec<(String, String)> {
        let zones = ["ingestion", "processed", "modules"].map(|zone| {
            let variable = format!("TIDEMILL_LAKE__{}", zone.to_uppercase());
            (variable, format!("s3://{}/lake/{zone}", self.bucket))
        });
        let mut variables = self.store.environment();
        variables.extend(zones);
        variables
    }

    /// The URL of a warehouse beside the zones.
    pub fn warehouse(&self) -> String {
        format!("delta://s3://{}/warehouse", self.bucket)
    }
}

/// Everything that a test of the straight line needs.
pub struct World {
    /// The project's folder.
    pub project: Project,
    /// The URL of totesys.
    pub source: String,
    /// The URL of the warehouse.
    pub star: String,
    /// The warehouse, as whoever asks it.
    pub warehouse: Box<dyn Warehouse>,
    /// Those who write into totesys.
    pub simulation: Simulation,
    /// The versions that facts should have.
    pub evolution: Evolution,
    /// The bucket of the zones, where they are in one.
    pub lake: Option<Lake>,
    /// The server of a warehouse that is in a bucket without them. It is stopped after everything that talks to it.
    alone: Option<Lake>,
    /// How the company was made.
    options: Options,
    /// Stopped after everything that talks to it.
    pub server: Arc<Server>,
}

impl World {
    /// A generated totesys with a project that has not run yet.
    pub async fn begin(beginning: Beginning) -> Result<Self> {
        let server = beginning.server.clone().unwrap_or_else(Server::shared);
        let source = match beginning.source {
            At::Folder | At::Bucket => None,
            At::Postgres => Some(server.fresh_database().await),
        };
        let lake = match beginning.lake {
            At::Bucket => Some(Lake::fresh().await),
            At::Folder | At::Postgres => None,
        };
        let alone = match (beginning.warehouse, &lake) {
            (At::Bucket, None) => Some(Lake::fresh().await),
            _ => None,
        };
        let bucket = lake.as_ref().or(alone.as_ref());
        let star = match beginning.warehouse {
            At::Folder => None,
            At::Postgres => Some(server.fresh_database().await),
            At::Bucket => bucket.map(Lake::warehouse),
        };
        let variables = match (&lake, &alone) {
            (Some(lake), _) => lake.environment(),
            (None, Some(alone)) => alone.store.environment(),
            (None, None) => Vec::new(),
        };
        let project = Project::totesys_with(source.as_deref(), star.as_deref(), variables)?;
        edit(&project.path().join("tidemill.toml"), beginning.edits)?;
        let file = || {
            format!(
                "sqlite://{}",
                project.path().join("totesys.sqlite").display()
            )
        };
        if source.is_none() {
            // The example comes with a company of its own, of another size.
            std::fs::remove_file(project.path().join("totesys.sqlite"))?;
        }
        let source = source.unwrap_or_else(file);
        let star = star.unwrap_or_else(|| "delta://./warehouse".into());
        let company = Options {
            seed: beginning.seed,
            scale: beginning.scale,
            history_days: 12,
            oddities: beginning.oddities,
        };
        let mut evolution = Evolution::default();
        let mut history = Totesys::new(company.clone());
        while let Some(rows) = history.next_of_history() {
            evolution.load(&rows);
        }
        let (simulation, _) =
            Simulation::create(&named(&source), company.clone(), &mut |_| {}).await?;
        let options = WarehouseOptions {
            store: bucket.map(|lake| lake.store.plan()).unwrap_or_default(),
            ..beginning.schema.into()
        };
        Ok(Self {
            warehouse: warehouse::open(
                &named(&star),
                options,
                project.path(),
                &Traffic::default(),
            )?,
            lake,
            alone,
            project,
            source,
            star,
            simulation,
            evolution,
            options: company,
            server,
        })
    }

    /// Lets a day pass.
    pub async fn live(&mut self) -> Result<Day> {
        let day = self.simulation.next_day().await?;
        self.evolution.live(&day);
        Ok(day)
    }

    /// The bucket of the warehouse, where it is in one.
    pub fn warehouse_bucket(&self) -> Option<&str> {
        let lake = self.lake.as_ref().or(self.alone.as_ref());
        lake.filter(|_| self.star.starts_with("delta://s3://"))
            .map(|lake| lake.bucket.as_str())
    }

    /// Connects the company again: its server was stopped.
    pub async fn resume(&mut self) -> Result<()> {
        self.simulation = Simulation::resume(&named(&self.source), self.options.clone()).await?;
        Ok(())
    }

    /// Makes an oddity happen.
    pub async fn cause(&mut self, oddity: Oddity) -> Result<Commit> {
        let commit = self.simulation.cause(oddity).await?;
        let commit = commit.with_context(|| format!("{oddity} has nothing to happen to"))?;
        self.happened(&commit);
        Ok(commit)
    }

    /// Edits an order without a trace.
    pub async fn edit_silently(&mut self) -> Result<Commit> {
        let commit = self.simulation.silent_edit().await?;
        let commit = commit.context("there is no order to edit")?;
        self.happened(&commit);
        Ok(commit)
    }

    /// Makes the same company at another place, as it was in the beginning.
    pub async fn copy_to(&self, url: &str) -> Result<()> {
        Simulation::create(url, self.options.clone(), &mut |_| {}).await?;
        Ok(())
    }

    fn happened(&mut self, commit: &Commit) {
        commit
            .changes
            .iter()
            .for_each(|change| self.evolution.change(change));
    }

    /// Runs everything; the star and every version of every fact must be what the source implies.
    pub async fn run(&mut self) -> Result<Value> {
        let report = self.done(&["run"])?;
        self.evolution.run();
        self.check().await?;
        Ok(report)
    }

    /// Runs everything; the star must be what the source implies. For sources that a test writes to itself.
    pub async fn run_and_compare(&self, arguments: &[&str]) -> Result<Value> {
        let report = self.done(&[&["run"], arguments].concat())?;
        self.compare().await?;
        Ok(report)
    }

    /// Whether the star and its versions are what they should be.
    pub async fn check(&self) -> Result<()> {
        self.compare().await?;
        self.evolution.check(self.warehouse.as_ref()).await
    }

    /// Whether the star is what the source implies.
    pub async fn compare(&self) -> Result<()> {
        oracle::check(&self.source, self.warehouse.as_ref()).await
    }

    /// Calls `tidemill`, which must end well: with 3 where it refused rows, with 0 where not.
    pub fn done(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.call(arguments)?;
        let report = report_of(&said)?;
        let wanted = if rejected(&report) > 0 { 3 } else { 0 };
        ensure!(said.code == Some(wanted), "{wanted} expected of {said:#?}");
        Ok(report)
    }

    /// Calls `tidemill`, which says what it says as JSON.
    pub fn call(&self, arguments: &[&str]) -> Result<Said> {
        self.project
            .call([arguments, &["--output", "json"]].concat())
    }

    /// Every landing executed again must give what it gave.
    pub fn verify(&self) -> Result<Value> {
        let said = self.call(&["verify"])?;
        ensure!(said.code == Some(0), "verify found differences: {said:#?}");
        let report = report_of(&said)?;
        let made_again = report["processed_objects"].as_u64();
        ensure!(made_again > Some(0), "nothing was verified: {report}");
        Ok(report)
    }

    /// Waits until the server has noticed that a run has ended, however it did.
    pub async fn is_left_alone(&self) -> Result<()> {
        let urls = [&self.source, &self.star];
        let urls = urls
            .into_iter()
            .filter(|url| url.starts_with("postgresql://"));
        let databases: Vec<&str> = urls.map(|url| database_of(url)).collect();
        if databases.is_empty() {
            return Ok(());
        }
        let gone = sessions::gone(&self.server, &databases).await;
        gone.with_context(|| self.server.log())
    }

    /// The only value of a query on the warehouse, as text.
    pub async fn value(&self, sql: &str) -> Result<String> {
        let rows = query(self.warehouse.as_ref(), sql).await?;
        match rows.as_slice() {
            [row] => row.first().cloned().context("a query without columns"),
            _ => bail!("{sql} gave {} rows", rows.len()),
        }
    }

    /// Rows by table and view of the warehouse.
    pub async fn rows(&self) -> Result<BTreeMap<String, String>> {
        let mut rows = BTreeMap::new();
        for table in self.warehouse.tables().await? {
            let count = self.value(&format!("SELECT count(*) FROM {table}")).await?;
            rows.insert(table, count);
        }
        Ok(rows)
    }

    /// Where its lake and an embedded warehouse are.
    pub fn place(&self) -> Place {
        match &self.lake {
            Some(lake) => Place::Bucket(Arc::clone(&lake.store), lake.bucket.clone()),
            None => Place::Folder(self.project.path().to_owned()),
        }
    }

    /// The files or objects of the lake and of an embedded warehouse, relative to the project.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        self.place().paths()
    }
}

/// The JSON that was said.
pub fn report_of(said: &Said) -> Result<Value> {
    serde_json::from_str(&said.stdout).with_context(|| format!("no report in {said:#?}"))
}

/// The rows that modules refused in a run.
pub fn rejected(report: &Value) -> u64 {
    let made = report["transform"]["tables"].as_array();
    let rebuilt = report["transform"]["rebuilt"].as_array();
    let tables = made.into_iter().chain(rebuilt);
    tables
        .flatten()
        .filter_map(|table| table["rows_rejected"].as_u64())
        .sum()
}

/// What a run says of a table of the source.
pub fn extracted<'a>(report: &'a Value, table: &str) -> Result<&'a Value> {
    let tables = report["extract"][0]["tables"].as_array();
    tables
        .into_iter()
        .flatten()
        .find(|extracted| extracted["table"] == table)
        .with_context(|| format!("{table} was not extracted: {report:#}"))
}

fn edit(file: &Path, edits: &[(&str, &str)]) -> Result<()> {
    let mut text = std::fs::read_to_string(file)?;
    for (before, after) in edits {
        ensure!(text.contains(before), "{before} is not in {text}");
        text = text.replace(before, after);
    }
    Ok(std::fs::write(file, text)?)
}

/// The URL by which a test itself connects, so that its sessions are told from those of the program.
fn named(url: &str) -> String {
    match url.starts_with("postgresql://") {
        true if url.contains('?') => format!("{url}&application_name=test"),
        true => format!("{url}?application_name=test"),
        false => url.to_owned(),
    }
}
