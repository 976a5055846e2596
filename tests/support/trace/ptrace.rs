//! The five calls by which a debugger holds a program, each as a safe function.

#![allow(
    unsafe_code,
    reason = "the standard library has no ptrace, and a wrapper that has it would change the features of libc, on \
              which everything else is built"
)]

use std::io;
use std::ptr;

use libc::{c_int, pid_t};

/// `struct ptrace_syscall_info` as words: what it is, two pointers, and then what kind of stop has it.
const INFO_WORDS: usize = 12;
/// The word at which number and arguments begin.
const INFO_CALL: usize = 3;

/// What became of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It has entered or left a call.
    Call(pid_t),
    /// It was made, or does something that a debugger may want to know.
    Other(pid_t),
    /// It is about to be given a signal.
    Signal(pid_t, c_int),
    /// It has ended, with this code.
    Exited(pid_t, c_int),
    /// It was ended by a signal.
    Killed(pid_t),
}

/// A system call that a thread is about to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) arguments: [u64; 6],
}

/// Begins to hold `program` with all of its threads, those to come included. It dies with this process.
pub(super) fn seize(program: pid_t) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: PTRACE_SEIZE takes numbers only and touches no memory of this process.
    let answer = unsafe {
        libc::ptrace(
            libc::PTRACE_SEIZE,
            program,
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(options as usize),
        )
    };
    checked(answer)
}

/// Lets a stopped thread go on, with a signal or without, until its next call.
pub(super) fn resume(thread: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: PTRACE_SYSCALL takes numbers only and touches no memory of this process.
    let answer = unsafe {
        libc::ptrace(
            libc::PTRACE_SYSCALL,
            thread,
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(signal as usize),
        )
    };
    checked(answer)
}

/// The call that a stopped thread is about to make; `None` when it has made it.
pub(super) fn entry(thread: pid_t) -> io::Result<Option<Entry>> {
    let mut info = [0_u64; INFO_WORDS];
    // SAFETY: the kernel writes at most as many bytes as it is told, and `info` has as many.
    let answer = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            thread,
            ptr::without_provenance_mut::<libc::c_void>(size_of_val(&info)),
            info.as_mut_ptr(),
        )
    };
    checked(answer)?;
    let [operation, ..] = info[0].to_ne_bytes();
    let mut words = info.into_iter().skip(INFO_CALL);
    Ok(
        (operation == libc::PTRACE_SYSCALL_INFO_ENTRY).then(|| Entry {
            number: words.next().unwrap_or_default(),
            arguments: std::array::from_fn(|_| words.next().unwrap_or_default()),
        }),
    )
}

/// Waits until `program`, which is not held yet, has stopped.
pub(super) fn wait_for_stop(program: pid_t) -> io::Result<()> {
    wait(program, libc::WUNTRACED).map(|_| ())
}

/// Waits for the next event of anything that this thread started or holds.
pub(super) fn wait_for_event() -> io::Result<Event> {
    let (thread, status) = wait(-1, libc::__WALL | libc::__WNOTHREAD)?;
    Ok(if libc::WIFEXITED(status) {
        Event::Exited(thread, libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Event::Killed(thread)
    } else {
        match (status >> 16, libc::WSTOPSIG(status)) {
            (0, signal) if signal == libc::SIGTRAP | 0x80 => Event::Call(thread),
            (0, signal) => Event::Signal(thread, signal),
            _ => Event::Other(thread),
        }
    })
}

/// Sends `program` a signal.
pub(super) fn kill(program: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: it takes numbers only.
    checked(unsafe { libc::kill(program, signal) }.into())
}

fn wait(program: pid_t, flags: c_int) -> io::Result<(pid_t, c_int)> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one number, into `status`.
        let thread = unsafe { libc::waitpid(program, &raw mut status, flags) };
        match checked(thread.into()) {
            Ok(()) => return Ok((thread, status)),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

fn checked(answer: libc::c_long) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
