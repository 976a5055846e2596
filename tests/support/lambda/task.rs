//! A function's code, variables and disk, and a process of it as Lambda starts one.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::bundle;
use crate::project::Project;

/// Who a function is where the tests are root: nobody, as in Lambda.
const NOBODY: u32 = 65_534;
/// What Lambda gives a function that is an archive, besides what names it.
const FIXED: [(&str, &str); 10] = [
    ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", ":UTC"),
    ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ("_HANDLER", "bootstrap"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/tidemill"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0"),
];

/// A function as Lambda keeps it: its variables, and a disk of its own where a function has `/tmp`. The code is the same for
/// all.
#[derive(Debug, Clone)]
pub struct Task {
    variables: Vec<(String, String)>,
    disk: Arc<TempDir>,
}

impl Task {
    /// A function with the variables of `project` and these.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(project: &Project, variables: &[(&str, &str)]) -> Result<Self> {
        let disk = tempfile::Builder::new()
            .prefix("tidemill-function-")
            .tempdir()?;
        if is_root()? {
            chown(disk.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let own = variables.iter().map(owned);
        Ok(Self {
            variables: project.environment().iter().cloned().chain(own).collect(),
            disk: Arc::new(disk),
        })
    }

    /// The folder that it has as `/tmp`.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// The folder of the code, which nobody may write to: the archive that `cargo x bundle --target lambda` makes of the
    /// program and of a project like `project`, unpacked once in this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn root(project: &Project) -> Result<PathBuf> {
        static UNPACKED: Mutex<Option<PathBuf>> = Mutex::new(None);
        let mut unpacked = UNPACKED.lock().expect("no test fails while it unpacks");
        if let Some(root) = &*unpacked {
            return Ok(root.clone());
        }
        let root = unpack(project)?;
        *unpacked = Some(root.clone());
        Ok(root)
    }

    /// A process of the function called `name` that asks `api` for calls: without an argument, in the folder of its code, with
    /// no variable of whoever runs the tests.
    ///
    /// # Errors
    /// As [`Task::root`].
    pub fn command(&self, project: &Project, name: &str, api: &str) -> Result<Command> {
        let root = Self::root(project)?;
        let region = self.variable("AWS_REGION").unwrap_or("eu-west-2");
        let mut command = Command::new(root.join("bootstrap"));
        command
            .current_dir(&root)
            .env_clear()
            .envs(FIXED)
            .env("AWS_REGION", region)
            .env("AWS_DEFAULT_REGION", region)
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("LAMBDA_TASK_ROOT", &root)
            // Lambda sets none, because `/tmp` itself is the function's own there.
            .env("TMPDIR", self.disk())
            .env("TIDEMILL_LOG_FORMAT", "json")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if is_root()? {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let mut named = self.variables.iter().filter(|(known, _)| known == name);
        named.next_back().map(|(_, value)| value.as_str())
    }
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn unpack(project: &Project) -> Result<PathBuf> {
    let home = home()?;
    let folder = project.path().to_str().context("a path is no Unicode")?;
    let archive = TempDir::new()?;
    let more = ["--project", folder];
    bundle::make("lambda", archive.path(), &more, project.environment())?;
    let name = format!("lambda-{}.zip", arch());
    let file = File::open(archive.path().join(&name)).context(name)?;
    let root = home.join("task");
    zip::ZipArchive::new(file)?.extract(&root)?;
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => take_away(&entry.path())?,
            }
        }
        take_away(&folder)?;
    }
    Ok(root)
}

/// Lets nobody write there.
fn take_away(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o222 | 0o444))?;
    Ok(())
}

/// As AWS writes it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// A folder for what this process unpacks. Nothing runs at the end of a process that could remove it, so those of processes
/// that have ended go when the next one comes.
fn home() -> Result<PathBuf> {
    const PREFIX: &str = "tidemill-functions-of-";
    let temporary = std::env::temp_dir();
    for entry in fs::read_dir(&temporary)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_over = process.is_some_and(|process| !Path::new("/proc").join(process).exists());
        if is_over {
            // Of another user, or another test removes it at this moment.
            let _ = remove(&entry.path());
        }
    }
    let home = temporary.join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir_all(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755))?;
    Ok(home)
}

/// Removes a folder with folders in it that nobody may write to.
fn remove(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
