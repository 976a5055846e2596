//! Secrets that are marked: everything runs with them, at the greatest loudness, also what fails, and they are looked for
//! in every byte that was written.

#![allow(clippy::print_stdout, reason = "how much was looked through is told")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parquet::file::metadata::ParquetMetaDataReader;
use regex::bytes::RegexSet;
use tidemill_tests::gate::{Fate, Gate, Refusal};
use tidemill_tests::lake::Lake;
use tidemill_tests::postgres;
use tidemill_tests::project::Said;
use tidemill_tests::store::Store;
use tidemill_tests::versions::component;
use tidemill_tests::world::{At, Beginning, World};

const SOURCE: &str = "sourcepasswordd4f1c09b";
const WAREHOUSE: &str = "warehousepassword7be2a5";
const WRONG: &str = "wrongpassword50c3e8aa";
/// Where the password of the warehouse is.
const FILE: &str = "star.secret";
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to look, and for what.
struct Search {
    /// Every form in which a secret may stand.
    marks: RegexSet,
    /// What each of them is.
    names: Vec<String>,
    /// Bytes that were looked through.
    bytes: u64,
    found: Vec<String>,
}

impl Search {
    fn new(secrets: &[(&str, &str)]) -> Result<Self> {
        let mut marks = Vec::new();
        for (what, secret) in secrets {
            marks.push(((*secret).to_owned(), (*what).to_owned()));
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            marks.push((hex, format!("{what} as hex")));
            // What stands before it decides how it looks; the first and the last characters hold neighbours, too.
            for before in 0..3 {
                let padded = format!("{}{secret}", "x".repeat(before));
                let encoded = STANDARD_NO_PAD.encode(padded);
                let own = encoded.get(4..encoded.len() - 3).unwrap_or_default();
                marks.push((own.to_owned(), format!("{what} in base 64")));
            }
        }
        let patterns = marks.iter().map(|(mark, _)| regex::escape(mark));
        Ok(Self {
            marks: RegexSet::new(patterns)?,
            names: marks.into_iter().map(|(_, what)| what).collect(),
            bytes: 0,
            found: Vec::new(),
        })
    }

    fn look(&mut self, place: &str, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for mark in &self.marks.matches(bytes) {
            let what = self.names.get(mark).map_or("a secret", String::as_str);
            self.found.push(format!("{what} in {place}"));
        }
        // What is written as text within a file may be kept otherwise than it is read.
        if bytes.starts_with(b"PAR1") {
            let owned = bytes::Bytes::copy_from_slice(bytes);
            match ParquetMetaDataReader::new().parse_and_finish(&owned) {
                Ok(metadata) => self.look(
                    &format!("{place}, metadata"),
                    format!("{metadata:?}").as_bytes(),
                ),
                Err(error) => self.found.push(format!("{place} cannot be read: {error}")),
            }
        }
    }

    fn said(&mut self, call: &str, said: &Said) {
        self.look(&format!("stdout of {call}"), said.stdout.as_bytes());
        self.look(&format!("stderr of {call}"), said.stderr.as_bytes());
    }

    fn files(&mut self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.files(&path)?;
            } else if path.file_name().is_none_or(|name| name != FILE) {
                self.look(&path.display().to_string(), &std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// Every row of every table of a database.
    async fn database(&mut self, url: &str) -> Result<u64> {
        let client = postgres::connect(url).await?;
        let tables = client
            .query(
                "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
                 WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'",
                &[],
            )
            .await?;
        let mut rows = 0;
        for table in tables {
            let table: String = table.get(0);
            let all = client
                .query(&format!("SELECT t::text FROM {table} t"), &[])
                .await?;
            for row in all {
                let text: String = row.get(0);
                self.look(&table, text.as_bytes());
                rows += 1;
            }
        }
        Ok(rows)
    }

    fn end(self) -> Result<()> {
        ensure!(self.found.is_empty(), "{:#?}", self.found);
        Ok(())
    }
}

/// A URL with a password in it.
fn with_password(url: &str, password: &str) -> String {
    url.replace("postgres@", &format!("postgres:{password}@"))
}

#[tokio::test]
async fn no_secret_is_in_anything_that_is_written() -> Result<()> {
    let store = Store::shared();
    let mut world = World::begin(Beginning {
        scale: 0.2,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let mut lake = Lake::of(&mut world.project, &store).await?;
    let session = store.session()?;
    let gate = Gate::before(store.port())?;
    lake.enter(&mut world.project, &gate.endpoint(), None);
    std::fs::write(world.project.path().join(FILE), WAREHOUSE)?;
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", session.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", session.secret.clone()),
        ("AWS_SESSION_TOKEN", session.token.clone()),
        ("TOTESYS_URL", with_password(&world.source, SOURCE)),
        (
            "TIDEMILL_WAREHOUSE__URL",
            with_password(&world.star, &format!("${{file:{FILE}}}")),
        ),
        ("TIDEMILL_CACHE", "cache".into()),
        ("TIDEMILL_MODULES__UNSIGNED", "true".into()),
        ("TIDEMILL_LOG", "trace".into()),
        ("TIDEMILL_LOG_FORMAT", "json".into()),
        ("RUST_BACKTRACE", "full".into()),
    ] {
        world.project.set(name, &value);
    }
    let mut search = Search::new(&[
        ("the source's password", SOURCE),
        ("the warehouse's password", WAREHOUSE),
        ("a wrong password", WRONG),
        ("the secret key", &session.secret),
        ("the session's token", &session.token),
    ])?;
    ensure!(finds(&session.secret)?, "the search finds nothing");

    everything(&world, &mut search)?;
    world.live().await?;
    failures(&world, &gate, &mut search)?;
    let health = serve(&world, &mut search)?;
    ensure!(health > 0, "serve was asked for its health");
    done(&world, &mut search, &["run"])?;

    lake.look().await?;
    for place in [&lake.ingestion, &lake.processed, &lake.modules] {
        for (key, bytes) in store.objects(&place.bucket).await {
            search.look(&format!("s3://{}/{key}", place.bucket), &bytes);
        }
    }
    search.files(world.project.path())?;
    let rows = search.database(&world.star).await?;
    ensure!(rows > 100, "the warehouse has {rows} rows");
    println!("{} bytes looked through", search.bytes);
    search.end()
}

/// The search finds what it looks for, in each of its forms.
fn finds(secret: &str) -> Result<bool> {
    let mut search = Search::new(&[("a secret", secret)])?;
    let forms = [
        format!("password={secret}&"),
        STANDARD_NO_PAD.encode(format!("user:{secret}:x")),
        STANDARD_NO_PAD.encode(format!("users:{secret}")),
        STANDARD_NO_PAD.encode(format!("a user:{secret}!")),
    ];
    for form in &forms {
        search.look("a form", form.as_bytes());
    }
    Ok(search.found.len() == forms.len())
}

fn done(world: &World, search: &mut Search, arguments: &[&str]) -> Result<Said> {
    let said = world.project.call(arguments)?;
    let call = arguments.join(" ");
    search.said(&call, &said);
    ensure!(
        arguments.first() != Some(&"run") || said.stderr.contains("\"level\":\"TRACE\""),
        "{call} did not say all that there is to say"
    );
    ensure!(
        matches!(said.code, Some(0 | 3 | 4)),
        "{call} ended with {:?}: {}",
        said.code,
        last_lines(&said.stderr)
    );
    Ok(said)
}

/// At the greatest loudness there are megabytes of talk.
fn last_lines(talk: &str) -> String {
    let lines: Vec<&str> = talk.lines().collect();
    lines
        .get(lines.len().saturating_sub(8)..)
        .unwrap_or_default()
        .join("\n")
}

/// Every verb that looks at the project, as text and as JSON.
fn everything(world: &World, search: &mut Search) -> Result<()> {
    let candidate = world.project.path().join("candidate.wasm");
    let replaced = [("1.0.0", "1.1.0"), ("Pound Sterling", "Pound sterling")];
    std::fs::write(&candidate, component("dim-currency", &replaced)?)?;
    // What moves or makes data is dear, and says the same in another form.
    for arguments in [
        &["run"][..],
        &["run", "--output", "json"],
        &["replay", "last"],
        &["verify", "--output", "json"],
        &["module", "push", "candidate.wasm"],
        &[
            "module",
            "shadow",
            "dim-currency@1.1.0",
            "--report",
            "shadow.html",
        ],
        &["module", "shadow", "dim-currency@1.1.0", "--output", "json"],
        &["rebuild", "dim_currency"],
    ] {
        done(world, search, arguments)?;
    }
    for arguments in [
        &["discover"][..],
        &["doctor"],
        &["plan"],
        &["runs"],
        &["runs", "last"],
        &["preview", "dim_currency"],
        &["query", "SELECT count(*) FROM dim_currency"],
        &["lineage", "dim_currency"],
        &["trace", "dim_currency", "1"],
        &["sweep", "--dry-run"],
        &["policy", "run"],
        &["module", "list"],
        &["module", "inspect", "candidate.wasm"],
    ] {
        done(world, search, arguments)?;
        done(world, search, &[arguments, &["--output", "json"]].concat())?;
    }
    done(world, search, &["lineage", "--output", "openlineage"])?;
    ensure!(world.project.path().join("shadow.html").is_file());
    ensure!(world.project.path().join("cache").is_dir());
    Ok(())
}

/// What goes wrong with a secret at hand.
fn failures(world: &World, gate: &Gate, search: &mut Search) -> Result<()> {
    let nowhere = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let away =
        format!("postgresql://postgres:{SOURCE}@127.0.0.1:{nowhere}/totesys?sslmode=disable");
    let missing = with_password(&world.source, SOURCE).replace("/test_", "/no_such_");
    let no_url = format!("postgresql://postgres:{WRONG}@[::1/x");
    let no_port = format!("postgresql://postgres:{WRONG}@127.0.0.1:port/x");
    let no_scheme = format!("oracle://postgres:{WRONG}@127.0.0.1/x");
    let no_option = format!("postgresql://postgres:{WRONG}@127.0.0.1/x?sslmode=nonsense");
    for setting in ["source.totesys.url", "warehouse.url"] {
        for url in [&away, &missing, &no_url, &no_port, &no_scheme, &no_option] {
            let assignment = format!("{setting}={url}");
            for arguments in [&["run"][..], &["doctor", "--output", "json"]] {
                let arguments = [arguments, &["--set", &assignment]].concat();
                let said = world.project.call(&arguments)?;
                ensure!(
                    said.code != Some(0),
                    "{setting}: {}",
                    last_lines(&said.stdout)
                );
                // The line itself says it, and nobody else may.
                search.said(arguments.first().unwrap_or(&""), &said);
            }
        }
    }
    for refusal in [Refusal::DENIED, Refusal::INTERNAL] {
        gate.set(move |request| match request.key.contains("_manifests/") {
            true => Fate::Refuse(refusal),
            false => Fate::Pass,
        });
        let said = world.project.call(["extract"])?;
        ensure!(said.code == Some(1), "{}", last_lines(&said.stderr));
        search.said("extract", &said);
    }
    gate.set(|_| Fate::Pass);
    let mut wrong = world.project.command(["run"])?;
    let wrong = wrong.env("AWS_SECRET_ACCESS_KEY", WRONG).output()?;
    ensure!(wrong.status.code() == Some(1));
    search.look("stdout with a wrong key", &wrong.stdout);
    search.look("stderr with a wrong key", &wrong.stderr);
    Ok(())
}

/// A running program, stopped when the test is done with it.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `serve` tells of itself over HTTP, and says meanwhile. Gives how many bytes it told.
#[allow(
    clippy::disallowed_methods,
    reason = "another process begins to answer, and nothing tells when"
)]
fn serve(world: &World, search: &mut Search) -> Result<usize> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("serve.listen=127.0.0.1:{port}");
    let mut command = world.project.command(["serve", "--set", &listen])?;
    command
        .env("TIDEMILL_SCHEDULE__ALWAYS__EVERY", "1s")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut serving = Serving(command.spawn()?);
    let outputs = [
        drain(serving.0.stdout.take().context("a pipe")?),
        drain(serving.0.stderr.take().context("a pipe")?),
    ];
    let deadline = Instant::now() + PATIENCE;
    let mut told = 0;
    let mut seen = BTreeMap::new();
    while seen.len() < 3 || told < 1_000 {
        ensure!(Instant::now() < deadline, "serve told only {seen:?}");
        for path in ["/healthz", "/readyz", "/status", "/metrics"] {
            if let Ok(answer) = get(port, path) {
                told += answer.len();
                search.look(path, answer.as_bytes());
                seen.insert(path, answer.len());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    core_is_limited(serving.0.id(), "0")?;
    let status = std::process::Command::new("kill")
        .arg(serving.0.id().to_string())
        .status()?;
    ensure!(
        status.success() && serving.0.wait()?.success(),
        "serve does not end well"
    );
    for output in outputs {
        let Ok(bytes) = output.join() else {
            bail!("a thread panicked")
        };
        search.look("what serve says", &bytes);
    }
    Ok(told)
}

/// Reads to the end, so that the one who writes never waits.
fn drain(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether the image of a process that crashes may have this size.
fn core_is_limited(process: u32, limit: &str) -> Result<()> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let line = line.context("the kernel tells limits")?;
    let soft = line
        .trim_start_matches("Max core file size")
        .split_whitespace()
        .next();
    ensure!(soft == Some(limit), "{line}");
    Ok(())
}

/// The size that no image may exceed, whoever asks.
#[cfg(target_os = "linux")]
fn hard_limit() -> Result<String> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let limit = line.and_then(|line| {
        line.trim_start_matches("Max core file size")
            .split_whitespace()
            .nth(1)
    });
    Ok(limit.context("the kernel tells limits")?.to_owned())
}

/// No image of the program's memory is written when it crashes, unless somebody wants it.
#[cfg(target_os = "linux")]
#[allow(
    clippy::disallowed_methods,
    reason = "another process begins to answer, and nothing tells when"
)]
#[tokio::test]
async fn a_crash_leaves_no_image_of_memory_unless_one_is_wanted() -> Result<()> {
    let project = tidemill_tests::project::Project::with_file(
        "[serve]\nlisten = \"none\"\n[schedule.hourly]\nevery = \"1h\"\n",
    )?;
    // The shell lets images be as large as they may be, as on the machine of a developer.
    let hard = hard_limit()?;
    ensure!(hard != "0", "no image is ever written here");
    for (wanted, limit) in [(None, "0"), (Some("1"), hard.as_str())] {
        let program = project.command(["serve"])?;
        let mut shell = std::process::Command::new("sh");
        shell
            .current_dir(project.path())
            .args(["-c", "ulimit -S -c $(ulimit -H -c) && exec \"$0\" serve"])
            .arg(program.get_program())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(wanted) = wanted {
            shell.env("TIDEMILL_CORE_DUMPS", wanted);
        }
        let serving = Serving(shell.spawn()?);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = core_is_limited(serving.0.id(), limit) {
            ensure!(Instant::now() < deadline, "{wanted:?}: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
