//! A server's port with a line that can be cut: what a network does to PostgreSQL, at a moment of a test's choice.
//!
//! ```text
//! program ──▶ Proxy ──▶ server         the moment: bytes after a statement with some text went by
//! ```
//!
//! Threads and not tasks, because a test waits for the program on the thread that would run them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// What the line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It carries everything.
    Whole,
    /// Nobody takes a connection; those that are open end.
    Away,
    /// Connections are taken, and nothing is ever answered.
    Mute,
    /// It ends when a statement with the text comes by, before the server has it.
    CutBefore(&'static str),
    /// It ends so many bytes of answers after a statement with the text, for that connection.
    CutAfter(&'static str, u64),
    /// As `CutAfter`, and no connection is taken any more.
    AwayAfter(&'static str, u64),
    /// It stays open and carries nothing more so many bytes of answers after a statement with the text.
    HangAfter(&'static str, u64),
}

impl Line {
    fn text(self) -> Option<&'static str> {
        match self {
            Self::Whole | Self::Away | Self::Mute => None,
            Self::CutBefore(text)
            | Self::CutAfter(text, _)
            | Self::AwayAfter(text, _)
            | Self::HangAfter(text, _) => Some(text),
        }
    }
}

/// A port of its own before a server's.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: u16,
    line: Mutex<Line>,
    /// How often the line failed as it was told to.
    failures: AtomicU64,
    /// Both ends of what is open.
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

/// One connection: whether the statement came by, and the bytes of answers since.
#[derive(Debug, Default)]
struct Connection {
    met: AtomicBool,
    answered: AtomicU64,
    hangs: AtomicBool,
}

impl Proxy {
    /// Before the server on a port of this machine.
    ///
    /// # Errors
    /// When there is no port left.
    pub fn before(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("there is a free port")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            server,
            line: Mutex::new(Line::Whole),
            failures: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { port, state })
    }

    /// `url`, which names the server, by way of the proxy.
    pub fn url(&self, url: &str) -> String {
        url.replace(
            &format!(":{}/", self.state.server),
            &format!(":{}/", self.port),
        )
    }

    /// From here on the line does this. What is open stays open, unless the server is away.
    pub fn set(&self, line: Line) {
        *lock(&self.state.line) = line;
        self.state.failures.store(0, Ordering::SeqCst);
        if line == Line::Away {
            self.state.cut_all();
        }
    }

    /// How often the line failed since it was told to.
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.cut_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn line(&self) -> Line {
        *lock(&self.line)
    }

    fn cut_all(&self) {
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming().flatten() {
        if state.closed.load(Ordering::SeqCst) {
            return;
        }
        if state.line() == Line::Away {
            // Dropped: the client sees the end of the connection at once.
            continue;
        }
        let _ = carry(client, state);
    }
}

/// Connects to the server and carries both ways.
fn carry(client: TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", state.server))?;
    lock(&state.open).extend([client.try_clone()?, server.try_clone()?]);
    let connection = Arc::new(Connection::default());
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let (ours, theirs) = (Arc::clone(state), Arc::clone(&connection));
    thread::spawn(move || pump(from, to, |bytes| statement(&ours, &theirs, bytes)));
    let state = Arc::clone(state);
    thread::spawn(move || pump(server, client, |bytes| answer(&state, &connection, bytes)));
    Ok(())
}

/// What becomes of some bytes.
enum Fate {
    Carried,
    Swallowed,
    Cut,
}

fn pump(mut from: TcpStream, mut to: TcpStream, fate: impl Fn(&[u8]) -> Fate) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
        };
        match fate(bytes) {
            Fate::Carried if to.write_all(bytes).is_ok() => {}
            Fate::Swallowed => {}
            Fate::Carried | Fate::Cut => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn statement(state: &State, connection: &Connection, bytes: &[u8]) -> Fate {
    let line = state.line();
    if line == Line::Mute || connection.hangs.load(Ordering::SeqCst) {
        return Fate::Swallowed;
    }
    let Some(text) = line.text().map(str::as_bytes) else {
        return Fate::Carried;
    };
    if bytes.windows(text.len()).any(|window| window == text) {
        connection.met.store(true, Ordering::SeqCst);
        connection.answered.store(0, Ordering::SeqCst);
        if matches!(line, Line::CutBefore(_)) {
            state.failures.fetch_add(1, Ordering::SeqCst);
            return Fate::Cut;
        }
    }
    Fate::Carried
}

fn answer(state: &State, connection: &Connection, bytes: &[u8]) -> Fate {
    if connection.hangs.load(Ordering::SeqCst) {
        return Fate::Swallowed;
    }
    let line = state.line();
    let (Line::CutAfter(_, limit) | Line::AwayAfter(_, limit) | Line::HangAfter(_, limit)) = line
    else {
        return Fate::Carried;
    };
    if !connection.met.load(Ordering::SeqCst) {
        return Fate::Carried;
    }
    let answered = connection
        .answered
        .fetch_add(bytes.len() as u64, Ordering::SeqCst);
    if answered + bytes.len() as u64 <= limit {
        return Fate::Carried;
    }
    state.failures.fetch_add(1, Ordering::SeqCst);
    match line {
        Line::HangAfter(..) => {
            connection.hangs.store(true, Ordering::SeqCst);
            Fate::Swallowed
        }
        Line::AwayAfter(..) => {
            *lock(&state.line) = Line::Away;
            state.cut_all();
            Fate::Cut
        }
        _ => Fate::Cut,
    }
}
