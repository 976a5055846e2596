//! A gate before a store: every request goes by it, and meets what a test has in mind for it.
//!
//! ```text
//! program ──request──▶ Gate ──▶ store        late │ refused │ cut on the way there │ cut, truncated or lost on the way back
//! ```
//!
//! The gate knows HTTP and neither signatures nor names: the client signs the name of the host that it sends to, which is
//! the gate's, and the store checks what it is sent, so that a signature holds. Threads and not tasks, because a test waits
//! for the program on the thread that would run them.

mod ends;
mod message;

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};

use ends::Ends;
pub use message::{Refusal, Request};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Pass,
    /// The same, after a while.
    Late(Duration),
    /// The same, but that something is missing is not told to who may not list: it is forbidden then, as at Amazon.
    Hide,
    /// The store never hears of it, and the client is told so.
    Refuse(Refusal),
    /// The store has half of it when the connection is reset.
    CutRequest,
    /// The client has half of the answer when the connection is reset.
    CutAnswer,
    /// The client has half of the answer, and the connection ends as if that were all.
    TruncateAnswer,
    /// It is done, and the connection is reset before the answer.
    LoseAnswer,
    /// The store has it with a bit changed in the middle of what is sent.
    FlipRequest,
    /// The client has the answer with a bit changed in the middle of its body.
    FlipAnswer,
    /// It is done and answered, and what is listed as older than this is listed as a week older than that, and a day.
    Age(DateTime<Utc>),
}

impl Fate {
    /// Its name, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass | Self::Hide | Self::Age(_) => "passed",
            Self::Late(_) => "late",
            Self::Refuse(refusal) => refusal.code,
            Self::CutRequest => "request reset",
            Self::CutAnswer => "answer reset",
            Self::TruncateAnswer => "answer truncated",
            Self::LoseAnswer => "answer lost",
            Self::FlipRequest => "request changed",
            Self::FlipAnswer => "answer changed",
        }
    }
}

type Judge = Box<dyn FnMut(&Request) -> Fate + Send>;

/// Requests that are not answered yet.
#[derive(Debug, Clone, Copy, Default)]
struct Flying {
    now: usize,
    most: usize,
}

/// A port of its own before a store's.
pub struct Gate {
    port: u16,
    state: Arc<State>,
}

struct State {
    store: u16,
    judge: Mutex<Judge>,
    requests: AtomicU64,
    /// Requests by their fate.
    fates: Mutex<BTreeMap<&'static str, u64>>,
    flying: Mutex<Flying>,
    closed: AtomicBool,
}

impl Gate {
    /// Before the store on a port of this machine. Every request passes.
    ///
    /// # Errors
    /// When there is no port left.
    pub fn before(store: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("there is a free port")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            store,
            judge: Mutex::new(Box::new(|_| Fate::Pass)),
            requests: AtomicU64::new(0),
            fates: Mutex::default(),
            flying: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { port, state })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From here on `judge` says what becomes of each request. What was counted is forgotten.
    pub fn set(&self, judge: impl FnMut(&Request) -> Fate + Send + 'static) {
        *lock(&self.state.judge) = Box::new(judge);
        lock(&self.state.fates).clear();
        lock(&self.state.flying).most = 0;
    }

    /// The most requests since then that were under way at the same time.
    pub fn most_at_once(&self) -> usize {
        lock(&self.state.flying).most
    }

    /// Requests since then by their fate.
    pub fn fates(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.state.fates).clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming().flatten() {
        if state.closed.load(Ordering::SeqCst) {
            return;
        }
        let state = Arc::clone(state);
        thread::spawn(move || {
            // However it ends, the client sees it.
            let _ = serve(client, &state);
        });
    }
}

fn serve(client: TcpStream, state: &State) -> io::Result<()> {
    let mut ends = Ends::new(client, state.store)?;
    while let Some(mut request) = ends.request()? {
        request.number = state.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let fate = (*lock(&state.judge))(&request);
        *lock(&state.fates).entry(fate.name()).or_default() += 1;
        if !ends.meet(request, fate, Flight::begin(&state.flying))? {
            break;
        }
    }
    Ok(())
}

/// A request that is under way, until its answer is at hand: who has read that may ask again before anybody here knows.
struct Flight<'a>(&'a Mutex<Flying>);

impl<'a> Flight<'a> {
    fn begin(flying: &'a Mutex<Flying>) -> Self {
        let mut now = lock(flying);
        now.now += 1;
        now.most = now.most.max(now.now);
        Self(flying)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(self.0).now -= 1;
    }
}
