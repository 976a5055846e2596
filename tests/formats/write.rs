//! Writes the fixture of the format that this version writes: run once per format, see `tests/fixtures/README.md`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::json;
use tidemill::registry::{Promoter, Registry};
use tidemill::sandbox::{Limits, Sandbox};
use tidemill::zone::local::LocalZone;
use tidemill_tests::binary::workspace;
use tidemill_tests::guests;
use tidemill_tests::lambda::Function;
use tidemill_tests::postgres::Server;
use tidemill_tests::project::Project;
use tidemill_tests::store::Store;

use crate::fixture::{self, PACKED};
use crate::v3;

const PROJECT: &str = r#"# A project of format version 1, as the first version of tidemill read it.
name = "version-one"

[lake]
ingestion = "file://./lake/ingestion"
processed = "file://./lake/processed"
modules   = "file://./lake/modules"

[source.totesys]
url       = "sqlite://./totesys.sqlite"
exclude   = ["_prisma_migrations"]
cursor    = "snapshot"
reconcile = "7d"

[warehouse]
url = "delta://./warehouse"

[transform.dim_staff]
module = "dim-staff@1"

[transform.fact_payment]
module = "fact-payment@1"

[limits]
memory = "256 MiB"

[schedule.nightly]
cron = "30 2 * * MON-FRI"
zone = "Europe/London"
"#;

/// Two tables that become a dimension, one that becomes a fact, and one without a key.
const SOURCE: &str = "
CREATE TABLE _prisma_migrations (id text PRIMARY KEY);
CREATE TABLE department (
    department_id int4 NOT NULL PRIMARY KEY, department_name text, location text, manager text
);
CREATE TABLE staff (
    staff_id int4 NOT NULL PRIMARY KEY, first_name text, last_name text, department_id int4, email_address text
);
CREATE TABLE payment (
    payment_id int4 NOT NULL PRIMARY KEY, created_at timestamp(3) NOT NULL, last_updated timestamp(3) NOT NULL,
    transaction_id int4 NOT NULL, counterparty_id int4 NOT NULL, payment_amount numeric(10,2) NOT NULL,
    currency_id int4 NOT NULL, payment_type_id int4 NOT NULL, paid boolean NOT NULL, payment_date text NOT NULL
);
CREATE TABLE note (text text NOT NULL, size float8, raw bytea, at timestamptz);
INSERT INTO department VALUES (1, 'Sales', 'Manchester', NULL), (2, 'Leds', NULL, 'M. Ould');
INSERT INTO staff VALUES
    (1, 'Zoë', 'O''Keefe', 1, 'zoe@example'), (2, 'Bram', 'Two', 2, 'bram@example'), (3, 'Cleo', 'Three', 9, 'cleo@example');
INSERT INTO payment VALUES
    (1, '2024-01-02 09:08:07.006', '2024-01-02 09:08:07.006', 11, 5, 12345678.90, 1, 1, false, '2024-01-05'),
    (2, '2024-01-02 10:00:00.000', '2024-01-02 10:00:00.000', 12, 6, 0.01, 2, 3, false, '2024-01-06'),
    (3, '2024-01-03 23:59:59.999', '2024-01-03 23:59:59.999', 13, 5, 99.50, 3, 1, true, 'never');
INSERT INTO note VALUES ('first', 0.5, x'00ff', '2024-01-02 09:08:07+00:00'), ('second', NULL, NULL, NULL);
";

/// What happens before the second run, and before the third.
const DAYS: [&str; 2] = [
    "UPDATE payment SET paid = true, last_updated = '2024-01-05 07:55:11.000' WHERE payment_id = 1;
     DELETE FROM payment WHERE payment_id = 2;
     UPDATE department SET location = 'Leeds' WHERE department_id = 2;",
    "INSERT INTO payment VALUES
        (4, '2024-01-08 08:00:00.000', '2024-01-08 08:00:00.000', 14, 7, 1.00, 1, 2, false, '2024-01-09');
     INSERT INTO note VALUES ('third', -1e300, x'', '1999-12-31 23:59:59.999+00:00');",
];

/// The modules of the project.
const MODULES: [&str; 2] = ["dim-staff", "fact-payment"];

#[tokio::test]
#[ignore = "writes the fixture of a new format version, see tests/fixtures/README.md"]
async fn write_the_fixture_of_the_format_of_today() -> Result<()> {
    let project = Project::with_file(PROJECT)?;
    let source = Connection::open(project.path().join("totesys.sqlite"))?;
    source.execute_batch(SOURCE)?;
    push(&project.path().join("lake/modules")).await?;
    run(&project)?;
    for day in DAYS {
        source.execute_batch(day)?;
        run(&project)?;
    }
    drop(source);
    let target = workspace().join("target/fixture");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    pack(project.path(), &target.join("project"))?;
    fs::write(target.join(fixture::SUMS), fixture::sums(&target)?)?;
    Ok(())
}

/// A first landing in parts is made where a call is ended, so this one is landed by a function, out of PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixture of a new format version, see tests/fixtures/README.md"]
async fn write_the_fixture_of_a_table_that_is_landed_in_parts() -> Result<()> {
    let mut project = Project::with_file(v3::PROJECT)?;
    let server = Server::shared();
    let source = server.fresh_database().await;
    tidemill_tests::postgres::execute(&source, v3::SOURCE).await?;
    let store = Store::shared();
    let bucket = store.fresh_bucket().await;
    for (name, value) in store.environment() {
        project.set(&name, &value);
    }
    project.set("TOTESYS_URL", &source);
    push(&project.path().join("lake/modules")).await?;
    let ingestion = format!("s3://{bucket}");
    let variables = [
        ("TIDEMILL_STAGE", "extract"),
        ("TIDEMILL_LAKE__INGESTION", &ingestion),
        ("TIDEMILL_SOURCE__TOTESYS__SPLIT", "8 KiB"),
        ("TIDEMILL_SOURCE__TOTESYS__CONNECTIONS", "1"),
        ("TIDEMILL_LAMBDA__LANDING_ROWS", "60"),
    ];
    let mut function = Function::new(&project, "extract", &variables)?;
    let time = Duration::from_secs(60);
    let answer = function.call(&project, &json!({}), time).await?;
    answer.being("done").with_context(|| function.log())?;

    let target = workspace().join("target/fixture");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let packed = target.join("project");
    fs::create_dir_all(&packed)?;
    fs::copy(
        project.path().join("tidemill.toml"),
        packed.join("tidemill.toml"),
    )?;
    let objects = store.objects(&bucket).await.into_iter();
    for (key, bytes) in objects.filter(|(key, _)| key.starts_with("totesys/")) {
        let file = packed.join("lake/ingestion").join(key);
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        fs::write(file, bytes)?;
    }
    fs::write(target.join(fixture::SUMS), fixture::sums(&target)?)?;
    Ok(())
}

fn run(project: &Project) -> Result<()> {
    let said = project.call(["run"])?;
    ensure!(matches!(said.code, Some(0 | 3)), "{said:#?}");
    Ok(())
}

async fn push(folder: &Path) -> Result<()> {
    let cache = tempfile::tempdir()?;
    let sandbox = Sandbox::new(Limits::default(), cache.path())?;
    let registry = Registry::new(Arc::new(LocalZone::new(folder)));
    for guest in guests::all("totesys")? {
        if !MODULES.contains(&guest.name.as_str()) {
            continue;
        }
        let module = sandbox.load(&guest.component, b"")?;
        let description = module.description();
        registry.push(&guest.component, b"", description).await?;
        let when: DateTime<Utc> = "2024-01-01T00:00:00Z".parse()?;
        let promoter = Promoter {
            who: "ada".into(),
            when,
            why: "the first version".into(),
            shadow: None,
            rebuild: false,
        };
        registry
            .promote(&guest.name, &description.version, &promoter)
            .await?;
    }
    Ok(())
}

/// Copies a folder, components compressed.
fn pack(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .context("a name in UTF-8")?;
        if entry.file_type()?.is_dir() {
            pack(&entry.path(), &to.join(name))?;
        } else if name.ends_with(".wasm") {
            let mut packed = GzEncoder::new(Vec::new(), Compression::best());
            packed.write_all(&fs::read(entry.path())?)?;
            fs::write(to.join(name + PACKED), packed.finish()?)?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
