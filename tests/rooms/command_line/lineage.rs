//! Where columns and rows come from, on a small shop.

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidemill_tests::postgres::{Server, connect};
use tidemill_tests::project::{Project, Said};

use tidemill_tests::versions::component;

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [modules]\nunsigned = true\n\
    [transform.dim_currency]\nmodule = \"dim-currency@1\"\n\
    [transform.dim_staff]\nmodule = \"dim-staff@1\"\ngrants = [\"shop.staff.email_address\"]\n\
    [transform.dim_design]\nmodule = \"dim-design@1\"\n";
const MARKED: &str = "[source.shop.table.staff]\nsensitive = [\"email_address\"]\n";

/// Three tables that were run twice, the second time by another version of one module.
fn project() -> Result<Project> {
    let project = Project::with_file(&format!("{SHOP}{MARKED}"))?;
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE currency (currency_id int4 NOT NULL PRIMARY KEY, currency_code text);
         INSERT INTO currency VALUES (1, 'GBP'), (2, 'USD'), (3, 'EUR'), (4, 'JPY');
         CREATE TABLE staff (staff_id int4 NOT NULL PRIMARY KEY, first_name text, last_name text,
                             department_id int4, email_address text, badge text);
         INSERT INTO staff VALUES (7, 'Ada', 'King', 1, 'ada@example.org', 'b'),
                                  (8, 'Bob', 'Hart', 1, 'bob@example.org', 'c');
         CREATE TABLE department (department_id int4 NOT NULL PRIMARY KEY, department_name text, location text);
         INSERT INTO department VALUES (1, 'Sales', 'Leeds')",
    )?;
    for (module, file, replaced) in [
        ("dim-currency", "one.wasm", &[][..]),
        ("dim-staff", "staff.wasm", &[]),
        (
            "dim-currency",
            "two.wasm",
            &[("1.0.0", "1.1.0"), ("Pound Sterling", "Pound sterling")],
        ),
    ] {
        std::fs::write(project.path().join(file), component(module, replaced)?)?;
        project.done(["module", "push", file])?;
        let version = if replaced.is_empty() {
            "1.0.0"
        } else {
            "1.1.0"
        };
        project.done([
            "module",
            "promote",
            &format!("{module}@{version}"),
            "--why",
            "next",
        ])?;
        if module == "dim-currency" {
            continue;
        }
        run(&project)?;
        source.execute_batch(
            "UPDATE currency SET currency_code = 'GBP' WHERE currency_id = 2;
             UPDATE currency SET currency_code = 'QQQ' WHERE currency_id = 4;
             DELETE FROM currency WHERE currency_id = 3;
             DELETE FROM staff WHERE staff_id = 8;
             UPDATE staff SET last_name = 'Lovelace' WHERE staff_id = 7",
        )?;
    }
    run(&project)?;
    Ok(project)
}

/// There is no module of `dim_design`, so a run ends with 1.
fn run(project: &Project) -> Result<()> {
    let said = project.call(["run"])?;
    ensure!(
        said.code == Some(1) && said.stderr.contains("dim_design"),
        "{said:#?}"
    );
    Ok(())
}

fn json_of(project: &Project, arguments: &[&str]) -> Result<Value> {
    let said = project.done([arguments, &["--output", "json"]].concat())?;
    Ok(serde_json::from_str(&said)?)
}

fn names(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item[name].as_str())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_column_is_traced_to_what_its_modules_declared() -> Result<()> {
    let project = project()?;
    // Nothing but the lake is needed.
    std::fs::remove_file(project.path().join("shop.db"))?;
    let all = json_of(&project, &["lineage"])?;
    assert_eq!(
        names(&all["tables"], "table"),
        ["dim_currency", "dim_staff"]
    );

    let staff = json_of(&project, &["lineage", "dim_staff.location"])?;
    let table = &staff["tables"][0];
    assert_eq!(names(&table["columns"], "name"), ["location"]);
    assert_eq!(
        table["columns"][0]["from"],
        json!([
            "shop.staff.staff_id",
            "shop.staff.first_name",
            "shop.staff.last_name",
            "shop.staff.department_id",
            "shop.staff.email_address",
            "shop.department.department_id",
            "shop.department.department_name",
            "shop.department.location",
        ])
    );
    let inputs = &table["makers"][0]["inputs"];
    assert_eq!(names(inputs, "role"), ["streamed", "lookup"]);
    let sensitive = inputs[0]["columns"].as_array().into_iter().flatten();
    let sensitive: Vec<_> = sensitive
        .filter(|c| c["sensitive"] == true)
        .map(|c| &c["name"])
        .collect();
    assert_eq!(sensitive, ["email_address"]);

    let currency = json_of(&project, &["lineage", "dim_currency"])?;
    let makers = currency["tables"][0]["makers"]
        .as_array()
        .context("makers")?;
    let made: Vec<_> = makers
        .iter()
        .map(|m| {
            (
                &m["module"]["version"],
                &m["first_landing"],
                &m["last_landing"],
            )
        })
        .collect();
    assert_eq!(
        made,
        [
            (&json!("1.0.0"), &json!(1), &json!(1)),
            (&json!("1.1.0"), &json!(2), &json!(2))
        ]
    );

    let told = project.done(["lineage", "dim_staff"])?;
    for line in [
        "from shop.staff (streamed, the current rows): staff_id, first_name, last_name, department_id, \
         email_address (sensitive)",
        "from shop.department (looked up, the current rows)",
        "staff_id (key)",
        "_tidemill_landing",
        "which of them is in which column is the module's own: each may be in each",
    ] {
        ensure!(told.contains(line), "{line} is not in {told}");
    }
    Ok(())
}

/// The shape that the specification asks for: required members, types, and facets with producer and schema.
#[test]
fn events_have_the_shape_of_openlineage() -> Result<()> {
    let project = project()?;
    let said = project.done(["lineage", "--output", "openlineage"])?;
    let events: Vec<Value> = said
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(events.len(), 4, "the start and the end of two tables");
    let mut ids = Vec::new();
    for event in &events {
        for required in ["eventTime", "producer", "schemaURL"] {
            ensure!(event[required].is_string(), "{required} of {event:#}");
        }
        let time = event["eventTime"].as_str().context("a time")?;
        ensure!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        let id = event["run"]["runId"].as_str().context("an id")?;
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        ensure!(
            parts == [8, 4, 4, 4, 12] && id.as_bytes()[14] == b'8',
            "{id}"
        );
        ids.push(id);
        ensure!(
            event["job"]["namespace"] == "shop" && event["job"]["name"].is_string(),
            "{event:#}"
        );
        for facets in facets(event) {
            for (name, facet) in facets.as_object().into_iter().flatten() {
                for required in ["_producer", "_schemaURL"] {
                    let uri = facet[required].as_str().unwrap_or_default();
                    ensure!(uri.contains(':'), "{required} of {name}: {facet}");
                }
            }
        }
    }
    assert_eq!((ids[0], ids[2]), (ids[1], ids[3]));
    ensure!(ids[0] != ids[2], "two tables are two runs");
    assert_eq!(
        names(&json!(events), "eventType"),
        ["START", "COMPLETE", "START", "COMPLETE"]
    );

    let staff = &events[3];
    assert_eq!(staff["job"]["name"], "dim_staff");
    let inputs = staff["inputs"].as_array().context("inputs")?;
    let path = project.path().join("shop.db");
    assert_eq!(inputs[1]["namespace"], "file");
    assert_eq!(inputs[1]["name"], format!("{}/department", path.display()));
    let fields = &inputs[1]["facets"]["schema"]["fields"];
    assert_eq!(
        names(fields, "name"),
        ["department_id", "department_name", "location"]
    );
    ensure!(fields[0]["type"].is_string(), "{fields}");
    let output = &staff["outputs"][0];
    let lineage = &output["facets"]["columnLineage"]["fields"];
    let from = lineage["location"]["inputFields"]
        .as_array()
        .context("input fields")?;
    assert_eq!(from.len(), 8);
    // A field is of a dataset among the inputs.
    for field in from {
        let of = |input: &&Value| {
            input["name"] == field["name"] && input["namespace"] == field["namespace"]
        };
        let dataset = inputs.iter().find(of).context("an input")?;
        let known = names(&dataset["facets"]["schema"]["fields"], "name");
        ensure!(
            known.iter().any(|name| field["field"] == name.as_str()),
            "{field}"
        );
    }
    ensure!(lineage.get("_tidemill_run").is_none(), "{lineage:#}");

    let other = project.call(["runs", "--output", "openlineage"])?;
    assert_eq!(other.code, Some(2));
    ensure!(
        other
            .stderr
            .contains("only lineage can be told as events of OpenLineage"),
        "{other:#?}"
    );
    Ok(())
}

fn facets(event: &Value) -> Vec<&Value> {
    let datasets = ["inputs", "outputs"].map(|side| event.get(side).and_then(Value::as_array));
    let datasets = datasets.into_iter().flatten().flatten();
    let datasets = datasets.filter_map(|dataset| dataset.get("facets"));
    datasets.chain(event.pointer("/job/facets")).collect()
}

#[test]
fn a_row_is_traced_to_its_landed_row() -> Result<()> {
    let project = project()?;
    // A row that was changed, by the version of then and of now.
    let report = json_of(&project, &["trace", "dim_currency", "2"])?;
    let version = &report["versions"][0];
    assert_eq!(report["versions"].as_array().map(Vec::len), Some(1));
    assert_eq!(version["state"], "current");
    assert_eq!(version["made"]["module"]["version"], "1.1.0");
    assert_eq!(version["made"]["landing"], 2);
    let landed = &version["made"]["inputs"][0]["row"];
    assert_eq!(
        landed["values"],
        json!([{"column": "currency_id", "value": "2"}, {"column": "currency_code", "value": "GBP"}])
    );
    assert_eq!(landed["object"]["row"], 0, "{landed:#}");
    assert_eq!(landed["proved"], true, "{landed:#}");
    // One that has not changed since.
    let report = json_of(&project, &["trace", "dim_currency", "currency_id=1"])?;
    assert_eq!(report["versions"][0]["made"]["module"]["version"], "1.0.0");
    // One that is gone.
    let report = json_of(&project, &["trace", "dim_currency", "3"])?;
    assert_eq!(report["versions"], json!([]));
    let removal = &report["removals"][0];
    assert_eq!(
        (&removal["by"]["landing"], &removal["loaded"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(removal["by"]["inputs"][0]["row"]["deleted"], true);
    // One that is there and was refused: by its own words, or by its code alone where they may hold what is sensitive.
    let refused = |project: &Project| -> Result<Value> {
        let report = json_of(project, &["trace", "dim_currency", "4"])?;
        assert_eq!(report["versions"], json!([]));
        let row = &report["removals"][0]["by"]["inputs"][0]["row"];
        ensure!(row["deleted"] == false && row["landing"] == 2, "{report:#}");
        Ok(report["removals"][0]["refused"].clone())
    };
    let words = refused(&project)?;
    let words = words.as_str().context("words")?;
    ensure!(
        words.contains("QQQ") && words.ends_with("(unknown-code)"),
        "{words}"
    );
    let file = project.path().join("tidemill.toml");
    let marked = "[source.shop.table.currency]\nsensitive = [\"currency_code\"]\n";
    std::fs::write(
        &file,
        format!("{}{marked}", std::fs::read_to_string(&file)?),
    )?;
    assert_eq!(refused(&project)?, "unknown-code");
    let told = project.done(["trace", "dim_currency", "3"])?;
    for line in [
        "0 versions in the warehouse",
        "taken away by landing 2 of shop",
        "gone from currency: currency_id 3",
    ] {
        ensure!(told.contains(line), "{line} is not in {told}");
    }
    Ok(())
}

#[test]
fn what_is_sensitive_is_replaced_in_a_trace() -> Result<()> {
    let project = project()?;
    let report = json_of(&project, &["trace", "dim_staff", "7"])?;
    let version = &report["versions"][0];
    let value = |values: &Value, column: &str| -> Value {
        let mut values = values.as_array().into_iter().flatten();
        values
            .find(|v| v["column"] == column)
            .map_or(Value::Null, |v| v["value"].clone())
    };
    assert_eq!(value(&version["values"], "staff_id"), "7");
    // Any column of the table may hold it.
    assert_eq!(value(&version["values"], "last_name"), "(sensitive)");
    let landed = &version["made"]["inputs"][0]["row"]["values"];
    assert_eq!(value(landed, "last_name"), "Lovelace");
    assert_eq!(value(landed, "email_address"), "(sensitive)");
    assert_eq!(
        value(landed, "badge"),
        Value::Null,
        "the module does not see it"
    );
    assert_eq!(version["made"]["inputs"][1]["row"], Value::Null);
    ensure!(
        version["made"]["inputs"][1]["objects"][0].is_string(),
        "{version:#}"
    );
    let gone = json_of(&project, &["trace", "dim_staff", "8"])?;
    assert_eq!(gone["removals"][0]["by"]["landing"], 2, "{gone:#}");
    for key in ["7", "8"] {
        for format in ["text", "json"] {
            let told = project.done(["trace", "dim_staff", key, "--output", format])?;
            ensure!(!told.contains("@example.org"), "{told}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_traced_says_why() -> Result<()> {
    let project = project()?;
    let said = |arguments: &str, code: i32| -> Result<Said> {
        let said = project.call(arguments.split(' '))?;
        ensure!(said.code == Some(code), "{arguments}: {said:#?}");
        Ok(said)
    };
    for (arguments, told, hint) in [
        (
            "trace dim_curency 1",
            "the project makes no table `dim_curency`",
            "did you mean `dim_currency`?",
        ),
        (
            "trace dim_design 1",
            "no landing has been made into `dim_design` yet",
            "tidemill run",
        ),
        (
            "trace dim_currency 99",
            "`dim_currency` has no row with currency_id 99, and never had one",
            "quarantine",
        ),
        (
            "trace dim_currency 1 2",
            "the key of `dim_currency` is (currency_id), and 2 values are given",
            "currency_id=…",
        ),
        (
            "trace dim_currency GBP",
            "`currency_id` is of type Int32, and `GBP` is none",
            "tidemill query",
        ),
        (
            "lineage dim_curency",
            "the project makes no table `dim_curency`",
            "did you mean `dim_currency`?",
        ),
        (
            "lineage dim_staff.locatoin",
            "the table `dim_staff` has no column `locatoin`",
            "did you mean `location`?",
        ),
        ("lineage dim_design", "dim_design", "module"),
    ] {
        let said = said(arguments, 2)?;
        ensure!(
            said.stderr.contains(told) && said.stderr.contains(hint),
            "{said:#?}"
        );
    }
    // An object that made the row is lost.
    let report = json_of(&project, &["trace", "dim_currency", "1"])?;
    let landed = &report["versions"][0]["made"]["inputs"][0]["row"]["object"]["object"];
    let landed = landed.as_str().context("an object")?;
    std::fs::remove_file(project.path().join("lake/ingestion").join(landed))?;
    let lost = said("trace dim_currency 1", 1)?;
    ensure!(
        lost.stderr.contains(landed) && lost.stderr.contains("is missing"),
        "{lost:#?}"
    );
    Ok(())
}

/// A table that was there before has no columns of provenance, and numbers its versions in a column of its own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_provided_table_has_versions_and_no_maker() -> Result<()> {
    let server = Server::shared();
    let star = server.fresh_database().await;
    connect(&star)
        .await?
        .batch_execute(
            "CREATE TABLE fact_payment (fact_key serial PRIMARY KEY, payment_id int NOT NULL, paid boolean NOT NULL)",
        )
        .await?;
    let mut project = Project::with_file(
        "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[warehouse]\nurl = \"${env:STAR}\"\n\
         [modules]\nunsigned = true\n[transform.fact_payment]\nmodule = \"fact-payment@1\"\n",
    )?;
    project.set("STAR", &star);
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE payment (payment_id int4 NOT NULL PRIMARY KEY, created_at timestamp NOT NULL,
             last_updated timestamp NOT NULL, transaction_id int4, counterparty_id int4, payment_amount numeric(10,2),
             currency_id int4, payment_type_id int4, paid boolean, payment_date text);
         INSERT INTO payment VALUES (7, '2022-11-03 14:20:52.187', '2022-11-03 14:20:52.187', 1, 2, '9.50', 3, 4, 0,
             '2022-11-09')",
    )?;
    let module = project.path().join("payment.wasm");
    std::fs::write(module, component("fact-payment", &[])?)?;
    project.done(["module", "push", "payment.wasm"])?;
    project.done(["module", "promote", "fact-payment@1.0.0", "--why", "first"])?;
    project.done(["run"])?;
    source.execute_batch("UPDATE payment SET paid = 1")?;
    project.done(["run"])?;
    let report = json_of(&project, &["trace", "fact_payment", "7"])?;
    let versions = report["versions"].as_array().context("versions")?;
    let paid = |version: &Value| -> Value {
        let mut values = version["values"].as_array().into_iter().flatten();
        values
            .find(|v| v["column"] == "paid")
            .map_or(Value::Null, |v| v["value"].clone())
    };
    assert_eq!(
        versions.iter().map(paid).collect::<Vec<_>>(),
        ["false", "true"],
        "{report:#}"
    );
    assert_eq!(
        names(&report["versions"], "state"),
        ["superseded", "current"]
    );
    assert!(versions.iter().all(|version| version["made"].is_null()));
    let notes = report["notes"].to_string();
    ensure!(
        notes.contains("no columns that say what made a row"),
        "{notes}"
    );
    Ok(())
}
