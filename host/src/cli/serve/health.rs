//! Health over HTTP: `/healthz` (alive), `/readyz` (a run could begin), `/metrics` (for Prometheus), `/status` (JSON).
//!
//! Nothing here can be changed and nothing secret is told, so there is no login; by default it listens to
//! this machine only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Status;
use super::readiness::Readiness;
use crate::error::{Classify, ErrorKind};
use crate::pipeline::report::Check;
use crate::telemetry::{CONTENT_TYPE, Meters};

/// What is told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: watch::Receiver<Status>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) meters: Arc<Meters>,
}

/// Whether a run could begin, and if not, why.
#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    stopping: bool,
    checks: Arc<Vec<Check>>,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub(super) struct ListenError {
    address: SocketAddr,
    #[source]
    cause: std::io::Error,
}

impl Classify for ListenError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn hint(&self) -> Option<String> {
        Some(
            "stop what listens there, or set serve.listen to another address or to \"none\"".into(),
        )
    }
}

/// The server, which ends with [`Server::stop`].
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens on `address` and tells how things are at the time of each request.
    ///
    /// # Errors
    /// `Unavailable` when something else listens there.
    pub(super) async fn start(address: SocketAddr, told: Told) -> Result<Self, ListenError> {
        let failed = |cause| ListenError { address, cause };
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (end, ended) = oneshot::channel::<()>();
        let serving = axum::serve(listener, routes(told)).with_graceful_shutdown(async {
            // A sender that is gone wants the end as well.
            let _ = ended.await;
        });
        tracing::info!(%address, "health is told");
        Ok(Self {
            address,
            end,
            task: tokio::spawn(async move { serving.await }),
        })
    }

    /// Where it listens.
    #[cfg(test)]
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server. A client that keeps its connection open is cut off.
    pub(super) async fn stop(mut self) {
        /// Enough for an answer that is under way.
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
        let _ = self.end.send(());
        match tokio::time::timeout(PATIENCE, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(cause))) => {
                tracing::warn!(address = %self.address, error = %cause, "health server failed")
            }
            Ok(Err(cause)) => {
                tracing::warn!(address = %self.address, error = %cause, "health server died")
            }
            Err(_) => {
                self.task.abort();
                let _ = self.task.await;
            }
        }
    }
}

fn routes(told: Told) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(tell))
        .with_state(told)
}

async fn ready(State(told): State<Told>) -> (StatusCode, Json<Ready>) {
    let stopping = told.status.borrow().stopping;
    // Who stops takes no work, whatever could be reached.
    let checks = match stopping {
        true => Arc::default(),
        false => told.readiness.checks().await,
    };
    let ready = !stopping && checks.iter().all(|check| check.ok);
    let code = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let answer = Ready {
        ready,
        stopping,
        checks,
    };
    (code, Json(answer))
}

async fn metrics(State(told): State<Told>) -> ([(HeaderName, &'static str); 1], String) {
    let kind = (header::CONTENT_TYPE, CONTENT_TYPE);
    ([kind], told.meters.exposition())
}

async fn tell(State(told): State<Told>) -> Json<Status> {
    Json(told.status.borrow().clone())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn told(status: watch::Receiver<Status>, ok: bool) -> Told {
        let file = std::path::Path::new("tidemill.toml");
        let environment = crate::config::Environment::default();
        let plan = crate::config::parse("", file, std::path::Path::new("."), &environment, &[])
            .expect("a good project");
        let clock = || DateTime::UNIX_EPOCH;
        let telemetry = crate::telemetry::Telemetry::default();
        let probe = move || {
            let check = Check {
                name: "warehouse".into(),
                ok,
                detail: "connection refused".into(),
                hint: None,
            };
            let checks: futures::future::BoxFuture<'static, _> = Box::pin(async { vec![check] });
            checks
        };
        Told {
            status,
            readiness: Arc::new(Readiness::new(probe)),
            meters: telemetry.meters(&plan, "test".into(), clock),
        }
    }

    fn body(answer: &str) -> serde_json::Value {
        let json = answer.rsplit("\r\n\r\n").next().expect("a body");
        serde_json::from_str(json).expect("JSON")
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("a server");
        let request = format!("GET {path} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn health_follows_the_status() {
        let (sender, status) = watch::channel(Status::new(DateTime::UNIX_EPOCH));
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(loopback, told(status, true))
            .await
            .expect("a free port");
        let address = server.address();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        sender.send_modify(|status| {
            status.stopping = true;
            status.failures = 3;
        });
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        let json = body(&get(address, "/status").await);
        assert_eq!(json["failures"], 3);
        assert_eq!(json["since"], "1970-01-01T00:00:00Z");
        server.stop().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_told_with_the_setting_that_changes_it() {
        let (_sender, status) = watch::channel(Status::new(DateTime::UNIX_EPOCH));
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(loopback, told(status.clone(), true))
            .await
            .expect("a free port");
        let address = server.address();
        let second = told(status, true);
        let error = Server::start(address, second).await.expect_err("in use");
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("serve.listen"))
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn what_does_not_answer_is_named() {
        let (_sender, status) = watch::channel(Status::new(DateTime::UNIX_EPOCH));
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(loopback, told(status, false)).await;
        let server = server.expect("a free port");
        let answer = get(server.address(), "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let json = body(&answer);
        assert_eq!(json["ready"], false);
        assert_eq!(json["checks"][0]["name"], "warehouse");
        assert_eq!(json["checks"][0]["detail"], "connection refused");
        assert!(
            get(server.address(), "/healthz")
                .await
                .starts_with("HTTP/1.1 200")
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn figures_are_told_as_openmetrics() {
        let (_sender, status) = watch::channel(Status::new(DateTime::UNIX_EPOCH));
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(loopback, told(status, true)).await;
        let server = server.expect("a free port");
        let answer = get(server.address(), "/metrics").await;
        let kind = format!("content-type: {CONTENT_TYPE}\r\n");
        assert!(answer.contains(&kind), "{answer}");
        assert!(
            answer.contains("tidemill_runs_total{outcome=\"done\"} 0\n"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        server.stop().await;
    }
}
