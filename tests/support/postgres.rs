//! Real PostgreSQL servers for tests: each in its own folder on its own port, gone with its owner.
//!
//! What cannot be had here panics with what to do: a test has no other answer to it.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use super::mounts::Mounts;

/// Another process may take a free port before the server does.
const ATTEMPTS: usize = 5;

/// What every server of the tests is told: fast, quiet, and nothing moves unless a test moves it.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
autovacuum = off
shared_buffers = '16MB'
max_connections = 60
max_prepared_transactions = 5
timezone = 'UTC'
";

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    databases: AtomicU32,
    /// What leads to the disks that it sees.
    entry: Vec<String>,
}

impl Server {
    /// The server that the tests of one binary share; each makes a database of its own in it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED
            .lock()
            .expect("no test fails while it starts a server");
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start(""));
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server of its own, with more lines for `postgresql.conf`.
    pub fn start(settings: &str) -> Self {
        Self::start_in(Vec::new(), settings)
    }

    /// The same, on disks of its own.
    pub fn start_within(mounts: &Mounts, settings: &str) -> Self {
        Self::start_in(mounts.entry(), settings)
    }

    fn start_in(entry: Vec<String>, settings: &str) -> Self {
        Self::prepare(entry, settings, |folder| {
            run(
                "initdb",
                folder,
                [
                    "-D",
                    path(&data(folder)),
                    "-U",
                    "postgres",
                    "-A",
                    "trust",
                    "--no-sync",
                    "-E",
                    "UTF8",
                    "--locale=C.UTF-8",
                ],
            );
        })
    }

    /// A hot standby that follows `self`.
    pub fn standby(&self) -> Self {
        Self::prepare(Vec::new(), "", |folder| {
            run(
                "pg_basebackup",
                folder,
                [
                    "-D",
                    path(&data(folder)),
                    "-R",
                    "-X",
                    "stream",
                    "-c",
                    "fast",
                    "--no-sync",
                    "-d",
                    &self.url("postgres"),
                ],
            );
        })
    }

    fn prepare(entry: Vec<String>, settings: &str, fill: impl Fn(&Path)) -> Self {
        let folder = folder();
        fill(folder.path());
        append(&data(folder.path()).join("postgresql.conf"), SETTINGS);
        append(&data(folder.path()).join("postgresql.conf"), settings);
        for _ in 0..ATTEMPTS {
            let port = free_port();
            if launch(&entry, folder.path(), port) {
                return Self {
                    folder,
                    port,
                    databases: AtomicU32::new(0),
                    entry,
                };
            }
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("the server does not start:\n{log}");
    }

    /// Stops it without a word to its clients and starts it again, with more lines for `postgresql.conf`.
    pub fn restart(&self, settings: &str) {
        self.crash();
        append(&self.data().join("postgresql.conf"), settings);
        self.come_back();
    }

    /// Stops it without a word to its clients.
    pub fn crash(&self) {
        stop(self.folder.path());
    }

    /// Starts it again on the same port.
    pub fn come_back(&self) {
        let started = launch(&self.entry, self.folder.path(), self.port);
        assert!(started, "it started before");
    }

    /// Puts a copy of its data beside, while it is stopped.
    pub fn back_up(&self) {
        self.copy("data", "copy");
    }

    /// Puts the copy in the place of its data, while it is stopped.
    pub fn restore(&self) {
        std::fs::remove_dir_all(self.data()).expect("the folder is ours");
        self.copy("copy", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let folder = self.folder.path();
        let output = Command::new("cp")
            .arg("-a")
            .args([folder.join(from), folder.join(to)])
            .output()
            .expect("cp is part of the system");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cp failed: {talk}");
    }

    /// Sets the id of the next transaction, its epoch included, as years of writing would.
    pub fn skip_to_transaction(&self, id: u64) {
        let folder = self.folder.path();
        run(
            "pg_ctl",
            folder,
            ["-D", path(&self.data()), "-m", "fast", "-s", "stop"],
        );
        let (epoch, id) = (id >> 32, id & u64::from(u32::MAX));
        run(
            "pg_resetwal",
            folder,
            [
                "-e",
                &epoch.to_string(),
                "-x",
                &id.to_string(),
                "-D",
                path(&self.data()),
            ],
        );
        // The server expects the commit log of the ids that it never gave out: a zeroed segment.
        let segment = format!("{:04X}", id / (8_192 * 4 * 32));
        let file = self.data().join("pg_xact").join(segment);
        if !file.exists() {
            std::fs::write(&file, vec![0; 8_192 * 32]).expect("the folder is ours");
            hand_over(&file, 0o600);
        }
        assert!(launch(&self.entry, folder, self.port), "it started before");
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        data(self.folder.path())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// A session in `database`.
    pub async fn client(&self, database: &str) -> Client {
        let config = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let mut config: tokio_postgres::Config = config.parse().expect("it is well formed");
        let (client, connection) = config
            .dbname(database)
            .connect(NoTls)
            .await
            .expect("the server runs");
        tokio::spawn(connection);
        client
    }

    /// A new, empty database and a session in it.
    pub async fn database(&self, name: &str) -> Client {
        let client = self.client("postgres").await;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("the name is new");
        self.client(name).await
    }

    /// A new, empty database under a name that no other test has; gives its URL.
    pub async fn fresh_database(&self) -> String {
        self.database_from("template1").await
    }

    /// A new copy of the database `template`, to which nobody may be connected; gives its URL. A generated
    /// totesys is copied much faster than it is generated again.
    pub async fn database_from(&self, template: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let client = self.client("postgres").await;
        client
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
            .expect("the template is there and nobody is connected to it");
        self.url(&name)
    }

    /// Ends every session in `database`, so that it can be a template.
    pub async fn disconnect(&self, database: &str) {
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        let client = self.client("postgres").await;
        client.query(sql, &[&database]).await.expect("postgres may");
    }

    /// Everything that it logged.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The last lines of its log, for messages.
    pub fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(30);
        lines.get(last..).unwrap_or_default().join("\n")
    }

    /// Gives a folder on its disks to the user that it runs as.
    pub fn own(&self, mounts: &Mounts, folder: &Path) {
        hand_over(&mounts.path(folder), 0o700);
    }

    /// Writes a file of the server's into its data folder, readable by it alone.
    pub fn write(&self, name: &str, text: &str) {
        let file = self.data().join(name);
        std::fs::write(&file, text).expect("the folder is ours");
        hand_over(&file, 0o600);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(self.folder.path());
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("there is room for temporary files");
    hand_over(folder.path(), 0o700);
    folder
}

fn append(file: &Path, text: &str) {
    let mut content = std::fs::read_to_string(file).expect("the server made it");
    content.push_str(text);
    std::fs::write(file, content).expect("the folder is ours");
}

fn launch(entry: &[String], folder: &Path, port: u16) -> bool {
    let options = format!("-p {port} -k {}", path(folder));
    let output = within(entry, program("pg_ctl", folder))
        .args(["-D", path(&data(folder)), "-w", "-s"])
        .args(["-l", path(&folder.join("log")), "-o", &options, "start"])
        .output()
        .expect("initdb was there");
    output.status.success()
}

fn stop(folder: &Path) {
    // pg_ctl finds the process by the id in the folder. Immediate: nothing is worth a checkpoint here.
    let _ = program("pg_ctl", folder)
        .args(["-D", path(&data(folder)), "-m", "immediate", "-s", "stop"])
        .output();
}

fn run(name: &str, folder: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    let output: Output = program(name, folder)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name} cannot be run: {error}; run `cargo x test`"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {talk}");
}

/// The same call by way of what leads to other disks.
fn within(entry: &[String], call: Command) -> Command {
    let Some((first, rest)) = entry.split_first() else {
        return call;
    };
    let mut command = Command::new(first);
    command
        .args(rest)
        .arg(call.get_program())
        .args(call.get_args());
    command
}

/// A program of PostgreSQL's. As root it runs as the user `postgres`, because the server refuses root.
fn program(name: &str, folder: &Path) -> Command {
    let program = binaries().join(name);
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

/// The folder that `cargo x test` names, or the newest version that Debian's packages installed.
fn binaries() -> PathBuf {
    if let Some(folder) = super::variable("TIDEMILL_PG_BIN") {
        return folder;
    }
    let newest = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .max();
    newest.expect("there is no PostgreSQL server to test with; run the tests with `cargo x test`")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Gives a file to the user that the server runs as.
fn hand_over(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    if is_root() {
        let id = |flag: &str| -> u32 {
            let output = Command::new("id")
                .args([flag, "postgres"])
                .output()
                .expect("id is part of the system");
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().parse().expect("there is a user postgres")
        };
        chown(file, Some(id("-u")), Some(id("-g"))).expect("root may");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}

/// The name of the database in a URL of [`Server::url`].
pub fn database_of(url: &str) -> &str {
    let path = url.rsplit('/').next().unwrap_or_default();
    path.split('?').next().unwrap_or_default()
}

/// A session whose task ends when the client is dropped.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs a script in a database.
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
