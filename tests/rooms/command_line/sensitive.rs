//! Columns that are marked sensitive: who may read them, and where their values do not stand.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use tidemill_tests::project::{Project, Said};

use tidemill_tests::versions::component;

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [modules]\nunsigned = true\n\
    [transform.dim_design]\nmodule = \"dim-design@1\"\n";
const MARKED: &str = "[source.shop.table.currency]\nsensitive = [\"currency_code\"]\n";
const CURRENCY: &str = "[transform.dim_currency]\nmodule = \"dim-currency@1\"\n";
const GRANT: &str = "grants = [\"shop.currency.currency_code\"]\n";
/// The sensitive values, of which the module refuses the last and says it.
const SECRETS: [&str; 4] = ["GBP", "USD", "EUR", "QQQ"];

fn write(project: &Project, parts: &[&str]) -> Result<()> {
    let text = parts.concat();
    Ok(std::fs::write(project.path().join("tidemill.toml"), text)?)
}

/// Two tables, of which the second can be made of another column by a later version; both modules promoted.
fn project(parts: &[&str]) -> Result<Project> {
    let project = Project::with_file(&parts.concat())?;
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE currency (currency_id int4 NOT NULL PRIMARY KEY, currency_code text);
         INSERT INTO currency VALUES (1, 'GBP'), (2, 'USD'), (3, 'EUR'), (4, 'QQQ');
         CREATE TABLE design (design_id int4 NOT NULL PRIMARY KEY, design_name text, file_location text,
                              file_name text, file_nome text);
         INSERT INTO design VALUES (1, 'Wooden', '/srv', 'a.json', 'hidden-7')",
    )?;
    for module in ["dim-currency", "dim-design"] {
        let file = format!("{module}.wasm");
        std::fs::write(project.path().join(&file), component(module, &[])?)?;
        project.done(["module", "push", &file])?;
        project.done([
            "module",
            "promote",
            &format!("{module}@1.0.0"),
            "--why",
            "first",
        ])?;
    }
    Ok(project)
}

fn json_of(project: &Project, arguments: &[&str], code: i32) -> Result<Value> {
    let said = project.call([arguments, &["--output", "json"]].concat())?;
    ensure!(said.code == Some(code), "{said:#?}");
    Ok(serde_json::from_str(&said.stdout)?)
}

fn refused(said: &Said) -> Result<()> {
    for told in [
        "dim-currency@1.0.0",
        "reads what is marked sensitive and not granted to it: shop.currency.currency_code",
        "write grants = [\"shop.currency.currency_code\"] below [transform.dim_currency]",
    ] {
        ensure!(
            format!("{}{}", said.stdout, said.stderr).contains(told),
            "{said:#?}"
        );
    }
    Ok(())
}

/// The objects below a folder of the processed zone.
fn made(project: &Project, table: &str) -> bool {
    let folder = project.path().join("lake/processed").join(table);
    Path::new(&folder).is_dir()
}

#[test]
fn without_a_grant_a_table_stops_and_the_others_go_on() -> Result<()> {
    let project = project(&[SHOP, MARKED, CURRENCY])?;
    let plan = json_of(&project, &["plan"], 4)?;
    let grants = plan.pointer("/transforms/0/grants").context("grants")?;
    assert_eq!(
        *grants,
        json!([{"column": "shop.currency.currency_code", "state": "missing"}])
    );

    let ran = project.call(["run"])?;
    assert_eq!(ran.code, Some(1));
    refused(&ran)?;
    ensure!(
        !made(&project, "dim_currency") && made(&project, "dim_design"),
        "{ran:#?}"
    );
    for arguments in [
        &["transform"][..],
        &["preview", "dim_currency"],
        &["module", "shadow", "dim-currency@1.0.0"],
    ] {
        let said = project.call(arguments)?;
        ensure!(said.code != Some(0), "{said:#?}");
        refused(&said)?;
    }

    // As the hint says. Nothing had to be landed again.
    write(&project, &[SHOP, MARKED, CURRENCY, GRANT])?;
    let told = project.call(["plan"])?.stdout;
    ensure!(
        told.contains("is granted shop.currency.currency_code, which is sensitive"),
        "{told}"
    );
    project.call(["run"])?;
    ensure!(made(&project, "dim_currency"), "nothing was made");
    Ok(())
}

/// What was made with a grant is made again with a grant only; the other tables of the run are.
#[test]
fn a_grant_that_was_taken_back_is_missed_by_a_replay() -> Result<()> {
    let project = project(&[SHOP, MARKED, CURRENCY, GRANT])?;
    project.call(["run"])?;
    project.done(["replay", "last"])?;
    write(&project, &[SHOP, MARKED, CURRENCY])?;
    for verb in [&["replay", "last"][..], &["verify"]] {
        let report = json_of(&project, verb, 3)?;
        assert_eq!(report["transforms"], 2);
        let differences = report["differences"].as_array().context("differences")?;
        assert_eq!(differences.len(), 1, "{report}");
        refused(&project.call(verb)?)?;
    }
    Ok(())
}

#[test]
fn every_grant_is_in_the_plan() -> Result<()> {
    let grants = "grants = [\"shop.currency.currency_code\", \"shop.design.file_nome\", \"shop.design.design_id\"]\n";
    let marks = "[source.shop.table.design]\nsensitive = [\"file_nome\"]\n";
    let unknown =
        "[transform.dim_thing]\nmodule = \"dim-thing@1\"\ngrants = [\"shop.design.file_nome\"]\n";
    let project = project(&[SHOP, MARKED, marks, CURRENCY, grants, unknown])?;
    let plan = json_of(&project, &["plan"], 4)?;
    let of = |table: &str| -> Vec<(String, String)> {
        let transforms = plan["transforms"].as_array().into_iter().flatten();
        let grants = transforms
            .filter(|t| t["table"] == table)
            .flat_map(|t| t["grants"].as_array());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        grants
            .flatten()
            .map(|g| (text(&g["column"]), text(&g["state"])))
            .collect()
    };
    let states = |found: Vec<(String, String)>| -> Vec<String> {
        found
            .into_iter()
            .map(|(column, state)| format!("{column} {state}"))
            .collect()
    };
    assert_eq!(
        states(of("dim_currency")),
        [
            "shop.currency.currency_code used",
            "shop.design.design_id not-sensitive",
            "shop.design.file_nome unused",
        ]
    );
    assert_eq!(states(of("dim_thing")), ["shop.design.file_nome unknown"]);
    assert_eq!(states(of("dim_design")), [""; 0]);
    Ok(())
}

#[test]
fn a_mark_of_what_is_not_there_is_an_error() -> Result<()> {
    let wrong = "[source.shop.table.currency]\nsensitive = [\"currency_kode\"]\n\
        [source.shop.table.curency]\nsensitive = [\"currency_code\"]\n";
    let project = project(&[SHOP, wrong, CURRENCY])?;
    let said = [
        (
            "currency",
            "it has no column `currency_kode`, which the project file marks sensitive",
        ),
        (
            "curency",
            "the source gives no such table, of which the project file marks columns sensitive",
        ),
    ];
    let plan = json_of(&project, &["plan"], 4)?;
    let warnings = plan["warnings"].as_array().context("warnings")?;
    for (table, told) in said {
        let told = format!("shop.{table}: {told}");
        let found = warnings
            .iter()
            .filter_map(Value::as_str)
            .any(|w| w.starts_with(&told));
        ensure!(found, "{told} is not in {warnings:#?}");
    }
    let ran = project.call(["extract"])?;
    assert_eq!(ran.code, Some(1));
    for (table, told) in said {
        ensure!(
            ran.stderr.contains(table) && ran.stderr.contains(told),
            "{ran:#?}"
        );
    }
    // The table with a wrong mark stays outside of the lake, the other one does not.
    let lake = project.path().join("lake/ingestion/shop");
    ensure!(
        !lake.join("currency").exists() && lake.join("design").exists(),
        "{ran:#?}"
    );
    Ok(())
}

/// A version that reads a sensitive column for the first time is told when it is pushed and when it is promoted, and
/// stops its table alone.
#[test]
fn a_version_that_reads_more_than_its_predecessor_is_caught() -> Result<()> {
    let marks = "[source.shop.table.design]\nsensitive = [\"file_nome\"]\n";
    let project = project(&[SHOP, marks, CURRENCY])?;
    let first = project.call(["run"])?;
    ensure!(
        first.code == Some(3),
        "the module of dim_design reads nothing sensitive: {first:#?}"
    );
    let next = component(
        "dim-design",
        &[("1.0.0", "1.1.0"), ("file_name", "file_nome")],
    )?;
    std::fs::write(project.path().join("next.wasm"), next)?;
    let warned = "it reads shop.design.file_nome, which is marked sensitive: dim_design stops until \
        grants = [\"shop.design.file_nome\"] stands below [transform.dim_design] in the project file";
    for arguments in [
        &["module", "push", "next.wasm", "--breaking"][..],
        &["module", "promote", "dim-design@1.1.0", "--why", "next"],
    ] {
        let told = project.done(arguments)?;
        ensure!(told.contains(warned), "{told}");
    }
    let source = Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "INSERT INTO design VALUES (2, 'Metal', '/srv', 'b.json', 'hidden-8');
         INSERT INTO currency VALUES (5, 'GBP')",
    )?;
    let report = json_of(&project, &["run"], 1)?;
    let failures = report
        .pointer("/transform/failures")
        .and_then(Value::as_array);
    assert_eq!(failures.map(Vec::len), Some(1), "{report:#}");
    assert_eq!(
        report.pointer("/transform/failures/0/table"),
        Some(&json!("dim_design"))
    );
    assert_eq!(
        report.pointer("/transform/tables/0/table"),
        Some(&json!("dim_currency"))
    );
    project.done(["module", "rollback", "dim-design", "--why", "no grant"])?;
    project.done(["run"])?;
    Ok(())
}

/// Everything that is printed while sensitive rows are refused, compared, previewed and made again.
#[test]
fn no_value_of_a_sensitive_column_is_printed() -> Result<()> {
    let project = project(&[SHOP, MARKED, CURRENCY, GRANT])?;
    let next = component(
        "dim-currency",
        &[("1.0.0", "1.1.0"), ("EUREuro", "EUSEuro")],
    )?;
    std::fs::write(project.path().join("next.wasm"), next)?;
    project.done(["module", "push", "next.wasm"])?;
    let mut told = Vec::new();
    for arguments in [
        "run",
        "runs last",
        "preview dim_currency",
        "module shadow dim-currency@1.1.0 --report shadow.html",
        "replay last",
        "plan",
    ] {
        for format in ["text", "json"] {
            let mut words: Vec<&str> = arguments.split(' ').collect();
            words.extend(["--output", format]);
            let mut command = project.command(words)?;
            command.env("TIDEMILL_LOG", "tidemill=debug");
            let output = command.output()?;
            told.push((
                arguments,
                String::from_utf8([output.stdout, output.stderr].concat())?,
            ));
        }
    }
    told.push((
        "page",
        std::fs::read_to_string(project.path().join("shadow.html"))?,
    ));
    for (arguments, told) in &told {
        for secret in SECRETS {
            ensure!(!told.contains(secret), "{arguments} tells {secret}: {told}");
        }
    }
    let of = |verb: &str| -> Result<&str> {
        let found = told
            .iter()
            .find(|(arguments, _)| arguments.starts_with(verb));
        Ok(found.context("it was called")?.1.as_str())
    };
    ensure!(
        of("run")?.contains("unknown-code: (sensitive)"),
        "{}",
        of("run")?
    );
    // A stand-in is no code of a currency, and what the module says of it may be read.
    ensure!(of("preview")?.contains("sensitive-1"), "{}", of("preview")?);
    for told in [
        "(sensitive)",
        "values of currency_code, currency_id, currency_name are not shown",
    ] {
        ensure!(
            of("module shadow")?.contains(told),
            "{}",
            of("module shadow")?
        );
    }
    Ok(())
}
