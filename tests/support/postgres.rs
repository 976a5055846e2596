//! A real PostgreSQL server of the test's own, on loopback, in a temporary folder, stopped when dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The variable that names a folder with `initdb` and `pg_ctl`, for servers that are not where Debian,
/// Fedora or Homebrew put them.
const BIN: &str = "TIDEMILL_POSTGRES_BIN";

/// Settings of every server: quick rather than durable, with room for what the tests do.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
max_connections = 200
max_prepared_transactions = 8
max_wal_senders = 4
wal_level = replica
hot_standby = on
";

/// A server. Its only user is `postgres`, who needs no password from loopback.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    programs: Programs,
    databases: AtomicU32,
}

impl Server {
    /// A fresh server.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start; the message says what to do.
    pub fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let folder = programs.folder()?;
        programs.run("initdb", |command| {
            command
                .arg("-D")
                .arg(folder.path().join("data"))
                .args(["-U", "postgres", "-A", "trust", "--no-sync"])
                .args(["-E", "UTF8", "--locale=C.UTF-8"])
        })?;
        let configuration = folder.path().join("data/postgresql.auto.conf");
        std::fs::write(&configuration, SETTINGS)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        Self::serve(programs, folder)
    }

    /// The server that the tests of this process share: each takes a database of its own. It stops when
    /// the last of them lets go of it.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// A hot standby that follows this server and answers queries.
    ///
    /// # Errors
    /// When the base backup or the start fails.
    pub fn standby(&self) -> Result<Self> {
        let folder = self.programs.folder()?;
        self.programs.run("pg_basebackup", |command| {
            command
                .arg("-D")
                .arg(folder.path().join("data"))
                .args(["-R", "-X", "stream", "--no-sync", "-c", "fast"])
                .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
                .arg(self.port.to_string())
        })?;
        Self::serve(self.programs.clone(), folder)
    }

    fn serve(programs: Programs, folder: TempDir) -> Result<Self> {
        let port = free_port()?;
        programs.run("pg_ctl", |command| {
            command
                .args(["start", "-w", "-t", "60", "-D"])
                .arg(folder.path().join("data"))
                .arg("-l")
                .arg(folder.path().join("log"))
                .arg("-o")
                .arg(format!("-p {port} -k {}", folder.path().display()))
        })?;
        Ok(Self {
            folder,
            port,
            programs,
            databases: AtomicU32::new(0),
        })
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A fresh, empty database; gives its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn database(&self) -> Result<String> {
        self.database_from("template1").await
    }

    /// A fresh copy of the database named `template`, to which nobody may be connected: a generated
    /// totesys is copied much faster than it is generated again.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn database_from(&self, template: &str) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let client = connect(&self.url("postgres")).await?;
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
        client
            .batch_execute(&sql)
            .await
            .with_context(|| sql.clone())?;
        Ok(self.url(&name))
    }

    /// The last lines of its log, for messages.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(30);
        lines.get(last..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.programs.run("pg_ctl", |command| {
            command
                .args(["stop", "-w", "-m", "immediate", "-D"])
                .arg(self.folder.path().join("data"))
        });
        if let Err(error) = stopped
            && !std::thread::panicking()
        {
            panic!("a PostgreSQL server of a test does not stop: {error:#}");
        }
    }
}

/// The name of the database in a URL of [`Server::url`].
pub fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// A connection whose task ends when the client is dropped.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
    Ok(listener.local_addr()?.port())
}

/// The server's programs and the user to run them as: PostgreSQL refuses to be run by root.
#[derive(Debug, Clone)]
struct Programs {
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Programs {
    fn find() -> Result<Self> {
        let folder = folders()
            .into_iter()
            .find(|folder| folder.join("initdb").exists());
        let Some(folder) = folder else {
            bail!(
                "PostgreSQL is not installed: run `cargo x test`, which installs it on Debian, or name \
                 the folder of its programs in {BIN}"
            );
        };
        Ok(Self {
            folder,
            user: unprivileged_user()?,
        })
    }

    /// A temporary folder that belongs to the server's user.
    fn folder(&self) -> Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("tidemill-pg-").tempdir()?;
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        Ok(folder)
    }

    fn run(
        &self,
        program: &str,
        arguments: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<()> {
        let mut command = Command::new(self.folder.join(program));
        arguments(&mut command);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        // A daemon that is started here must not inherit a pipe that somebody waits on.
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let errors = tempfile::tempfile()?;
        command.stderr(errors.try_clone()?);
        let status = command
            .status()
            .with_context(|| format!("cannot run {program}"))?;
        ensure!(
            status.success(),
            "{program} failed: {}",
            read_from_start(errors)?
        );
        Ok(())
    }
}

fn read_from_start(mut file: std::fs::File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Where the programs may be, the best first.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = super::variable(BIN).into_iter().collect();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let mut versions: Vec<PathBuf> = std::fs::read_dir(parent)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    folders.push("/usr/bin".into());
    folders
}

/// The user and group to run the server as where this process is root; `None` where it is not.
fn unprivileged_user() -> Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    let is_root = tempfile::tempfile()?.metadata()?.uid() == 0;
    if !is_root {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let id_of = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let user = id_of("postgres").or_else(|| id_of("nobody"));
    user.map(Some)
        .context("root may not run PostgreSQL, and there is neither a user postgres nor nobody")
}

/// Runs a SQL script on a database.
///
/// # Errors
/// The server's, with the script.
pub async fn execute(url: &str, sql: &str) -> Result<()> {
    let client = connect(url).await?;
    client
        .batch_execute(sql)
        .await
        .with_context(|| sql.to_owned())
}
