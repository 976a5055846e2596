//! The runtime interface that others wrote: cargo-lambda's, which forwards what is posted to a function and takes its answer.
//!
//! It has no deadline and kills nobody; what it names as the deadline is a constant that is long past. So functions under it
//! show that the protocol is understood as others understand it, and those under the tests' own interface the rest.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::interface::failure;
use super::{Answer, Task};
use crate::project::Project;

/// The variable by which `cargo x test` names the program.
const PROGRAM: &str = "TIDEMILL_CARGO_LAMBDA";
/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a call may take.
const LONGEST: Duration = Duration::from_secs(300);

/// An emulator with functions. They end with it.
pub struct Emulator {
    child: Child,
    port: u16,
    folder: TempDir,
    functions: Vec<Child>,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        for child in self.functions.iter_mut().chain([&mut self.child]) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Emulator {
    /// Starts one for functions of these names.
    ///
    /// # Errors
    /// When it does not start, with what it said.
    pub async fn start(functions: &[&str]) -> Result<Self> {
        let program = crate::variable(PROGRAM);
        let program = program.context("run the tests with `cargo x test`: it gets cargo-lambda")?;
        let folder = TempDir::new()?;
        // It knows functions as the programs of a package, which it never builds here.
        fs::create_dir_all(folder.path().join("src/bin"))?;
        let manifest = "[package]\nname = \"functions\"\nversion = \"0.0.0\"\nedition = \"2021\"\n";
        fs::write(folder.path().join("Cargo.toml"), manifest)?;
        for function in functions {
            let file = folder.path().join(format!("src/bin/{function}.rs"));
            fs::write(file, "fn main() {}\n")?;
        }
        let log = File::create(folder.path().join("log"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program)
            .args(["lambda", "watch", "--only-lambda-apis"])
            .args(["--invoke-address", "127.0.0.1"])
            .args(["--invoke-port", &port.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut emulator = Self {
            child,
            port,
            folder,
            functions: Vec::new(),
        };
        let answers = timeout(PATIENCE, emulator.answers()).await;
        answers.unwrap_or(Ok(false)).and_then(|answers| {
            ensure!(answers, "the emulator does not start: {}", emulator.log());
            Ok(())
        })?;
        Ok(emulator)
    }

    /// Waits until it answers; false if it ends before.
    async fn answers(&mut self) -> Result<bool> {
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(true)
    }

    /// What it and its functions wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the process of a function.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self, project: &Project, name: &str, task: &Task) -> Result<()> {
        let api = format!("http://127.0.0.1:{}/.rt/{name}", self.port);
        let log = File::options()
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = task.command(project, name, &api)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        self.functions.push(child);
        Ok(())
    }

    /// Calls a function as AWS's own API is called.
    ///
    /// # Errors
    /// When nothing is answered that can be understood.
    pub async fn call(&self, function: &str, event: &Value) -> Result<Answer> {
        let asked = timeout(LONGEST, self.ask(function, &event.to_string())).await;
        let (status, body) = asked.with_context(|| self.log())??;
        match status {
            200 => Ok(Answer::Done(serde_json::from_slice(&body)?)),
            500 => Ok(failure(&body)),
            other => bail!("{other}: {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn ask(&self, function: &str, event: &str) -> Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let head = format!(
            "POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            event.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(event.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.context("an answer has a head")? + 4);
        let status = String::from_utf8_lossy(head);
        let status = status.split(' ').nth(1).context("a head has a status")?;
        Ok((status.parse()?, body.to_vec()))
    }
}
