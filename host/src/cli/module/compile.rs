//! `module compile`: the modules of the project, compiled ahead for a bundle.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::Paint;
use crate::cli::{UsageError, text};
use crate::contract::ModuleRef;
use crate::pipeline::Pipeline;
use crate::sandbox::Processor;

/// Compile the modules of the project ahead, for the machines on which it is to run.
///
/// A function or a container that finds them in its folder `compiled` starts in milliseconds. Machines of one arch share what
/// is compiled, however new they are; one that is older than that compiles for itself. Nothing of a module runs here.
///
/// Example: tidemill module compile --into bundle/compiled
#[derive(Debug, Args)]
pub(in crate::cli) struct Compile {
    /// The folder that is filled; `bundled_code` of the project file, or `compiled` beside it, where none is named.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// For which machines, where it is not machines like this one.
    #[arg(long, value_parser = PossibleValuesParser::new(Processor::ALL.map(Processor::name)))]
    arch: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    arch: &'static str,
    folder: PathBuf,
    modules: Vec<Compiled>,
}

#[derive(Debug, Serialize)]
struct Compiled {
    table: String,
    module: ModuleRef,
}

impl Compile {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let named = self.arch.as_deref().and_then(Processor::parse);
        let processor = named.or_else(Processor::here);
        let processor = processor.ok_or_else(|| UsageError::Choice {
            what: "nothing is compiled ahead for machines like this one".into(),
            hint: "name others with --arch x86_64 or --arch arm64".into(),
        })?;
        let plan = call.plan().await?;
        let named = self.into.map(|folder| call.folder().join(folder));
        let folder = named.unwrap_or_else(|| plan.bundled_code.clone());
        let pipeline = Pipeline::open(&plan, call.progress().clone()).await?;
        let compiled = pipeline.precompile(processor, &folder).await?;
        let compiled = compiled.into_iter();
        let report = Report {
            arch: processor.name(),
            modules: compiled
                .map(|(table, module)| Compiled { table, module })
                .collect(),
            folder,
        };
        Ok(Answer::new(told(&report, call.paint()), &report))
    }
}

fn told(report: &Report, paint: Paint) -> String {
    let modules = report.modules.len() as u64;
    let mut told = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        told,
        "{} for {} in {}",
        paint.strong(text::counted(modules, "module", "modules")),
        report.arch,
        report.folder.display()
    );
    for compiled in &report.modules {
        let _ = writeln!(told, "  {} by {}", compiled.table, compiled.module);
    }
    told
}
