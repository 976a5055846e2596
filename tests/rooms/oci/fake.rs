//! A server that is no registry and answers as a test has it: for what a real one never does.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::*;

/// What TLS begins with, which this server does not speak.
const HANDSHAKE: u8 = 0x16;

/// The server; it ends with it.
pub(super) struct Fake {
    host: String,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Its first line and headers.
    pub(super) head: String,
    pub(super) body: String,
}

/// What is sent back.
pub(super) struct Answer {
    head: String,
    body: Vec<u8>,
    /// How many bytes of nothing follow.
    more: usize,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    }
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self::of(status, Vec::new())
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, body.to_string().into_bytes())
    }

    pub(super) fn of(status: u16, body: Vec<u8>) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n"),
            body,
            more: 0,
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Bytes of nothing behind the body, of which no length was said.
    pub(super) fn and_more(mut self, bytes: usize) -> Self {
        self.more = bytes;
        self
    }

    /// Gives a part; a client that has gone has heard enough.
    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        if self.more == 0 && !self.head.contains("Content-Length") {
            write!(stream, "Content-Length: {}\r\n", self.body.len())?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(&self.body)?;
        let nothing = vec![b' '; 64 << 10];
        let mut left = self.more;
        while left > 0 {
            let part = left.min(nothing.len());
            stream.write_all(nothing.get(..part).unwrap_or_default())?;
            left -= part;
        }
        stream.flush()
    }
}

impl Fake {
    /// Starts one.
    pub(super) fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let (seen, ended) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (noted, told): (Arc<Mutex<Vec<Request>>>, _) = (Arc::clone(&seen), Arc::clone(&ended));
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                // What does not speak HTTP hears nothing.
                let Ok(request) = read(&mut stream) else {
                    continue;
                };
                let answered = answer(&request);
                noted.lock().expect("no test panics with it").push(request);
                let _ = answered.send(&mut stream);
            }
        });
        Ok(Self {
            host,
            seen,
            ended,
            listening: Some(listening),
        })
    }

    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    /// Everything that came.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    /// What came last.
    pub(super) fn last(&self) -> Result<Request> {
        self.requests().pop().context("nobody asked")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it, so that it sees that it has ended.
        let _ = TcpStream::connect(&self.host);
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

fn read(stream: &mut TcpStream) -> Result<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut first = [0];
    stream.peek(&mut first)?;
    ensure!(first != [HANDSHAKE], "it speaks TLS");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let mut request = Request {
        head: String::from_utf8_lossy(&head).into_owned(),
        body: String::new(),
    };
    let length = request.header("content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(request)
}

/// A manifest of a component of that many bytes, of which the registry has nothing.
fn manifest_of(bytes: u64) -> Value {
    let digest = format!("sha256:{}", "1".repeat(64));
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest, "size": 100},
        "layers": [{"mediaType": "application/wasm", "digest": digest, "size": bytes}],
    })
}

/// Whatever a registry sends, no more of it is read than a module may have, and it is told what is wrong.
#[test]
fn a_registry_that_means_no_good_does_no_harm() -> Result<()> {
    type Bad = fn(&Request) -> Answer;
    let cases: [(Bad, i32, &str); 11] = [
        (
            |_| Answer::of(200, b"{".to_vec()).and_more(1 << 30),
            1,
            "the manifest of oci://",
        ),
        (
            |_| Answer::empty(200).with("Content-Length", "99999999999999"),
            1,
            "the manifest of oci://",
        ),
        (
            |_| Answer::of(200, b"[[[[".to_vec()),
            1,
            "its manifest is unreadable",
        ),
        (
            |_| Answer::of(200, vec![b'['; 1 << 20]),
            1,
            "its manifest is unreadable",
        ),
        (
            |_| Answer::json(200, &manifest_of(33 << 20)),
            1,
            "component of oci://",
        ),
        (
            |request| match request.head.contains("/manifests/") {
                true => Answer::json(200, &manifest_of(10)),
                false => Answer::of(200, Vec::new()).and_more(1 << 30),
            },
            1,
            "a blob of oci://",
        ),
        (
            |request| match request.head.contains("/manifests/") {
                true => Answer::json(200, &manifest_of(10)),
                false => Answer::of(200, b"cut".to_vec()).with("Content-Length", "100"),
            },
            1,
            "stopped answering",
        ),
        (
            |_| Answer::empty(302).with("Location", "/again"),
            1,
            "stopped answering",
        ),
        (
            |_| Answer::empty(401),
            2,
            "it says neither `Basic` nor `Bearer`",
        ),
        (
            |_| {
                let errors = serde_json::json!({"errors": [{"message": "no\u{1b}[2J\nroom"}]});
                Answer::json(503, &errors)
            },
            1,
            "answers 503: no\\u{1b}[2J\\nroom",
        ),
        (
            |_| Answer::of(500, Vec::new()).and_more(1 << 30),
            1,
            "answers 500",
        ),
    ];
    let reader = project(UNSIGNED)?;
    for (answer, code, words) in cases {
        let fake = Fake::start(answer)?;
        let import = format!("import oci://{}/dim-design:1.0.0", fake.host());
        refused(&reader, &import, code, &[words, "hint: "])?;
    }
    refused(
        &reader,
        "import oci://127.0.0.1:1/dim-design:1.0.0",
        1,
        &["cannot be reached", "hint: "],
    )?;
    ensure!(count(&reader)? == 0, "nothing was pushed");
    Ok(())
}
