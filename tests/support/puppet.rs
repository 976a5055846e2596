//! Scripts for the module in `tests/guests/hostile`: what a script does not say is done honestly.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{MessageBuilder, MessageHeader, MetadataVersion, SchemaBuilder};
use flatbuffers::FlatBufferBuilder;

/// A script. [`Puppet::parameters`] is how the module reads it.
#[derive(Debug, Clone)]
pub struct Puppet {
    settings: Vec<(&'static str, String)>,
    inputs: Vec<String>,
    acts: String,
}

/// A stream of nothing but a schema.
fn ipc_schema(schema: &Schema) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("memory takes it");
    std::mem::take(writer.get_mut())
}

/// `id` NOT NULL and a text, which the output has NOT NULL.
fn things(nullable: bool) -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, nullable),
    ])
}

/// The session takes rows 1, 2 and 3 and the key 4: what an honest module counts.
const ROWS: u64 = 3;
const KEYS: u64 = 1;

impl Default for Puppet {
    /// Declares what the other scripts of the sandbox's tests declare, and makes nothing of its input.
    fn default() -> Self {
        let words = |text: &str| hex(text.as_bytes());
        Self {
            settings: vec![
                ("name", words("hostile")),
                ("version", words("6.6.6")),
                ("output", words("dim_thing")),
                ("output-schema", hex(&ipc_schema(&things(false)))),
                ("primary-key", words("id")),
                ("mode", "upsert".into()),
                ("rows-in", ROWS.to_string()),
                ("keys-in", KEYS.to_string()),
            ],
            inputs: vec![input(
                "thing",
                &things(true),
                "changes",
                "streamed",
                &["id"],
            )],
            acts: String::new(),
        }
    }
}

/// An input as a script says it.
pub fn input(table: &str, schema: &Schema, delivery: &str, role: &str, key: &[&str]) -> String {
    let mut line = format!(
        "{} {} {delivery} {role}",
        hex(table.as_bytes()),
        hex(&ipc_schema(schema))
    );
    for column in key {
        line.push(' ');
        line.push_str(&hex(column.as_bytes()));
    }
    line
}

impl Puppet {
    /// Makes another table.
    pub fn makes(self, table: &str, schema: &Schema, key: &[&str]) -> Self {
        let key: Vec<&[u8]> = key.iter().map(|column| column.as_bytes()).collect();
        self.says("output", &[table.as_bytes()])
            .says("output-schema", &[&ipc_schema(schema)])
            .says("primary-key", &key)
    }

    /// Says something else of itself, in words that may be any bytes.
    pub fn says(self, name: &'static str, words: &[&[u8]]) -> Self {
        let words: Vec<String> = words.iter().map(|word| hex(word)).collect();
        self.set(name, words.join(" "))
    }

    /// Sets what is a plain word or a number.
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings
            .retain(|(known, _)| *known != name || name == "property");
        self.settings.push((name, value.to_string()));
        self
    }

    /// Has other inputs.
    pub fn takes(mut self, inputs: Vec<String>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Does something in a phase; the words are those of `tests/guests/hostile/src/act.rs`.
    pub fn does(mut self, phase: &str, act: &str) -> Self {
        writeln!(self.acts, "{phase} {act}").expect("a string takes everything");
        self
    }

    /// Does something with bytes.
    pub fn does_with(self, phase: &str, act: &str, bytes: &[u8]) -> Self {
        self.does(phase, &format!("{act} {}", hex(bytes)))
    }

    /// Gives chunks of rows in `push`, and counts so many.
    pub fn gives(self, chunks: &[&[u8]], rows: u64) -> Self {
        let puppet = chunks.iter().fold(self, |puppet, chunk| {
            puppet.does_with("push", "rows", chunk)
        });
        puppet.does("push", &format!("counts {ROWS} {rows} 0 0"))
    }

    /// Searches its memory for each of `needles`, and fails with how often it found them.
    pub fn searches(self, phase: &str, needles: &[&str]) -> Self {
        let needles: Vec<String> = needles.iter().map(|needle| inverted(needle)).collect();
        self.does(phase, &format!("search {}", needles.join(" ")))
    }

    /// What the module is given.
    pub fn parameters(&self) -> Vec<u8> {
        let mut text = String::new();
        for (name, value) in &self.settings {
            writeln!(text, "{name} {value}").expect("a string takes everything");
        }
        for input in &self.inputs {
            writeln!(text, "input {input}").expect("a string takes everything");
        }
        text.push_str(&self.acts);
        text.into_bytes()
    }
}

/// The schema message of a stream, whose schema says nothing at all: valid, and Arrow's own reader panics on it.
pub fn hollow_schema() -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let schema = SchemaBuilder::new(&mut builder).finish();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_header(schema.as_union_value());
    let message = message.finish();
    builder.finish(message, None);
    framed(builder.finished_data())
}

/// A message without a body, of this head.
pub fn framed(head: &[u8]) -> Vec<u8> {
    let size = head.len().next_multiple_of(8);
    let mut chunk = vec![0xff; 4];
    chunk.extend((size as u32).to_le_bytes());
    chunk.extend_from_slice(head);
    chunk.resize(8 + size, 0);
    chunk
}

/// Bytes as a script has them.
pub fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is searched for: every bit inverted, so that the script itself is not found.
pub fn inverted(needle: &str) -> String {
    hex(&needle.bytes().map(|byte| !byte).collect::<Vec<_>>())
}
