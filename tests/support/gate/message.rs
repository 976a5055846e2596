//! Messages of HTTP as far as a gate has to know them: where one ends, what is asked for, and how a store words an error.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// The longest head of a message.
const HEAD: usize = 64 * 1024;

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
    /// Its head as it came, with the empty line behind it.
    pub(super) head: Vec<u8>,
}

impl Request {
    /// The next request of a client, which is told to send its body if it waits for that; `None` when there is none.
    pub(super) fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let head = head(from)?;
        if head.is_empty() {
            return Ok(None);
        }
        let (first, headers) = parsed(&head);
        if headers.contains_key("expect") {
            from.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = body(from, &headers, false)?;
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Ok(Some(Self {
            number: 0,
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

/// An error as a store words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    status: &'static str,
    pub(super) code: &'static str,
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

    /// The credentials of who asks were for a time, and it is over.
    pub const EXPIRED: Self = Self {
        status: "400 Bad Request",
        code: "ExpiredToken",
        message: "The provided token has expired.",
    };

    /// The answer that tells it to the one who asked.
    pub(super) fn answer(&self, request: &Request) -> String {
        let Self {
            status,
            code,
            message,
        } = self;
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
        answer
    }
}

/// What the store said.
pub(super) struct Answer {
    /// Head and body.
    pub(super) bytes: Vec<u8>,
    /// The length of the head.
    pub(super) head: usize,
    pub(super) status: String,
}

impl Answer {
    /// The next answer of a store.
    pub(super) fn read(from: &mut BufReader<TcpStream>, request: &Request) -> io::Result<Self> {
        loop {
            let mut bytes = head(from)?;
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
                bytes.extend(body(from, &headers, true)?);
            }
            return Ok(Self {
                bytes,
                head,
                status,
            });
        }
    }
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
