//! Functions of AWS Lambda: what `cargo x bundle` made as a function's process, and the runtime interfaces that it talks to.
//!
//! ```text
//! Task        a bundle that is unpacked, the variables and the disk of a function
//! Function    its process under an interface of the tests' own, which enforces what an emulator does not: the deadline
//!             that it names is the deadline, and who is not done by then is killed
//! Emulator    functions under the interface that others wrote, called over HTTP
//! ```
//!
//! As in Lambda a process serves one call after the other, and `/tmp` outlives a process that was killed.

mod emulator;
mod interface;
mod task;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::project::Project;
pub use emulator::Emulator;
use interface::{Call, Interface};
pub use task::Task;

/// How long a process may take to begin on a busy machine.
const INIT: Duration = Duration::from_secs(120);

/// What a function said to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Its answer.
    Done(Value),
    /// Its error.
    Failed {
        /// The type, by which alarms and callers tell errors apart.
        kind: String,
        /// What it said.
        message: String,
    },
    /// Nothing by its deadline: it was killed.
    Killed,
}

impl Answer {
    /// The answer of a call that went well.
    ///
    /// # Errors
    /// When it did not.
    pub fn done(self) -> Result<Value> {
        match self {
            Self::Done(value) => Ok(value),
            other => bail!("the function did not answer: {other:?}"),
        }
    }

    /// The answer, whose outcome has to be this.
    ///
    /// # Errors
    /// When it is another.
    pub fn being(self, outcome: &str) -> Result<Value> {
        let value = self.done()?;
        match value.get("outcome").and_then(Value::as_str) == Some(outcome) {
            true => Ok(value),
            false => bail!("not {outcome}: {value:#}"),
        }
    }

    /// Kind and message of a call that failed.
    ///
    /// # Errors
    /// When it did not.
    pub fn failed(self) -> Result<(String, String)> {
        match self {
            Self::Failed { kind, message } => Ok((kind, message)),
            other => bail!("the function did not fail: {other:?}"),
        }
    }
}

/// A process, with an interface of its own: what a killed one still asks for reaches nobody.
struct Process {
    child: Child,
    interface: Arc<Interface>,
    calls: mpsc::Sender<Call>,
}

/// A function: at most one process at a time.
pub struct Function {
    process: Option<Process>,
    task: Task,
    log: PathBuf,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Function {
    /// A function that knows the variables of `project` and these. Its process begins with its first call.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(project: &Project, name: &str, variables: &[(&str, &str)]) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            process: None,
            task: Task::new(project, variables)?,
            log: project.path().join(format!("function-{name}-{number}.log")),
        })
    }

    /// Its code and its disk.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Calls the function, which has `time` for it. As in Lambda, to begin takes none of that.
    ///
    /// # Errors
    /// When its process cannot be started, or ends by itself.
    pub async fn call(
        &mut self,
        project: &Project,
        event: &Value,
        time: Duration,
    ) -> Result<Answer> {
        static REQUEST: AtomicU32 = AtomicU32::new(1);
        let number = REQUEST.fetch_add(1, Ordering::Relaxed);
        let request = format!("8476a536-e9f4-11e8-9739-{number:012}");
        self.call_as(project, &request, event, time).await
    }

    /// As [`call`](Self::call), under the request's id that Lambda gives a call again that it repeats.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_as(
        &mut self,
        project: &Project,
        request: &str,
        event: &Value,
        time: Duration,
    ) -> Result<Answer> {
        let called = self.called(project, request, event, (time, time)).await;
        match called {
            Ok(Some(answer)) => {
                if answer == Answer::Killed {
                    self.kill();
                }
                Ok(answer)
            }
            Ok(None) => {
                let said = self
                    .process
                    .as_ref()
                    .and_then(|process| process.interface.init.lock().ok()?.take());
                self.kill();
                said.with_context(|| format!("the function ended: {}", self.log()))
            }
            Err(error) => Err(error),
        }
    }

    /// Calls the function with a deadline after `told`, which is not kept: what it answers is looked at, and not how soon.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_late(
        &mut self,
        project: &Project,
        event: &Value,
        told: Duration,
    ) -> Result<Answer> {
        let times = (told, INIT);
        let called = self.called(project, "late", event, times).await?;
        called.with_context(|| format!("the function ended: {}", self.log()))
    }

    /// The answer; `None` when the process ended without one. `told` is its deadline, after `time` it is killed.
    async fn called(
        &mut self,
        project: &Project,
        request: &str,
        event: &Value,
        (told, time): (Duration, Duration),
    ) -> Result<Option<Answer>> {
        self.begin(project).await?;
        let process = self.process.as_ref().context("it was begun")?;
        let mut is_ready = process.interface.is_ready.subscribe();
        let ready = tokio::time::timeout(INIT, is_ready.wait_for(|ready| *ready));
        tokio::select! {
            biased;
            ready = ready => { ready.context("it does not begin")??; }
            () = ended(process.child.id()) => return Ok(None),
        }
        let (answer, answered) = oneshot::channel();
        let answers = &process.interface.answers;
        answers
            .lock()
            .expect("no test holds it")
            .insert(request.to_owned(), answer);
        #[expect(
            clippy::disallowed_methods,
            reason = "the interface's deadlines are times of the machine's clock"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let call = Call {
            request: request.to_owned(),
            deadline_ms: (now + told).as_millis(),
            event: event.to_string(),
        };
        process.calls.send(call).await?;
        tokio::select! {
            biased;
            answer = answered => Ok(Some(answer?)),
            () = tokio::time::sleep(time) => Ok(Some(Answer::Killed)),
            () = ended(process.child.id()) => Ok(None),
        }
    }

    /// Starts its process; gives how long it took to ask for its first call, which is its first word to the network.
    ///
    /// # Errors
    /// When it cannot be started, or does not come to that.
    pub async fn start_cold(&mut self, project: &Project) -> Result<Duration> {
        self.kill();
        // A function is not unpacked when it begins.
        Task::root(project)?;
        let begun = Instant::now();
        self.begin(project).await?;
        let process = self.process.as_ref().context("it was begun")?;
        let mut is_ready = process.interface.is_ready.subscribe();
        let ready = tokio::time::timeout(INIT, is_ready.wait_for(|ready| *ready));
        drop(ready.await.context("it does not begin")??);
        Ok(begun.elapsed())
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends its process without a word, as Lambda does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().ok();
            process.child.wait().ok();
        }
    }

    /// Starts its process, unless it runs.
    async fn begin(&mut self, project: &Project) -> Result<()> {
        if let Some(process) = &mut self.process {
            if process.child.try_wait()?.is_none() {
                return Ok(());
            }
            self.process = None;
        }
        let (interface, address, calls) = Interface::serve().await?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = self
            .task
            .command(project, "tidemill", &address.to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        self.process = Some(Process {
            child,
            interface,
            calls,
        });
        Ok(())
    }
}

/// Returns when a process of ours has ended by itself: whoever owns it waits for it, and it is known until then.
async fn ended(process: u32) {
    let stat = PathBuf::from(format!("/proc/{process}/stat"));
    loop {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        let rest = text.rsplit(')').next().unwrap_or_default();
        if matches!(rest.trim().chars().next(), None | Some('Z' | 'X')) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The notification of S3 of an object that was created.
pub fn created(bucket: &str, key: &str) -> Value {
    serde_json::json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key.replace(':', "%3A")}},
    }]})
}

/// A batch of SQS with these bodies, whose messages are numbered.
pub fn batch(bodies: &[Value]) -> Value {
    let records = bodies.iter().enumerate().map(|(number, body)| {
        serde_json::json!({
            "messageId": format!("message-{number}"),
            "eventSource": "aws:sqs",
            "body": body.to_string(),
        })
    });
    serde_json::json!({ "Records": records.collect::<Vec<_>>() })
}
