//! The two ends of a connection: what comes from the client goes to the store, or meets something on the way.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::message::{Answer, Refusal, Request};
use super::{Fate, Flight};

/// Both ends of a client's connection.
pub(super) struct Ends {
    client: BufReader<TcpStream>,
    store: BufReader<TcpStream>,
    port: u16,
}

impl Ends {
    /// Those of a client, and of the store on a port of this machine.
    pub(super) fn new(client: TcpStream, port: u16) -> io::Result<Self> {
        client.set_nodelay(true)?;
        Ok(Self {
            client: BufReader::new(client),
            store: connect(port)?,
            port,
        })
    }

    /// The next request; `None` when the client has no more.
    pub(super) fn request(&mut self) -> io::Result<Option<Request>> {
        Request::read(&mut self.client)
    }

    /// Does to a request what it is to meet; false when the connection is no more.
    pub(super) fn meet(
        &mut self,
        mut request: Request,
        fate: Fate,
        flight: Flight<'_>,
    ) -> io::Result<bool> {
        match fate {
            Fate::Pass | Fate::Age(_) => {}
            #[allow(
                clippy::disallowed_methods,
                reason = "a line that is slow is what is asked for"
            )]
            Fate::Late(by) => thread::sleep(by),
            Fate::Hide => {
                let answer = self.asked(&request)?;
                return match answer.status.as_str() {
                    "404" => self.tell(Refusal::DENIED.answer(&request).as_bytes()),
                    _ => self.tell(&answer.bytes),
                };
            }
            Fate::Refuse(refusal) => return self.tell(refusal.answer(&request).as_bytes()),
            Fate::CutRequest => {
                self.send(&request, request.body.len() / 2)?;
                return self.reset();
            }
            Fate::LoseAnswer => {
                self.asked(&request)?;
                return self.reset();
            }
            Fate::CutAnswer | Fate::TruncateAnswer => return self.answer_half(&request, fate),
            Fate::FlipRequest => flip(&mut request.body),
            Fate::FlipAnswer => {
                let mut answer = self.asked(&request)?;
                flip(answer.bytes.get_mut(answer.head..).unwrap_or_default());
                return self.tell(&answer.bytes);
            }
        }
        let answer = self.asked(&request)?;
        drop(flight);
        match fate {
            Fate::Age(before) => self.tell(&aged(&answer.bytes, before)),
            _ => self.tell(&answer.bytes),
        }
    }

    fn tell(&mut self, answer: &[u8]) -> io::Result<bool> {
        self.client.get_mut().write_all(answer)?;
        Ok(true)
    }

    fn answer_half(&mut self, request: &Request, fate: Fate) -> io::Result<bool> {
        let answer = self.asked(request)?;
        let half = answer.head + (answer.bytes.len() - answer.head) / 2;
        // An answer without a body breaks off in its head.
        let end = match half == answer.bytes.len() {
            true => half / 2,
            false => half,
        };
        self.tell(answer.bytes.get(..end).unwrap_or_default())?;
        if fate == Fate::CutAnswer {
            return self.reset();
        }
        self.client.get_ref().shutdown(Shutdown::Both)?;
        Ok(false)
    }

    /// What the store answers. It ends connections that nobody used for a while, and then is asked on another.
    fn asked(&mut self, request: &Request) -> io::Result<Answer> {
        let sent = self.send(request, request.body.len());
        match sent.and_then(|()| Answer::read(&mut self.store, request)) {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.store = connect(self.port)?;
                self.send(request, request.body.len())?;
                Answer::read(&mut self.store, request)
            }
        }
    }

    fn send(&mut self, request: &Request, bytes: usize) -> io::Result<()> {
        let store = self.store.get_mut();
        store.write_all(&request.head)?;
        store.write_all(request.body.get(..bytes).unwrap_or_default())?;
        store.flush()
    }

    /// Ends both connections by a reset, not by an end.
    fn reset(&mut self) -> io::Result<bool> {
        for end in [self.client.get_ref(), self.store.get_ref()] {
            socket2::SockRef::from(end).set_linger(Some(Duration::ZERO))?;
        }
        Ok(false)
    }
}

/// Changes one bit in the middle; where there is nothing, nothing.
fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
}

/// A listing with another time of the objects that are older than `before`. It is as long as it was.
fn aged(answer: &[u8], before: DateTime<Utc>) -> Vec<u8> {
    const TIME: &str = "<LastModified>";
    const OLDER: TimeDelta = TimeDelta::days(8);
    let mut aged = answer.to_vec();
    let text = String::from_utf8_lossy(answer);
    // What is no text has no times, and other places.
    for (at, _) in text
        .match_indices(TIME)
        .filter(|_| text.len() == answer.len())
    {
        let begin = at + TIME.len();
        let time = text.get(begin..).and_then(|rest| rest.split('<').next());
        let time = time.unwrap_or_default();
        let Ok(read) = time.parse::<DateTime<Utc>>() else {
            continue;
        };
        let older = (read - OLDER).to_rfc3339_opts(SecondsFormat::Millis, true);
        if let Some(place) = aged.get_mut(begin..begin + time.len())
            && read < before
            && older.len() == place.len()
        {
            place.copy_from_slice(older.as_bytes());
        }
    }
    aged
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let store = TcpStream::connect(("127.0.0.1", port))?;
    store.set_nodelay(true)?;
    Ok(BufReader::new(store))
}
