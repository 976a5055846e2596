//! The straight line for tables of any schema: a project whose modules give each table as it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tidemill::connection::traffic::Traffic;
use tidemill::contract::{Delivery, Description, Input, LoadMode, Output, Role};
use tidemill::manifest::{LandedTable, LandingManifest, ManifestLog};
use tidemill::registry::{Promoter, Registry};
use tidemill::source::{self, SourceOptions};
use tidemill::table::Table;
use tidemill::warehouse::{self, Warehouse};
use tidemill::zone::{self, Zone};
use tidemill_tests::guests;
use tidemill_tests::project::{Project, Said};

/// The name of the source in the project.
const SOURCE: &str = "origin";

const VERSION: &str = "1.0.0";

/// A project that has not run yet.
pub(crate) struct Line {
    pub(crate) project: Project,
    pub(crate) warehouse: Box<dyn Warehouse>,
    source: String,
}

impl Line {
    /// A project from `source` to `warehouse`. `mirrors` are source tables and what each is called in the warehouse;
    /// `settings` is more of the source's section.
    pub(crate) async fn new(
        source: &str,
        warehouse: &str,
        mirrors: &[(&str, &str)],
        settings: &str,
    ) -> Result<Self> {
        let mut file = format!(
            "[source.{SOURCE}]\nurl = {source:?}\n{settings}\n[warehouse]\nurl = {warehouse:?}\n"
        );
        for (number, (_, output)) in mirrors.iter().enumerate() {
            file.push_str(&format!(
                "[transform.{output}]\nmodule = \"{}@1\"\n",
                name_of(number)
            ));
        }
        let project = Project::with_file(&file)?;
        let line = Self {
            warehouse: warehouse::open(warehouse, "public", project.path(), &Traffic::default())?,
            project,
            source: source.to_owned(),
        };
        if !mirrors.is_empty() {
            line.add_mirrors(mirrors).await?;
        }
        Ok(line)
    }

    async fn add_mirrors(&self, mirrors: &[(&str, &str)]) -> Result<()> {
        let component = guests::of_tests("mirror")?;
        let registry = Registry::new(self.project.zone("file://./lake/modules")?);
        let tables = self.tables().await?;
        for (number, (table, output)) in mirrors.iter().enumerate() {
            let table = tables
                .get(*table)
                .with_context(|| format!("{table} is not in the source"))?;
            let name = name_of(number);
            let described = described(&name, table, output);
            let parameters = parameters(&name, table, output)?;
            registry.push(&component, &parameters, &described).await?;
            let promoter = Promoter {
                who: "test".into(),
                when: "2026-01-01T00:00:00Z".parse()?,
                why: "mirrored".into(),
                shadow: None,
                rebuild: false,
            };
            registry.promote(&name, VERSION, &promoter).await?;
        }
        Ok(())
    }

    /// The tables of the source, as `discover` finds them.
    pub(crate) async fn tables(&self) -> Result<BTreeMap<String, Table>> {
        let source = source::open(&self.source, &SourceOptions::default())?;
        let found = source.discover().await?.into_iter();
        Ok(found
            .map(|found| (found.table.name.to_string(), found.table))
            .collect())
    }

    /// Calls `tidemill`, which says what it says as JSON.
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<Said> {
        self.project
            .call([arguments, &["--output", "json"]].concat())
    }

    /// Calls `tidemill`, which must end with `code`, and gives its report.
    pub(crate) fn report(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let said = self.call(arguments)?;
        ensure!(said.code == Some(code), "{code} expected of {said:#?}");
        serde_json::from_str(&said.stdout).with_context(|| format!("no report in {said:#?}"))
    }

    /// What has been landed of `table`.
    pub(crate) async fn landed(&self, table: &str) -> Result<Landed> {
        let zone = self.project.zone("file://./lake/ingestion")?;
        let log = ManifestLog::<LandingManifest>::new(zone.clone(), SOURCE);
        let manifest = log.newest().await?.context("nothing has been landed")?;
        let state = manifest.tables.get(table);
        Ok(Landed {
            state: state
                .with_context(|| format!("{table} was not landed"))?
                .clone(),
            zone,
        })
    }

    /// Checks that the warehouse has of every mirrored table what was landed of it.
    pub(crate) async fn arrived(&self, mirrors: &[(&str, &str)]) -> Result<()> {
        for (table, output) in mirrors {
            let landed = self.landed(table).await?.rows().await?;
            let schema = landed.schema();
            let names = schema.fields().iter();
            let names = names.map(|field| format!("\"{}\"", field.name().replace('"', "\"\"")));
            let names: Vec<String> = names.collect();
            let sql = format!("SELECT {} FROM {output}", names.join(", "));
            let loaded = self.query(&sql).await.with_context(|| sql.clone())?;
            same(&landed, &loaded).with_context(|| (*table).to_owned())?;
        }
        Ok(())
    }

    /// The result of a query on the warehouse.
    pub(crate) async fn query(&self, sql: &str) -> Result<RecordBatch> {
        let (schema, rows) = self.warehouse.query(sql).await?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }
}

/// A table as the newest landing has it.
pub(crate) struct Landed {
    pub(crate) state: LandedTable,
    zone: Arc<dyn Zone>,
}

impl Landed {
    /// Its rows, read from Parquet.
    pub(crate) async fn rows(&self) -> Result<RecordBatch> {
        let objects = self.state.changed.iter();
        let objects = objects.map(|o| (o.key.clone(), o.sha256)).collect();
        let batches: Vec<RecordBatch> = zone::parquet::read(self.zone.clone(), objects, None)
            .try_collect()
            .await?;
        let schema = batches
            .first()
            .map_or_else(|| self.state.table.schema(), RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Its columns in the words of Parquet, which know nothing of Arrow.
    pub(crate) async fn parquet_types(&self) -> Result<Vec<String>> {
        let object = self.state.changed.first().context("it has no rows")?;
        let bytes = self.zone.read(&object.key).await?;
        let file = SerializedFileReader::new(bytes)?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        Ok(schema
            .columns()
            .iter()
            .map(|column| {
                let physical = column.physical_type();
                match column.logical_type_ref() {
                    Some(logical) => format!("{physical} {logical:?}"),
                    None => physical.to_string(),
                }
            })
            .collect())
    }
}

/// The name of a mirror in the registry.
fn name_of(number: usize) -> String {
    format!("mirror-{number}")
}

fn mode(table: &Table) -> (Delivery, LoadMode) {
    match table.key.is_empty() {
        true => (Delivery::Current, LoadMode::Overwrite),
        false => (Delivery::Changes, LoadMode::Upsert),
    }
}

/// What the mirror of `table` will say of itself.
fn described(name: &str, table: &Table, output: &str) -> Description {
    let (delivery, mode) = mode(table);
    let schema = table.schema();
    let nullable: SchemaRef = Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>(),
    ));
    Description {
        name: name.to_owned(),
        version: VERSION.to_owned(),
        inputs: vec![Input {
            table: table.name.to_string(),
            schema: nullable,
            key: table.key.clone(),
            delivery,
            role: Role::Streamed,
        }],
        output: Output {
            table: output.to_owned(),
            schema,
            primary_key: table.key.clone(),
            mode,
        },
        properties: BTreeMap::new(),
    }
}

/// What the mirror is told of `table`.
fn parameters(name: &str, table: &Table, output: &str) -> Result<Vec<u8>> {
    let said = [
        ("name", name.to_owned()),
        ("input", table.name.to_string()),
        ("output", output.to_owned()),
        ("key", table.key.join("\n")),
    ];
    let said: HashMap<String, String> = said.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let schema = table.schema().as_ref().clone().with_metadata(said);
    Ok(StreamWriter::try_new(Vec::new(), &schema)?.into_inner()?)
}

/// Whether two batches hold the same values, in whatever order the first has them.
fn same(landed: &RecordBatch, loaded: &RecordBatch) -> Result<()> {
    let texts = |batch: &RecordBatch| -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| {
                Ok(match column.is_null(row) {
                    true => "NULL".to_owned(),
                    false => format!(
                        "{} {}",
                        column.data_type(),
                        array_value_to_string(column, row)?
                    ),
                })
            });
            rows.push(values.collect::<Result<_>>()?);
        }
        rows.sort();
        Ok(rows)
    };
    let (landed, loaded) = (texts(landed)?, texts(loaded)?);
    ensure!(
        landed == loaded,
        "{landed:#?}\nwas landed, and\n{loaded:#?}\nwas loaded"
    );
    Ok(())
}
