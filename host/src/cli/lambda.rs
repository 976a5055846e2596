//! `lambda`: a stage as a function of AWS Lambda, one call after the other.
//!
//! ```text
//! event ──▶ Trigger ──▶ errands ──▶ the stage, once ──▶ outcome ──▶ answer, or what of a batch is to come again
//!                                     │  near the deadline: commits what is complete, and the answer is `continue`
//!                                     └─ another call at it: leaves that alone, and commits beside it
//! ```
//!
//! Each call opens the pipeline anew, so that a promotion is seen and nothing stays of a call that failed; compiled modules
//! are in `/tmp`, where they are checked before they are used, and secrets stay in memory.
//!
//! An outcome that is not whole is an error of the function, so that Lambda calls again and alarms are told. What was
//! committed by then stays: the next call goes on.

mod answer;
mod errand;
mod time;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tracing::Instrument as _;

use super::UsageError;
use super::answer::Answer;
use super::failure;
use super::invocation::Invocation;
use super::project;
use super::run::{self, Aloud};
use crate::config::{self, Plan};
use crate::error::{Classify, Error, ErrorKind};
use crate::lambda::{Asked, Places, Trigger};
use crate::pipeline::report::{RunReport, Scope};
use crate::pipeline::{self, Pipeline, Sharing};
use crate::run::{Halt, RunId, Stage};
use crate::vault::Vault;
use answer::Outcome;
use errand::{Errand, Wish};
use time::Time;

/// The variable by which Lambda says where its runtime interface is.
pub(super) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// The variable by which Lambda says where the bundle is.
const BUNDLE: &str = "LAMBDA_TASK_ROOT";
/// What the runtime wants to know besides.
const NEEDED: [&str; 3] = [
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Serve as a function of AWS Lambda: what the program does there when it is called without a verb.
///
/// It takes events one by one: schedules, and manifests that were created in a zone, told by S3, SNS, SQS or
/// EventBridge. Near its deadline it commits what is complete and answers `{"outcome": "continue", …}`. The project
/// file is the bundle's, or an object: TIDEMILL_PROJECT=s3://bucket/key.
///
/// Example: tidemill lambda --stage transform
#[derive(Debug, Args)]
pub(super) struct Lambda {
    /// What this function does: extract, transform, load, or run for all three.
    #[arg(
        long,
        value_enum,
        value_name = "STAGE",
        default_value = "run",
        hide_possible_values = true,
        env = "TIDEMILL_STAGE",
        hide_env_values = true
    )]
    stage: FunctionStage,
    /// Tables to do, separated by commas, where the event names none: of the source for extract and run, of the
    /// warehouse for transform.
    #[arg(
        long,
        value_name = "TABLE",
        value_delimiter = ',',
        env = "TIDEMILL_TABLES",
        hide_env_values = true
    )]
    table: Vec<String>,
}

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FunctionStage {
    Extract,
    Transform,
    Load,
    Run,
}

impl FunctionStage {
    /// The one stage, where it is one.
    fn only(self) -> Option<Stage> {
        match self {
            Self::Extract => Some(Stage::Extract),
            Self::Transform => Some(Stage::Transform),
            Self::Load => Some(Stage::Load),
            Self::Run => None,
        }
    }

    fn stages(self) -> Vec<Stage> {
        match self.only() {
            Some(stage) => vec![stage],
            None => vec![Stage::Extract, Stage::Transform, Stage::Load],
        }
    }

    fn name(self) -> String {
        self.only()
            .map_or("run".to_owned(), |stage| stage.to_string())
    }
}

impl Lambda {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let Some(api) = call.environment().get(RUNTIME_API) else {
            return Err(UsageError::Choice {
                what: "there is no runtime interface of AWS Lambda here".into(),
                hint: "deploy it as a function; `tidemill run` does the same work here".into(),
            }
            .into());
        };
        let begun = self.begin(call).await;
        let function = match begun {
            Ok(function) => function,
            Err(error) => {
                tell_init(api, &error).await;
                return Err(error);
            }
        };
        let function = &function;
        let handler = service_fn(move |event: LambdaEvent<Value>| function.called(event));
        let served = Runtime::new(handler).run().await;
        served.map_err(|error| RuntimeError(error.to_string()))?;
        Ok(Answer::written())
    }

    async fn begin(self, call: &Invocation) -> crate::Result<Function<'_>> {
        let is_there = |name: &&&str| call.environment().get(name).is_none();
        if let Some(missing) = NEEDED.iter().find(is_there) {
            return Err(UsageError::Choice {
                what: format!("the variable {missing} of AWS Lambda is not set"),
                hint: "Lambda sets it; an emulator has to set it, too".into(),
            }
            .into());
        }
        let plan = plan(call).await?;
        let zones = &plan.zones;
        let sources = plan.sources.keys().cloned();
        let places = Places::new(&zones.ingestion, &zones.processed, &zones.modules, sources);
        tracing::info!(project = %plan.name, stage = %self.stage.name(), "function is ready");
        Ok(Function {
            stage: self.stage,
            tables: self.table,
            places,
            vault: Arc::new(Vault::new(plan.vault.clone())),
            plan,
            call,
        })
    }
}

/// The project of a function: in its bundle, unless another is named.
async fn plan(call: &Invocation) -> crate::Result<Plan> {
    let bundle = call.environment().get(BUNDLE).map(PathBuf::from);
    let bundle = bundle.unwrap_or_else(|| call.folder().to_path_buf());
    let file = bundle.join(config::FILE);
    if call.project_named().is_some() || !file.is_file() {
        return project::plan(call, &bundle).await;
    }
    let plan = config::load(&file, call.environment(), &call.assignments()?)?;
    tracing::info!(file = %file.display(), "project file is the bundle's");
    Ok(plan)
}

/// The runtime interface went away.
#[derive(Debug, thiserror::Error)]
#[error("the runtime interface of AWS Lambda does not answer: {0}")]
struct RuntimeError(String);

impl Classify for RuntimeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Tells Lambda why the function cannot begin. If it does not hear it, the log does.
async fn tell_init(api: &str, error: &Error) {
    let body = serde_json::json!({
        "errorType": error.kind().to_string(),
        "errorMessage": failure::text(error).trim_end(),
    });
    // Lambda names host and port, emulators a whole URL.
    let api = match api.contains("://") {
        true => api.to_owned(),
        false => format!("http://{api}"),
    };
    let url = format!("{api}/2018-06-01/runtime/init/error");
    let sent = reqwest::Client::new()
        .post(url)
        .header(
            "Lambda-Runtime-Function-Error-Type",
            error.kind().to_string(),
        )
        .body(body.to_string())
        .send();
    if let Err(cause) = sent.await {
        tracing::warn!(error = %cause, "the runtime interface was not told");
    }
}

/// A stage of a project, as a function.
struct Function<'c> {
    stage: FunctionStage,
    /// Tables to do where an event names none.
    tables: Vec<String>,
    places: Places,
    /// What was read of secrets, for all calls of this process.
    vault: Arc<Vault>,
    plan: Plan,
    call: &'c Invocation,
}

impl Function<'_> {
    /// One call of the function.
    async fn called(&self, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
        let request = event.context.request_id.clone();
        let span = tracing::info_span!("call", request_id = %request);
        let answered = self.answer(event).instrument(span).await;
        // The process is frozen when it has answered.
        if let Ok(meters) = self.call.meters(&self.plan) {
            meters.flush().await;
        }
        answered.map_err(|error| {
            let text = failure::text(&error);
            let error_message = text.trim_end().to_owned();
            tracing::error!(request_id = %request, kind = %error.kind(), error = %error_message, "call failed");
            Diagnostic {
                error_type: error.kind().to_string(),
                error_message,
            }
        })
    }

    async fn answer(&self, event: LambdaEvent<Value>) -> crate::Result<Value> {
        let trigger = Trigger::of(&event.payload)?;
        let is_batch = trigger.is_batch();
        let errands = errand::errands(trigger, &self.places, self.stage.only());
        let asked = errand::together(&errands);
        let outcome = match asked {
            Some(asked) => {
                self.work(&event, &self.ask(asked)?, errand::names(&errands))
                    .await
            }
            None => Ok(Outcome::ignored(&self.stage.name())),
        };
        if let Ok(outcome) = &outcome {
            let told = serde_json::to_string(outcome).unwrap_or_default();
            tracing::info!(outcome = %outcome.outcome, answer = %told, "call ended");
        }
        if is_batch {
            return Ok(answer::of_batch(&errands, &outcome));
        }
        let mut words = Vec::new();
        for Errand { wish, .. } in errands {
            match wish? {
                Wish::Skip(skipped) => words.extend(skipped),
                Wish::Do(_, skipped) => words.extend(skipped),
            }
        }
        let outcome = outcome?.saying(words);
        Ok(serde_json::to_value(outcome).unwrap_or_default())
    }

    /// What is asked for, with the function's own tables where no others are named.
    fn ask(&self, mut asked: Asked) -> crate::Result<Asked> {
        if asked.tables.is_empty() {
            asked.tables.clone_from(&self.tables);
        }
        if self.stage == FunctionStage::Load && !asked.tables.is_empty() {
            return Err(UsageError::Choice {
                what: "load takes no tables: it loads a landing whole, in one transaction".into(),
                hint: "leave out `tables` of the event, and TIDEMILL_TABLES".into(),
            }
            .into());
        }
        Ok(asked)
    }

    /// Does what is asked for, within the time of the call.
    async fn work(
        &self,
        event: &LambdaEvent<Value>,
        asked: &Asked,
        manifests: Vec<String>,
    ) -> crate::Result<Outcome> {
        let time = Time::of(&event.context, self.call.clock()(), self.plan.lambda.margin);
        let halt = Halt::default();
        let sharing = Sharing {
            holder: event.context.request_id.clone(),
            lasts: time.whole,
            landing_rows: self.plan.lambda.landing_rows,
        };
        let work = self.stages(asked, &time, &halt, &sharing);
        let deadline = async {
            tokio::time::sleep_until(time.halt).await;
            tracing::info!("the deadline is near: what is complete is committed");
            halt.call();
            tokio::time::sleep_until(time.end).await;
        };
        let report = tokio::select! {
            biased;
            report = work => report,
            () = deadline => Err(time::TooLate.into()),
        };
        let stage = self.stage.name();
        match report {
            Err(error) if self.is_elsewhere(&error, asked) => {
                Ok(Outcome::shared(&stage, error.to_string()))
            }
            report => Outcome::of(&stage, &report?, halt.is_called(), manifests),
        }
    }

    /// Whether another call does what this one was asked for.
    fn is_elsewhere(&self, error: &Error, asked: &Asked) -> bool {
        pipeline::is_elsewhere(error) && *asked == Asked::default()
    }

    async fn stages(
        &self,
        asked: &Asked,
        time: &Time,
        halt: &Halt,
        sharing: &Sharing,
    ) -> crate::Result<RunReport> {
        let started = self.call.clock()();
        let mut whole: Option<RunReport> = None;
        for stage in self.stage.stages() {
            if whole.is_some() && halt.is_called() {
                break;
            }
            let report = self.stage(stage, asked, time, halt, sharing).await?;
            whole = Some(match whole {
                None => report,
                Some(mut whole) => {
                    whole.extract.extend(report.extract);
                    whole.transform = whole.transform.or(report.transform);
                    whole.load = whole.load.or(report.load);
                    whole.store = match (whole.store, report.store) {
                        (Some(moved), Some(more)) => Some(moved.and(more)),
                        (moved, more) => moved.or(more),
                    };
                    whole
                }
            });
        }
        match whole {
            Some(mut whole) => {
                whole.elapsed = (self.call.clock()() - started).to_std().unwrap_or_default();
                Ok(whole)
            }
            None => Err(time::TooLate.into()),
        }
    }

    /// One stage. Where another run commits at the same time it is begun again, as long as there is time: what is then
    /// left to do may be nothing.
    async fn stage(
        &self,
        stage: Stage,
        asked: &Asked,
        time: &Time,
        halt: &Halt,
        sharing: &Sharing,
    ) -> crate::Result<RunReport> {
        let started = self.call.clock()();
        let first = self.call.run_id(started)?;
        let mut elsewhere = None;
        let work = async {
            let mut pauses = time.pauses();
            let mut run = first.clone();
            loop {
                let made = self.stage_once(stage, asked, halt, sharing, &run).await;
                let error = match made {
                    Err(error) if error.kind() == ErrorKind::Conflict => error,
                    made => return made,
                };
                if pipeline::is_elsewhere(&error) {
                    // Nothing failed, and nothing was done.
                    elsewhere = Some(error);
                    return Ok(RunReport::empty(run, started));
                }
                let Some(pause) = pauses.next().filter(|_| !halt.is_called()) else {
                    return Err(error);
                };
                tracing::info!(error = %error, "another run was faster: again in a moment");
                tokio::time::sleep(pause).await;
                run = self.call.run_id(self.call.clock()())?;
            }
        };
        let watched = (&first, run::span(&first, None));
        let made = run::watched(self.call, &self.plan, watched, Aloud::Yes, work).await;
        elsewhere.map_or(made, Err)
    }

    async fn stage_once(
        &self,
        stage: Stage,
        asked: &Asked,
        halt: &Halt,
        sharing: &Sharing,
        run: &RunId,
    ) -> crate::Result<RunReport> {
        let pipeline = Pipeline::open(&self.plan, self.call.progress().clone()).await?;
        let pipeline = pipeline.asking(self.vault.clone());
        let mut pipeline = pipeline.halted_by(halt.clone()).sharing(sharing.clone());
        if self.stage == FunctionStage::Transform {
            pipeline = pipeline.making(asked.tables.clone());
        }
        let scope = Scope {
            tables: asked.tables.clone(),
            reconcile: asked.reconcile,
            ..Scope::default()
        };
        let started = self.call.clock()();
        pipeline.run(run, started, &[stage], &scope).await
    }
}
