//! What a program costs: the time that passes, the processor's, the server's, and memory.

use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemill_tests::postgres::Server;

/// How often the peak of a program's memory is asked for. It only grows, so that the last answer is at most
/// this old.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// Clock ticks a second in `/proc`, on every Linux there is.
const TICKS: f64 = 100.0;

/// What one thing cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// From the start of the program to its end.
    pub(crate) passed: Duration,
    /// Of the program and what it started.
    pub(crate) processor: Duration,
    /// Of PostgreSQL's sessions meanwhile.
    pub(crate) server: Duration,
    /// Resident memory at its highest.
    pub(crate) peak_bytes: u64,
}

impl Cost {
    /// Both sides' processor time. Where the server is on the same machine, it is what time passes with.
    pub(crate) fn both(&self) -> Duration {
        self.processor + self.server
    }

    /// The least of each figure.
    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            passed: self.passed.min(other.passed),
            processor: self.processor.min(other.processor),
            server: self.server.min(other.server),
            peak_bytes: self.peak_bytes.max(other.peak_bytes),
        }
    }
}

/// Runs a program to its end; gives what it cost and its stdout.
pub(crate) fn of(command: &mut Command, server: Option<&Server>) -> Result<(Cost, String)> {
    let (cost, stdout, _) = of_said(command, server)?;
    Ok((cost, stdout))
}

/// The same with its stderr.
pub(crate) fn of_said(
    command: &mut Command,
    server: Option<&Server>,
) -> Result<(Cost, String, String)> {
    let served = server.map(served).transpose()?;
    let (started, children) = (Instant::now(), of_children()?);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let status = format!("/proc/{}/status", child.id());
    let (ended, watched) = channel::<()>();
    let watcher = std::thread::spawn(move || {
        let mut peak = 0;
        while let Err(RecvTimeoutError::Timeout) = watched.recv_timeout(ASKED_EVERY) {
            peak = peak.max(high_water(&status).unwrap_or_default());
        }
        peak
    });
    let output = child.wait_with_output()?;
    let passed = started.elapsed();
    drop(ended);
    let peak_bytes = watcher.join().unwrap_or_default();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let served_since = |before| {
        server
            .map_or(Ok(before), self::served)
            .map(|now| now - before)
    };
    let cost = Cost {
        passed,
        processor: of_children()? - children,
        server: served.map_or(Ok(Duration::ZERO), served_since)?,
        peak_bytes,
    };
    let (stdout, stderr) = (output.stdout, output.stderr);
    Ok((cost, String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

/// Does something in this process; gives what it cost, memory excepted.
pub(crate) async fn of_work<T>(
    server: &Server,
    work: impl Future<Output = Result<T>>,
) -> Result<(Cost, T)> {
    let (own, other) = (of_this()?, served(server)?);
    let started = Instant::now();
    let done = work.await?;
    let passed = started.elapsed();
    let cost = Cost {
        passed,
        processor: of_this()? - own,
        server: served(server)? - other,
        peak_bytes: 0,
    };
    Ok((cost, done))
}

/// `VmHWM`: the most memory that was resident at any time.
fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fields of `/proc/PID/stat`, counted from 1, together.
fn ticks(process: &str, fields: [usize; 2]) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field is a name in brackets, which may hold blanks.
    let (_, rest) = text.rsplit_once(") ").context("a stat of another form")?;
    let of = |field: usize| -> Result<f64> {
        let ticks = rest.split(' ').nth(field - 3).context("a short stat")?;
        Ok(ticks.parse()?)
    };
    let ticks = of(fields[0])? + of(fields[1])?;
    Ok(Duration::from_secs_f64(ticks / TICKS))
}

fn of_this() -> Result<Duration> {
    ticks("self", [14, 15])
}

/// Of the children of this process that have ended.
fn of_children() -> Result<Duration> {
    ticks("self", [16, 17])
}

/// Of the sessions of a server that have ended. A session ends a moment after its client: it is waited for.
fn served(server: &Server) -> Result<Duration> {
    let file = std::fs::read_to_string(server.data().join("postmaster.pid"))?;
    let process = file
        .lines()
        .next()
        .context("a server has a process")?
        .to_owned();
    let deadline = Instant::now() + Duration::from_secs(2);
    let (never, waited) = channel::<()>();
    let mut last = ticks(&process, [16, 17])?;
    loop {
        let _ = waited.recv_timeout(Duration::from_millis(50));
        let now = ticks(&process, [16, 17])?;
        if now == last || Instant::now() > deadline {
            drop(never);
            return Ok(now);
        }
        last = now;
    }
}
