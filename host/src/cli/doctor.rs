//! `doctor`: whether everything a run needs is there.
//!
//! The project file, the references in it, the cache and the sources are looked at here; zones, modules
//! and the warehouse by the pipeline.

use std::path::Path;

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::Paint;
use crate::config::{Plan, SourcePlan};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::pipeline::report::Check;
use crate::source::{self, Discovered};

/// Check the project file, zones, sources, warehouse, modules and cache, and say what to do about each.
///
/// Ends with 3 when something is not as it should be.
///
/// Example: tidemill doctor
#[derive(Debug, Args)]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let checks = examine(call).await;
        let exit = match checks.iter().all(|check| check.ok) {
            true => Exit::Done,
            false => Exit::Flawed,
        };
        Ok(Answer::new(told(&checks, call.paint()), &checks).ending(exit))
    }
}

async fn examine(call: &Invocation) -> Vec<Check> {
    let plan = match call.plan() {
        Ok(plan) => plan,
        Err(error) => return vec![failed("project file", &error)],
    };
    let mut checks = vec![project(&plan), cache(&plan.cache)];
    for (name, source) in &plan.sources {
        checks.extend(examine_source(name, source).await);
    }
    match Pipeline::open(&plan, call.progress().clone()).await {
        Ok(pipeline) => match pipeline.doctor().await {
            Ok(found) => checks.extend(found),
            Err(error) => checks.push(failed("pipeline", &error)),
        },
        Err(error) => checks.push(failed("pipeline", &error)),
    }
    checks
}

fn project(plan: &Plan) -> Check {
    let lacking = [
        (
            plan.sources.is_empty(),
            "source",
            "[source.NAME] with its url",
        ),
        (
            plan.transforms.is_empty(),
            "transform",
            "[transform.TABLE] with its module",
        ),
    ];
    let lacking = lacking.into_iter().find(|(lacks, ..)| *lacks);
    let file = plan.base.join(crate::config::FILE);
    match lacking {
        Some((_, what, hint)) => Check {
            name: "project file".into(),
            ok: false,
            detail: format!("{} has no {what}", file.display()),
            hint: Some(format!("add {hint}")),
        },
        None => passed(
            "project file",
            format!(
                "{} names {} and {}",
                file.display(),
                super::text::counted(plan.sources.len() as u64, "source", "sources"),
                super::text::counted(plan.transforms.len() as u64, "table", "tables"),
            ),
        ),
    }
}

/// Compiled code is trusted when it is loaded, so nobody else may write it.
fn cache(folder: &Path) -> Check {
    let name = "cache";
    let metadata = match std::fs::symlink_metadata(folder) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return passed(
                name,
                format!("{} is made by the first run", folder.display()),
            );
        }
        Err(cause) => {
            return Check {
                name: name.into(),
                ok: false,
                detail: format!("{} cannot be looked at: {cause}", folder.display()),
                hint: Some("name another folder with `cache` in the project file".into()),
            };
        }
    };
    if !metadata.is_dir() {
        return Check {
            name: name.into(),
            ok: false,
            detail: format!("{} is not a folder", folder.display()),
            hint: Some("remove it, or name another folder with `cache`".into()),
        };
    }
    match is_private(&metadata) {
        true => passed(name, format!("{} is private", folder.display())),
        false => Check {
            name: name.into(),
            ok: false,
            detail: format!("{} may be written by others", folder.display()),
            hint: Some(format!("chmod 700 {}", folder.display())),
        },
    }
}

#[cfg(unix)]
fn is_private(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_private(_: &std::fs::Metadata) -> bool {
    true
}

async fn examine_source(name: &str, plan: &SourcePlan) -> Vec<Check> {
    let about = format!("source {name}");
    let found = async {
        let source = source::open(plan.url.expose()?, &plan.options)?;
        let found = source.discover().await?;
        Ok::<_, Error>((source.target().to_owned(), found))
    };
    let (target, found) = match found.await {
        Ok(found) => found,
        Err(error) => return vec![failed(&about, &error)],
    };
    let taken: Vec<_> = found
        .iter()
        .filter(|found| plan.takes(found.table.name.as_str()))
        .collect();
    if taken.is_empty() {
        return vec![Check {
            name: about,
            ok: false,
            detail: format!("{target} shows no table that the project takes"),
            hint: Some("check the user's rights and the include and exclude lists".into()),
        }];
    }
    let tables = super::text::counted(taken.len() as u64, "table", "tables");
    let mut checks = vec![passed(&about, format!("{target} shows {tables}"))];
    checks.extend(taken.into_iter().map(|found| method(name, plan, found)));
    checks
}

/// How changes of a table are found, and whether that can work.
fn method(source: &str, plan: &SourcePlan, found: &Discovered) -> Check {
    let table = found.table.name.as_str();
    let name = format!("{source}.{table}");
    let crate::config::Cursor::Column { name: column, .. } = plan.cursor_of(table) else {
        return passed(
            &name,
            format!("changes are {}", super::discover::changes(&found.changes)),
        );
    };
    let candidate = found.cursor_candidates.iter().find(|c| c.column == *column);
    match candidate {
        Some(candidate) if candidate.indexed => {
            passed(&name, format!("changes are found by {column}"))
        }
        Some(_) => passed(
            &name,
            format!(
                "changes are found by {column}, which has no index: each run reads the whole table"
            ),
        ),
        None => Check {
            name,
            ok: false,
            detail: format!("{column} cannot be a cursor: it is no column of a time or an integer"),
            hint: Some(match found.cursor_candidates.first() {
                Some(better) => format!("name {} instead, or \"snapshot\"", better.column),
                None => "use cursor = \"snapshot\"".into(),
            }),
        },
    }
}

fn passed(name: &str, detail: String) -> Check {
    Check {
        name: name.into(),
        ok: true,
        detail,
        hint: None,
    }
}

/// The error with its causes in one sentence.
fn failed(name: &str, error: &Error) -> Check {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        detail.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    Check {
        name: name.into(),
        ok: false,
        detail,
        hint: error.hint().map(str::to_owned),
    }
}

fn told(checks: &[Check], paint: Paint) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match check.ok {
            true => paint.good("ok     "),
            false => paint.bad("problem"),
        };
        text.push_str(&format!(
            "{mark}  {}: {}\n",
            paint.strong(&check.name),
            check.detail
        ));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("         hint: {hint}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};
    use crate::table::Table;
    use crate::watermark::CompareReason;

    fn plan(text: &str) -> Plan {
        let environment = Environment::default();
        config::parse(
            text,
            Path::new("tidemill.toml"),
            Path::new("p"),
            &environment,
            &[],
        )
        .expect("a good project")
    }

    fn staff() -> Discovered {
        let table = serde_json::from_value::<Table>(serde_json::json!({
            "name": "staff", "kind": "plain", "columns": [], "key": [], "key_origin": "none",
        }));
        Discovered {
            table: table.expect("a table"),
            rows_estimate: None,
            bytes_estimate: None,
            cursor_candidates: vec![source::CursorCandidate {
                column: "last_updated".into(),
                indexed: false,
                nullable: false,
            }],
            changes: Err(CompareReason::NoCursor),
        }
    }

    #[test]
    fn a_project_without_sources_is_a_problem_with_a_hint() {
        let text = told(&[project(&plan(""))], Paint::new(false));
        assert_eq!(
            text,
            "problem  project file: p/tidemill.toml has no source\n         \
             hint: add [source.NAME] with its url\n"
        );
    }

    #[test]
    fn each_table_says_how_its_changes_are_found() {
        let detail = |cursor: &str| {
            let text = format!("[source.s]\nurl = \"sqlite://a\"\ncursor = \"{cursor}\"");
            let check = method("s", &plan(&text).sources["s"], &staff());
            (check.ok, check.detail)
        };
        assert_eq!(
            detail("snapshot"),
            (
                true,
                "changes are found by full compare: the source cannot tell which rows changed"
                    .into()
            )
        );
        assert_eq!(
            detail("last_updated"),
            (
                true,
                "changes are found by last_updated, which has no index: each run reads the whole table"
                    .into()
            )
        );
        assert!(!detail("name").0);
    }

    #[cfg(unix)]
    #[test]
    fn a_cache_that_others_may_write_is_a_problem() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let set = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).expect("permissions");
            cache(folder.path()).ok
        };
        assert!(!set(0o777));
        assert!(!set(0o770));
        assert!(set(0o755));
        assert!(set(0o700));
    }
}
