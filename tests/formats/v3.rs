//! What versions that land a table in parts write: a first landing out of PostgreSQL in several manifests. Nothing here changes
//! but the addition of what was forgotten.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidemill::manifest::{LANDING_FORMAT, LandingManifest, ManifestLog};
use tidemill::watermark::Window;
use tidemill_tests::postgres::{self, Server};
use tidemill_tests::project::Project;

use crate::fixture::{self, zone};

const VERSION: &str = "v3";
/// The digest of the list of digests: who changes the fixture has to change this, and must not.
const SUMS: &str = "ed733a4e8468e1c694a1229486bf7dfb6b09716e9212e91ecdb874fe075d968b";
/// Landings of the fixture; after all but the last the table is not whole.
const LANDINGS: u64 = 4;

pub(crate) const PROJECT: &str = r#"# A project whose one table was landed in parts.
name = "in-parts"

[source.totesys]
url = "${env:TOTESYS_URL}"

[warehouse]
url = "delta://./warehouse"

[transform.fact_payment]
module = "fact-payment@1"
"#;

/// A table of a few blocks.
pub(crate) const SOURCE: &str = "
CREATE TABLE payment (
    payment_id int4 NOT NULL PRIMARY KEY, created_at timestamp(3) NOT NULL, last_updated timestamp(3) NOT NULL,
    transaction_id int4 NOT NULL, counterparty_id int4 NOT NULL, payment_amount numeric(10,2) NOT NULL,
    currency_id int4 NOT NULL, payment_type_id int4 NOT NULL, paid boolean NOT NULL, payment_date text NOT NULL
);
INSERT INTO payment
SELECT n, t, t, 1000 + n, n % 20 + 1, n * 1.25, n % 3 + 1, n % 4 + 1, n % 2 = 0, to_char(t + interval '3 days', 'YYYY-MM-DD')
FROM generate_series(1, 300) AS n, LATERAL (SELECT timestamp '2024-01-02 09:08:07.006' + n * interval '1 hour') AS at (t);
";

#[test]
fn nobody_has_changed_the_fixture() -> Result<()> {
    fixture::ensure_unchanged(VERSION, SUMS)
}

#[tokio::test]
async fn the_parts_are_read_and_would_be_written_again_as_they_are() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let log = ManifestLog::<LandingManifest>::new(zone(&project, "ingestion"), "totesys");
    let (mut landed, mut whole) = (0, 0);
    for number in 1..=LANDINGS {
        let manifest = log.read(number).await?;
        let file = format!("lake/ingestion/totesys/_manifests/{number:010}.json");
        let there: Value = serde_json::from_slice(&std::fs::read(project.path().join(&file))?)?;
        assert_eq!(serde_json::to_value(&manifest)?, there, "{file}");
        assert_eq!(manifest.format, LANDING_FORMAT, "{file}");
        let payment = manifest.tables.get("payment").context("payment landed")?;
        match (number, &payment.window) {
            (1, Some(Window::First)) => {}
            (2.., Some(Window::Rest { reached, .. })) => assert_eq!(reached.whole, whole),
            (_, window) => panic!("{file} has {window:?}"),
        }
        match &payment.reached {
            Some(reached) if number < LANDINGS => {
                assert!(reached.whole > whole, "{file} goes on");
                whole = reached.whole;
            }
            None if number == LANDINGS => {}
            reached => panic!("{file} has {reached:?}"),
        }
        landed += payment.changed_rows();
    }
    assert_eq!(landed, 300, "each row is landed once");
    Ok(())
}

/// The source comes out of a backup, say: its blocks are no longer those that were read. Then what was landed is compared.
#[tokio::test]
async fn a_table_that_was_left_between_two_parts_is_landed_to_its_end() -> Result<()> {
    let server = Server::shared();
    for landings in [1, LANDINGS - 1, LANDINGS] {
        let mut project = fixture::project(VERSION)?;
        for number in landings + 1..=LANDINGS {
            let file = format!("lake/ingestion/totesys/_manifests/{number:010}.json");
            std::fs::remove_file(project.path().join(file))?;
        }
        let source = server.fresh_database().await;
        postgres::execute(&source, SOURCE).await?;
        let day = "UPDATE payment SET paid = NOT paid WHERE payment_id % 50 = 0;
                   DELETE FROM payment WHERE payment_id IN (7, 299);";
        postgres::execute(&source, day).await?;
        project.set("TOTESYS_URL", &source);
        json_of(&project, &["module", "push", "--built-in"])?;
        json_of(&project, &["run"])?;
        let newest = landings + 1;
        let file = format!("lake/ingestion/totesys/_manifests/{newest:010}.json");
        let manifest: Value = serde_json::from_slice(&std::fs::read(project.path().join(file))?)?;
        assert_eq!(manifest["format"], 1, "the table is whole: {manifest}");
        let current = "SELECT count(*) AS rows, sum(payment_id) AS ids,
            count(*) FILTER (WHERE paid) AS paid FROM fact_payment_current";
        let ids = 300 * 301 / 2 - 7 - 299;
        assert_eq!(
            json_of(&project, &["query", current])?,
            json!([{"rows": 298, "ids": ids, "paid": 150 - 6}])
        );
        let report = json_of(&project, &["verify"])?;
        assert_eq!(report["differences"], json!([]), "{report}");
    }
    Ok(())
}

fn json_of(project: &Project, arguments: &[&str]) -> Result<Value> {
    let said = project.call([arguments, &["--output", "json"]].concat())?;
    ensure!(said.code == Some(0), "{arguments:?}: {said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}
