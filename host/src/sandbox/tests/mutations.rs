//! What becomes of a valid stream that is cut or changed anywhere: rows that keep every promise, or an error.

use std::time::{Duration, Instant};

use arrow::array::{
    BooleanArray, Decimal128Array, Int64Array, ListBuilder, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::ipc::writer::StreamWriter;

use super::scripted::ipc_schema;
use super::*;

/// How many mutations are tried unless the environment says otherwise, and from which seed; both are in every message.
const MUTATIONS: u64 = 10_000;
const VARIABLE: &str = "TIDEMILL_MUTATIONS";
const SEED: u64 = 0x7469_6465_6d69_6c6c;
/// How long so many may take on a machine that does other things, too: a second or so when it does not.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: usize = 40;

/// Rows of every kind of layout, some values NULL.
fn rows() -> RecordBatch {
    let numbers = 0..ROWS as i64;
    let texts: StringArray = numbers
        .clone()
        .map(|n| Some(format!("text {n} äöü")))
        .collect();
    let maybe: StringArray = numbers
        .clone()
        .map(|n| (n % 3 > 0).then(|| "x".repeat(n as usize)))
        .collect();
    let prices = Decimal128Array::from_iter(
        numbers
            .clone()
            .map(|n| (n % 5 > 0).then_some(i128::from(n) * 199)),
    );
    let mut lists = ListBuilder::new(StringBuilder::new());
    for n in 0..ROWS {
        (0..n % 4).for_each(|item| lists.values().append_value(format!("item {item}")));
        lists.append(n % 7 > 0);
    }
    let inner = Fields::from(vec![Field::new("flag", DataType::Boolean, true)]);
    let flags: BooleanArray = numbers
        .clone()
        .map(|n| (n % 2 > 0).then_some(n % 4 > 0))
        .collect();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(numbers)), false),
        ("text", Arc::new(texts), false),
        ("maybe", Arc::new(maybe), true),
        (
            "price",
            Arc::new(prices.with_precision_and_scale(10, 2).expect("a type")),
            true,
        ),
        ("list", Arc::new(lists.finish()), true),
        (
            "pair",
            Arc::new(StructArray::new(inner, vec![Arc::new(flags)], None)),
            false,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("as many rows each")
}

/// A stream of three batches.
fn stream(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).expect("memory takes it");
    for (from, length) in [(0, 8), (8, 20), (28, 12)] {
        writer
            .write(&rows.slice(from, length))
            .expect("memory takes it");
    }
    std::mem::take(writer.get_mut())
}

/// Reads a stream as a session does. What is accepted has to keep every promise.
fn read(schema: &arrow::datatypes::SchemaRef, chunk: Vec<u8>) -> Result<usize, String> {
    let mut reader = decode::ChunkReader::new(Stream::Rows, schema.clone());
    let mut budget = decode::Budget::new(ROWS as u64 * 2, 1 << 20);
    let mut keys = keys::Keys::new(schema, &["id".to_owned()], 1000).expect("a column");
    let batches = reader.read(chunk, &mut budget).map_err(|e| e.to_string())?;
    let mut rows = 0;
    for (before, batch) in batches {
        assert_eq!(before, rows as u64);
        rows += batch.num_rows();
        assert_eq!(batch.schema(), *schema);
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            column
                .to_data()
                .validate_full()
                .expect("what is accepted is valid");
            assert!(field.is_nullable() || column.null_count() == 0, "{field}");
        }
        // Also what reads values, and not only lengths.
        let lines = arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&batch));
        assert!(lines.expect("it can be shown").to_string().len() > rows);
        keys.note(Stream::Rows, before, &batch)
            .map_err(|e| e.to_string())?;
    }
    Ok(rows)
}

#[test]
fn every_prefix_of_a_stream_is_cut_or_ends_with_a_message() {
    let rows = rows();
    let (schema, whole) = (rows.schema(), stream(&rows));
    let mut whole_messages = vec![];
    for cut in 0..whole.len() {
        match read(&schema, whole[..cut].to_vec()) {
            Ok(rows) => whole_messages.push((cut, rows)),
            Err(reason) => assert_eq!(
                reason, "its rows are no valid Arrow stream: a chunk ends within a message",
                "{cut}"
            ),
        }
    }
    // Nothing, the schema, and each of the batches but the last.
    let rows: Vec<usize> = whole_messages.iter().map(|(_, rows)| *rows).collect();
    assert_eq!(rows, [0, 0, 8, 28], "{whole_messages:?}");
    assert_eq!(whole_messages[1].0, ipc_schema(&schema).len());
    assert_eq!(read(&schema, whole), Ok(ROWS));
}

#[test]
#[allow(clippy::print_stdout)]
#[allow(
    clippy::disallowed_methods,
    reason = "it is no setting: `cargo x soak` asks for more"
)]
fn ten_thousand_mutations_of_a_stream_are_errors_or_valid_rows() {
    let asked = std::env::var(VARIABLE).ok();
    let mutations: u64 = asked.map_or(MUTATIONS, |asked| asked.parse().expect("a number"));
    let patience = PATIENCE * u32::try_from(mutations.div_ceil(MUTATIONS)).expect("not so many");
    let rows = rows();
    let (schema, whole) = (rows.schema(), stream(&rows));
    let (begun, mut accepted, mut gave_up) = (Instant::now(), 0, 0);
    for number in 0..mutations {
        let mutant = Mutator(SEED ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).mutant(&whole);
        let read = catch_unwind(AssertUnwindSafe(|| read(&schema, mutant)));
        match read.unwrap_or_else(|_| panic!("mutation {number} of seed {SEED:#x} got through")) {
            Ok(_) => accepted += 1,
            Err(reason) => gave_up += u64::from(reason.contains("the decoder gave up")),
        }
        let taken = begun.elapsed();
        assert!(
            taken < patience,
            "mutation {number} of seed {SEED:#x}: {taken:?}"
        );
    }
    println!(
        "{mutations} mutations survived: seed {SEED:#x}, {accepted} were valid, the decoder panicked on {gave_up}"
    );
    // Many hit values, which may be any: a reader that refuses everything would be no test.
    assert!(
        (MUTATIONS / 20..mutations / 2).contains(&accepted),
        "{accepted}"
    );
}

/// Xorshift: the same mutations for ever.
struct Mutator(u64);

impl Mutator {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// `whole` with one to four changes.
    fn mutant(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        (0..8).for_each(|_| _ = self.next());
        for _ in 0..=self.below(4) {
            self.mutate(&mut bytes);
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        let length = 1 + self.below(32);
        let end = (at + length).min(bytes.len());
        match self.below(6) {
            0 | 1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = self.next() as u8,
            3 => self.number(bytes, at & !3),
            4 if self.below(2) == 0 => _ = bytes.drain(at..end),
            4 => bytes.truncate(at.max(1)),
            _ => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                for (place, byte) in bytes.iter_mut().skip(to).zip(copy) {
                    *place = byte;
                }
            }
        }
    }

    /// A number that is at an edge, where a length, an offset or a count may be.
    fn number(&mut self, bytes: &mut [u8], at: usize) {
        const EDGES: [i64; 9] = [
            0,
            1,
            -1,
            i64::MIN,
            i64::MAX,
            i32::MAX as i64,
            i32::MIN as i64,
            1 << 20,
            -8,
        ];
        let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
        let width = if self.below(2) == 0 { 4 } else { 8 };
        for (place, byte) in bytes.iter_mut().skip(at).zip(edge).take(width) {
            *place = byte;
        }
    }
}
