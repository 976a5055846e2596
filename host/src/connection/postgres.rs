//! PostgreSQL connections from libpq-style URLs, with TLS: the same for a source and a warehouse.
//!
//! The driver parses the URL and speaks the protocol; what it does not know is added here: the six
//! `sslmode`s with libpq's meaning, `sslrootcert`, a limit on the whole login, an early look whether a
//! silent server is still there, and an end of the connection that does not wait for an unread answer.
//! No SQL is sent from here.

mod error;
mod passing;
mod tls;
mod url;

use std::ops::{Deref, DerefMut};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

pub use self::error::{ConnectError, LoginReason, reason};
pub use self::passing::Passing;
pub use self::url::PgUrl;

use self::error::{classify, depends_on_tls};
use self::url::TlsMode;

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
            target: url.target().to_owned(),
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
