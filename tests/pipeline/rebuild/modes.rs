//! A column more, one less and one of another type, in tables of every mode.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use rusqlite::Connection;
use serde_json::Value;
use tidemill::connection::traffic::Traffic;
use tidemill::warehouse::{self, Warehouse};
use tidemill_tests::guests;
use tidemill_tests::place::Place;
use tidemill_tests::postgres::{Server, execute};
use tidemill_tests::project::{Project, Said};
use tidemill_tests::versions::edited;

use super::report_of;
use super::table::{Dump, dump};

/// The modes, each with a table and a module of its own.
const MODES: [&str; 4] = ["upsert", "overwrite", "append-versions", "scd2"];

const FIRST: &str = "1.0.0";
const SECOND: &str = "1.9.0";

/// The story of the source: an item that comes, changes, goes, and comes again as it was.
const DAYS: [&str; 4] = [
    "CREATE TABLE item (item_id int4 NOT NULL PRIMARY KEY, name text, size int4, extra text);
     INSERT INTO item VALUES (1, 'one', 10, 'a'), (2, 'two', 20, NULL), (3, 'three', NULL, 'c')",
    "UPDATE item SET size = 11, extra = 'b' WHERE item_id = 1; DELETE FROM item WHERE item_id = 2",
    "INSERT INTO item VALUES (2, 'two', 20, NULL), (4, 'four', 40, 'd')",
    "UPDATE item SET extra = 'e' WHERE item_id = 4",
];

/// A project with a table of every mode.
struct Shop {
    project: Project,
    url: String,
    warehouse: Box<dyn Warehouse>,
}

impl Shop {
    fn new(url: String) -> Result<Self> {
        let mut text = format!(
            "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[warehouse]\nurl = \"{url}\"\n\
             [modules]\nunsigned = true\n"
        );
        for mode in MODES {
            let table = table(mode);
            text.push_str(&format!("[transform.{table}]\nmodule = \"{mode}@1\"\n"));
        }
        let project = Project::with_file(&text)?;
        Ok(Self {
            warehouse: warehouse::open(&url, "public", project.path(), &Traffic::default())?,
            project,
            url,
        })
    }

    /// Puts a version of every module into the registry.
    fn push(&self, version: &str) -> Result<()> {
        let component = edited(guests::of_tests("mirror")?, &[(FIRST, version)])?;
        let file = self.file("mirror.wasm");
        std::fs::write(&file, component)?;
        for mode in MODES {
            let parameters = self.file("parameters.bin");
            std::fs::write(&parameters, described(mode, version == SECOND)?)?;
            let push = ["module", "push", &file, "--parameters", &parameters];
            self.project
                .done([&push[..], &["--breaking", "--unlanded"]].concat())?;
        }
        Ok(())
    }

    fn promote(&self, mode: &str, version: &str, rebuild: bool) -> Result<Said> {
        let module = format!("{mode}@{version}");
        let promote = ["module", "promote", &module, "--why", "a test"];
        let rebuild: &[&str] = if rebuild { &["--rebuild"] } else { &[] };
        self.json(&[&promote[..], rebuild].concat())
    }

    fn json(&self, arguments: &[&str]) -> Result<Said> {
        self.project
            .call([arguments, &["--output", "json"]].concat())
    }

    fn done(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.json(arguments)?;
        ensure!(said.code == Some(0), "{arguments:?}: {said:#?}");
        report_of(&said)
    }

    fn file(&self, name: &str) -> String {
        self.project.path().join(name).display().to_string()
    }

    async fn dumps(&self) -> Result<Vec<Dump>> {
        let mut dumps = Vec::new();
        for mode in MODES {
            dumps.push(dump(self.warehouse.as_ref(), &table(mode)).await?);
        }
        Ok(dumps)
    }

    /// Every table is what it is in a project that knew no other version.
    async fn is_as_if_always(&self, version: &str) -> Result<()> {
        let fresh = Self::new("delta://./fresh".into())?;
        fresh.push(version)?;
        let landed = Place::Folder(self.project.path().to_owned());
        landed.copy_to("lake/ingestion/", fresh.project.path())?;
        for mode in MODES {
            fresh.promote(mode, version, false)?;
        }
        fresh.done(&["transform"])?;
        fresh.done(&["load"])?;
        let (found, expected) = (self.dumps().await?, fresh.dumps().await?);
        for ((mode, found), expected) in MODES.iter().zip(found).zip(expected) {
            found
                .is_like(&expected)
                .with_context(|| (*mode).to_owned())?;
        }
        Ok(())
    }
}

fn table(mode: &str) -> String {
    format!("item_{}", mode.replace('-', "_"))
}

/// What a mirror is told: of the second version, that a column is gone, one is new, and one is of another type.
fn described(mode: &str, second: bool) -> Result<Vec<u8>> {
    let key = if mode == "overwrite" { "" } else { "item_id" };
    let said = [
        ("name", mode),
        ("input", "item"),
        ("output", &table(mode)),
        ("key", key),
        ("mode", mode),
    ];
    let said: HashMap<String, String> = said
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let fields = match second {
        false => vec![
            Field::new("item_id", DataType::Int32, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("size", DataType::Int32, true),
        ],
        true => vec![
            Field::new("item_id", DataType::Int32, false),
            Field::new("size", DataType::Int64, true),
            Field::new("extra", DataType::Utf8, true),
        ],
    };
    let schema = Arc::new(Schema::new(fields).with_metadata(said));
    Ok(StreamWriter::try_new(Vec::new(), &schema)?.into_inner()?)
}

/// A shop with three landings made by the first version; both are in its registry.
fn begin(url: String) -> Result<(Shop, Connection)> {
    let shop = Shop::new(url)?;
    shop.push(FIRST)?;
    for mode in MODES {
        shop.promote(mode, FIRST, false)?;
    }
    let source = Connection::open(shop.project.path().join("shop.db"))?;
    for day in &DAYS[..3] {
        source.execute_batch(day)?;
        shop.done(&["run"])?;
    }
    shop.push(SECOND)?;
    Ok((shop, source))
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_go_and_change_in_every_mode_with_an_embedded_warehouse() -> Result<()> {
    let (shop, source) = begin("delta://./warehouse".into())?;
    there_and_back(&shop, &source).await
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_go_and_change_in_every_mode_on_postgres() -> Result<()> {
    let server = Server::shared();
    let (shop, source) = begin(server.fresh_database().await)?;
    what_others_built(&shop).await?;
    there_and_back(&shop, &source).await?;
    // What others built on it is still there, and so are their rights.
    for (sql, wanted) in [
        ("SELECT count(*) FROM keys_of_items", "4"),
        (
            "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' \
             AND table_name IN ('item_append_versions_current', 'item_append_versions')",
            "2",
        ),
    ] {
        let rows = tidemill_tests::star::query(shop.warehouse.as_ref(), sql).await?;
        assert_eq!(rows, [[wanted]], "{sql}");
    }
    execute(&shop.url, "ALTER TABLE item_upsert ADD COLUMN remark text").await?;
    let said = shop.json(&["module", "rollback", "upsert", "--why", "back", "--rebuild"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    let remarks = "SELECT count(*) FROM item_upsert WHERE remark IS NULL AND name IS NOT NULL";
    let rows = tidemill_tests::star::query(shop.warehouse.as_ref(), remarks).await?;
    assert_eq!(rows, [["4"]], "a person's own column stays");
    drop(server);
    Ok(())
}

/// A view on a column that is to change keeps the table as it is, until it is gone; one on another column does not.
async fn what_others_built(shop: &Shop) -> Result<()> {
    let built = "CREATE VIEW keys_of_items AS SELECT item_id FROM item_upsert;
         GRANT SELECT ON item_append_versions, item_append_versions_current TO PUBLIC;
         CREATE VIEW sizes AS SELECT size FROM item_scd2";
    execute(&shop.url, built).await?;
    let before = shop.dumps().await?;
    let said = shop.promote("scd2", SECOND, true)?;
    ensure!(said.code != Some(0), "{said:#?}");
    ensure!(
        said.stderr.contains("sizes"),
        "the view is named: {said:#?}"
    );
    ensure!(shop.dumps().await? == before, "nothing was changed");
    execute(&shop.url, "DROP VIEW sizes").await?;
    // The wish stands, and the next run fulfils what is left of it.
    shop.done(&["run"])?;
    ensure!(shop.dumps().await? != before, "the next run goes on");
    let said = shop.json(&["module", "rollback", "scd2", "--why", "again", "--rebuild"])?;
    ensure!(said.code == Some(0), "{said:#?}");
    shop.dumps().await?[3].is_like(&before[3])
}

async fn there_and_back(shop: &Shop, source: &Connection) -> Result<()> {
    let first = shop.dumps().await?;
    for mode in MODES {
        let said = shop.promote(mode, SECOND, true)?;
        ensure!(said.code == Some(0), "{mode}: {said:#?}");
    }
    shop.is_as_if_always(SECOND).await?;
    for mode in MODES {
        let said = shop.json(&["module", "rollback", mode, "--why", "back", "--rebuild"])?;
        ensure!(said.code == Some(0), "{mode}: {said:#?}");
    }
    for (found, first) in shop.dumps().await?.iter().zip(&first) {
        found.is_like(first)?;
    }
    for mode in MODES {
        shop.promote(mode, SECOND, true)?;
    }
    source.execute_batch(DAYS[3])?;
    shop.done(&["run"])?;
    shop.is_as_if_always(SECOND).await?;
    shop.done(&["verify"])?;
    Ok(())
}
