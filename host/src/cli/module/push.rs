//! `module push`: a component into the registry.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{parameters, read};
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::Paint;
use crate::pipeline::publish::PushReport;

/// Put a component into the registry, under the name and version that it says itself.
///
/// A version never changes, and nothing uses it before it is promoted. What it makes is compared
/// with what the active version makes: columns that may be NULL can be added, anything else needs
/// --breaking.
///
/// Example: tidemill module push target/modules/dim-staff.wasm
#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The file of the component.
    file: PathBuf,
    /// The file of its parameters.
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// Push it although the warehouse's table cannot simply follow.
    #[arg(long)]
    breaking: bool,
}

impl Push {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let component = read(&call.folder().join(&self.file))?;
        let parameters = parameters(call, self.parameters.as_deref())?;
        let pipeline = call.pipeline().await?;
        let report = pipeline.push(component, parameters, self.breaking).await?;
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

fn told(report: &PushReport, paint: Paint) -> String {
    let module = &report.module;
    let mut text = match report.is_new {
        true => format!("{} {module}\n", paint.good("pushed")),
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
            module,
        };
        let digest = Digest::of("dim-staff").short();
        assert_eq!(
            told(&report, Paint::new(false)),
            format!(
                "pushed dim-staff@1.1.0 ({digest})\n  the column `location` is new: the warehouse adds it\n\
                 it is used once it is promoted: tidemill module promote dim-staff@1.1.0 --why \"…\"\n"
            )
        );
        report.is_new = false;
        report.changes.clear();
        report.active = Some("1.1.0".into());
        assert_eq!(
            told(&report, Paint::new(false)),
            format!("dim-staff@1.1.0 ({digest}) is there already\n")
        );
    }
}
