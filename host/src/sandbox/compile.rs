//! Compiling, in a process of its own.
//!
//! A guest that runs has a meter; a compiler has none, and it cannot be interrupted. Nine kilobytes of
//! nested loops keep Cranelift busy for many seconds, twice as deep and twice as wide four times as long,
//! and a kilobyte of components that instantiate each other twice becomes gigabytes. So the program calls
//! itself: the child gets the component on stdin, no environment and no folder of the project, takes on
//! limits of processor time and memory that the system enforces, and gives compiled code on stdout.
//!
//! Limits on functions, loops and locals were rejected: what makes a compiler slow is their product,
//! honest modules have larger products than hostile ones need, and the next version of the compiler is
//! slow elsewhere. A thread with a deadline was rejected: it cannot be ended, and its memory is ours.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use wasmtime::Engine;

use super::error::Refusal;
use super::limits::Limits;
use super::processor::Processor;
use super::{REASON_BYTES, engine, reason};
use crate::printable;

/// The argument that makes the program compile: `tidemill compile-module SECONDS BYTES [PROCESSOR]`, for this machine where
/// none is named.
const VERB: &str = "compile-module";
/// The exit code for a component that is not valid.
const INVALID: u8 = 1;
/// The most compiled code that is taken: an SQL engine of 20 MiB has 70.
const CODE_BYTES: u64 = 256 << 20;
/// How much longer than its processor time the child may take: it shares the machine.
const PATIENCE: u32 = 5;
/// How much of what the child says is read.
const WORDS_BYTES: u64 = 4096;

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// This process, without a limit: for modules that are trusted, and where there is no program.
    InProcess,
    /// A process of the program `tidemill` of this very version, within [`Limits::compile_time`] and
    /// [`Limits::compile_memory_bytes`].
    Program(PathBuf),
}

/// Places for compilers: as many as there are cores, so that a start with many modules does not take the memory of
/// many compilers.
#[derive(Debug)]
pub(super) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Default for Places {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            free: Mutex::new(cores),
            freed: Condvar::new(),
        }
    }
}

impl Places {
    /// Waits for a place.
    pub(super) fn take(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place(self)
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// Why there is no compiled code.
#[derive(Debug)]
pub(super) enum CompileError {
    /// It is the component's fault.
    Refused(Refusal),
    /// The compiler's process could not be run.
    Unavailable(io::Error),
}

impl From<io::Error> for CompileError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl Compiler {
    /// The compiled form of `component`, for `engine`, which is that of `processor` or, without one, of this machine.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        processor: Option<Processor>,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess => engine
                .precompile_component(component)
                .map_err(|e| CompileError::Refused(Refusal::Invalid(reason(&e)))),
            Self::Program(program) => {
                let mut command = Command::new(program);
                command
                    .args([
                        VERB,
                        &limits.compile_time.as_secs().max(1).to_string(),
                        &limits.compile_memory_bytes.to_string(),
                    ])
                    .args(processor.map(Processor::name))
                    .env_clear()
                    .current_dir("/");
                let ended = converse(&mut command, component, limits.compile_time * PATIENCE)?;
                ended.code(limits)
            }
        }
    }
}

/// How a process ended, and what it said.
struct Ended {
    status: ExitStatus,
    out: Vec<u8>,
    words: String,
}

/// Runs `command` with `input` on its stdin, and kills it after `patience`.
fn converse(command: &mut Command, input: &[u8], patience: Duration) -> io::Result<Ended> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let child = Mutex::new(child);
    let (mut out, mut words) = (Vec::new(), Vec::new());
    let (over, is_over) = mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        // A child that has seen enough closes its end: its exit code says why.
        scope.spawn(move || stdin.write_all(input));
        scope.spawn(|| stderr.take(WORDS_BYTES).read_to_end(&mut words));
        let child = &child;
        scope.spawn(move || {
            if is_over.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                end(child);
            }
        });
        let read = stdout.take(CODE_BYTES + 1).read_to_end(&mut out);
        if read.is_err() || out.len() as u64 > CODE_BYTES {
            end(child);
        }
        drop(over);
        read
    })?;
    let status = child
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .wait()?;
    Ok(Ended {
        status,
        out,
        words: String::from_utf8_lossy(&words).into_owned(),
    })
}

fn end(child: &Mutex<Child>) {
    // One that has ended already is as good as one that is killed.
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
}

impl Ended {
    fn code(self, limits: &Limits) -> Result<Vec<u8>, CompileError> {
        let too_much = |limit| Err(CompileError::Refused(Refusal::Compiling { limit }));
        let size = |bytes: u64, what: &str| format!("{} of {what}", bytesize::ByteSize(bytes));
        if self.out.len() as u64 > CODE_BYTES {
            return too_much(size(CODE_BYTES, "compiled code"));
        }
        if self.status.success() {
            return Ok(self.out);
        }
        if self.status.code() == Some(INVALID.into()) {
            let told = printable::line(self.words.trim_end(), REASON_BYTES);
            return Err(CompileError::Refused(Refusal::Invalid(told)));
        }
        // What the standard library says before it ends the process.
        if self.words.contains("memory allocation of") {
            return too_much(size(limits.compile_memory_bytes as u64, "memory"));
        }
        if was_cut_off(self.status) {
            let time = humantime::format_duration(limits.compile_time);
            return too_much(format!("{time} of processor time"));
        }
        // A panic of the compiler, or its stack is used up.
        let told = "the compiler gave up on it".to_owned();
        Err(CompileError::Refused(Refusal::Invalid(told)))
    }
}

/// Whether the system ended the process for its processor time, or we did for the time of day.
#[cfg(unix)]
fn was_cut_off(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    matches!(status.signal(), Some(SIGKILL | SIGXCPU))
}

#[cfg(not(unix))]
fn was_cut_off(_: ExitStatus) -> bool {
    true
}

/// Compiles, where the program was called for it: nothing of a project has been read by then.
pub(crate) fn serve(arguments: &[OsString]) -> Option<ExitCode> {
    let (seconds, bytes, processor) = match arguments {
        [_, verb, seconds, bytes] if verb == VERB => (seconds, bytes, None),
        [_, verb, seconds, bytes, processor] if verb == VERB => (seconds, bytes, Some(processor)),
        _ => return None,
    };
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    let known = |text: &OsString| Processor::parse(text.to_str()?);
    let told = match (number(seconds), number(bytes), processor.map(known)) {
        (_, _, Some(None)) => Err("it knows no such processor".to_owned()),
        (Some(seconds), Some(bytes), processor) => confine(seconds, bytes)
            .map_err(|e| e.to_string())
            .and_then(|()| answer(processor.flatten())),
        _ => Err("it takes seconds and bytes".to_owned()),
    };
    Some(match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            // The one who called reads it; if nobody does, there is nobody to tell.
            let _ = io::stderr().write_all(told.as_bytes());
            ExitCode::from(INVALID)
        }
    })
}

/// Takes on the limits. Memory is what is written to: the program itself, which is mapped, is not counted.
#[cfg(unix)]
fn confine(seconds: u64, bytes: u64) -> io::Result<()> {
    use rlimit::Resource;
    Resource::CORE.set(0, 0)?;
    Resource::CPU.set(seconds, seconds + 1)?;
    Resource::DATA.set(bytes, bytes)
}

#[cfg(not(unix))]
fn confine(_: u64, _: u64) -> io::Result<()> {
    Ok(())
}

fn answer(processor: Option<Processor>) -> Result<(), String> {
    let mut component = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut component)
        .map_err(|e| e.to_string())?;
    let engine = match processor {
        Some(processor) => processor.engine().map_err(|e| e.to_string())?,
        None => {
            let config = engine::config().map_err(|e| e.to_string())?;
            Engine::new(&config).map_err(|e| reason(&e))?
        }
    };
    let code = engine
        .precompile_component(&component)
        .map_err(|e| reason(&e))?;
    let mut out = io::stdout().lock();
    out.write_all(&code)
        .and_then(|()| out.flush())
        .map_err(|e| e.to_string())
}
