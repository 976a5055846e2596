//! Functions of AWS Lambda: the program as a function's process, and the runtime interface that it talks to.
//!
//! The interface is four HTTP calls. This one enforces what an emulator does not: the deadline that it names is the
//! deadline, and who is not done by then is killed. As in Lambda a process serves one call after the other, and `/tmp`
//! outlives a process that was killed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};

use super::project::Project;

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

/// A call that waits for a process.
struct Call {
    request: String,
    deadline_ms: u128,
    event: String,
}

type Answers = Mutex<HashMap<String, oneshot::Sender<Answer>>>;

/// What both sides of the interface share.
struct Interface {
    calls: AsyncMutex<mpsc::Receiver<Call>>,
    answers: Answers,
    /// Whether the process has asked for its first call.
    is_ready: watch::Sender<bool>,
    /// What it said if it could not begin.
    init: Mutex<Option<Answer>>,
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
    bundle: PathBuf,
    variables: Vec<(String, String)>,
    log: PathBuf,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Function {
    /// A function whose bundle is the folder of `project`, and which knows its variables and these. Its process begins with
    /// its first call.
    pub fn new(project: &Project, name: &str, variables: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            process: None,
            bundle: project.path().to_path_buf(),
            variables: variables.iter().map(owned).collect(),
            log: project.path().join(format!("function-{name}-{number}.log")),
        }
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
        let called = self.called(project, request, event, time).await;
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

    /// The answer; `None` when the process ended without one.
    async fn called(
        &mut self,
        project: &Project,
        request: &str,
        event: &Value,
        time: Duration,
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
            deadline_ms: (now + time).as_millis(),
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
        let (calls, waiting) = mpsc::channel(1);
        let interface = Arc::new(Interface {
            calls: AsyncMutex::new(waiting),
            answers: Mutex::default(),
            is_ready: watch::Sender::new(false),
            init: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = routes(interface.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        // Lambda starts a function without an argument.
        let mut command = project.command(Vec::<String>::new())?;
        command
            .current_dir("/")
            .env_remove("HOME")
            .env("LAMBDA_TASK_ROOT", &self.bundle)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "tidemill")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
            .env("TIDEMILL_LOG_FORMAT", "json")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
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

fn routes(interface: Arc<Interface>) -> Router {
    const BASE: &str = "/2018-06-01/runtime";
    Router::new()
        .route(&format!("{BASE}/invocation/next"), get(next))
        .route(
            &format!("{BASE}/invocation/{{request}}/response"),
            post(response),
        )
        .route(&format!("{BASE}/invocation/{{request}}/error"), post(error))
        .route(&format!("{BASE}/init/error"), post(init_error))
        .with_state(interface)
}

async fn next(State(interface): State<Arc<Interface>>) -> (HeaderMap, String) {
    interface.is_ready.send_replace(true);
    let call = interface.calls.lock().await.recv().await;
    let Some(call) = call else {
        // The function is gone, and its process is killed.
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", call.request),
        ("lambda-runtime-deadline-ms", call.deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-2:123456789012:function:tidemill".into(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".into(),
        ),
        ("content-type", "application/json".into()),
    ];
    let headers = headers.into_iter().map(|(name, value)| {
        let value = HeaderValue::from_str(&value).expect("it is plain text");
        (HeaderName::from_static(name), value)
    });
    (headers.collect(), call.event)
}

fn tell(interface: &Interface, request: &str, answer: Answer) -> StatusCode {
    let waiting = interface
        .answers
        .lock()
        .expect("no test holds it")
        .remove(request);
    match waiting.map(|waiting| waiting.send(answer)) {
        Some(Ok(())) => StatusCode::ACCEPTED,
        // Too late, or for a call that there never was.
        _ => StatusCode::GONE,
    }
}

async fn response(
    State(interface): State<Arc<Interface>>,
    Path(request): Path<String>,
    body: Bytes,
) -> StatusCode {
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    tell(&interface, &request, Answer::Done(value))
}

fn failure(body: &[u8]) -> Answer {
    let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| {
        said.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Answer::Failed {
        kind: text("errorType"),
        message: text("errorMessage"),
    }
}

async fn error(
    State(interface): State<Arc<Interface>>,
    Path(request): Path<String>,
    body: Bytes,
) -> StatusCode {
    tell(&interface, &request, failure(&body))
}

async fn init_error(State(interface): State<Arc<Interface>>, body: Bytes) -> StatusCode {
    *interface.init.lock().expect("no test holds it") = Some(failure(&body));
    StatusCode::ACCEPTED
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
