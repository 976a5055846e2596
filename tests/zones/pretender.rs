//! A store that says yes: it speaks enough of the protocol to be written to, and ignores conditions, as many do that are
//! said to be compatible.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context as _, Result};

/// Uploads that nobody finished, by key and id: of last year and of next century, two of the same key, and of another
/// zone. They are listed one at a time, as Amazon lists a thousand at a time.
const UPLOADS: [(&str, &str, &str); 4] = [
    ("x/old", "1", "2025-01-02T03:04:05.000Z"),
    ("x/old", "2", "2025-02-03T04:05:06.000Z"),
    ("x/young", "3", "2101-01-02T03:04:05.000Z"),
    ("y/old", "4", "2025-01-02T03:04:05.000Z"),
];
/// What was sent of one.
const PARTS: &str = "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>8388608</Size></Part>\
    <Part><PartNumber>2</PartNumber><Size>5</Size></Part></ListPartsResult>";

/// Which conditions it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    /// None.
    Nothing,
    /// That of a put, and not that of an upload in parts.
    Put,
    /// That there are such, and that it cannot do them.
    ThatItCannot,
}

/// A server on a port of its own. It ends with the process that tests.
#[derive(Debug)]
pub(crate) struct Pretender {
    port: u16,
    written: Arc<Mutex<BTreeSet<String>>>,
}

impl Pretender {
    pub(crate) fn start(knows: Knows) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("there is a free port")?;
        let port = listener.local_addr()?.port();
        let written: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let store = Arc::clone(&written);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let store = Arc::clone(&store);
                // Whoever hangs up has had enough.
                thread::spawn(move || serve(client, knows, &store));
            }
        });
        Ok(Self { port, written })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The paths that were written to.
    pub(crate) fn written(&self) -> BTreeSet<String> {
        self.written.lock().expect("no thread fails").clone()
    }
}

/// Answers one request after another.
fn serve(client: TcpStream, knows: Knows, store: &Mutex<BTreeSet<String>>) -> Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut to = client;
    loop {
        let mut first = String::new();
        if from.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut length, mut is_conditional, mut waits) = (0, false, false);
        loop {
            let mut header = String::new();
            from.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            match header.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("if-none-match", _)) => is_conditional = true,
                Some(("expect", _)) => waits = true,
                Some(_) => {}
            }
        }
        if waits {
            to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (status, body) = answer(method, target, is_conditional, knows, store);
        let length = body.len();
        write!(
            to,
            "HTTP/1.1 {status}\r\nETag: \"e\"\r\nx-amz-request-id: PRETENDED\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
}

fn answer(
    method: &str,
    target: &str,
    is_conditional: bool,
    knows: Knows,
    store: &Mutex<BTreeSet<String>>,
) -> (&'static str, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method == "GET" && query.contains("uploads") {
        return ("200 OK", uploads(query));
    }
    let mut written = store.lock().expect("no thread fails");
    let is_part = query.contains("partNumber");
    let (status, body) = match method {
        "GET" if query.contains("uploadId") => ("200 OK", PARTS),
        "PUT" | "POST" if is_conditional && knows == Knows::ThatItCannot => (
            "501 Not Implemented",
            "<Error><Code>NotImplemented</Code><Message>not here</Message></Error>",
        ),
        "PUT" if is_part => ("200 OK", ""),
        "PUT" if is_conditional && knows == Knows::Put && written.contains(path) => (
            "412 Precondition Failed",
            "<Error><Code>PreconditionFailed</Code><Message>it is there</Message></Error>",
        ),
        "PUT" => {
            written.insert(path.to_owned());
            ("200 OK", "")
        }
        "POST" if query.contains("uploads") => (
            "200 OK",
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => {
            written.insert(path.to_owned());
            (
                "200 OK",
                "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
            )
        }
        "DELETE" => {
            let id = query.split('&').find(|part| part.starts_with("uploadId="));
            written.insert(format!("forgotten {path} {}", id.unwrap_or_default()));
            ("204 No Content", "")
        }
        _ => ("404 Not Found", ""),
    };
    (status, body.to_owned())
}

/// The first upload behind the key and the id that `query` names, if that is one of the keys that it wants.
fn uploads(query: &str) -> String {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(asked, _)| *asked == name);
        found.map_or(String::new(), |(_, value)| value.replace("%2F", "/"))
    };
    let after = (value("key-marker"), value("upload-id-marker"));
    let wanted = UPLOADS.iter().filter(|(key, id, _)| {
        key.starts_with(&value("prefix")) && (key.to_string(), id.to_string()) > after
    });
    let rest: Vec<_> = wanted.collect();
    let page = rest.first().map_or(String::new(), |(key, id, initiated)| {
        format!(
            "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{initiated}</Initiated></Upload>\
             <NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>"
        )
    });
    let more = rest.len() > 1;
    format!(
        "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>{page}</ListMultipartUploadsResult>"
    )
}
