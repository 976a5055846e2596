//! The command line: parse, run one verb, say what came of it. Touches no Arrow, SQL or Wasm.
//!
//! stdout is data and stderr is talk. A verb gives an `Answer`; only this file writes it, maps errors
//! to exit codes and listens for signals. Dropping the future of a verb is how it is interrupted: what is
//! not committed by then was never there.

mod answer;
mod clock;
mod completions;
mod demo;
mod discover;
mod doctor;
mod failure;
mod health;
mod init;
mod invocation;
mod lambda;
mod lineage;
mod module;
mod plan;
mod policy;
mod preview;
mod progress;
mod project;
mod query;
mod rebuild;
mod replay;
mod run;
mod runs;
mod schema;
mod serve;
mod signals;
mod sweep;
mod text;
mod trace;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::Environment;
use crate::error::{Classify, ErrorKind};
use crate::sandbox;
use answer::{Answer, Exit};
use invocation::{Global, Invocation, Output};

/// How long the threads of modules and drivers may take to notice that the program ends.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Moves a company's data into a warehouse through sandboxed WebAssembly transforms.
///
/// A project is a folder with a tidemill.toml. Begin with `tidemill init --example totesys`,
/// then `tidemill run` and `tidemill query "SELECT …"`.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
struct Tidemill {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, \
3 done with rejects or failed checks, 4 plan or module shadow found differences, 130 interrupted";

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Init),
    Discover(discover::Discover),
    Doctor(doctor::Doctor),
    Plan(plan::Plan),
    Run(run::Run),
    Extract(run::Extract),
    Transform(run::Transform),
    Load(run::Load),
    Preview(preview::Preview),
    Query(query::Query),
    Runs(runs::Runs),
    Rebuild(rebuild::Rebuild),
    Replay(replay::Replay),
    Verify(verify::Verify),
    Lineage(lineage::Lineage),
    Trace(trace::Trace),
    Sweep(sweep::Sweep),
    Serve(serve::Serve),
    Health(health::Health),
    Lambda(lambda::Lambda),
    Demo(demo::Demo),
    #[command(subcommand)]
    Module(module::Module),
    Policy(policy::Policy),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

impl Verb {
    async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        if call.output() == Output::OpenLineage && !matches!(self, Self::Lineage(_)) {
            return Err(UsageError::Choice {
                what: "only lineage can be told as events of OpenLineage".into(),
                hint: "write --output json, or `tidemill lineage --output openlineage`".into(),
            }
            .into());
        }
        match self {
            Self::Init(verb) => verb.answer(call).await,
            Self::Discover(verb) => verb.answer(call).await,
            Self::Doctor(verb) => verb.answer(call).await,
            Self::Plan(verb) => verb.answer(call).await,
            Self::Run(verb) => verb.answer(call).await,
            Self::Extract(verb) => verb.answer(call).await,
            Self::Transform(verb) => verb.answer(call).await,
            Self::Load(verb) => verb.answer(call).await,
            Self::Preview(verb) => verb.answer(call).await,
            Self::Query(verb) => verb.answer(call).await,
            Self::Runs(verb) => verb.answer(call).await,
            Self::Rebuild(verb) => verb.answer(call).await,
            Self::Replay(verb) => verb.answer(call).await,
            Self::Verify(verb) => verb.answer(call).await,
            Self::Lineage(verb) => verb.answer(call).await,
            Self::Trace(verb) => verb.answer(call).await,
            Self::Sweep(verb) => verb.answer(call).await,
            Self::Serve(verb) => verb.answer(call).await,
            Self::Health(verb) => verb.answer(call).await,
            Self::Lambda(verb) => verb.answer(call).await,
            Self::Demo(verb) => verb.answer(call).await,
            Self::Module(verb) => verb.answer(call).await,
            Self::Policy(verb) => verb.answer(call).await,
            Self::Schema(verb) => Ok(verb.answer()),
            Self::Completions(verb) => Ok(verb.answer()),
        }
    }

    /// Whether the verb listens for signals itself.
    fn minds_signals(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// Whether what goes wrong is said in a log line for programs, and needs no words for people.
    fn logs_failures(&self, call: &Invocation) -> bool {
        let is_run = matches!(
            self,
            Self::Run(_) | Self::Extract(_) | Self::Transform(_) | Self::Load(_)
        );
        is_run && call.logs_json() && call.output() == Output::Text
    }
}

/// What is wrong with the way a verb was called.
#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("cannot start the program's threads")]
    Runtime(#[source] std::io::Error),
    #[error("cannot find out which folder this is")]
    Folder(#[source] std::io::Error),
    #[error("cannot get random digits for the run's id: {0}")]
    Random(String),
    #[error("cannot write the answer")]
    Write(#[source] std::io::Error),
    #[error("cannot write {file}")]
    File {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("{what}")]
    Choice { what: String, hint: String },
}

impl Classify for UsageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Choice { .. } => ErrorKind::Config,
            _ => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Choice { hint, .. } => Some(hint.clone()),
            Self::File { .. } => {
                Some("check that the folder exists and that you may write there".into())
            }
            _ => None,
        }
    }
}

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if let Some(compiled) = sandbox::serve(&arguments) {
        return compiled;
    }
    sandbox::hush_decoders();
    // A function of AWS Lambda is started without arguments.
    if arguments.len() == 1 && Environment::of_process().get(lambda::RUNTIME_API).is_some() {
        arguments.push("lambda".into());
    }
    match Tidemill::try_parse_from(&arguments) {
        Ok(program) => program.run().into(),
        Err(error) => failure::usage(&error, &arguments).into(),
    }
}

impl Tidemill {
    fn run(self) -> Exit {
        let output = self.global.output;
        let call = match Invocation::of_process(self.global) {
            Ok(call) => call,
            Err(error) => return failure::tell(&error, output),
        };
        call.start_telemetry(matches!(self.verb, Verb::Serve(_) | Verb::Lambda(_)));
        call.forgo_core_dumps();
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(cause) => return failure::tell(&UsageError::Runtime(cause).into(), output),
        };
        let exit = runtime.block_on(async {
            let exit = self.verb.execute(&call).await;
            call.finish_telemetry().await;
            exit
        });
        call.progress().clear();
        runtime.shutdown_timeout(SHUTDOWN);
        exit
    }
}

impl Verb {
    async fn execute(self, call: &Invocation) -> Exit {
        let minds_signals = self.minds_signals();
        let interrupted = async {
            match minds_signals {
                true => std::future::pending().await,
                false => signals::stop().await,
            }
        };
        tokio::pin!(interrupted);
        let output = call.output();
        let logs_failures = self.logs_failures(call);
        tokio::select! {
            // The signals first, so that their handlers are there before the verb begins.
            biased;
            () = &mut interrupted => {
                call.progress().clear();
                failure::interrupted(output)
            }
            answer = self.answer(call) => {
                call.progress().clear();
                match answer.and_then(|answer| say(answer, call)) {
                    Ok(exit) => exit,
                    Err(error) if logs_failures => failure::exit(&error),
                    Err(error) => failure::tell(&error, output),
                }
            }
        }
    }
}

/// Writes the answer. A reader that has gone (`tidemill runs | head -1`) is no error.
fn say(answer: Answer, call: &Invocation) -> crate::Result<Exit> {
    let output = call.output();
    let mut out = std::io::stdout().lock();
    let text = match output {
        Output::Text => answer.text,
        Output::Json => answer.json.map(|json| json + "\n").unwrap_or_default(),
        Output::OpenLineage => answer.events.unwrap_or_default(),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(UsageError::Write(cause).into());
        }
        _ => {}
    }
    if !call.logs_json() {
        failure::tell_tables(&answer.failures, output);
    }
    Ok(answer.exit)
}

#[cfg(test)]
mod tests;
