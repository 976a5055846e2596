//! `health`: asks a `serve` that runs whether it is well. For containers, whose images have no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use super::UsageError;
use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use crate::error::{Classify, ErrorKind};

/// Ask the `serve` of this project on this machine whether it is alive, or with --ready whether a run could begin.
///
/// Ends with 0 when it is and with 1 when it is not, as `HEALTHCHECK` of a container and `exec` probes want it.
///
/// Example: tidemill health --ready
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask whether sources, zones and warehouse answer, too.
    #[arg(long)]
    ready: bool,
    /// Where it listens, instead of where `serve.listen` says; no project file is needed then.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
#[error("no serve answers at {address}")]
struct SilentError {
    address: SocketAddr,
    #[source]
    cause: reqwest::Error,
}

impl Classify for SilentError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn hint(&self) -> Option<String> {
        Some("start `tidemill serve`, or name its address with --address".into())
    }
}

impl Health {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let address = reachable(match self.address {
            Some(address) => address,
            None => call
                .plan()
                .await?
                .serve
                .listen
                .ok_or_else(|| UsageError::Choice {
                    what: "serve tells its health nowhere: serve.listen is \"none\"".into(),
                    hint: "set serve.listen to an address, or name one with --address".into(),
                })?,
        });
        let path = if self.ready { "readyz" } else { "healthz" };
        let silent = |cause| SilentError { address, cause };
        let client = reqwest::Client::builder()
            // The service is on this machine, whatever proxy leads elsewhere.
            .no_proxy()
            .timeout(self.timeout)
            .build()
            .map_err(silent)?;
        let asked = client.get(format!("http://{address}/{path}")).send();
        let answer = asked.await.map_err(silent)?;
        let exit = match answer.status().is_success() {
            true => Exit::Done,
            false => Exit::Failed,
        };
        let body = answer.text().await.map_err(silent)?;
        let facts: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|_| body.trim().into());
        Ok(Answer::new(format!("{}\n", body.trim_end()), &facts).ending(exit))
    }
}

/// An address that can be called: who listens everywhere is here, too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            let address = reachable(listens.parse().expect("an address"));
            assert_eq!(address.to_string(), asked);
        }
    }
}
