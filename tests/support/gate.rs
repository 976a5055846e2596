//! A gate before a store: every request goes by it, and meets what a test has in mind for it.
//!
//! ```text
//! program ──request──▶ Gate ──▶ store        late │ refused │ cut on the way there │ cut, truncated or lost on the way back
//! ```
//!
//! The gate knows HTTP and neither signatures nor names: the client signs the name of the host that it sends to, which is
//! the gate's, and the store checks what it is sent, so that a signature holds. Threads and not tasks, because a test waits
//! for the program on the thread that would run them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// The longest head of a message.
const HEAD: usize = 64 * 1024;

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
}

impl Fate {
    /// Its name, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass | Self::Hide => "passed",
            Self::Late(_) => "late",
            Self::Refuse(refusal) => refusal.code,
            Self::CutRequest => "request reset",
            Self::CutAnswer => "answer reset",
            Self::TruncateAnswer => "answer truncated",
            Self::LoseAnswer => "answer lost",
        }
    }
}

/// An error as a store words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    status: &'static str,
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    /// The store failed.
    pub const INTERNAL: Self = Self {
        status: "500 Internal Server Error",
        code: "InternalError",
        message: "We encountered an internal error. Please try again.",
    };
    /// It is asked too much.
    pub const SLOW_DOWN: Self = Self {
        status: "503 Service Unavailable",
        code: "SlowDown",
        message: "Please reduce your request rate.",
    };
    /// Who asks may not.
    pub const DENIED: Self = Self {
        status: "403 Forbidden",
        code: "AccessDenied",
        message: "Access Denied",
    };
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number since the gate was opened, from 1.
    pub number: u64,
    /// `PUT`.
    pub method: String,
    /// The first part of the path.
    pub bucket: String,
    /// The rest of the path; empty where the bucket itself is asked.
    pub key: String,
    /// What stands behind the question mark.
    pub query: BTreeMap<String, String>,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What it sends.
    pub body: Vec<u8>,
    head: Vec<u8>,
}

impl Request {
    /// Whether the query has this name.
    pub fn asks(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    /// Whether it makes or finishes an object.
    pub fn creates(&self) -> bool {
        match self.method.as_str() {
            "PUT" => !self.asks("partNumber"),
            "POST" => self.asks("uploadId"),
            _ => false,
        }
    }
}

type Judge = Box<dyn FnMut(&Request) -> Fate + Send>;

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

/// Both ends of a client's connection.
struct Ends {
    client: BufReader<TcpStream>,
    store: BufReader<TcpStream>,
    port: u16,
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let store = TcpStream::connect(("127.0.0.1", port))?;
    store.set_nodelay(true)?;
    Ok(BufReader::new(store))
}

fn serve(client: TcpStream, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut ends = Ends {
        client: BufReader::new(client),
        store: connect(state.store)?,
        port: state.store,
    };
    while let Some(request) = ends.request(state)? {
        let fate = (*lock(&state.judge))(&request);
        *lock(&state.fates).entry(fate.name()).or_default() += 1;
        if !ends.meet(&request, fate)? {
            break;
        }
    }
    Ok(())
}

impl Ends {
    /// The next request; `None` when the client has no more.
    fn request(&mut self, state: &State) -> io::Result<Option<Request>> {
        let head = head(&mut self.client)?;
        if head.is_empty() {
            return Ok(None);
        }
        let (first, headers) = parsed(&head);
        if headers.contains_key("expect") {
            self.client
                .get_mut()
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = body(&mut self.client, &headers, false)?;
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Ok(Some(Request {
            number: state.requests.fetch_add(1, Ordering::SeqCst) + 1,
            method,
            bucket: decoded(bucket),
            key: decoded(key),
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
            headers,
            body,
            head,
        }))
    }

    /// Does to a request what it is to meet; false when the connection is no more.
    fn meet(&mut self, request: &Request, fate: Fate) -> io::Result<bool> {
        match fate {
            Fate::Pass => {}
            #[allow(
                clippy::disallowed_methods,
                reason = "a line that is slow is what is asked for"
            )]
            Fate::Late(by) => thread::sleep(by),
            Fate::Hide => {
                let answer = self.asked(request)?;
                if answer.status == "404" {
                    return self.refuse(request, Refusal::DENIED);
                }
                self.client.get_mut().write_all(&answer.bytes)?;
                return Ok(true);
            }
            Fate::Refuse(refusal) => return self.refuse(request, refusal),
            Fate::CutRequest => {
                self.send(request, request.body.len() / 2)?;
                return self.reset();
            }
            Fate::LoseAnswer => {
                self.asked(request)?;
                return self.reset();
            }
            Fate::CutAnswer | Fate::TruncateAnswer => {
                let answer = self.asked(request)?;
                let half = answer.head + (answer.bytes.len() - answer.head) / 2;
                // An answer without a body breaks off in its head.
                let end = if half == answer.bytes.len() {
                    half / 2
                } else {
                    half
                };
                let some = answer.bytes.get(..end).unwrap_or_default();
                self.client.get_mut().write_all(some)?;
                if fate == Fate::CutAnswer {
                    return self.reset();
                }
                self.client.get_ref().shutdown(Shutdown::Both)?;
                return Ok(false);
            }
        }
        let answer = self.asked(request)?;
        self.client.get_mut().write_all(&answer.bytes)?;
        Ok(true)
    }

    /// What the store answers. It ends connections that nobody used for a while, and then is asked on another.
    fn asked(&mut self, request: &Request) -> io::Result<Answer> {
        let sent = self.send(request, request.body.len());
        match sent.and_then(|()| self.answer(request)) {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.store = connect(self.port)?;
                self.send(request, request.body.len())?;
                self.answer(request)
            }
        }
    }

    fn send(&mut self, request: &Request, bytes: usize) -> io::Result<()> {
        let store = self.store.get_mut();
        store.write_all(&request.head)?;
        store.write_all(request.body.get(..bytes).unwrap_or_default())?;
        store.flush()
    }

    fn answer(&mut self, request: &Request) -> io::Result<Answer> {
        loop {
            let mut bytes = head(&mut self.store)?;
            let (first, headers) = parsed(&bytes);
            let status = first.split(' ').nth(1).unwrap_or_default().to_owned();
            // An interim answer is for us: the client has had one.
            if status.starts_with('1') {
                continue;
            }
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let head = bytes.len();
            let is_bare = request.method == "HEAD" || status == "204" || status == "304";
            if !is_bare {
                bytes.extend(body(&mut self.store, &headers, true)?);
            }
            return Ok(Answer {
                bytes,
                head,
                status,
            });
        }
    }

    fn refuse(&mut self, request: &Request, refusal: Refusal) -> io::Result<bool> {
        let Refusal {
            status,
            code,
            message,
        } = refusal;
        let id = format!("GATE{:012}", request.number);
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>{id}</RequestId></Error>"
        );
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\nx-amz-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if request.method != "HEAD" {
            answer.push_str(&text);
        }
        self.client.get_mut().write_all(answer.as_bytes())?;
        Ok(true)
    }

    /// Ends both connections by a reset, not by an end.
    fn reset(&mut self) -> io::Result<bool> {
        for end in [self.client.get_ref(), self.store.get_ref()] {
            socket2::SockRef::from(end).set_linger(Some(Duration::ZERO))?;
        }
        Ok(false)
    }
}

/// What the store said.
struct Answer {
    /// Head and body.
    bytes: Vec<u8>,
    /// The length of the head.
    head: usize,
    status: String,
}

/// The head of a message with the empty line behind it; empty at the end of the connection.
fn head(from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        from.read_until(b'\n', &mut head)?;
        let line = head.get(before..).unwrap_or_default();
        if line.is_empty() {
            return Ok(Vec::new());
        }
        if line == b"\r\n" && before > 0 {
            return Ok(head);
        }
        if head.len() > HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The first line, and the headers.
fn parsed(head: &[u8]) -> (String, BTreeMap<String, String>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    (first, headers.collect())
}

/// The body as it is sent. Without a length, that of an answer goes on to the end of the connection.
fn body(
    from: &mut BufReader<TcpStream>,
    headers: &BTreeMap<String, String>,
    is_answer: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let is_chunked = headers
        .get("transfer-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"));
    if is_chunked {
        chunks(from, &mut body)?;
        return Ok(body);
    }
    match headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
    {
        Some(length) => {
            let read = from.by_ref().take(length).read_to_end(&mut body)?;
            if read as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        None if is_answer => {
            from.read_to_end(&mut body)?;
        }
        None => {}
    }
    Ok(body)
}

/// Chunks with their lengths, and what stands behind them.
fn chunks(from: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let before = body.len();
        from.read_until(b'\n', body)?;
        let line = String::from_utf8_lossy(body.get(before..).unwrap_or_default()).into_owned();
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if size == 0 {
            break;
        }
        from.by_ref().take(size + 2).read_to_end(body)?;
    }
    loop {
        let before = body.len();
        from.read_until(b'\n', body)?;
        if body.get(before..).unwrap_or_default().len() <= 2 {
            return Ok(());
        }
    }
}

/// Text with its percent signs undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
