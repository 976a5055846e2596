//! `module promote` and `module rollback`: which version is active.

use std::path::{Path, PathBuf};

use clap::Args;

use super::read;
use crate::authoring::AuthoringError;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::Paint;
use crate::digest::Digest;
use crate::pipeline::publish::PromotionReport;
use crate::pipeline::shadow::report::ShadowReport;
use crate::registry::Promoter;

/// Make a version the active one of its module.
///
/// Runs that begin from now on use it, where the project file does not ask for another. It is
/// loaded first: a module that cannot be loaded never becomes active.
///
/// Example: tidemill module promote dim-staff@1.1.0 --why "locations are trimmed"
#[derive(Debug, Args)]
pub(in crate::cli) struct Promote {
    /// The module and its exact version.
    #[arg(value_name = "NAME@VERSION")]
    module: String,
    /// Why, for whoever reads the log of promotions.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// The report of `module shadow --output json` that was looked at; its digest goes into the log.
    #[arg(long, value_name = "FILE")]
    shadow: Option<PathBuf>,
}

/// Make the version active again that was active before.
///
/// Once more goes back once more. The log of promotions keeps what was rolled back, and why.
///
/// Example: tidemill module rollback dim-staff --why "locations are lost"
#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The module.
    name: String,
    /// Why, for whoever reads the log of promotions.
    #[arg(long, value_name = "TEXT")]
    why: String,
}

impl Promote {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let mut promoter = promoter(call, self.why);
        let shadow = match &self.shadow {
            Some(file) => {
                let bytes = read(&call.folder().join(file))?;
                promoter.shadow = Some(Digest::of(&bytes));
                Some(shadow_report(file, &bytes)?)
            }
            None => None,
        };
        let pipeline = call.pipeline().await?;
        let promoted = pipeline.promote(&self.module, &promoter, shadow.as_ref());
        let report = promoted.await?;
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

impl Rollback {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let promoter = promoter(call, self.why);
        let pipeline = call.pipeline().await?;
        let report = pipeline.roll_back(&self.name, &promoter).await?;
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

fn shadow_report(file: &Path, bytes: &[u8]) -> Result<ShadowReport, AuthoringError> {
    serde_json::from_slice(bytes).map_err(|cause| AuthoringError::NoReport {
        file: file.to_owned(),
        cause,
    })
}

/// Who calls, as the system says.
fn promoter(call: &Invocation, why: String) -> Promoter {
    let variable = |name| call.environment().get(name);
    let who = variable("USER").or_else(|| variable("LOGNAME"));
    Promoter {
        who: who.unwrap_or("unknown").to_owned(),
        when: call.clock()(),
        why,
        shadow: None,
    }
}

fn told(report: &PromotionReport, paint: Paint) -> String {
    let module = &report.module;
    let ungranted = report.ungranted.iter();
    let warning: String = ungranted
        .map(|said| format!("{} {said}\n", paint.doubtful("warning:")))
        .collect();
    let told = match (report.changed, &report.previous) {
        (false, _) => format!("{module} is active already\n"),
        (true, previous) => {
            let previous = previous.as_ref().map(ToString::to_string);
            let previous = previous.unwrap_or_else(|| "none".into());
            format!(
                "{module} is active, {previous} was before\n\
                 it makes what is landed from now on; rows that are there stay as they were made\n"
            )
        }
    };
    told + &warning
}
