//! A module from a file to the active version and back, as an operator sees it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::guests;
use tidemill_tests::project::Project;

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n";

/// The component of `dim-design` with one text in it replaced by another as long, wherever it stands.
///
/// So there are versions of a module that differ in one thing, without a compiler. The contract's own version, which
/// follows an `@`, is left alone.
fn component(replaced: &[(&str, &str)]) -> Result<Vec<u8>> {
    let guests = guests::all("totesys")?;
    let guest = guests.into_iter().find(|guest| guest.name == "dim-design");
    let mut bytes = guest.context("there is dim-design")?.component;
    for (from, to) in replaced {
        ensure!(from.len() == to.len(), "{from} and {to} are not as long");
        let (next, found) = with(&bytes, from, to);
        ensure!(found > 0, "{from} does not stand in the component");
        bytes = next;
    }
    Ok(bytes)
}

/// The bytes with `to` in place of `from`, and in how many places.
fn with(bytes: &[u8], from: &str, to: &str) -> (Vec<u8>, usize) {
    let (mut made, mut found) = (Vec::with_capacity(bytes.len()), 0);
    let (mut rest, mut before) = (bytes, 0);
    while let Some((byte, tail)) = rest.split_first() {
        match rest.strip_prefix(from.as_bytes()) {
            Some(after) if before != b'@' => {
                made.extend_from_slice(to.as_bytes());
                (rest, found) = (after, found + 1);
            }
            _ => {
                made.push(*byte);
                rest = tail;
            }
        }
        before = *byte;
    }
    (made, found)
}

/// A project with three versions of `dim-design` beside it, of which the last makes another column.
fn project() -> Result<Project> {
    let project = Project::with_file(SHOP)?;
    for (file, replaced) in [
        ("one.wasm", &[][..]),
        ("two.wasm", &[("1.0.0", "1.1.0")]),
        (
            "three.wasm",
            &[("1.0.0", "2.0.0"), ("file_name", "file_nome")],
        ),
    ] {
        std::fs::write(project.path().join(file), component(replaced)?)?;
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
        "hint: push it with --breaking when that is meant",
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
    assert_eq!(file["signature"], Value::Null);
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
    ensure!(told.contains("signature   unsigned"), "{told}");
    Ok(())
}
