//! Which room of `host/src` may import which: the map, and the check that the code keeps to it.
//!
//! A room is a module of the crate's root with everything below it. The check reads every `crate::` path outside comments,
//! not only `use` lines, for a path in the middle of an expression ties two rooms together just as well. Left out is
//! `super::super::…` that climbs out of its room: rustc knows it, a reader of lines does not, and nobody writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Plain data: all rooms may import it, and it imports no room.
const PLAIN_DATA: &[&str] = &[
    "builtin",
    "config",
    "connection",
    "contract",
    "digest",
    "error",
    "numbers",
    "printable",
    "run",
    "table",
    "watermark",
];

/// The rooms, and which others each may import. Nobody may import `cli`.
const ROOMS: &[(&str, &[&str])] = &[
    ("source", &[]),
    ("sandbox", &[]),
    ("warehouse", &[]),
    ("zone", &[]),
    ("manifest", &["zone"]),
    ("registry", &["zone"]),
    // A case of a module is run where modules run.
    ("cases", &["sandbox"]),
    (
        "pipeline",
        &[
            "cases",
            "source",
            "sandbox",
            "warehouse",
            "zone",
            "manifest",
            "registry",
            "telemetry",
            "vault",
        ],
    ),
    // It describes a module as the registry does, in the sandbox, and tries it on cases.
    ("authoring", &["sandbox", "registry", "cases"]),
    // Its story runs the straight line.
    ("demo", &["pipeline"]),
    ("export", &[]),
    // What functions are told, as pure functions: it calls no stage.
    ("lambda", &[]),
    // Whoever opens a connection asks it.
    ("vault", &[]),
    // Modules as others carry them: it does not know what a registry of ours is.
    ("oci", &[]),
    // Which rights a stage needs: read off the code of others, and tied to none of it.
    ("policy", &[]),
    // What is measured, and where it goes: reports of runs become samples in the pipeline.
    ("telemetry", &[]),
    (
        "cli",
        &[
            "cases",
            "source",
            "sandbox",
            "warehouse",
            "zone",
            "manifest",
            "registry",
            "pipeline",
            "authoring",
            "demo",
            "export",
            "lambda",
            "oci",
            "policy",
            "telemetry",
            "vault",
        ],
    ),
    // Lends hostile bytes to all of them; it is part of tests and of `cargo x fuzz` only.
    (
        "fuzzing",
        &["source", "sandbox", "warehouse", "manifest", "registry"],
    ),
];

/// What the map forbids and is so all the same: importer, imported, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "config",
        "source",
        "`SourceOptions` is what the project file says about a source; it stands beside the trait that takes it",
    ),
    (
        "config",
        "warehouse",
        "`WarehouseOptions` is the same for a warehouse",
    ),
];

/// The files of the crate's root that are doors, not rooms; programs beside the first are in the folder `bin`.
const DOORS: &[&str] = &["lib", "main", "bin"];

/// Checks `host/src` below `root`.
///
/// # Errors
/// Every import that the map forbids, each with its line, and every room that the map does not know.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut sources = BTreeMap::new();
    read(&root.join("host/src"), "host/src", &mut sources)?;
    let mut findings = Vec::new();
    for (file, text) in &sources {
        findings.extend(findings_in(file, text));
    }
    match findings.is_empty() {
        true => Ok(()),
        false => bail!("{}", findings.join("\n")),
    }
}

/// Reads every Rust file below `folder`, under its name from the folder of the workspace.
fn read(folder: &Path, name: &str, sources: &mut BTreeMap<String, String>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = format!(
            "{name}/{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        if path.is_dir() {
            read(&path, &name, sources)?;
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            sources.insert(name, text);
        }
    }
    Ok(())
}

/// What is wrong in one file, named from the folder of the workspace.
fn findings_in(file: &str, text: &str) -> Vec<String> {
    let Some(importer) = room_of(file) else {
        return Vec::new();
    };
    if !is_known(importer) {
        return vec![format!(
            "{file}:1: {importer} is on no map: say in infra/xtask/src/rooms.rs what it may import"
        )];
    }
    imports(text)
        .into_iter()
        .filter_map(|(line, imported)| {
            let problem = problem(importer, imported)?;
            Some(format!("{file}:{line}: {problem}"))
        })
        .collect()
}

/// The room that a file belongs to, unless it is a door.
fn room_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("host/src/")?;
    let room = inside
        .split('/')
        .next()?
        .split('.')
        .next()
        .unwrap_or_default();
    (!DOORS.contains(&room)).then_some(room)
}

/// Why `importer` must not import `imported`, where it must not.
fn problem(importer: &str, imported: &str) -> Option<String> {
    // `crate::Result` and `crate::Error` are what the root exports of plain data.
    let is_module = imported.starts_with(|first: char| first.is_lowercase());
    if imported == importer || !is_module || PLAIN_DATA.contains(&imported) {
        return None;
    }
    let excepted = |(one, other, _): &(&str, &str, &str)| *one == importer && *other == imported;
    if may_import(importer, imported) || EXCEPTIONS.iter().any(excepted) {
        return None;
    }
    Some(if !is_known(imported) {
        format!("{imported} is on no map: say in infra/xtask/src/rooms.rs who may import it")
    } else if imported == "cli" {
        format!(
            "{importer} imports cli, which nobody may: what both need is plain data or the pipeline's"
        )
    } else if PLAIN_DATA.contains(&importer) {
        format!(
            "{importer} is plain data and imports the room {imported}: move what it needs into plain data"
        )
    } else {
        format!(
            "{importer} imports {imported}, which only {} may",
            importers(imported)
        )
    })
}

fn is_known(room: &str) -> bool {
    PLAIN_DATA.contains(&room) || ROOMS.iter().any(|(name, _)| *name == room)
}

fn may_import(importer: &str, imported: &str) -> bool {
    ROOMS
        .iter()
        .any(|(name, reach)| *name == importer && reach.contains(&imported))
}

/// Who may import `room`.
fn importers(room: &str) -> String {
    let names = ROOMS.iter().filter(|(_, reach)| reach.contains(&room));
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The first name of every path that begins at the crate's root, with its line, each once per line.
fn imports(text: &str) -> Vec<(usize, &str)> {
    const ROOT: &str = "crate::";
    let mut found = Vec::new();
    for (start, _) in text.match_indices(ROOT) {
        let (before, after) = (
            text.get(..start).unwrap_or_default(),
            text.get(start + ROOT.len()..).unwrap_or_default(),
        );
        let line = before.rsplit('\n').next().unwrap_or_default();
        let is_longer_name = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        if is_longer_name || line.contains("//") {
            continue;
        }
        let number = before.matches('\n').count() + 1;
        match after.trim_start().strip_prefix('{') {
            Some(group) => found.extend(first_names(group).map(|name| (number, name))),
            None => found.push((number, name_at(after))),
        }
    }
    found.dedup();
    found
}

/// The first names of the paths in `a, b::{c, d}, e}`, up to the brace that closes the group.
fn first_names(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut starts = vec![0];
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(position + 1),
            _ => {}
        }
    }
    starts
        .into_iter()
        .map(|start| name_at(group.get(start..).unwrap_or_default()))
        .filter(|name| !name.is_empty())
}

/// The identifier at the beginning of `text`.
fn name_at(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|character: char| !(character.is_alphanumeric() || character == '_'));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sideways_import_is_found_with_its_line() {
        assert_eq!(
            findings_in(
                "host/src/zone/local.rs",
                "//! A zone.\n\nuse crate::source::Source;\n"
            ),
            [
                "host/src/zone/local.rs:3: zone imports source, which only pipeline, cli, fuzzing may"
            ]
        );
    }

    #[test]
    fn a_sideways_path_inside_an_expression_is_found_too() {
        let text = "fn load() {\n    let sandbox = crate::sandbox::Sandbox::new();\n}\n";
        assert_eq!(findings_in("host/src/warehouse.rs", text).len(), 1);
    }

    #[test]
    fn a_group_is_read_name_by_name() {
        let text = "use crate::{\n    error::{Classify, ErrorKind},\n    warehouse::Warehouse,\n    zone,\n};\n";
        let imported: Vec<&str> = imports(text).into_iter().map(|(_, name)| name).collect();
        assert_eq!(imported, ["error", "warehouse", "zone"]);
        assert_eq!(findings_in("host/src/manifest.rs", text).len(), 1);
    }

    #[test]
    fn what_the_map_allows_is_left_alone() {
        for (file, text) in [
            ("host/src/zone/local.rs", "use crate::zone::Zone;"),
            (
                "host/src/manifest.rs",
                "use crate::zone::{Zone, ZoneError};",
            ),
            (
                "host/src/pipeline/load.rs",
                "use crate::warehouse::Warehouse;",
            ),
            (
                "host/src/sandbox.rs",
                "use crate::{contract::Field, Result};",
            ),
            (
                "host/src/config/plan.rs",
                "use crate::source::SourceOptions;",
            ),
            ("host/src/lib.rs", "pub use crate::warehouse::Warehouse;"),
        ] {
            assert_eq!(findings_in(file, text), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn words_in_comments_and_longer_names_are_no_imports() {
        let text = "/// See [`crate::source::Source`].\nuse other_crate::source;\nlet a = 1; // crate::source\n";
        assert_eq!(imports(text), []);
    }

    #[test]
    fn nobody_imports_the_command_line() {
        for file in [
            "host/src/pipeline.rs",
            "host/src/run.rs",
            "host/src/source.rs",
        ] {
            let findings = findings_in(file, "use crate::cli::Answer;");
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.contains("imports cli")),
                "{file}"
            );
        }
    }

    #[test]
    fn plain_data_imports_no_room() {
        let findings = findings_in("host/src/table.rs", "use crate::zone::Zone;");
        assert!(
            findings
                .iter()
                .any(|finding| finding.contains("plain data"))
        );
    }

    #[test]
    fn a_room_that_is_on_no_map_is_found_from_both_sides() {
        assert_eq!(findings_in("host/src/attic.rs", "").len(), 1);
        assert_eq!(
            findings_in("host/src/cli.rs", "use crate::attic::Box;").len(),
            1
        );
    }
}
