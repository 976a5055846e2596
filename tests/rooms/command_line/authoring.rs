//! A new module outside of this repository, as its author sees it: made, tested, spoilt, mended, and cut out of landed data.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::binary::workspace;
use tidemill_tests::project::{Project, Said};

const SHOP: &str =
    "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n[modules]\nunsigned = true\n";

/// A project with staff and departments, below which crates are built in the target folder of this test: Arrow is there
/// for WebAssembly already.
fn project() -> Result<Project> {
    let project = Project::with_file(SHOP)?;
    let source = rusqlite::Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE department (department_id int4 PRIMARY KEY, department_name text NOT NULL, location text);
         CREATE TABLE staff (staff_id int4 PRIMARY KEY, name text NOT NULL, department_id int4, photo blob);
         CREATE TABLE log (line text);
         INSERT INTO department VALUES (1, 'Sales', 'Leds'), (2, 'Dispatch', NULL), (3, 'Nobody', 'Leeds');
         INSERT INTO staff VALUES (1, 'Zoë', 2, NULL), (2, 'O''Keefe', 1, x'00'), (3, 'Fay, Jr.', NULL, NULL)",
    )?;
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("a target folder")?;
    std::fs::create_dir_all(project.path().join(".cargo"))?;
    std::fs::write(
        project.path().join(".cargo/config.toml"),
        format!(
            "[build]\ntarget-dir = {target:?}\n[net]\noffline = true\n\
             [profile.dev]\ndebug = false\nopt-level = 0\n"
        ),
    )?;
    Ok(project)
}

fn json(said: &str) -> Result<Value> {
    serde_json::from_str(said).with_context(|| said.to_owned())
}

/// `module test` of the new crate.
fn test(project: &Project, arguments: &[&str]) -> Result<Said> {
    project.call([&["module", "test", "dim-colleague"], arguments].concat())
}

fn held(said: &Said) -> Result<Value> {
    ensure!(said.code == Some(0), "{}\n{}", said.stdout, said.stderr);
    json(&said.stdout)
}

fn edit(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "{from} does not stand in {text}");
    Ok(std::fs::write(file, text.replace(from, to))?)
}

/// One test, because all of it is one crate that is built once.
#[test]
fn a_new_module_compiles_passes_its_first_case_and_is_told_what_it_makes_wrong() -> Result<()> {
    let project = project()?;
    let from = ["--from", "shop.staff,department", "--to", "dim_colleague"];
    let made = project.done([&["module", "new", "dim-colleague"][..], &from].concat())?;
    for told in [
        "dim-colleague makes dim_colleague",
        "dim-colleague/src/lib.rs",
        "left out, for the SDK has no word for its type: staff.photo: Binary",
        "next: tidemill module test dim-colleague",
    ] {
        ensure!(made.contains(told), "{made}");
    }
    let again = project.call([&["module", "new", "dim-colleague"][..], &from].concat())?;
    ensure!(
        again.code == Some(2) && again.stderr.contains("is there already"),
        "{again:?}"
    );
    let folder = project.path().join("dim-colleague");
    let readme = std::fs::read_to_string(folder.join("README.md"))?;
    assert!(readme.lines().count() <= 10, "{readme}");
    std::fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;

    // It holds natively and in the sandbox, and every property does.
    let tested = held(&test(&project, &["--output", "json"])?)?;
    assert_eq!(
        tested["cases"].as_array().map(Vec::len),
        Some(1),
        "{tested}"
    );
    assert_eq!(
        tested["cases"][0]["native"],
        Value::Array(Vec::new()),
        "{tested}"
    );
    assert_eq!(tested["native"]["passed"], true, "{tested}");
    assert_eq!(
        tested["properties"]["broken"],
        Value::Array(Vec::new()),
        "{tested}"
    );

    // A wrong expectation is shown by row and column, and written anew when that is asked for.
    let case = folder.join("cases/rows.json");
    edit(&case, "\"output\": {", "\"fuel\": 1,\n  \"output\": {")?;
    let right = std::fs::read_to_string(&case)?;
    let (before, after) = right.split_once("\"output\"").context("an output")?;
    std::fs::write(
        &case,
        format!("{before}\"output\"{}", after.replacen("\"a\"", "\"b\"", 1)),
    )?;
    let wrong = test(&project, &["--no-native"])?;
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    for told in [
        "output, row 1 (staff_id 1), name: expected \"b\", came \"a\"",
        "% more than the 1 that the case has; 5 % may be more",
        "every property holds",
    ] {
        ensure!(wrong.stdout.contains(told), "{}", wrong.stdout);
    }
    let updated = held(&test(
        &project,
        &["--no-native", "--update", "--output", "json"],
    )?)?;
    assert_eq!(updated["cases"][0]["updated"], true, "{updated}");
    held(&test(&project, &["--no-native", "--output", "json"])?)?;

    // Landed rows become a case: the rows that were asked for, and of the lookup those that belong to them.
    project.done(["extract"])?;
    let cut = test(
        &project,
        &[
            "--from-run",
            "last",
            "--rows",
            "2",
            "--no-native",
            "--output",
            "json",
        ],
    )?;
    let cut = held(&cut)?;
    let added = cut["added"].as_str().context("a case")?;
    let added = std::fs::read_to_string(added)?;
    for part in [
        "[1,          \"Zoë\"",
        "\"O'Keefe\"",
        "\"Dispatch\"",
        "\"landing\":1",
        "\"logical_time\":",
    ] {
        ensure!(added.contains(part), "{part} is not in {added}");
    }
    ensure!(
        !added.contains("Fay") && !added.contains("Nobody"),
        "{added}"
    );

    // What is marked sensitive is not in it.
    let marked = "[source.shop.table.staff]\nsensitive = [\"name\"]\n";
    std::fs::write(
        project.path().join("tidemill.toml"),
        format!("{SHOP}{marked}"),
    )?;
    let cut = [
        "--from-run",
        "last",
        "--rows",
        "3",
        "--no-native",
        "--output",
        "json",
    ];
    let cut = held(&test(&project, &cut)?)?;
    let hidden = std::fs::read_to_string(cut["added"].as_str().context("a case")?)?;
    ensure!(
        !hidden.contains("Zoë") && !hidden.contains("O'Keefe"),
        "{hidden}"
    );
    ensure!(
        hidden.contains("\"sensitive-2\"")
            && hidden.contains("because it is sensitive: staff.name"),
        "{hidden}"
    );

    // A case from elsewhere gives the same anywhere, and is added once.
    let elsewhere = project.path().join("found.json");
    let text = added.replace("\"O'Keefe\"", "\"someone\"");
    std::fs::write(&elsewhere, &text)?;
    let alone = ["--case", "found.json", "--no-native", "--output", "json"];
    let alone = held(&test(&project, &[&alone[..], &["--add"]].concat())?)?;
    assert!(alone["properties"].is_null() && folder.join("cases/found.json").is_file());
    let twice = test(&project, &["--case", "found.json", "--no-native", "--add"])?;
    ensure!(
        twice.code == Some(2) && twice.stderr.contains("is there already"),
        "{twice:?}"
    );

    // Everything once more, natively too.
    let all = held(&test(&project, &["--output", "json"])?)?;
    assert_eq!(all["cases"].as_array().map(Vec::len), Some(4), "{all}");

    // A column with another name: what is expected is of another version, and is written anew, natively too.
    edit(
        &folder.join("src/lib.rs"),
        "(\"name\", staff",
        "(\"called\", staff",
    )?;
    let other = test(&project, &["--no-native"])?;
    ensure!(
        other.code == Some(2)
            && other.stderr.contains("the module declares no column name")
            && other.stderr.contains("--update"),
        "{other:?}"
    );
    let anew = held(&test(&project, &["--update", "--output", "json"])?)?;
    assert_eq!(anew["cases"][3]["updated"], true, "{anew}");
    held(&test(&project, &["--output", "json"])?)?;
    edit(
        &folder.join("cases/found.json"),
        "\"columns\"",
        "\"colums\"",
    )?;
    let no_case = test(&project, &["--no-native"])?;
    ensure!(
        no_case.code == Some(2) && no_case.stderr.contains("unknown field `colums`"),
        "{no_case:?}"
    );
    Ok(())
}

#[test]
fn what_cannot_become_a_module_is_told_before_anything_is_written() -> Result<()> {
    let project = project()?;
    let new = |arguments: &str| -> Result<String> {
        let arguments = format!("module new {arguments}");
        let said = project.call(arguments.split(' '))?;
        ensure!(said.code == Some(2) && said.stdout.is_empty(), "{said:?}");
        Ok(said.stderr)
    };
    for (arguments, told) in [
        (
            "dim-log --from shop.log --to dim_log",
            "[source.shop.table.log] key = ",
        ),
        (
            "dim-a --from shopp.staff --to dim_a",
            "the project has no source `shopp`\n  hint: it has: shop",
        ),
        (
            "dim-a --from shop.staf --to dim_a",
            "no table `staf`\n  hint: it has: staff",
        ),
        ("dim-a --from staff --to dim_a", "names no table"),
        (
            "Dim --from shop.staff --to dim_a",
            "is no name for a module",
        ),
        (
            "dim-a --from shop.staff --to dim-a",
            "is no name for a warehouse table",
        ),
        (
            "dim-a --from shop.department,staff --to dim_a",
            "no column of department is called staff_id",
        ),
        (
            "dim-a --from shop.staff --to dim_a --sdk nowhere",
            "there is no SDK in nowhere",
        ),
    ] {
        let said = new(arguments)?;
        ensure!(said.contains(told), "{arguments}: {said}");
    }
    let left: Vec<_> = std::fs::read_dir(project.path())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    ensure!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with("dim")),
        "{left:?}"
    );
    Ok(())
}
