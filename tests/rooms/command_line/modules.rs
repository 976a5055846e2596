//! A module from a file to the active version and back, as an operator sees it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::project::Project;

use tidemill_tests::versions::component;

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n";

/// What the project file says while modules are developed.
const UNSIGNED: &str = "[modules]\nunsigned = true\n";

/// A project with three versions of `dim-design` beside it, of which the last makes another column.
fn project() -> Result<Project> {
    project_with(UNSIGNED)
}

fn project_with(modules: &str) -> Result<Project> {
    let project = Project::with_file(&format!("{SHOP}{modules}"))?;
    for (file, replaced) in [
        ("one.wasm", &[][..]),
        ("two.wasm", &[("1.0.0", "1.1.0")]),
        (
            "three.wasm",
            &[("1.0.0", "2.0.0"), ("file_name", "file_nome")],
        ),
    ] {
        std::fs::write(
            project.path().join(file),
            component("dim-design", replaced)?,
        )?;
    }
    Ok(project)
}

fn json(project: &Project, arguments: &str) -> Result<Value> {
    let arguments = format!("module {arguments} --output json");
    Ok(serde_json::from_str(&project.done(arguments.split(' '))?)?)
}

/// Versions, and whether each is active.
fn listed(project: &Project) -> Result<Vec<(String, bool)>> {
    let listed = json(project, "list")?;
    let modules = listed.as_array().context("a list")?.iter();
    let version = |module: &Value| Some(module.pointer("/module/version")?.as_str()?.to_owned());
    let state = |module: &Value| Some((version(module)?, module.get("active")?.as_bool()?));
    modules
        .map(|module| state(module).context("a module"))
        .collect()
}

fn versions(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    let expected = expected.iter();
    expected
        .map(|(version, active)| ((*version).to_owned(), *active))
        .collect()
}

#[test]
fn a_module_is_pushed_promoted_and_rolled_back() -> Result<()> {
    let project = project()?;
    let pushed = json(&project, "push one.wasm")?;
    ensure!(
        pushed["is_new"] == true && pushed["active"].is_null(),
        "{pushed}"
    );
    assert_eq!(listed(&project)?, versions(&[("1.0.0", false)]));
    json(&project, "promote dim-design@1.0.0 --why first")?;
    json(&project, "push two.wasm")?;
    let promoted = json(&project, "promote dim-design@1.1.0 --why better")?;
    ensure!(
        promoted["previous"] == "1.0.0" && promoted["changed"] == true,
        "{promoted}"
    );
    assert_eq!(
        listed(&project)?,
        versions(&[("1.0.0", false), ("1.1.0", true)])
    );

    let again = json(&project, "push two.wasm")?;
    ensure!(again["is_new"] == false, "{again}");
    let again = json(&project, "promote dim-design@1.1.0 --why again")?;
    ensure!(again["changed"] == false, "{again}");

    let back = json(&project, "rollback dim-design --why worse")?;
    ensure!(back["module"]["version"] == "1.0.0", "{back}");
    ensure!(back["promotion"]["why"] == "worse", "{back}");
    assert_eq!(
        listed(&project)?,
        versions(&[("1.0.0", true), ("1.1.0", false)])
    );
    let further = project.call(["module", "rollback", "dim-design", "--why", "x"])?;
    assert_eq!(further.code, Some(2));
    assert_eq!(
        further.stderr,
        "error: no version of dim-design was active before 1.0.0\n  \
         hint: promote another with `tidemill module promote dim-design@VERSION`\n"
    );
    Ok(())
}

#[test]
fn what_the_warehouse_cannot_simply_follow_is_pushed_only_when_it_is_meant() -> Result<()> {
    let project = project()?;
    json(&project, "push one.wasm")?;
    json(&project, "promote dim-design@1.0.0 --why first")?;
    let refused = project.call(["module", "push", "three.wasm"])?;
    assert_eq!(refused.code, Some(2));
    for told in [
        "dim-design@2.0.0 makes something else than 1.0.0, which is active",
        "the column `file_name` is gone",
        "the column `file_nome` is new and always has a value",
        "hint: repeat it with --breaking when that is meant",
    ] {
        ensure!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert_eq!(listed(&project)?, versions(&[("1.0.0", true)]));
    let pushed = json(&project, "push three.wasm --breaking")?;
    ensure!(
        pushed["changes"]
            .as_array()
            .is_some_and(|all| all.len() == 2),
        "{pushed}"
    );
    assert_eq!(
        listed(&project)?,
        versions(&[("1.0.0", true), ("2.0.0", false)])
    );
    Ok(())
}

#[test]
fn a_file_and_what_was_pushed_of_it_are_the_same_module() -> Result<()> {
    let project = project()?;
    json(&project, "push one.wasm")?;
    let (file, stored) = (
        json(&project, "inspect one.wasm")?,
        json(&project, "inspect dim-design@1.0.0")?,
    );
    assert_eq!(file, stored);
    assert_eq!(file["name"], "dim-design");
    assert_eq!(file["signed_by"], Value::Array(Vec::new()));
    assert_eq!(file["inputs"][0]["table"], "design");
    assert_eq!(file["output"]["table"], "dim_design");
    let read = file["inputs"][0]["columns"].as_array().context("columns")?;
    let names: Vec<_> = read
        .iter()
        .filter_map(|column| column["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["design_id", "design_name", "file_location", "file_name"]
    );
    ensure!(file["made_of"]["sdk"].is_string(), "{file}");
    let told = project.done(["module", "inspect", "one.wasm"])?;
    ensure!(told.contains("signed by   nobody"), "{told}");
    Ok(())
}

/// What a call says that must fail, with its exit code.
fn refused(project: &Project, arguments: &str, code: i32) -> Result<String> {
    let said = project.call(arguments.split(' '))?;
    ensure!(said.code == Some(code), "{arguments}: {said:?}");
    Ok(said.stderr)
}

/// The line `keys = […]` that `module key` gives for the project file.
fn key(project: &Project, file: &str) -> Result<String> {
    let made = json(project, &format!("key {file}"))?;
    let public = made.get("public").and_then(Value::as_str);
    let public = public.context("a key")?;
    Ok(format!("[modules]\nkeys = [\"{public}\"]\n"))
}

#[test]
fn a_module_is_used_when_a_key_signed_it_that_the_project_trusts() -> Result<()> {
    let project = project_with("")?;
    let unsigned = refused(&project, "module push two.wasm", 2)?;
    for told in [
        "nobody has signed dim-design@1.1.0",
        "tidemill module sign",
        "unsigned = true",
    ] {
        ensure!(unsigned.contains(told), "{unsigned}");
    }
    // What is inside the program is let in.
    json(&project, "push one.wasm")?;

    let (ours, _theirs) = (key(&project, "ours.key")?, key(&project, "theirs.key")?);
    let file = project.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{ours}"))?;
    json(&project, "sign two.wasm --key theirs.key")?;
    let stranger = refused(&project, "module push two.wasm", 2)?;
    ensure!(
        stranger.contains("a key that the project does not trust"),
        "{stranger}"
    );
    json(&project, "sign two.wasm --key ours.key")?;
    let pushed = json(&project, "push two.wasm")?;
    let id = pushed["vouched_by"]["key"].as_str().context("a key")?;
    let promoted = json(&project, "promote dim-design@1.1.0 --why signed")?;
    assert_eq!(promoted["vouched_by"]["key"], id);
    let inspected = json(&project, "inspect dim-design@1.1.0")?;
    assert_eq!(inspected["signed_by"][0], id);
    let listed = json(&project, "list")?;
    assert_eq!(listed[0]["vouched_by"], "program");
    assert_eq!(listed[1]["vouched_by"]["key"], id);
    assert_eq!(listed[1]["why"], "signed");
    Ok(())
}

/// A signature is for one module: neither other bytes nor another version may come with it.
#[test]
fn a_module_with_the_signature_of_another_is_refused() -> Result<()> {
    let project = project_with("")?;
    let ours = key(&project, "ours.key")?;
    let file = project.path().join("tidemill.toml");
    // Not even the switch for unsigned modules helps: the key is trusted, and what it says is not this.
    std::fs::write(&file, format!("{SHOP}{ours}unsigned = true\n"))?;
    json(&project, "sign two.wasm --key ours.key")?;
    let wrong = refused(
        &project,
        "module push three.wasm --signature two.wasm.minisig",
        1,
    )?;
    ensure!(wrong.contains("or for other bytes"), "{wrong}");
    let parameters = project.path().join("parameters");
    std::fs::write(&parameters, "other")?;
    let wrong = refused(&project, "module push two.wasm --parameters parameters", 1)?;
    ensure!(wrong.contains("dim-design"), "{wrong}");
    std::fs::write(project.path().join("two.wasm.minisig"), "signed, ada")?;
    let none = refused(&project, "module push two.wasm", 2)?;
    ensure!(none.contains("is no signature of minisign"), "{none}");
    Ok(())
}

/// Whoever can write into the modules zone cannot have his own code run where the project names keys.
#[test]
fn what_is_put_into_the_registry_past_tidemill_is_not_promoted() -> Result<()> {
    let project = project_with("")?;
    let ours = key(&project, "ours.key")?;
    let file = project.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{ours}"))?;
    json(&project, "sign two.wasm --key ours.key")?;
    json(&project, "push two.wasm")?;
    let stored = project.path().join("lake/modules/dim-design/1.1.0");
    let signature = std::fs::read_dir(stored.join("signatures"))?
        .next()
        .context("a signature")??;

    // Without its signature it is nobody's.
    let kept = std::fs::read(signature.path())?;
    std::fs::remove_file(signature.path())?;
    let wrong = refused(&project, "module promote dim-design@1.1.0 --why x", 2)?;
    ensure!(wrong.contains("nobody has signed"), "{wrong}");
    std::fs::write(signature.path(), kept)?;

    // Another component, with a record that agrees with it.
    let evil = Project::with_file(&format!("{SHOP}{UNSIGNED}"))?;
    std::fs::write(
        evil.path().join("evil.wasm"),
        component(
            "dim-design",
            &[("1.0.0", "1.1.0"), ("file_name", "file_nome")],
        )?,
    )?;
    json(&evil, "push evil.wasm")?;
    let theirs = evil.path().join("lake/modules/dim-design/1.1.0");
    for name in ["module.wasm", "module.json"] {
        std::fs::remove_file(stored.join(name))?;
        std::fs::copy(theirs.join(name), stored.join(name))?;
    }
    let wrong = refused(&project, "module promote dim-design@1.1.0 --why x", 1)?;
    ensure!(wrong.contains("or for other bytes"), "{wrong}");
    Ok(())
}

/// Its inputs are compared with what is landed, before anybody can promote it.
#[test]
fn a_module_that_reads_what_is_not_landed_is_pushed_only_when_it_is_meant() -> Result<()> {
    let project = project()?;
    let source = rusqlite::Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE design (design_id int4 PRIMARY KEY, design_name blob, file_location text, file_name text);
         INSERT INTO design VALUES (1, x'00', 'a', 'b')",
    )?;
    project.done(["extract"])?;
    let told = refused(&project, "module push one.wasm", 2)?;
    for part in [
        "dim-design@1.0.0 cannot be given what it reads",
        "design.design_name",
        "--unlanded",
    ] {
        ensure!(told.contains(part), "{told}");
    }
    let pushed = json(&project, "push one.wasm --unlanded")?;
    ensure!(
        pushed["misfits"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{pushed}"
    );
    Ok(())
}
