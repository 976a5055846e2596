//! `module test`: a module's cases natively and in the sandbox, what every module must hold to, and its cost.

mod told;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::read;
use crate::authoring::{
    AuthoringError, Examination, Examined, FUEL_TOLERANCE_PERCENT, Manner, Native, Properties,
    Toolchain, add_case, build, cases_in,
};
use crate::cases::{self, Case, Outcome};
use crate::cli::UsageError;
use crate::cli::answer::{Answer, Exit};
use crate::cli::invocation::Invocation;
use crate::cli::runs;
use crate::contract::ModuleRef;
use crate::sandbox::Compiler;

/// Run a module's cases natively and in the sandbox, and try what every module must hold to.
///
/// A case is a JSON file in the folder `cases` of the crate. It holds when the sandbox gives exactly what it expects,
/// `cargo test` of the crate gives the same, and the fuel that it took has not grown. Every module must also hold to
/// this, on its cases and on generated extremes: it goes to its end or says why not; the same input gives the same
/// output, twice and in chunks of every size; the order of rows makes no difference; a lookup may be empty.
///
/// Exits with 3 where something does not hold.
///
/// Example: tidemill module test guest-transforms/totesys/dim-staff
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Test {
    /// The folder of the module's crate, or the file of a component, which has no cases of its own.
    #[arg(default_value = ".", value_name = "PATH|FILE.wasm")]
    path: PathBuf,
    /// Run this case alone, wherever it lies: one that a failed run has kept gives the same failure.
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// Write what the cases expect anew, and their fuel. Read what changed before you commit it.
    #[arg(long)]
    update: bool,
    /// Add the case that --case names to the crate.
    #[arg(long, requires = "case")]
    add: bool,
    /// Cut a new case out of what a run landed: its id, the beginning of one, or `last`.
    #[arg(long, value_name = "RUN", conflicts_with = "case")]
    from_run: Option<String>,
    /// How many rows of each streamed input the new case has.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "from_run")]
    rows: usize,
    /// By how many percent the fuel of a case may grow, where the case does not say it itself.
    #[arg(long, value_name = "PERCENT", default_value_t = FUEL_TOLERANCE_PERCENT)]
    fuel_tolerance: u32,
    /// The seed of the generated rows.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Leave `cargo test` out.
    #[arg(long)]
    no_native: bool,
    /// Test again whenever a file of the crate changes, until it is interrupted.
    #[arg(long, conflicts_with_all = ["add", "from_run", "update"])]
    watch: bool,
    /// Have rustup add the target wasm32-unknown-unknown where it is missing.
    #[arg(long)]
    add_target: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Tested {
    module: ModuleRef,
    cases: Vec<Examined>,
    /// What the crate's own tests said; `None` when they were not run.
    native: Option<Native>,
    /// `None` when one case alone was run.
    properties: Option<Properties>,
    /// The case that was added.
    added: Option<PathBuf>,
    holds: bool,
}

/// What is tested: a component, and the crate that it was built of.
struct Subject {
    component: Vec<u8>,
    folder: Option<PathBuf>,
}

/// Everything of a call that the blocking part needs.
#[derive(Clone)]
struct Setting {
    test: Test,
    folder: PathBuf,
    toolchain: Toolchain,
    cache: PathBuf,
    compiler: Compiler,
}

impl Test {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let environment = call.environment();
        let setting = Setting {
            folder: call.folder().to_owned(),
            toolchain: Toolchain::new(|name| environment.get(name).map(OsString::from))
                .adding_target(self.add_target)
                .quiet(call.is_quiet()),
            cache: call.cache_folder(),
            compiler: call.compiler(),
            test: self,
        };
        match setting.test.watch {
            true => watch::watch(&setting, call).await,
            false => setting.once(call).await,
        }
    }
}

impl Setting {
    /// Tests once.
    async fn once(&self, call: &Invocation) -> crate::Result<Answer> {
        let added = match &self.test.from_run {
            Some(run) => Some(self.cut(run, call).await?),
            None => None,
        };
        let setting = self.clone();
        let tested = tokio::task::spawn_blocking(move || setting.tested(added))
            .await
            .map_err(AuthoringError::Lost)??;
        let exit = if tested.holds {
            Exit::Done
        } else {
            Exit::Flawed
        };
        let text = told::told(&tested, call.folder(), call.paint());
        Ok(Answer::new(text, &tested).ending(exit))
    }

    /// The path that was named, without the `.` that stands for this folder.
    fn path(&self) -> PathBuf {
        self.folder.join(&self.test.path).components().collect()
    }

    fn subject(&self) -> crate::Result<Subject> {
        let path = self.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let (component, folder) = (read(&path)?, None);
            return Ok(Subject { component, folder });
        }
        let built = build(&self.toolchain, &path, None)?;
        let (component, folder) = (read(&built.file)?, Some(path));
        Ok(Subject { component, folder })
    }

    fn examination(&self, component: Vec<u8>) -> Examination {
        Examination::new(component, self.cache.clone(), self.compiler.clone())
    }

    /// Cuts a case out of landed data and adds it to the crate, with what the module makes of it now.
    async fn cut(&self, run: &str, call: &Invocation) -> crate::Result<PathBuf> {
        let pipeline = call.pipeline().await?;
        let all = pipeline.runs().await?;
        let run = runs::find(&all, run)?.run.clone();
        let setting = self.clone();
        let described = move || -> crate::Result<_> {
            let subject = setting.subject()?;
            let folder = subject.folder.ok_or_else(no_crate)?;
            let mut examination = setting.examination(subject.component);
            // The parameters of the first case, for a module that needs some.
            let first = cases_in(&folder)
                .ok()
                .and_then(|files| files.into_iter().next());
            let (parameters, module) = match first {
                Some(file) => {
                    let (case, module) = examination.read(&file)?;
                    (case.context.parameters, module)
                }
                None => (Vec::new(), examination.module(&[])?),
            };
            Ok((folder, parameters, module))
        };
        let (folder, parameters, module) = tokio::task::spawn_blocking(described)
            .await
            .map_err(AuthoringError::Lost)??;
        let mut case = pipeline.cut(&module, &run, self.test.rows).await?;
        case.context.parameters = parameters;
        let ran = move || -> crate::Result<Case> {
            let ran = cases::run_as_usual(&module, &case)?;
            (case.expected, case.fuel) = (ran.outcome, ran.fuel);
            Ok(case)
        };
        let case = tokio::task::spawn_blocking(ran)
            .await
            .map_err(AuthoringError::Lost)??;
        let landing = case
            .origin
            .as_ref()
            .and_then(|origin| origin.landing)
            .unwrap_or_default();
        let name = format!("landing-{landing:010}-{}-rows.json", self.test.rows);
        add_case(&folder, &name, &case)
    }

    fn tested(&self, added: Option<PathBuf>) -> crate::Result<Tested> {
        let subject = self.subject()?;
        let mut examination = self.examination(subject.component);
        let alone = self.test.case.as_ref().map(|case| self.folder.join(case));
        let alone: Option<PathBuf> = alone.map(|file| file.components().collect());
        let files = match (&alone, &subject.folder) {
            (Some(file), _) => vec![file.clone()],
            (None, Some(folder)) => cases_in(folder)?,
            (None, None) => Vec::new(),
        };
        let native = match &subject.folder {
            Some(folder) if !self.test.no_native => {
                Some(Native::run(&self.toolchain, folder, alone.as_deref())?)
            }
            _ => None,
        };
        let manner = Manner {
            native: native.as_ref(),
            update: self.test.update,
            fuel_tolerance_percent: self.test.fuel_tolerance,
        };
        let examined = files.iter().map(|file| examination.examine(file, &manner));
        let examined = examined.collect::<crate::Result<Vec<_>>>()?;
        let properties = match &alone {
            Some(_) => None,
            None => Some(examination.properties(&files, self.test.seed)?),
        };
        let added = match (&alone, self.test.add) {
            (Some(file), true) => {
                let folder = subject.folder.as_deref().ok_or_else(no_crate)?;
                Some(add(&mut examination, file, folder)?)
            }
            _ => added,
        };
        let holds = examined.iter().all(|examined| examined.holds)
            && native.as_ref().is_none_or(|native| native.passed)
            && properties.as_ref().is_none_or(|p| p.broken.is_empty());
        Ok(Tested {
            module: examination.reference()?,
            cases: examined,
            native,
            properties,
            added,
            holds,
        })
    }
}

fn no_crate() -> UsageError {
    UsageError::Choice {
        what: "a component alone has no cases to add to".into(),
        hint: "name the folder of the module's crate".into(),
    }
}

/// Adds a case to the crate under its own name.
fn add(examination: &mut Examination, file: &Path, folder: &Path) -> crate::Result<PathBuf> {
    let (mut case, _) = examination.read(file)?;
    if let (true, Outcome::Failed(failed)) = (case.about.is_empty(), &case.expected) {
        case.about = format!(
            "Once, {failed}. Expect what should come of it with `tidemill module test --update`."
        );
    }
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    add_case(folder, &name, &case)
}
