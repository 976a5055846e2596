//! Disks of a test's own: small ones that fill up, and ones that turn read-only.
//!
//! They are mounted in a mount namespace that a helper process holds open, so that nobody else sees them and
//! nothing is left mounted when the test ends, however it ends. `root` makes the namespace; other users make a
//! user namespace around it, where the system lets them.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

/// What to do where neither can be made.
const REFUSED: &str = "the tests of full and read-only disks need to mount: run them as root, or allow user namespaces \
     (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)";

/// A mount namespace. It ends with the process that holds it.
#[derive(Debug)]
pub struct Mounts {
    holder: Child,
    root: bool,
}

impl Mounts {
    /// A namespace in which everything is mounted as outside.
    ///
    /// # Errors
    /// When the system allows none; the message says what to do.
    pub fn new() -> Result<Self> {
        let root = std::fs::metadata("/proc/self")?.uid() == 0;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        if !root {
            command.arg("--map-root-user");
        }
        let mut holder = command
            .args(["sh", "-c", "echo ready; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(REFUSED)?;
        let mut line = String::new();
        let said = holder.stdout.take().context("its stdout is a pipe")?;
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line == "ready\n", "{REFUSED}");
        Ok(Self { holder, root })
    }

    /// Mounts a new disk of so many bytes over a folder, which is made.
    ///
    /// # Errors
    /// The system's, in words.
    pub fn disk(&self, folder: &Path, bytes: u64) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        self.mount(
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes}"),
                "tidemill-test",
            ],
            folder,
        )
    }

    /// Gives the disk at a folder what it holds and so many bytes more, of which it uses whole pages.
    ///
    /// # Errors
    /// The system's, in words.
    pub fn leave(&self, folder: &Path, bytes: u64) -> Result<()> {
        let used = self.run(
            "df",
            &["--output=used", "-B1", &folder.display().to_string()],
        )?;
        let used: u64 = used.lines().last().unwrap_or_default().trim().parse()?;
        self.mount(&["-o", &format!("remount,size={}", used + bytes)], folder)
    }

    /// Sets an option of the disk at a folder: `ro`, `rw`, `size=…`.
    ///
    /// # Errors
    /// The system's, in words.
    pub fn remount(&self, folder: &Path, option: &str) -> Result<()> {
        self.mount(&["-o", &format!("remount,{option}")], folder)
    }

    /// The folder as the namespace sees it, for everybody.
    pub fn path(&self, folder: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(folder.strip_prefix("/").unwrap_or(folder))
    }

    /// The same call, made in the namespace. Its environment is only what was set for it.
    pub fn command(&self, call: &Command) -> Command {
        let mut command = self.enter();
        command.env_clear();
        for (name, value) in call.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.arg("env");
        if let Some(folder) = call.get_current_dir() {
            // Entering a namespace leads back to its root.
            command.arg("-C").arg(folder);
        }
        command.arg(call.get_program()).args(call.get_args());
        command
    }

    /// What stands before the call of a server that is to see the disks. A server refuses to be root, also in a
    /// user namespace, so there it gets its own user back in another.
    pub(crate) fn entry(&self) -> Vec<String> {
        let enter = self.enter();
        let words = std::iter::once(enter.get_program()).chain(enter.get_args());
        let mut entry: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        if let (false, Ok(own)) = (self.root, std::fs::metadata("/proc/self")) {
            let own = [
                format!("--map-user={}", own.uid()),
                format!("--map-group={}", own.gid()),
            ];
            entry.extend(["unshare".to_owned(), "--user".to_owned()]);
            entry.extend(own);
        }
        entry
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        if !self.root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--target", &self.holder.id().to_string(), "--"]);
        command
    }

    fn mount(&self, arguments: &[&str], folder: &Path) -> Result<()> {
        let folder = folder.display().to_string();
        self.run("mount", &[arguments, &[&folder]].concat())
            .map(drop)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let Output {
            status,
            stdout,
            stderr,
        } = self.enter().arg(program).args(arguments).output()?;
        let talk = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "{program} {arguments:?} failed: {talk}");
        Ok(String::from_utf8(stdout)?)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
