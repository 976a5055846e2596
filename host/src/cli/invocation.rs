//! One call of the program: its flags, its environment, its clock.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use clap::{ArgAction, Args, ValueEnum};

use super::UsageError;
use super::clock::{self, Clock};
use super::progress::Progress;
use super::project;
use super::text::Paint;
use crate::config::{self, Assignment, Environment, Plan};
use crate::pipeline::Pipeline;
use crate::run::RunId;
use crate::sandbox::Compiler;
use crate::telemetry::{LogFormat, Loudness, Meters, Telemetry};

/// Whom the answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON value with a stable schema.
    Json,
    /// Of `lineage`: events of OpenLineage, one a line.
    #[value(name = "openlineage")]
    OpenLineage,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Project file, folder or s3:// URL [default: tidemill.toml here or in a folder above].
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "TIDEMILL_PROJECT",
        hide_env_values = true
    )]
    project: Option<PathBuf>,
    /// Put a setting over the project file: `--set limits.memory="512 MiB"`.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The form of the answer on stdout: text for people, json (with a stable schema) for programs.
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        default_value = "text",
        hide_possible_values = true,
        env = "TIDEMILL_OUTPUT",
        hide_env_values = true
    )]
    pub(super) output: Output,
    /// The form of log lines on stderr.
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        default_value = "text",
        hide_possible_values = true,
        env = "TIDEMILL_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: LogFormat,
    /// Say more: -v for each step, -vv for details. TIDEMILL_LOG takes a filter instead.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors, and show no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to use colours; auto is on a terminal unless NO_COLOR is set.
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: Colour,
}

/// One call of the program.
#[derive(Debug)]
pub(super) struct Invocation {
    global: Global,
    environment: Environment,
    folder: PathBuf,
    clock: Clock,
    progress: Arc<Progress>,
    telemetry: OnceLock<Telemetry>,
    meters: OnceLock<Arc<Meters>>,
}

impl Invocation {
    /// The call of this process.
    pub(super) fn of_process(global: Global) -> crate::Result<Self> {
        let shown = std::io::stderr().is_terminal()
            && !global.quiet
            && global.log_format == LogFormat::Text;
        Ok(Self {
            environment: Environment::of_process(),
            folder: std::env::current_dir().map_err(UsageError::Folder)?,
            clock: clock::now,
            progress: Arc::new(Progress::new(shown)),
            telemetry: OnceLock::new(),
            meters: OnceLock::new(),
            global,
        })
    }

    /// Keeps the program's memory from the disk, should it crash: there are passwords and rows in it. The limit also holds
    /// for the processes that it starts, and collectors of such images respect it. To mark the process as one that cannot
    /// be looked into was rejected: it would not find its own file under /proc any more.
    pub(super) fn forgo_core_dumps(&self) {
        let is_wanted = self.environment.get("TIDEMILL_CORE_DUMPS") == Some("1");
        #[cfg(unix)]
        if !is_wanted && let Err(error) = rlimit::Resource::CORE.set(0, 0) {
            tracing::warn!(%error, "the limit of core dumps cannot be set");
        }
        #[cfg(not(unix))]
        let _ = is_wanted;
    }

    /// Turns log lines on. `serve` says each step: nobody sits before it.
    pub(super) fn start_telemetry(&self, serving: bool) {
        let loudness = match (self.global.quiet, self.global.verbose) {
            (true, _) => Loudness::Errors,
            (false, 0) => match self.environment.get("TIDEMILL_LOG") {
                Some(filter) => Loudness::Filter(filter.to_owned()),
                None if serving => Loudness::Steps,
                None => Loudness::Warnings,
            },
            (false, 1) => Loudness::Steps,
            (false, _) => Loudness::Details,
        };
        let colour = self.paints(std::io::stderr().is_terminal());
        let format = self.global.log_format;
        self.telemetry
            .get_or_init(|| Telemetry::start(&loudness, format, colour, self.progress.bars()));
    }

    /// Whether log lines are for programs: then everything on stderr is one.
    pub(super) fn logs_json(&self) -> bool {
        self.global.log_format == LogFormat::Json
    }

    /// What the figures of the plan's runs go to, the same for every run of this process.
    ///
    /// # Errors
    /// `Unavailable` when the system has no randomness to give.
    pub(super) fn meters(&self, plan: &Plan) -> crate::Result<Arc<Meters>> {
        let instance = getrandom::u64().map_err(|cause| UsageError::Random(cause.to_string()))?;
        let instance = format!("{instance:016x}");
        let telemetry = self.telemetry.get().cloned().unwrap_or_default();
        let meters = self
            .meters
            .get_or_init(|| telemetry.meters(plan, instance, self.clock));
        Ok(meters.clone())
    }

    /// Sends what was measured and not sent yet, for a bounded time, and nothing after that.
    pub(super) async fn finish_telemetry(&self) {
        if let Some(meters) = self.meters.get() {
            meters.finish().await;
        }
    }

    /// Whom the answer is for.
    pub(super) fn output(&self) -> Output {
        self.global.output
    }

    /// The folder the program was called in.
    pub(super) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Whether nothing but errors is said.
    pub(super) fn is_quiet(&self) -> bool {
        self.global.quiet
    }

    /// Who compiles modules: a process of this program.
    pub(super) fn compiler(&self) -> Compiler {
        let program = self.environment.program();
        program.map_or(Compiler::InProcess, |program| {
            Compiler::Program(program.into())
        })
    }

    /// The private folder of compiled modules where no project names one.
    pub(super) fn cache_folder(&self) -> PathBuf {
        let own = self.environment.cache_folder();
        own.unwrap_or_else(|| self.folder.join(".tidemill").join("cache"))
    }

    /// The environment variables.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The clock.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// The progress on stderr.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The colours of stdout.
    pub(super) fn paint(&self) -> Paint {
        Paint::new(self.paints(std::io::stdout().is_terminal()))
    }

    /// The project file that is meant.
    ///
    /// # Errors
    /// `Config` when there is none.
    pub(super) fn project_file(&self) -> crate::Result<PathBuf> {
        Ok(match &self.global.project {
            Some(path) if self.folder.join(path).is_dir() => {
                self.folder.join(path).join(config::FILE)
            }
            Some(path) => self.folder.join(path),
            None => config::find(&self.folder)?,
        })
    }

    /// The project, checked.
    ///
    /// # Errors
    /// `Config` with file and line; where it is an object, `Data` when that is not there and `Unavailable` when the store does
    /// not answer.
    pub(super) async fn plan(&self) -> crate::Result<Plan> {
        project::plan(self, &self.folder).await
    }

    /// The pipeline of the project.
    ///
    /// # Errors
    /// As [`Invocation::plan`], and what opening the zones and the warehouse says.
    pub(super) async fn pipeline(&self) -> crate::Result<Pipeline> {
        Pipeline::open(&self.plan().await?, self.progress.clone()).await
    }

    /// The id of a run that starts now.
    ///
    /// # Errors
    /// `Unavailable` when the system has no randomness to give.
    pub(super) fn run_id(&self, start: chrono::DateTime<chrono::Utc>) -> crate::Result<RunId> {
        let random = getrandom::u32().map_err(|cause| UsageError::Random(cause.to_string()))?;
        Ok(RunId::new(start, random))
    }

    /// What was said to be the project file, or where it is.
    pub(super) fn project_named(&self) -> Option<&std::path::Path> {
        self.global.project.as_deref()
    }

    /// The settings that flags put over the project file.
    ///
    /// # Errors
    /// `Config` when one is not `KEY=VALUE`.
    pub(super) fn assignments(&self) -> crate::Result<Vec<Assignment>> {
        let flags = self.global.set.iter();
        Ok(flags
            .map(|flag| Assignment::flag(flag))
            .collect::<Result<_, _>>()?)
    }

    fn paints(&self, terminal: bool) -> bool {
        let silenced = |name| self.environment.get(name).is_some_and(|v| !v.is_empty());
        match self.global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !silenced("NO_COLOR"),
        }
    }
}
