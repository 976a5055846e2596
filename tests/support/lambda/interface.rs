//! The runtime interface of AWS Lambda as the tests have it: four HTTP calls, and a deadline that is one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};

use super::Answer;

/// A call that waits for a process.
pub(super) struct Call {
    pub(super) request: String,
    pub(super) deadline_ms: u128,
    pub(super) event: String,
}

type Answers = Mutex<HashMap<String, oneshot::Sender<Answer>>>;

/// What both sides of the interface share.
pub(super) struct Interface {
    calls: AsyncMutex<mpsc::Receiver<Call>>,
    pub(super) answers: Answers,
    /// Whether the process has asked for its first call.
    pub(super) is_ready: watch::Sender<bool>,
    /// What it said if it could not begin.
    pub(super) init: Mutex<Option<Answer>>,
}

impl Interface {
    /// Serves one for a process; gives where it is, and how the process is called.
    ///
    /// # Errors
    /// When no port is free.
    pub(super) async fn serve() -> Result<(Arc<Self>, SocketAddr, mpsc::Sender<Call>)> {
        let (calls, waiting) = mpsc::channel(1);
        let interface = Arc::new(Self {
            calls: AsyncMutex::new(waiting),
            answers: Mutex::default(),
            is_ready: watch::Sender::new(false),
            init: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = routes(interface.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok((interface, address, calls))
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

/// What stands in an error.
pub(super) fn failure(body: &[u8]) -> Answer {
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
