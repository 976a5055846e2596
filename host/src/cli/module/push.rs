//! `module push`: a component into the registry.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::sign::signature_of;
use super::{parameters, read, signature};
use crate::builtin;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::{Paint, counted};
use crate::pipeline::publish::{self, PushReport};

/// Put a component into the registry, under the name and version that it says itself.
///
/// A version never changes, and nothing uses it before it is promoted. It must be signed by a key that
/// the project file trusts, in FILE.minisig. What it makes is compared with what the active version
/// makes: columns that may be NULL can be added, anything else needs --breaking. What it reads is
/// compared with what has been landed, and with what the project file grants.
///
/// With --built-in it puts the modules there that are inside of tidemill, and promotes those of which no
/// version is active: for a modules zone that is new, such as a bucket that a project moves to.
///
/// Example: tidemill module push target/modules/dim-staff.wasm
#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The file of the component.
    #[arg(required_unless_present = "built_in")]
    file: Option<PathBuf>,
    /// Push and promote the modules that are inside of tidemill; those that are there stay as they are.
    #[arg(long, conflicts_with_all = ["file", "parameters", "signature", "breaking", "unlanded"])]
    built_in: bool,
    /// The file of its parameters.
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// The file of the signature [default: FILE.minisig, where there is one].
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Push it although the warehouse's table cannot simply follow.
    #[arg(long)]
    breaking: bool,
    /// Push it although what it reads has not been landed like that.
    #[arg(long)]
    unlanded: bool,
}

impl Push {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let Some(file) = &self.file else {
            return install(call).await;
        };
        let file = call.folder().join(file);
        let beside = signature_of(&file);
        let signed = match &self.signature {
            Some(named) => Some(call.folder().join(named)),
            None => beside.is_file().then_some(beside),
        };
        let push = publish::Push {
            component: read(&file)?.into(),
            parameters: parameters(call, self.parameters.as_deref())?.into(),
            signatures: signed
                .map(|file| signature(&file))
                .transpose()?
                .into_iter()
                .collect(),
            said: None,
            breaking: self.breaking,
            unlanded: self.unlanded,
        };
        let report = call.pipeline().await?.push(push).await?;
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

/// What was made of the modules inside of the program.
#[derive(Debug, Serialize)]
struct Installed {
    /// Modules inside of the program: all of them are in the registry now.
    modules: usize,
    /// Those that were promoted, because no version of them was active.
    promoted: usize,
}

async fn install(call: &Invocation) -> crate::Result<Answer> {
    let modules = builtin::modules()?;
    let who = call.environment().get("USER").unwrap_or("tidemill");
    let pipeline = call.pipeline().await?;
    let promoted = pipeline.install(&modules, who, call.clock()()).await?;
    let installed = Installed {
        modules: modules.len(),
        promoted,
    };
    let all = counted(installed.modules as u64, "module", "modules");
    let active = match installed.modules - promoted {
        0 => String::new(),
        active => format!(", of {active} a version was active"),
    };
    let text = format!(
        "{} {all} that are inside of tidemill: {promoted} promoted{active}\n",
        call.paint().good("installed"),
    );
    Ok(Answer::new(text, &installed))
}

fn told(report: &PushReport, paint: Paint) -> String {
    told_as("pushed", report, paint)
}

/// What a push did that is called by a `verb`.
pub(super) fn told_as(verb: &str, report: &PushReport, paint: Paint) -> String {
    let module = &report.module;
    let mut text = match report.is_new {
        true => format!(
            "{} {module}, vouched for by {}\n",
            paint.good(verb),
            report.vouched_by
        ),
        false => format!("{module} is there already\n"),
    };
    // Writing to a String cannot fail.
    for change in &report.changes {
        let line = format!("{}: {}", change.what, change.consequence);
        let _ = match change.breaking {
            true => writeln!(text, "  {}", paint.doubtful(line)),
            false => writeln!(text, "  {line}"),
        };
    }
    if report.changes.iter().any(|change| change.breaking) {
        let anew = "promoted with --rebuild, the table is made anew with these columns instead";
        let _ = writeln!(text, "  {}", paint.faint(anew));
    }
    for misfit in &report.misfits {
        let _ = writeln!(text, "  {}", paint.doubtful(misfit));
    }
    if let Some(ungranted) = &report.ungranted {
        let _ = writeln!(text, "  {}", paint.doubtful(ungranted));
    }
    if report.active.as_deref() != Some(module.version.as_str()) {
        let _ = writeln!(
            text,
            "it is used once it is promoted: tidemill module promote {}@{} --why \"…\"",
            module.name, module.version
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;
    use crate::pipeline::publish::OutputChange;
    use crate::registry::Voucher;

    #[test]
    fn what_was_pushed_is_told_with_what_the_warehouse_will_do() {
        let module = ModuleRef {
            name: "dim-staff".into(),
            version: "1.1.0".into(),
            digest: Digest::of("dim-staff"),
        };
        let mut report = PushReport {
            is_new: true,
            active: Some("1.0.0".into()),
            changes: vec![OutputChange {
                what: "the column `location` is new".into(),
                consequence: "the warehouse adds it".into(),
                breaking: false,
            }],
            misfits: vec!["the module reads the table `team`, which has not been landed".into()],
            ungranted: Some(
                "it reads totesys.staff.email_address, which is marked sensitive".into(),
            ),
            vouched_by: Voucher::Key("E7620F1842B4E81F".into()),
            module,
        };
        let digest = Digest::of("dim-staff").short();
        assert_eq!(
            told(&report, Paint::new(false)),
            format!(
                "pushed dim-staff@1.1.0 ({digest}), vouched for by key E7620F1842B4E81F\n  \
                 the column `location` is new: the warehouse adds it\n  \
                 the module reads the table `team`, which has not been landed\n  \
                 it reads totesys.staff.email_address, which is marked sensitive\n\
                 it is used once it is promoted: tidemill module promote dim-staff@1.1.0 --why \"…\"\n"
            )
        );
        report.is_new = false;
        report.changes.clear();
        report.misfits.clear();
        report.ungranted = None;
        report.active = Some("1.1.0".into());
        assert_eq!(
            told(&report, Paint::new(false)),
            format!("dim-staff@1.1.0 ({digest}) is there already\n")
        );
    }
}
