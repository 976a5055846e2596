//! A PostgreSQL server of our own for the tests of one binary: fresh, on loopback, gone when the tests are.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tidemill::connection::postgres::{PgConnection, PgUrl, connect};

/// Starts the server, says so, and stops it when standard input closes, which it does however the tests end.
const GUARD: &str = r#"
"$1/pg_ctl" -D "$2/data" -w -s -l "$2/log" -o "-p $3 -k $2 -c listen_addresses=127.0.0.1 \
    -c fsync=off -c shared_buffers=32MB -c max_connections=60" start >/dev/null || exit 1
echo ready
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -s -m immediate stop >/dev/null
rm -rf "$2"
"#;

struct Server {
    port: u16,
    /// Its standard input is what keeps the server alive.
    _guard: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A new, empty database: its URL.
pub(crate) async fn database() -> String {
    let server = SERVER.get_or_init(start);
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let admin = format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port);
    let client = client(&admin).await;
    client
        .batch_execute(&format!("CREATE DATABASE test_{number}"))
        .await
        .expect("a new database");
    format!(
        "postgresql://postgres@127.0.0.1:{}/test_{number}",
        server.port
    )
}

/// A connection beside the code under test.
pub(crate) async fn client(url: &str) -> PgConnection {
    let url = PgUrl::parse(url).expect("a URL of the tests");
    connect(&url).await.expect("the tests' server answers")
}

fn start() -> Server {
    let programs = programs();
    let folder = tempfile::Builder::new()
        .prefix("tidemill-pg-")
        .tempdir()
        .expect("a temporary folder")
        .keep();
    let owner = owner(&folder);
    let data = folder.join("data");
    let mut initdb = owner.command(&programs.join("initdb"));
    initdb
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"])
        .args(["--locale", "C.UTF-8"]);
    let made = initdb.output().expect("initdb runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let port = free_port();
    let mut guard = owner
        .command(Path::new("/bin/sh"))
        .args(["-c", GUARD, "guard"])
        .arg(&programs)
        .arg(&folder)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut said = String::new();
    let stdout = guard.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut said)
        .expect("the guard speaks");
    if said != "ready\n" {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("the server did not start:\n{log}");
    }
    Server {
        port,
        _guard: guard,
    }
}

/// `TIDEMILL_PG_BIN`, or the newest of the system's installations.
fn programs() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the server's programs are is a setting of the tests, not of tidemill"
    )]
    if let Ok(folder) = std::env::var("TIDEMILL_PG_BIN") {
        return folder.into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").map(|versions| {
        let mut versions: Vec<(u32, PathBuf)> = versions
            .filter_map(|version| {
                let path = version.ok()?.path();
                let number = path.file_name()?.to_str()?.parse().ok()?;
                Some((number, path.join("bin")))
            })
            .filter(|(_, programs)| programs.join("initdb").exists())
            .collect();
        versions.sort();
        versions.pop().map(|(_, programs)| programs)
    });
    installed.ok().flatten().expect(
        "these tests need PostgreSQL 12 or newer: apt-get install postgresql, or set TIDEMILL_PG_BIN to the folder of initdb",
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// Who runs the server: it refuses to be run by root.
enum Owner {
    Me,
    User { uid: u32, gid: u32 },
}

fn owner(folder: &Path) -> Owner {
    use std::os::unix::fs::{MetadataExt, chown};
    let mine = std::fs::metadata(folder).expect("our own folder");
    if mine.uid() != 0 {
        return Owner::Me;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let user = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (uid, gid) = user("postgres")
        .or_else(|| user("nobody"))
        .expect("root cannot run PostgreSQL, and there is neither a user postgres nor nobody");
    chown(folder, Some(uid), Some(gid)).expect("root may give a folder away");
    Owner::User { uid, gid }
}

impl Owner {
    fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C ends the tests, and their end the server.
        command.current_dir("/").process_group(0);
        if let Self::User { uid, gid } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }
}
