//! A program that is stopped at every system call by which it changes something outside itself, so that a test
//! can end it exactly before, in, or after one of them.
//!
//! What a killed program leaves behind is what its calls did until then: files, names, and what a server was sent.
//! So the moments between two such calls are all the moments there are, and the program needs no code for tests.
//! Linux only, by `ptrace`, as a debugger does it.

mod ptrace;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use libc::{c_int, pid_t};

use self::ptrace::{Entry, Event};

/// What is read of a path or of what is sent.
const SHOWN_BYTES: usize = 4096;

/// What kind of change a call makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file is made, or opened so that it would be.
    Create,
    /// Bytes are written into a file.
    Write,
    /// A file gets a name, by a link or by renaming it.
    Name,
    /// A folder is made.
    Folder,
    /// A name is removed.
    Remove,
    /// Bytes are sent.
    Send,
    /// The program ends by itself.
    Exit,
}

/// A call that changes something outside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it changes.
    pub kind: Kind,
    /// The path, absolute where the program gave it so, or the text that is sent.
    pub target: String,
}

/// When to kill, relative to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It was not made.
    Before,
    /// Whether it was made is left to chance.
    During,
    /// It was made, and the program never heard of it. Of what was sent: the server has answered.
    After,
}

/// How a program ended.
#[derive(Debug)]
pub struct Traced {
    /// The call at which it was killed.
    pub killed: Option<(Call, Side)>,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

/// Runs `command` to its end, or until `decide` wants it killed.
///
/// `decide` is asked at every change, in order, before it is made.
///
/// # Errors
/// When the program cannot be traced: some containers forbid `ptrace`.
pub fn run(command: &Command, decide: impl FnMut(&Call) -> Option<Side> + Send) -> Result<Traced> {
    // What a thread starts and traces, only that thread can wait for, and other tests wait for theirs.
    thread::scope(|scope| {
        let traced = scope.spawn(|| Tracer::start(command, decide)?.run_out());
        match traced.join() {
            Ok(traced) => traced,
            Err(_) => bail!("the thread that traces panicked"),
        }
    })
}

struct Tracer<D> {
    program: pid_t,
    decide: D,
    /// By thread, what it has entered and is to be killed after.
    entered: HashMap<pid_t, Call>,
    /// What was sent, where the program is to be killed when it goes on.
    sent: Option<Call>,
    killed: Option<(Call, Side)>,
    stdout: File,
    stderr: File,
}

impl<D: FnMut(&Call) -> Option<Side>> Tracer<D> {
    /// Starts it stopped, so that not even its first call is missed.
    fn start(command: &Command, decide: D) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(std::process::Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        let child = shell.spawn().context("cannot start a shell")?;
        let program = pid_t::try_from(child.id())?;
        ptrace::wait_for_stop(program)?;
        if let Err(cause) = ptrace::seize(program) {
            ptrace::kill(program, libc::SIGKILL)?;
            bail!(
                "ptrace is not allowed here ({cause}): give the container the capability SYS_PTRACE"
            );
        }
        ptrace::kill(program, libc::SIGCONT)?;
        Ok(Self {
            program,
            decide,
            entered: HashMap::new(),
            sent: None,
            killed: None,
            stdout,
            stderr,
        })
    }

    fn run_out(mut self) -> Result<Traced> {
        let code = loop {
            match ptrace::wait_for_event().context("the traced program got lost")? {
                Event::Call(thread) => self.at_call(thread)?,
                Event::Other(thread) => resume(thread, 0)?,
                Event::Signal(thread, signal) => resume(thread, signal)?,
                Event::Exited(thread, code) if thread == self.program => break Some(code),
                Event::Killed(thread) if thread == self.program => break None,
                Event::Exited(..) | Event::Killed(..) => {}
            }
        };
        ensure!(
            self.killed.is_none() || code.is_none(),
            "it was killed and ended by itself with {code:?}"
        );
        Ok(Traced {
            killed: self.killed,
            code,
            stdout: text(self.stdout)?,
            stderr: text(self.stderr)?,
        })
    }

    /// A thread has entered or left a call.
    fn at_call(&mut self, thread: pid_t) -> Result<()> {
        // A thread that was killed meanwhile has no call.
        let Ok(entry) = ptrace::entry(thread) else {
            return resume(thread, 0);
        };
        let Some(entry) = entry else {
            return match self.entered.remove(&thread) {
                Some(call) => self.kill(call, Side::After),
                None => resume(thread, 0),
            };
        };
        // A process that the program started has an end of its own.
        let counts = |call: &Call| {
            self.killed.is_none() && (call.kind != Kind::Exit || self.is_of_program(thread))
        };
        let Some(call) = call(thread, &entry).filter(counts) else {
            return resume(thread, 0);
        };
        if let Some(sent) = self.sent.take() {
            return self.kill(sent, Side::After);
        }
        match (self.decide)(&call) {
            None => resume(thread, 0),
            Some(Side::Before) => self.kill(call, Side::Before),
            Some(Side::During) => {
                resume(thread, 0)?;
                self.kill(call, Side::During)
            }
            Some(Side::After) if call.kind == Kind::Send => {
                self.sent = Some(call);
                resume(thread, 0)
            }
            Some(Side::After) => {
                self.entered.insert(thread, call);
                resume(thread, 0)
            }
        }
    }

    /// Whether a thread is one of the program itself.
    fn is_of_program(&self, thread: pid_t) -> bool {
        std::fs::exists(format!("/proc/{}/task/{thread}", self.program)).unwrap_or(false)
    }

    /// A thread that is stopped at the entry of a call never makes it: the kernel looks for a deadly signal first.
    fn kill(&mut self, call: Call, side: Side) -> Result<()> {
        self.killed = Some((call, side));
        Ok(ptrace::kill(self.program, libc::SIGKILL)?)
    }
}

/// Lets a thread go on to its next call; one that was killed meanwhile cannot.
fn resume(thread: pid_t, signal: c_int) -> Result<()> {
    match ptrace::resume(thread, signal) {
        Ok(()) => Ok(()),
        Err(cause) if cause.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        Err(cause) => Err(cause).context("cannot let the traced program go on"),
    }
}

/// The call that a thread has entered, where it changes something.
fn call(thread: pid_t, entry: &Entry) -> Option<Call> {
    let argument = |place: usize| entry.arguments.get(place).copied();
    let number = i64::try_from(entry.number).ok()?;
    let path = |place: usize| read_text(thread, argument(place)?, None);
    let made = |kind: Kind, target: Option<String>| {
        Some(Call {
            kind,
            target: target?,
        })
    };
    let creates = |flags: u64| flags & libc::O_CREAT as u64 != 0;
    match number {
        libc::SYS_openat if creates(argument(2)?) => made(Kind::Create, path(1)),
        libc::SYS_renameat2 | libc::SYS_renameat | libc::SYS_linkat => made(Kind::Name, path(3)),
        libc::SYS_mkdirat => made(Kind::Folder, path(1)),
        libc::SYS_unlinkat => made(Kind::Remove, path(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open if creates(argument(1)?) => made(Kind::Create, path(0)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename | libc::SYS_link => made(Kind::Name, path(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => made(Kind::Folder, path(0)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink | libc::SYS_rmdir => made(Kind::Remove, path(0)),
        libc::SYS_sendto => made(Kind::Send, read_text(thread, argument(1)?, argument(2))),
        // The head of a request comes first, its body is another piece.
        libc::SYS_writev if is_socket(thread, argument(0)?) => {
            let (address, length) = first_piece(thread, argument(1)?)?;
            made(Kind::Send, read_text(thread, address, Some(length)))
        }
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_ftruncate => {
            let target = opened(thread, argument(0)?)?;
            if target.starts_with("socket:") {
                return made(Kind::Send, read_text(thread, argument(1)?, argument(2)));
            }
            let is_file = target.starts_with('/') && !target.starts_with("/dev/");
            is_file
                .then_some(target)
                .and_then(|target| made(Kind::Write, Some(target)))
        }
        libc::SYS_exit_group => made(Kind::Exit, Some(String::new())),
        _ => None,
    }
}

/// What a thread has open under a number.
fn opened(thread: pid_t, number: u64) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{thread}/fd/{number}")).ok()?;
    target.to_str().map(str::to_owned)
}

fn is_socket(thread: pid_t, number: u64) -> bool {
    opened(thread, number).is_some_and(|target| target.starts_with("socket:"))
}

/// Where the first of several pieces is that are written at once, and its length.
fn first_piece(thread: pid_t, address: u64) -> Option<(u64, u64)> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut piece = [[0; 8]; 2];
    memory
        .read_exact_at(piece.as_flattened_mut(), address)
        .ok()?;
    let [address, length] = piece.map(u64::from_ne_bytes);
    Some((address, length))
}

/// Text in the memory of a traced thread, of that length or up to its NUL.
fn read_text(thread: pid_t, address: u64, length: Option<u64>) -> Option<String> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let wanted = length.map_or(SHOWN_BYTES, |length| {
        usize::try_from(length)
            .unwrap_or(SHOWN_BYTES)
            .min(SHOWN_BYTES)
    });
    let mut bytes = vec![0; wanted];
    // What lies behind the text may not be there.
    let read = match memory.read_at(&mut bytes, address) {
        Ok(read) => read,
        Err(_) => return None,
    };
    bytes.truncate(read);
    if length.is_none() {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        bytes.truncate(end);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn text(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
