//! From the chunks that a guest gave to batches that can be trusted.
//!
//! The frame of every message is read here before the decoder sees it, because the decoder believes the
//! lengths it is told: a compressed body of a few bytes may claim gigabytes, one buffer may be named
//! thousands of times, and a length may be anything. What is left is decoded with every check of Arrow
//! switched on, and a panic in there is an error of the guest. Arrow's stream decoder was rejected: it
//! shows neither the kind nor the lengths of a message before it acts on them, and it holds back a
//! message without a body until the next one comes.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::{Message, MessageHeader, root_as_message_with_opts};
use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

use super::error::{BYTES, Breach, ROWS, Stream};
use super::values;
use crate::printable;

/// Mark and size of the head, before every message.
const PREFIX_BYTES: usize = 8;
/// What a message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Arrow data is read in place when its messages begin at such addresses.
const ALIGNMENT: usize = 8;
/// How much of a decoder's message goes into an error.
const REASON_BYTES: usize = 300;
/// What the head of a message may be once everything is written out that it refers to. References may
/// name the same place again and again, so that a schema of a kilobyte can stand for gigabytes of names.
/// The head of 2 000 columns has half a megabyte.
const HEAD: VerifierOptions = VerifierOptions {
    max_depth: 64,
    max_tables: 100_000,
    max_apparent_size: 16 << 20,
    ignore_missing_null_terminator: false,
};

/// How much the session may still give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) rows_left: u64,
    pub(super) bytes_left: u64,
}

impl Budget {
    pub(super) fn new(rows: u64, bytes: u64) -> Self {
        Self {
            rows,
            bytes,
            rows_left: rows,
            bytes_left: bytes,
        }
    }

    pub(super) fn take_rows(&mut self, rows: u64) -> Result<(), Breach> {
        self.rows_left = self.rows_left.checked_sub(rows).ok_or(Breach::TooMuch {
            what: ROWS,
            limit: self.rows,
        })?;
        Ok(())
    }

    fn take_bytes(&mut self, bytes: u64) -> Result<(), Breach> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Breach::TooMuch {
            what: BYTES,
            limit: self.bytes,
        })?;
        Ok(())
    }
}

/// One stream from a guest.
#[derive(Debug)]
pub(super) struct ChunkReader {
    stream: Stream,
    schema: SchemaRef,
    /// The same columns, each of which may be NULL: what is decoded against, so that a NULL is found by
    /// [`values`], which can say in which row it is.
    lenient: SchemaRef,
    /// Whether the schema has come.
    begun: bool,
    /// Whether the stream has said that it ends.
    ended: bool,
    /// Rows read so far.
    rows: u64,
}

impl ChunkReader {
    /// A stream that must have exactly `schema`.
    pub(super) fn new(stream: Stream, schema: SchemaRef) -> Self {
        let fields = schema.fields().iter();
        let lenient: Vec<_> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        Self {
            stream,
            lenient: Schema::new(lenient).into(),
            schema,
            begun: false,
            ended: false,
            rows: 0,
        }
    }

    /// The batches of the next chunk, each with the number of rows before it in the session.
    pub(super) fn read(
        &mut self,
        chunk: Vec<u8>,
        budget: &mut Budget,
    ) -> Result<Vec<(u64, RecordBatch)>, Breach> {
        budget.take_bytes(chunk.len() as u64)?;
        let mut rest = aligned(chunk);
        let mut batches = Vec::new();
        while !rest.is_empty() {
            let frame = Frame::split_from(&mut rest).map_err(|reason| self.broken(&reason))?;
            match (frame.kind, self.begun) {
                _ if self.ended => return Err(self.broken("it goes on after its end")),
                (Kind::End, _) => self.ended = true,
                (Kind::Schema, false) => self.begin(&frame)?,
                (Kind::Schema, true) => return Err(self.broken("its schema comes twice")),
                (Kind::Batch, false) => return Err(self.broken("rows come before its schema")),
                (Kind::Batch, true) => {
                    budget.take_rows(frame.rows)?;
                    let batch = self.batch(&frame)?;
                    batches.push((self.rows, batch));
                    self.rows += frame.rows;
                }
            }
        }
        batches.retain(|(_, batch)| batch.num_rows() > 0);
        Ok(batches)
    }

    fn begin(&mut self, frame: &Frame) -> Result<(), Breach> {
        let found = frame.schema().map_err(|reason| self.broken(&reason))?;
        self.begun = true;
        match difference(&self.schema, &found) {
            None => Ok(()),
            Some(difference) => Err(Breach::Schema {
                stream: self.stream,
                difference,
            }),
        }
    }

    fn batch(&self, frame: &Frame) -> Result<RecordBatch, Breach> {
        let decoded = frame
            .batch(&self.lenient)
            .map_err(|reason| self.broken(&reason))?;
        if decoded.num_rows() as u64 != frame.rows {
            return Err(self.broken("a batch has another number of rows than it says"));
        }
        values::check(self.stream, self.rows, &self.schema, decoded.columns())?;
        RecordBatch::try_new(self.schema.clone(), decoded.columns().to_vec())
            .map_err(|e| self.broken(&e.to_string()))
    }

    fn broken(&self, reason: &str) -> Breach {
        Breach::Stream {
            stream: self.stream,
            reason: printable::line(reason, REASON_BYTES),
        }
    }
}

/// The schema of a stream that holds a schema and nothing else.
pub(super) fn read_schema(bytes: &[u8]) -> Result<Schema, String> {
    let mut rest = aligned(bytes.to_vec());
    if rest.is_empty() {
        return Err("it is empty".into());
    }
    let first = Frame::split_from(&mut rest)?;
    if first.kind != Kind::Schema {
        return Err("it does not begin with a schema".into());
    }
    if !rest.is_empty() && Frame::split_from(&mut rest)?.kind != Kind::End || !rest.is_empty() {
        return Err("it holds more than a schema".into());
    }
    first.schema()
}

thread_local! {
    /// Whether this thread runs a decoder whose panics are caught.
    static IS_CALM: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panics of decoders off stderr, where only a program's own belong: they are caught and told as
/// what a module did. All other panics are told as before.
pub(crate) fn hush_decoders() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IS_CALM.get() {
            tell(panic);
        }
    }));
}

/// Runs a decoder that may panic on hostile bytes. What it was given is thrown away then, so nobody sees
/// a value that a panic left half made.
fn calmly<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, String> {
    IS_CALM.set(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    IS_CALM.set(false);
    match decoded {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder gave up on it".into()),
    }
}

/// The head of a message, verified.
fn message(head: &[u8]) -> Result<Message<'_>, String> {
    root_as_message_with_opts(&HEAD, head).map_err(|error| match error {
        InvalidFlatbuffer::ApparentSizeTooLarge | InvalidFlatbuffer::TooManyTables => {
            "the head of a message stands for more than there may be".to_owned()
        }
        InvalidFlatbuffer::DepthLimitReached => {
            "the head of a message is nested too deeply".to_owned()
        }
        error => {
            // What follows the first line is the path to the fault through the tables of the format.
            let told = error.to_string();
            told.lines().next().unwrap_or_default().to_owned()
        }
    })
}

/// The bytes as a buffer whose messages begin at aligned addresses; moved, not copied, when they do.
fn aligned(bytes: Vec<u8>) -> Buffer {
    if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
        Buffer::from_vec(bytes)
    } else {
        Buffer::from_slice_ref(&bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Schema,
    Batch,
    End,
}

/// One message whose lengths are true.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    rows: u64,
    head: Buffer,
    body: Buffer,
}

impl Frame {
    /// Takes the first message off `rest`.
    fn split_from(rest: &mut Buffer) -> Result<Self, String> {
        let cut = || "a chunk ends within a message".to_owned();
        let (mark, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if *mark != CONTINUATION {
            return Err("a message does not begin with its mark".into());
        }
        let (size, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        let head_bytes = u32::from_le_bytes(*size) as usize;
        let (head, after) = after.split_at_checked(head_bytes).ok_or_else(cut)?;
        if !head_bytes.is_multiple_of(ALIGNMENT) {
            return Err("a message head is not padded to 8 bytes".into());
        }
        let (kind, rows, body_bytes) = Self::inspect(head)?;
        if body_bytes > after.len() {
            return Err(cut());
        }
        let frame = Self {
            kind,
            rows,
            head: rest.slice_with_length(PREFIX_BYTES, head_bytes),
            body: rest.slice_with_length(PREFIX_BYTES + head_bytes, body_bytes),
        };
        rest.advance(PREFIX_BYTES + head_bytes + body_bytes);
        Ok(frame)
    }

    /// Kind, rows and size of the body.
    fn inspect(head: &[u8]) -> Result<(Kind, u64, usize), String> {
        if head.is_empty() {
            return Ok((Kind::End, 0, 0));
        }
        let message = message(head)?;
        let body_bytes = usize::try_from(message.bodyLength())
            .ok()
            .filter(|length| length.is_multiple_of(ALIGNMENT))
            .ok_or("a message body has no proper length")?;
        let (kind, rows) = Self::header(&message, body_bytes as u64)?;
        Ok((kind, rows, body_bytes))
    }

    fn schema(&self) -> Result<Schema, String> {
        let message = message(&self.head)?;
        let schema = message
            .header_as_schema()
            .ok_or("a schema message is empty")?;
        calmly(|| Ok(fb_to_schema(schema)))
    }

    /// The rows, every value checked by Arrow.
    fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch, String> {
        let message = message(&self.head)?;
        let batch = message
            .header_as_record_batch()
            .ok_or("a batch message is empty")?;
        let (schema, none) = (schema.clone(), HashMap::new());
        calmly(|| read_record_batch(&self.body, batch, schema, &none, None, &message.version()))
    }

    fn header(message: &Message<'_>, body_bytes: u64) -> Result<(Kind, u64), String> {
        match message.header_type() {
            MessageHeader::Schema => {
                message
                    .header_as_schema()
                    .ok_or("a schema message is empty")?;
                Ok((Kind::Schema, 0))
            }
            MessageHeader::RecordBatch => Ok((Kind::Batch, batch_rows(message, body_bytes)?)),
            other => Err(format!(
                "it holds a message of type {}, where only a schema and batches may be",
                other.variant_name().unwrap_or("unknown")
            )),
        }
    }
}

/// The rows of a batch message, when no length in its head promises more than its body holds.
fn batch_rows(message: &Message<'_>, body_bytes: u64) -> Result<u64, String> {
    let batch = message
        .header_as_record_batch()
        .ok_or("a batch message is empty")?;
    if batch.compression().is_some() {
        return Err("a batch is compressed".into());
    }
    // Every type of the contract takes at least one bit per value in some buffer.
    let most_values = body_bytes.saturating_mul(8);
    let fits = |length: i64| u64::try_from(length).ok().filter(|n| *n <= most_values);
    for node in batch.nodes().iter().flatten() {
        let length = fits(node.length()).ok_or("a column is longer than its data")?;
        if !u64::try_from(node.null_count()).is_ok_and(|nulls| nulls <= length) {
            return Err("a column counts more NULLs than values".into());
        }
    }
    let mut total = 0_u64;
    for buffer in batch.buffers().iter().flatten() {
        let (offset, length) = (
            u64::try_from(buffer.offset()).unwrap_or(u64::MAX),
            u64::try_from(buffer.length()).unwrap_or(u64::MAX),
        );
        total = total.saturating_add(length);
        if offset.saturating_add(length) > body_bytes || total > body_bytes {
            return Err("its buffers lie outside of its data, or over one another".into());
        }
    }
    fits(batch.length()).ok_or_else(|| "a batch claims more rows than its data holds".into())
}

/// The first difference between two schemas, in words.
fn difference(declared: &Schema, found: &Schema) -> Option<String> {
    if declared == found {
        return None;
    }
    let quoted = |text: &str| printable::line(text, REASON_BYTES);
    if declared.fields().len() != found.fields().len() {
        return Some(format!(
            "{} columns instead of {}",
            found.fields().len(),
            declared.fields().len()
        ));
    }
    let differing = declared
        .fields()
        .iter()
        .zip(found.fields())
        .find(|(ours, theirs)| ours != theirs);
    Some(match differing {
        Some((ours, theirs)) if ours.name() != theirs.name() => format!(
            "column `{}` instead of `{}`",
            quoted(theirs.name()),
            ours.name()
        ),
        Some((ours, theirs)) if ours.data_type() != theirs.data_type() => format!(
            "column `{}` is {} instead of {}",
            ours.name(),
            quoted(&theirs.data_type().to_string()),
            ours.data_type()
        ),
        Some((ours, theirs)) if ours.is_nullable() != theirs.is_nullable() => {
            let word = |nullable| if nullable { "nullable" } else { "NOT NULL" };
            format!(
                "column `{}` is {} instead of {}",
                ours.name(),
                word(theirs.is_nullable()),
                word(ours.is_nullable())
            )
        }
        Some((ours, _)) => format!("column `{}` has other metadata", ours.name()),
        None => "it has other metadata".into(),
    })
}
