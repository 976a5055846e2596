//! `module promote` and `module rollback`: which version is active.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::read;
use crate::authoring::AuthoringError;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::rebuild;
use crate::cli::text::Paint;
use crate::digest::Digest;
use crate::pipeline::Pipeline;
use crate::pipeline::publish::PromotionReport;
use crate::pipeline::rebuild::report::RebuildReport;
use crate::pipeline::shadow::report::ShadowReport;
use crate::registry::Promoter;

/// Make a version the active one of its module.
///
/// Runs that begin from now on use it, where the project file does not ask for another. It is
/// loaded first: a module that cannot be loaded never becomes active. With --rebuild the rows that
/// are there become what it would have made of them; should that be interrupted, the next run goes
/// on with it.
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
    /// Make the table of the module anew from everything that is landed, and put it into the place of
    /// what is there.
    #[arg(long)]
    rebuild: bool,
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
    /// Make the table of the module anew from everything that is landed, and put it into the place of
    /// what is there.
    #[arg(long)]
    rebuild: bool,
}

impl Promote {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let mut promoter = promoter(call, self.why, self.rebuild);
        let shadow = match &self.shadow {
            Some(file) => {
                let bytes = read(&call.folder().join(file))?;
                promoter.shadow = Some(Digest::of(&bytes));
                Some(shadow_report(file, &bytes)?)
            }
            None => None,
        };
        let pipeline = pipeline(call, self.rebuild).await?;
        let promoted = pipeline.promote(&self.module, &promoter, shadow.as_ref());
        let report = promoted.await?;
        answer(call, &pipeline, report, self.rebuild).await
    }
}

impl Rollback {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let promoter = promoter(call, self.why, self.rebuild);
        let pipeline = pipeline(call, self.rebuild).await?;
        let report = pipeline.roll_back(&self.name, &promoter).await?;
        answer(call, &pipeline, report, self.rebuild).await
    }
}

/// A promotion, and what was rebuilt for it.
#[derive(Debug, Serialize)]
struct Promoted {
    #[serde(flatten)]
    promotion: PromotionReport,
    rebuild: Option<RebuildReport>,
}

/// The pipeline; what a rebuild needs besides is looked for before anything is promoted.
async fn pipeline(call: &Invocation, rebuild: bool) -> crate::Result<Pipeline> {
    let pipeline = call.pipeline().await?;
    if rebuild {
        pipeline.check_warehouse().await?;
    }
    Ok(pipeline)
}

async fn answer(
    call: &Invocation,
    pipeline: &Pipeline,
    promotion: PromotionReport,
    rebuild: bool,
) -> crate::Result<Answer> {
    if !rebuild {
        let promoted = Promoted {
            promotion,
            rebuild: None,
        };
        return Ok(Answer::new(told(&promoted, call.paint()), &promoted));
    }
    let run = call.run_id(call.clock()())?;
    let rebuilt = pipeline
        .rebuild_promoted(&run, &promotion.promotion)
        .await?;
    let (exit, failures) = (rebuild::exit(&rebuilt), rebuilt.failures.clone());
    let promoted = Promoted {
        promotion,
        rebuild: Some(rebuilt),
    };
    let mut answer = Answer::new(told(&promoted, call.paint()), &promoted).ending(exit);
    answer.failures = failures;
    Ok(answer)
}

fn shadow_report(file: &Path, bytes: &[u8]) -> Result<ShadowReport, AuthoringError> {
    serde_json::from_slice(bytes).map_err(|cause| AuthoringError::NoReport {
        file: file.to_owned(),
        cause,
    })
}

/// Who calls, as the system says.
fn promoter(call: &Invocation, why: String, rebuild: bool) -> Promoter {
    let variable = |name| call.environment().get(name);
    let who = variable("USER").or_else(|| variable("LOGNAME"));
    Promoter {
        who: who.unwrap_or("unknown").to_owned(),
        when: call.clock()(),
        why,
        shadow: None,
        rebuild,
    }
}

fn told(promoted: &Promoted, paint: Paint) -> String {
    let report = &promoted.promotion;
    let module = &report.module;
    let ungranted = report.ungranted.iter();
    let warning: String = ungranted
        .map(|said| format!("{} {said}\n", paint.doubtful("warning:")))
        .collect();
    let said = match (report.changed, &report.previous) {
        (false, _) => format!("{module} is active already\n"),
        (true, previous) => {
            let previous = previous.as_ref().map(ToString::to_string);
            let previous = previous.unwrap_or_else(|| "none".into());
            format!("{module} is active, {previous} was before\n")
        }
    };
    let told = match &promoted.rebuild {
        Some(rebuilt) if rebuilt.tables.is_empty() && rebuilt.failures.is_empty() => {
            let nothing = "no table is to be made anew: none that is there is made by it";
            format!("{said}{nothing}\n")
        }
        Some(rebuilt) => format!("{said}\n{}", rebuild::told(rebuilt, paint)),
        None if report.changed => {
            let stays = "rows that are there stay as they were made";
            format!("{said}it makes what is landed from now on; {stays}\n")
        }
        None => said,
    };
    told + &warning
}
