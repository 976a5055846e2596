//! Health over HTTP: `/healthz` (alive), `/readyz` (not stopping), `/status` (JSON).
//!
//! Nothing here can be changed and nothing secret is told, so there is no login; by default it listens to
//! this machine only.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Status;
use crate::error::{Classify, ErrorKind};

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
    /// Listens on `address` and tells what `status` holds at the time of each request.
    ///
    /// # Errors
    /// `Unavailable` when something else listens there.
    pub(super) async fn start(
        address: SocketAddr,
        status: watch::Receiver<Status>,
    ) -> Result<Self, ListenError> {
        let failed = |cause| ListenError { address, cause };
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (end, ended) = oneshot::channel::<()>();
        let serving = axum::serve(listener, routes(status)).with_graceful_shutdown(async {
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

fn routes(status: watch::Receiver<Status>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(tell))
        .with_state(status)
}

async fn ready(State(status): State<watch::Receiver<Status>>) -> (StatusCode, &'static str) {
    match status.borrow().stopping {
        false => (StatusCode::OK, "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

async fn tell(State(status): State<watch::Receiver<Status>>) -> Json<Status> {
    Json(status.borrow().clone())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

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
        let server = Server::start(loopback, status).await.expect("a free port");
        let address = server.address();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        sender.send_modify(|status| {
            status.stopping = true;
            status.failures = 3;
        });
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        let told = get(address, "/status").await;
        let json = told.rsplit("\r\n\r\n").next().expect("a body");
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(json["failures"], 3);
        assert_eq!(json["since"], "1970-01-01T00:00:00Z");
        server.stop().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_told_with_the_setting_that_changes_it() {
        let (_sender, status) = watch::channel(Status::new(DateTime::UNIX_EPOCH));
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(loopback, status.clone())
            .await
            .expect("a free port");
        let address = server.address();
        let error = Server::start(address, status).await.expect_err("in use");
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("serve.listen"))
        );
        server.stop().await;
    }
}
