//! Events by their shapes.
//!
//! Only what decides is read of an event. The types of `aws_lambda_events` were rejected for reading: they want every
//! field that Amazon sends, which look-alikes of S3 and whoever calls a function by hand do not. The tests hold the
//! samples against them, so that a sample is a real shape.

use serde_json::{Map, Value};

use crate::error::{Classify, ErrorKind};

/// SNS within SQS is the deepest that couriers are packed.
const DEPTH: usize = 3;

/// What a schedule or a person may ask for.
const ASKED: [&str; 3] = ["reconcile", "tables", "time"];

const SHAPES: &str = "understood are: a schedule (`Scheduled Event` of EventBridge, or the input of a schedule: {} or \
{\"tables\": [\"staff\"], \"reconcile\": true}); `ObjectCreated` of S3, sent directly, by SNS or by SQS; and `Object \
Created` of EventBridge, also by SQS";

/// Why a function was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// What it was told: one by one as a batch of SQS, and one in all other cases.
    pub notices: Vec<Notice>,
}

/// What a function was told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The message of SQS that it came in.
    pub message: Option<String>,
    /// What it says. A message that cannot be understood keeps nobody from understanding the others.
    pub says: Result<Happened, EventError>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// It is time to look for work.
    Due(Asked),
    /// Objects were created.
    Created(Vec<StoredObject>),
    /// Nothing that matters, for this reason.
    Nothing(String),
}

/// What is asked for with a schedule or by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Tables: of the source for extract, of the warehouse for transform. Empty means all.
    pub tables: Vec<String>,
    /// Whether every row is compared with what has been landed.
    pub reconcile: bool,
}

/// An object as an event names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredObject {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Nothing of the kind is understood.
    #[error("the event is of no shape that is understood: it is {0}")]
    Unknown(String),
    /// It is of a known shape, and a part is missing or is something else.
    #[error("the event is {shape}, and its `{part}` is {problem}")]
    Malformed {
        /// "a notification of S3".
        shape: &'static str,
        /// The part.
        part: &'static str,
        /// "missing".
        problem: &'static str,
    },
}

impl Classify for EventError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => SHAPES.to_owned(),
            Self::Malformed { .. } => {
                "send it as the service does, without a transformer of the input".to_owned()
            }
        })
    }
}

impl Trigger {
    /// What an event says.
    ///
    /// # Errors
    /// `Config` when it is of no shape that is understood. Of a batch of SQS that holds for each message by itself.
    pub fn of(event: &Value) -> Result<Self, EventError> {
        let messages = records(event).filter(|records| {
            let mut sources = records.iter().map(|record| text(record, "eventSource"));
            !records.is_empty() && sources.all(|source| source == Some("aws:sqs"))
        });
        let Some(messages) = messages else {
            let says = Ok(happened(event, DEPTH)?);
            let message = None;
            return Ok(Self {
                notices: vec![Notice { message, says }],
            });
        };
        let notices = messages.iter().map(|message| {
            let id = text(message, "messageId").ok_or(EventError::Malformed {
                shape: "a batch of SQS",
                part: "messageId",
                problem: "missing",
            })?;
            Ok(Notice {
                message: Some(id.to_owned()),
                says: body(message),
            })
        });
        Ok(Self {
            notices: notices.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it came as a batch, of which every message is answered for itself.
    pub fn is_batch(&self) -> bool {
        self.notices.iter().any(|notice| notice.message.is_some())
    }
}

/// What the body of a message of SQS says.
fn body(message: &Value) -> Result<Happened, EventError> {
    happened(&packed(message, "body", "a message of SQS")?, DEPTH)
}

fn happened(event: &Value, depth: usize) -> Result<Happened, EventError> {
    let Value::Object(fields) = event else {
        return match event {
            Value::Null => Ok(Happened::Due(Asked::default())),
            other => Err(EventError::Unknown(kind(other).into())),
        };
    };
    if let Some(records) = records(event) {
        return notified(records, depth);
    }
    if let Some(detail) = text(event, "detail-type") {
        return bridged(event, detail);
    }
    if text(event, "Event") == Some("s3:TestEvent") {
        let bucket = text(event, "Bucket").unwrap_or("a bucket");
        let word = format!("a test of S3: {bucket} can notify this function");
        return Ok(Happened::Nothing(word));
    }
    // SNS puts its envelope into the body of a message of SQS.
    if text(event, "Type") == Some("Notification") && depth > 0 {
        let inner = packed(event, "Message", "a notification of SNS")?;
        return happened(&inner, depth - 1);
    }
    asked(fields).map(Happened::Due)
}

/// Records of S3 or SNS.
fn notified(records: &[Value], depth: usize) -> Result<Happened, EventError> {
    const SNS: &str = "a notification of SNS";
    let mut created = Vec::new();
    let mut words = Vec::new();
    for record in records {
        // Look-alikes of S3 have names of their own before the colon.
        let source = text(record, "eventSource").or_else(|| text(record, "EventSource"));
        match source {
            Some(source) if source.ends_with(":s3") => match stored(record)? {
                Ok(object) => created.push(object),
                Err(word) => words.push(word),
            },
            Some("aws:sns") if depth > 0 => {
                let sns = record.get("Sns").ok_or(EventError::Malformed {
                    shape: SNS,
                    part: "Sns",
                    problem: "missing",
                })?;
                match happened(&packed(sns, "Message", SNS)?, depth - 1)? {
                    Happened::Created(objects) => created.extend(objects),
                    Happened::Nothing(word) => words.push(word),
                    due @ Happened::Due(_) => return Ok(due),
                }
            }
            Some(other) => return Err(EventError::Unknown(format!("of `{}`", clipped(other)))),
            None => return Err(EventError::Unknown("a list of nameless records".into())),
        }
    }
    match (created.is_empty(), words.is_empty()) {
        (true, true) => Err(EventError::Unknown("a list without records".into())),
        (true, false) => Ok(Happened::Nothing(words.join("; "))),
        _ => Ok(Happened::Created(created)),
    }
}

/// The object of a record of S3, or why it is none that matters.
fn stored(record: &Value) -> Result<Result<StoredObject, String>, EventError> {
    const SHAPE: &str = "a notification of S3";
    let missing = |part, problem| EventError::Malformed {
        shape: SHAPE,
        part,
        problem,
    };
    let name = text(record, "eventName").ok_or(missing("eventName", "missing"))?;
    // Amazon writes it without the `s3:` with which notifications are configured; look-alikes write it with.
    let name = name.strip_prefix("s3:").unwrap_or(name);
    if !name.starts_with("ObjectCreated:") {
        return Ok(Err(format!(
            "{}: only what is created matters",
            clipped(name)
        )));
    }
    let at = |pointer| record.pointer(pointer).and_then(Value::as_str);
    let bucket = at("/s3/bucket/name").ok_or(missing("s3.bucket.name", "missing"))?;
    let key = at("/s3/object/key").ok_or(missing("s3.object.key", "missing"))?;
    Ok(Ok(StoredObject {
        bucket: bucket.to_owned(),
        key: decoded(key).ok_or(missing("s3.object.key", "no URL-encoded text"))?,
    }))
}

/// An event of EventBridge.
fn bridged(event: &Value, detail: &str) -> Result<Happened, EventError> {
    const SHAPE: &str = "an event of EventBridge about an object";
    match (detail, text(event, "source")) {
        // Rules send {} as their detail; schedules send it as a text.
        ("Scheduled Event", _) => Ok(Happened::Due(Asked::default())),
        ("Object Created", Some("aws.s3")) => {
            let part = |pointer, part| {
                let found = event.pointer(pointer).and_then(Value::as_str);
                found.map(str::to_owned).ok_or(EventError::Malformed {
                    shape: SHAPE,
                    part,
                    problem: "missing",
                })
            };
            // Unlike in a notification, the key is written as it is.
            Ok(Happened::Created(vec![StoredObject {
                bucket: part("/detail/bucket/name", "detail.bucket.name")?,
                key: part("/detail/object/key", "detail.object.key")?,
            }]))
        }
        (other, Some("aws.s3")) => Ok(Happened::Nothing(format!(
            "{}: only what is created matters",
            clipped(other)
        ))),
        (other, _) => Err(EventError::Unknown(format!(
            "`{}` of EventBridge",
            clipped(other)
        ))),
    }
}

/// What somebody asks for who writes an event himself.
fn asked(fields: &Map<String, Value>) -> Result<Asked, EventError> {
    const SHAPE: &str = "the input of a schedule";
    if let Some(unknown) = fields.keys().find(|key| !ASKED.contains(&key.as_str())) {
        let known: Vec<String> = fields.keys().take(8).map(|key| clipped(key)).collect();
        let what = match ASKED.iter().any(|known| fields.contains_key(*known)) {
            true => format!("an input that asks for `{}`", clipped(unknown)),
            false => format!("an object with {}", known.join(", ")),
        };
        return Err(EventError::Unknown(what));
    }
    let wrong = |part, problem| EventError::Malformed {
        shape: SHAPE,
        part,
        problem,
    };
    let tables = match fields.get("tables") {
        None | Some(Value::Null) => Vec::new(),
        Some(tables) => serde_json::from_value(tables.clone())
            .map_err(|_| wrong("tables", "no list of names"))?,
    };
    let reconcile = match fields.get("reconcile") {
        None | Some(Value::Null) => false,
        Some(reconcile) => reconcile
            .as_bool()
            .ok_or(wrong("reconcile", "neither true nor false"))?,
    };
    Ok(Asked { tables, reconcile })
}

/// JSON that a courier carries as a text.
fn packed(event: &Value, part: &'static str, shape: &'static str) -> Result<Value, EventError> {
    let wrong = |problem| EventError::Malformed {
        shape,
        part,
        problem,
    };
    let text = text(event, part).ok_or(wrong("missing"))?;
    serde_json::from_str(text).map_err(|_| wrong("no JSON"))
}

fn records(event: &Value) -> Option<&Vec<Value>> {
    event.get("Records").and_then(Value::as_array)
}

fn text<'e>(event: &'e Value, name: &str) -> Option<&'e str> {
    event.get(name).and_then(Value::as_str)
}

/// A key as S3 writes it: a blank is a plus, everything else that is special is percent-encoded.
fn decoded(key: &str) -> Option<String> {
    let blanks = key.replace('+', " ");
    let bytes = percent_encoding::percent_decode_str(&blanks);
    Some(bytes.decode_utf8().ok()?.into_owned())
}

/// What a stranger calls something, short enough for a message.
fn clipped(name: &str) -> String {
    crate::printable::line(name, 60)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
