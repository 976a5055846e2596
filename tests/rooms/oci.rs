//! Modules in OCI registries and folders, as an operator sees it: export and import through the program, against a real
//! registry on this machine, and against servers that mean no good.

mod artefact;
mod fake;
mod folder;
mod login;
mod refused;
mod round;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::guests;
use tidemill_tests::oci::OciRegistry;
use tidemill_tests::project::{Project, Said};
use tidemill_tests::puppet::Puppet;

use tidemill_tests::versions::component;

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n";
/// What the project file says while modules are developed.
const UNSIGNED: &str = "[modules]\nunsigned = true\n";

/// A project with this behind its sources, in which nobody is logged in anywhere.
fn project(modules: &str) -> Result<Project> {
    let mut project = Project::with_file(&format!("{SHOP}{modules}"))?;
    let home = project.path().join("home");
    std::fs::create_dir(&home)?;
    project.set("HOME", &home.display().to_string());
    // What was compiled is shared by all tests.
    if let Some(home) = tidemill_tests::variable("HOME") {
        project.set("XDG_CACHE_HOME", &home.join(".cache").display().to_string());
    }
    Ok(project)
}

/// A project whose registry has `dim-design@1.0.0` and, with another column, `dim-design@1.1.0`; nobody signed them.
fn shop() -> Result<Project> {
    let project = project(UNSIGNED)?;
    for (file, replaced) in [
        ("one.wasm", &[][..]),
        (
            "two.wasm",
            &[("1.0.0", "1.1.0"), ("file_name", "file_nome")],
        ),
    ] {
        std::fs::write(
            project.path().join(file),
            component("dim-design", replaced)?,
        )?;
        json(&project, &format!("push {file}"))?;
    }
    Ok(project)
}

/// Writes a module with parameters, and their file; gives how it is pushed.
fn with_parameters(project: &Project) -> Result<String> {
    let puppet = Puppet::default().says("name", &[b"dim-thing"]);
    std::fs::write(project.path().join("thing.wasm"), guests::hostile()?)?;
    std::fs::write(project.path().join("thing.txt"), puppet.parameters())?;
    Ok("thing.wasm --parameters thing.txt".into())
}

/// The answer of a verb of `module` that goes well.
fn json(project: &Project, arguments: &str) -> Result<Value> {
    let arguments = format!("module {arguments} --output json");
    Ok(serde_json::from_str(&project.done(arguments.split(' '))?)?)
}

/// What a verb of `module` says that must fail with this exit code, all of these words in it.
fn refused(project: &Project, arguments: &str, code: i32, words: &[&str]) -> Result<Said> {
    let said = project.call(format!("module {arguments}").split(' '))?;
    ensure!(said.code == Some(code), "{arguments}: {said:#?}");
    for word in words {
        ensure!(
            said.stderr.contains(word),
            "{word} is not in {}",
            said.stderr
        );
    }
    ensure!(said.stdout.is_empty(), "{said:#?}");
    Ok(said)
}

/// How many versions the registry of a project has.
fn count(project: &Project) -> Result<usize> {
    Ok(json(project, "list")?.as_array().context("a list")?.len())
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("{pointer} is no text of {value:#}"))
}

/// Makes a key; gives its number and the line for the project file.
fn key(project: &Project, file: &str) -> Result<(String, String)> {
    let made = json(project, &format!("key {file}"))?;
    let id = text(&made, "/id")?.to_owned();
    Ok((id, text(&made, "/public")?.to_owned()))
}

fn trusting(keys: &[&str]) -> String {
    format!("[modules]\nkeys = {keys:?}\n")
}

/// The manifest of what was exported.
fn manifest(registry: &OciRegistry, exported: &Value) -> Result<Value> {
    registry.document(text(exported, "/manifest")?)
}
