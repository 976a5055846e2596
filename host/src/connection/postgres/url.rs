//! URLs as libpq writes them: where to connect, as whom, and how far to trust the server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::ConnectError;
use crate::connection::redact;

/// How long a login may take when the URL has no `connect_timeout`. The driver's own limit covers only
/// the socket, and libpq has none; a run must not hang on a server that accepts and never answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// When a connection on which nothing moves is asked whether the other side is still there, how often, and
/// how long sent bytes may go without a receipt: a machine that lost its power is noticed within two minutes
/// and not after the two hours that operating systems wait. A URL may say otherwise.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(120);

/// How far TLS is asked for, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// Never.
    Disable,
    /// Only where the server refuses a plain connection.
    Allow,
    /// Where the server has it.
    Prefer,
    /// Always; the certificate is checked only where root certificates are named.
    Require,
    /// Always, with a certificate that the root certificates vouch for.
    VerifyCa,
    /// As `VerifyCa`, and made out to the host of the URL.
    VerifyFull,
}

impl TlsMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// What is tried, one after the other.
    pub(super) fn attempts(self) -> &'static [SslMode] {
        match self {
            Self::Disable => &[SslMode::Disable],
            Self::Allow => &[SslMode::Disable, SslMode::Require],
            Self::Prefer => &[SslMode::Prefer, SslMode::Disable],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[SslMode::Require],
        }
    }
}

/// Whose signature on a server's certificate is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Nobody's is asked for.
    Unchecked,
    /// The operating system's store.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// A PostgreSQL URL that has been understood: where to connect, as whom, and how far to trust the server.
#[derive(Clone)]
pub struct PgUrl {
    pub(super) config: Config,
    pub(super) mode: TlsMode,
    pub(super) roots: Roots,
    pub(super) timeout: Duration,
    target: String,
}

impl PgUrl {
    /// Parses `postgresql://user:password@host:port/database?parameter=value…`.
    ///
    /// Parameters are libpq's, percent-encoded. `sslmode` is one of `disable`, `allow`, `prefer` (the
    /// default), `require`, `verify-ca`, `verify-full`; `sslrootcert` is a PEM file or `system`. As in
    /// libpq, a named root certificate is checked in every mode that uses TLS, and `system` implies
    /// `verify-full`. Unlike libpq, the verifying modes fall back on the system's store when no root
    /// certificate is named. A host that begins with `/` (or `%2F`) is the folder of a Unix socket.
    ///
    /// # Errors
    /// `Config` when it is malformed or has an unknown parameter.
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        let wrong = |reason: String| ConnectError::Url {
            url: redact(url),
            reason,
        };
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(wrong("it does not begin with postgresql://".into()));
        }
        let (rest, security) = Security::take_from(url).map_err(wrong)?;
        let mut config: Config = rest
            .parse()
            .map_err(|error: tokio_postgres::Error| wrong(innermost(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if config.get_application_name().is_none() {
            config.application_name("tidemill");
        }
        look_early(&mut config, &rest);
        let (mode, roots) = security.resolve(&config).map_err(wrong)?;
        Ok(Self {
            timeout: config
                .get_connect_timeout()
                .copied()
                .unwrap_or(CONNECT_TIMEOUT),
            target: target(&config),
            config,
            mode,
            roots,
        })
    }

    /// Host, port and database, without credentials: for messages.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Debug for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgUrl")
            .field("target", &self.target)
            .field("mode", &self.mode)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// The TLS parameters as the URL gives them.
#[derive(Default)]
struct Security {
    mode: Option<TlsMode>,
    root: Option<String>,
}

impl Security {
    /// Takes the parameters that the driver does not know, or knows in part, out of the URL.
    fn take_from(url: &str) -> Result<(String, Self), String> {
        let mut security = Self::default();
        let Some((base, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), security));
        };
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let decoded = || {
                percent_decode_str(value)
                    .decode_utf8()
                    .map_err(|_| format!("the value of `{name}` is not UTF-8"))
            };
            match name {
                "sslmode" => {
                    let value = decoded()?;
                    security.mode = Some(TlsMode::parse(&value).ok_or_else(|| {
                        format!("`{value}` is not an sslmode: disable, allow, prefer, require, verify-ca or verify-full")
                    })?);
                }
                "sslrootcert" => security.root = Some(decoded()?.into_owned()),
                _ => rest.push(parameter),
            }
        }
        if rest.is_empty() {
            return Ok((base.to_owned(), security));
        }
        Ok((format!("{base}?{}", rest.join("&")), security))
    }

    fn resolve(self, config: &Config) -> Result<(TlsMode, Roots), String> {
        // As in libpq: a Unix socket is never encrypted, and asking for it changes nothing.
        if config.get_hosts().iter().all(is_socket) && config.get_hostaddrs().is_empty() {
            return Ok((TlsMode::Disable, Roots::Unchecked));
        }
        Ok(match (self.mode, self.root.as_deref()) {
            (None | Some(TlsMode::VerifyFull), Some("system")) => {
                (TlsMode::VerifyFull, Roots::System)
            }
            (Some(mode), Some("system")) => {
                return Err(format!(
                    "sslrootcert=system needs sslmode=verify-full, not {mode:?}"
                ));
            }
            (mode, Some(file)) => (mode.unwrap_or(TlsMode::Prefer), Roots::File(file.into())),
            (Some(mode @ (TlsMode::VerifyCa | TlsMode::VerifyFull)), None) => (mode, Roots::System),
            (mode, None) => (mode.unwrap_or(TlsMode::Prefer), Roots::Unchecked),
        })
    }
}

/// Sets what the URL leaves open of how soon a lost server is noticed.
fn look_early(config: &mut Config, url: &str) {
    if !url.contains("keepalives_idle=") {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(RECEIPT_TIMEOUT);
    }
}

fn is_socket(host: &Host) -> bool {
    match host {
        Host::Tcp(_) => false,
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn target(config: &Config) -> String {
    let mut hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string(),
        })
        .collect();
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(ToString::to_string));
    }
    let ports = config.get_ports();
    let places: Vec<String> = hosts
        .iter()
        .enumerate()
        .map(|(i, host)| match ports.get(i).or(ports.first()) {
            Some(port) => format!("{host}:{port}"),
            None => format!("{host}:5432"),
        })
        .collect();
    match config.get_dbname() {
        Some(database) => format!("{}/{database}", places.join(",")),
        None => places.join(","),
    }
}

/// The innermost cause: the driver wraps "unknown option" in "invalid connection string".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
