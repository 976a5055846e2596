//! Guests that follow a script: components whose every answer is laid down by a test, byte by byte.
//!
//! A script becomes a core module in text form whose functions return pointers into its data segment,
//! where the answers lie as the canonical ABI wants them. No compiler and no SDK stands between a test
//! and the lie that it wants to tell.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The contract itself.
pub(super) const WIT: &str = include_str!("../../../../wit/transform.wit");
/// Where the data segment begins, and where the host may put what it passes.
const DATA: usize = 1024;
const INCOMING: usize = 8 * 1024 * 1024;
const PAGES: usize = 256;

/// What a guest does when it is called.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Gives a step.
    Give(Answer),
    /// Fails with a code and a message.
    Fail(&'static str, &'static str),
    /// Runs instructions that leave a pointer, or never end. `{}` stands for an honest empty answer.
    Run(&'static str),
}

/// A step as the guest puts it.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) retractions: Vec<Vec<u8>>,
    /// Input, chunk, row, code, message.
    pub(super) rejects: Vec<(u32, u32, u32, &'static str, &'static str)>,
    /// In, out, retracted, rejected.
    pub(super) counts: [u64; 4],
}

/// A column list of a description.
#[derive(Debug, Clone)]
pub(super) struct ScriptedInput {
    pub(super) table: String,
    pub(super) schema: Vec<u8>,
    pub(super) key: Vec<&'static str>,
    /// 0 changes, 1 current.
    pub(super) delivery: u8,
    /// 0 lookup, 1 streamed.
    pub(super) role: u8,
}

/// A whole guest.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) wit: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) inputs: Vec<ScriptedInput>,
    pub(super) output: String,
    pub(super) output_schema: Vec<u8>,
    pub(super) primary_key: Vec<&'static str>,
    /// 0 upsert, 1 append-versions, 2 overwrite, 3 scd2.
    pub(super) mode: u8,
    pub(super) properties: Vec<(&'static str, &'static str)>,
    /// Instead of the description.
    pub(super) describe: Option<Act>,
    pub(super) open: Option<Act>,
    /// One for each push; the last is repeated.
    pub(super) push: Vec<Act>,
    pub(super) retract: Act,
    pub(super) end: Act,
    pub(super) finish: Act,
    /// What the allocator does: the host asks it for room for what it passes.
    pub(super) realloc: String,
    /// More of the core module: memories, start functions.
    pub(super) extra: &'static str,
}

impl Default for Script {
    fn default() -> Self {
        let empty = Act::Give(Answer::default());
        Self {
            wit: WIT.to_owned(),
            name: "dim-thing".into(),
            version: "1.2.3".into(),
            inputs: vec![ScriptedInput {
                table: "thing".into(),
                schema: ipc_schema(&input_schema()),
                key: vec!["id"],
                delivery: 0,
                role: 1,
            }],
            output: "dim_thing".into(),
            output_schema: ipc_schema(&output_schema()),
            primary_key: vec!["id"],
            mode: 0,
            properties: vec![],
            describe: None,
            open: None,
            push: vec![empty.clone()],
            retract: empty.clone(),
            end: empty.clone(),
            finish: empty,
            realloc: pointer(INCOMING),
            extra: "",
        }
    }
}

/// `id` NOT NULL and a text.
pub(super) fn input_schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
    ])
}

/// `id` NOT NULL and a NOT NULL text.
pub(super) fn output_schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, false),
    ])
}

/// A stream of nothing but a schema.
pub(super) fn ipc_schema(schema: &Schema) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("memory takes it");
    std::mem::take(writer.get_mut())
}

/// A chunk with its schema at the head.
pub(super) fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("memory takes it");
    writer.write(batch).expect("memory takes it");
    std::mem::take(writer.get_mut())
}

impl Script {
    /// The component.
    pub(super) fn component(&self) -> Vec<u8> {
        self.encode(&self.text())
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve
            .push_source("transform.wit", &self.wit)
            .expect("the contract is valid");
        let world = resolve
            .select_world(&[package], Some("module"))
            .expect("the contract has a world");
        let mut core = wat::parse_str(text).expect("the script is valid");
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
            .expect("metadata is a custom section");
        ComponentEncoder::default()
            .validate(true)
            .module(&core)
            .and_then(|mut encoder| encoder.encode())
            .expect("the core module fits the contract")
    }

    fn contract_version(&self) -> &str {
        let (_, rest) = self
            .wit
            .split_once("package tidemill:transform@")
            .expect("it has a name");
        rest.split_once(';').expect("it ends").0
    }

    fn text(&self) -> String {
        let version = self.contract_version();
        let transform = format!("tidemill:transform/transform@{version}");
        let mut image = Image(Vec::new());
        let describe = match &self.describe {
            Some(act) => act.body(&mut image),
            None => pointer(self.description(&mut image)),
        };
        let handle = image.put(&[0; 20], 8);
        let open = match &self.open {
            Some(act) => act.body(&mut image),
            None => format!(
                "(i32.store (i32.const {}) (call $new (i32.const 1))) {}",
                handle + 4,
                pointer(handle)
            ),
        };
        let pushes: Vec<String> = self.push.iter().map(|act| act.body(&mut image)).collect();
        let push = pushes.iter().rev().enumerate().fold(String::new(), |rest, (at, body)| {
            if at == 0 {
                return body.clone();
            }
            let number = pushes.len() - at;
            format!("(if (result i32) (i32.eq (global.get $pushes) (i32.const {number})) (then {body}) (else {rest}))")
        });
        let retract = self.retract.body(&mut image);
        let end = self.end.body(&mut image);
        let finish = self.finish.body(&mut image);
        assert!(DATA + image.0.len() < INCOMING, "the script is too long");
        format!(
            r#"(module
  (import "tidemill:transform/log@{version}" "write" (func $log (param i32 i32 i32)))
  (import "[export]{transform}" "[resource-new]session" (func $new (param i32) (result i32)))
  (memory (export "memory") {PAGES})
  (global $pushes (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
  (func (export "{transform}#describe") (param i32 i32) (result i32) {describe})
  (func (export "{transform}#[static]session.open") (param i64 i64 i32 i32) (result i32) {open})
  (func (export "{transform}#[method]session.push") (param i32 i32 i32 i32) (result i32)
    (global.set $pushes (i32.add (global.get $pushes) (i32.const 1)))
    {push})
  (func (export "{transform}#[method]session.retract") (param i32 i32 i32 i32) (result i32) {retract})
  (func (export "{transform}#[method]session.end-of-input") (param i32 i32) (result i32) {end})
  (func (export "{transform}#[method]session.finish") (param i32) (result i32) {finish})
  (data (i32.const {DATA}) "{data}")
  {extra})"#,
            data = image.text(),
            realloc = self.realloc,
            extra = self.extra,
        )
    }

    fn description(&self, image: &mut Image) -> usize {
        let inputs: Vec<u8> = self
            .inputs
            .iter()
            .flat_map(|input| {
                let mut record = Vec::new();
                record.extend(image.list(input.table.as_bytes()));
                record.extend(image.list(&input.schema));
                record.extend(image.texts(&input.key));
                record.extend([input.delivery, input.role, 0, 0]);
                record
            })
            .collect();
        let properties: Vec<u8> = self
            .properties
            .iter()
            .flat_map(|(name, value)| {
                let name = image.list(name.as_bytes());
                [name, image.list(value.as_bytes())].concat()
            })
            .collect();
        let mut record = vec![0, 0, 0, 0];
        record.extend(image.list(self.name.as_bytes()));
        record.extend(image.list(self.version.as_bytes()));
        record.extend(image.records(&inputs, self.inputs.len()));
        record.extend(image.list(self.output.as_bytes()));
        record.extend(image.list(&self.output_schema));
        record.extend(image.texts(&self.primary_key));
        record.extend([self.mode, 0, 0, 0]);
        record.extend(image.records(&properties, self.properties.len()));
        image.put(&record, 8)
    }
}

impl Act {
    fn body(&self, image: &mut Image) -> String {
        match self {
            Self::Give(answer) => pointer(answer.lay(image)),
            Self::Fail(code, message) => {
                // `result<step, failure>` is aligned to 8, so its payload begins there.
                let mut record = vec![1, 0, 0, 0, 0, 0, 0, 0];
                record.extend(image.list(code.as_bytes()));
                record.extend(image.list(message.as_bytes()));
                pointer(image.put(&record, 8))
            }
            Self::Run(body) => body.replace("{}", &pointer(Answer::default().lay(image))),
        }
    }
}

impl Answer {
    fn lay(&self, image: &mut Image) -> usize {
        let rejects: Vec<u8> = self
            .rejects
            .iter()
            .flat_map(|(input, chunk, row, code, message)| {
                let mut record = Vec::new();
                for number in [input, chunk, row] {
                    record.extend(number.to_le_bytes());
                }
                record.extend(image.list(code.as_bytes()));
                record.extend(image.list(message.as_bytes()));
                record
            })
            .collect();
        let mut record = vec![0; 8];
        record.extend(image.lists(&self.rows));
        record.extend(image.lists(&self.retractions));
        record.extend(image.records(&rejects, self.rejects.len()));
        for count in self.counts {
            record.extend(count.to_le_bytes());
        }
        image.put(&record, 8)
    }
}

fn pointer(at: usize) -> String {
    format!("(i32.const {at})")
}

/// The data segment in the making.
struct Image(Vec<u8>);

impl Image {
    /// Lays bytes down; where they lie.
    fn put(&mut self, bytes: &[u8], align: usize) -> usize {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
        let at = DATA + self.0.len();
        self.0.extend_from_slice(bytes);
        at
    }

    /// Lays a list down; its pointer and length.
    fn records(&mut self, bytes: &[u8], count: usize) -> Vec<u8> {
        let at = self.put(bytes, 8);
        [at, count]
            .iter()
            .flat_map(|number| u32::try_from(*number).expect("it fits").to_le_bytes())
            .collect()
    }

    fn list(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.records(bytes, bytes.len())
    }

    fn texts(&mut self, texts: &[&str]) -> Vec<u8> {
        let lists: Vec<u8> = texts
            .iter()
            .flat_map(|text| self.list(text.as_bytes()))
            .collect();
        self.records(&lists, texts.len())
    }

    fn lists(&mut self, chunks: &[Vec<u8>]) -> Vec<u8> {
        let lists: Vec<u8> = chunks.iter().flat_map(|chunk| self.list(chunk)).collect();
        self.records(&lists, chunks.len())
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").expect("a string takes everything");
            text
        })
    }
}
