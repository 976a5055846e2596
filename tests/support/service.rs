//! A `serve` at work, what it says, and what it tells over HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::project::Project;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A service that ends with its test.
#[derive(Debug)]
pub struct Service {
    child: Child,
    said: Receiver<String>,
    lines: Vec<Value>,
    stdout: Option<JoinHandle<String>>,
}

impl Service {
    /// Starts `tidemill serve --log-format json` in the folder of a project.
    ///
    /// # Errors
    /// When there is no fresh binary.
    pub fn start(project: &Project) -> Result<Self> {
        let mut command = project.command(["serve", "--log-format", "json"])?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("stderr is piped")?);
        let mut stdout = child.stdout.take().context("stdout is piped")?;
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            // What is no text fails where it is looked at.
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Ok(Self {
            child,
            said,
            lines: Vec::new(),
            stdout: Some(stdout),
        })
    }

    /// Waits until a line with this message is said, and gives it. Lines before it are kept.
    ///
    /// # Errors
    /// When it is not said within two minutes, or something is said that is no JSON.
    pub fn until(&mut self, message: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.with_context(|| format!("{message:?} after {:#?}", self.lines))?;
            let line: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            self.lines.push(line.clone());
            if line.get("message").and_then(Value::as_str) == Some(message) {
                return Ok(line);
            }
        }
    }

    /// What was said up to the last call of [`Service::until`].
    pub fn lines(&self) -> &[Value] {
        &self.lines
    }

    /// Where it tells its health.
    ///
    /// # Errors
    /// When it does not say so.
    pub fn address(&mut self) -> Result<String> {
        let line = self.until("health is told")?;
        let address = line.get("address").and_then(Value::as_str);
        Ok(address.context("a line with an address")?.to_owned())
    }

    /// Sends a signal by its name.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()?;
        ensure!(sent.success(), "nobody to signal");
        Ok(())
    }

    /// Waits for its end; gives its exit code and its stdout.
    ///
    /// # Errors
    /// When it does not end within two minutes.
    #[expect(
        clippy::disallowed_methods,
        reason = "a process has no event for its end"
    )]
    pub fn end(&mut self) -> Result<(Option<i32>, String)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let stdout = self.stdout.take().context("it ends once")?;
                let Ok(stdout) = stdout.join() else {
                    bail!("stdout cannot be read");
                };
                return Ok((status.code(), stdout));
            }
            ensure!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the body of an answer.
///
/// # Errors
/// When nobody answers.
pub fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let code = head.split(' ').nth(1).context("a status")?;
    Ok((code.parse()?, body.to_owned()))
}
