//! PostgreSQL connections from libpq-style URLs, with TLS: the same for a source and a warehouse.
//!
//! The driver parses the URL and speaks the protocol; what it does not know is added here: the six
//! `sslmode`s with libpq's meaning, `sslrootcert`, a limit on the whole login, an early look whether a
//! silent server is still there, and an end of the connection that does not wait for an unread answer.
//! No SQL is sent from here.

mod passing;
mod tls;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

pub use self::passing::Passing;

use crate::error::{Classify, ErrorKind};

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

/// What went wrong on the way to a PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be understood.
    #[error("the URL `{url}` is not usable: {reason}")]
    Url {
        /// With the password redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The root certificates cannot be read.
    #[error("the root certificates in {origin} cannot be used: {reason}")]
    RootCertificates {
        /// The file, or "the system's store".
        origin: String,
        /// What is wrong with them.
        reason: String,
    },
    /// TLS could not be agreed on, or the server's certificate was not accepted.
    #[error("no secure connection to {target}")]
    Tls {
        /// Host, port and database.
        target: String,
        /// The driver's error.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// The server cannot be reached, or is not ready.
    #[error("cannot reach {target}")]
    Unavailable {
        /// Host, port and database.
        target: String,
        /// The network's or the server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody took the connection, and then the login was not answered.
    #[error("{target} did not answer a login within {} s", limit.as_secs_f64())]
    Silent {
        /// Host, port and database.
        target: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server has no connection left for us.
    #[error("{target} has no connection left")]
    Full {
        /// Host, port and database.
        target: String,
        /// The server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The login was refused.
    #[error("{target} refused the login")]
    Login {
        /// Host, port and database.
        target: String,
        /// The server's answer.
        reason: LoginReason,
        /// The server's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a login was refused, as far as it decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReason {
    /// The password, or how it is sent.
    Password,
    /// There is no such database.
    Database,
    /// The role may not connect to the database.
    Right,
    /// No line of `pg_hba.conf` lets this role in from here, or there is no such role.
    Rule,
    /// Anything else.
    Other,
}

impl LoginReason {
    fn of(code: Option<&SqlState>) -> Self {
        match code.map(SqlState::code) {
            Some("28P01") => Self::Password,
            Some("3D000") => Self::Database,
            Some("42501") => Self::Right,
            Some("28000") => Self::Rule,
            _ => Self::Other,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Password => {
                "check user and password in the URL, and the variable that they come from"
            }
            Self::Database => "check the name of the database in the URL, or create it",
            Self::Right => "grant the role CONNECT on the database",
            Self::Rule => "check user and `sslmode` in the URL, and the server's pg_hba.conf",
            Self::Other => "check user, password and database in the URL",
        }
    }
}

impl Classify for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::Silent { .. } | Self::Full { .. } => {
                ErrorKind::Unavailable
            }
            Self::Url { .. }
            | Self::RootCertificates { .. }
            | Self::Tls { .. }
            | Self::Login { .. } => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Url { .. } => {
                    "write it as postgresql://user:password@host:5432/database?sslmode=verify-full"
                }
                Self::RootCertificates { .. } => {
                    "name a readable PEM file with `sslrootcert`, or use sslrootcert=system"
                }
                Self::Tls { .. } => {
                    "check `sslmode` and `sslrootcert` in the URL and the server's certificate"
                }
                Self::Unavailable { .. } => {
                    "check that the server runs and that host and port are right, and run again"
                }
                Self::Silent { .. } => {
                    "check that it is PostgreSQL that listens there; `connect_timeout=60` in the URL waits longer"
                }
                Self::Full { .. } => {
                    "run again when other sessions have ended, or raise the limit; a source is read over \
                     `connections` and two more"
                }
                Self::Login { reason, .. } => reason.hint(),
            }
            .to_owned(),
        )
    }
}

/// How far TLS is asked for, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsMode {
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
    fn attempts(self) -> &'static [SslMode] {
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
enum Roots {
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
    config: Config,
    mode: TlsMode,
    roots: Roots,
    timeout: Duration,
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
            url: super::redact(url),
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

/// A live connection: the driver's client, and the task that moves its bytes.
///
/// Dropping it closes the socket at once, whatever the server is still sending; the server then rolls back
/// an open transaction. The driver's own client would go on reading an abandoned COPY to its end.
#[derive(Debug)]
pub struct PgConnection {
    client: Client,
    transport: Transport,
}

/// The task that moves a connection's bytes; it does not outlive its owner.
#[derive(Debug)]
struct Transport(JoinHandle<()>);

impl Drop for Transport {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PgConnection {
    /// Takes leave of the server and waits until the socket is closed. Answers that nobody reads are
    /// received first: to be called when there are none.
    pub async fn close(self) {
        let Self {
            client,
            mut transport,
        } = self;
        drop(client);
        if let Err(error) = (&mut transport.0).await {
            tracing::debug!(%error, "connection task ended early");
        }
    }
}

impl Deref for PgConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PgConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Connects to the server that `url` names and logs in.
///
/// # Errors
/// `Config` when the login or the certificate is refused, `Unavailable` when there is no answer in time.
pub async fn connect(url: &PgUrl) -> Result<PgConnection, ConnectError> {
    let tls = tls::connector(&url.roots, url.mode == TlsMode::VerifyFull).await?;
    let attempts = async {
        let mut last = None;
        for mode in url.mode.attempts() {
            let mut config = url.config.clone();
            config.ssl_mode(*mode);
            match config.connect(tls.clone()).await {
                Ok((client, connection)) => {
                    return Ok(PgConnection {
                        client,
                        transport: Transport(tokio::spawn(transport(connection))),
                    });
                }
                Err(error) if depends_on_tls(&error) => last = last.or(Some(error)),
                Err(error) => return Err(last.unwrap_or(error)),
            }
        }
        Err(last.expect("every mode has an attempt"))
    };
    match tokio::time::timeout(url.timeout, attempts).await {
        Ok(attempt) => attempt.map_err(|error| classify(url, error)),
        Err(_) => Err(ConnectError::Silent {
            target: url.target.clone(),
            limit: url.timeout,
        }),
    }
}

async fn transport<S>(connection: tokio_postgres::Connection<tokio_postgres::Socket, S>)
where
    S: tokio_postgres::tls::TlsStream + Unpin,
{
    // Whoever waits for an answer is told by the driver; what is left to say concerns nobody.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection closed");
    }
}

/// Whether the attempt might succeed with TLS instead of without, or the other way round: the handshake
/// failed, or `pg_hba.conf` has no line for this kind of connection.
fn depends_on_tls(error: &tokio_postgres::Error) -> bool {
    is_handshake(error) || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// Whether TLS failed. The driver keeps its error's kind to itself and says it in words only.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

fn classify(url: &PgUrl, cause: tokio_postgres::Error) -> ConnectError {
    let target = url.target.clone();
    if is_handshake(&cause) {
        return ConnectError::Tls { target, cause };
    }
    let code = cause.code().cloned();
    let refused = match &code {
        Some(code) if code.code() == "53300" => {
            let cause = reason(cause);
            return ConnectError::Full { target, cause };
        }
        // Shutdown, start-up, recovery, resources, a disk that is full: a matter of time.
        Some(code) => !matches!(code.code().get(..2), Some("53" | "57" | "58" | "08" | "XX")),
        // Without an answer of the server it was the network, except that the driver itself misses a password.
        None => {
            let reason = std::error::Error::source(&cause);
            reason.is_some_and(|reason| !reason.is::<std::io::Error>())
        }
    };
    let is_password = std::error::Error::source(&cause)
        .is_some_and(|reason| reason.to_string() == "password missing");
    let cause = reason(cause);
    if refused {
        let reason = match is_password {
            true => LoginReason::Password,
            false => LoginReason::of(code.as_ref()),
        };
        ConnectError::Login {
            target,
            reason,
            cause,
        }
    } else {
        ConnectError::Unavailable { target, cause }
    }
}

/// The server's error without the driver's wrapping, which says only "db error".
pub fn reason(error: tokio_postgres::Error) -> Box<dyn std::error::Error + Send + Sync> {
    if error.as_db_error().is_none() {
        return Box::new(error);
    }
    match error.into_source() {
        Some(cause) => cause,
        None => "the driver gave no reason".into(),
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
