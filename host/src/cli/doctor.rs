//! `doctor`: whether everything a run needs is there.
//!
//! The project file and the cache are looked at here; sources, zones, modules and the warehouse by the
//! pipeline.

use std::path::Path;

use clap::Args;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::Paint;
use crate::config::Plan;
use crate::pipeline::Pipeline;
use crate::pipeline::report::Check;

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
    let plan = match call.plan().await {
        Ok(plan) => plan,
        Err(error) => return vec![Check::failed("project file", &error)],
    };
    let mut checks = vec![project(&plan), cache(&plan.cache)];
    match beyond(&plan, call).await {
        Ok(found) => checks.extend(found),
        Err(error) => checks.push(Check::failed("pipeline", &error)),
    }
    checks
}

async fn beyond(plan: &Plan, call: &Invocation) -> crate::Result<Vec<Check>> {
    let id = call.run_id(call.clock()())?;
    let pipeline = Pipeline::open(plan, call.progress().clone()).await?;
    pipeline.doctor(&id).await
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

fn passed(name: &str, detail: String) -> Check {
    Check {
        name: name.into(),
        ok: true,
        detail,
        hint: None,
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

    #[test]
    fn a_project_without_sources_is_a_problem_with_a_hint() {
        let text = told(&[project(&plan(""))], Paint::new(false));
        assert_eq!(
            text,
            "problem  project file: p/tidemill.toml has no source\n         \
             hint: add [source.NAME] with its url\n"
        );
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
