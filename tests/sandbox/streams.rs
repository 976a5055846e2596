//! Modules that lie about data: streams that are valid and not what was declared, and streams that are broken in one
//! place each.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Int32Array, LargeStringArray, ListArray,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::{
    BodyCompressionBuilder, FieldBuilder, IntBuilder, MessageBuilder, MessageHeader,
    MetadataVersion, RecordBatchBuilder, SchemaBuilder, Type,
};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::case::{Cases, keys, made, things};
use super::scripted::{input_schema, ipc, ipc_schema, output_schema};
use tidemill_tests::puppet::{Puppet, framed, hollow_schema};

pub(crate) fn add(cases: &mut Cases) {
    schemas(cases);
    values(cases);
    frames(cases);
    offsets(cases);
    types(cases);
}

fn given(chunks: &[&[u8]], rows: u64) -> Puppet {
    Puppet::default().gives(chunks, rows)
}

/// A chunk without the schema at its head.
fn headless(batch: &RecordBatch) -> Vec<u8> {
    ipc(batch).split_off(ipc_schema(&batch.schema()).len())
}

/// `chunk` with the one place where `found` lies changed.
fn patched(chunk: &[u8], found: &[u8], instead: &[u8]) -> Vec<u8> {
    let places = chunk.windows(found.len()).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, w)| *w == found)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "{found:?} is not in one place");
    let mut chunk = chunk.to_vec();
    for place in places {
        chunk.splice(place..place + instead.len(), instead.iter().copied());
    }
    chunk
}

fn schemas(cases: &mut Cases) {
    cases.puppet("rows with a column less", given(&[&ipc(&keys(&[1]))], 1));
    cases.puppet(
        "rows that may be NULL",
        given(&[&ipc(&things(&[1], "n"))], 1),
    );
    let renamed = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("title\u{1b}[2J", DataType::Utf8, false),
    ]);
    cases.puppet("rows with another name", given(&[&ipc_schema(&renamed)], 0));
    let wider = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, false),
    ]);
    cases.puppet("rows with another type", given(&[&ipc_schema(&wider)], 0));
    let deep = Schema::new(vec![
        Field::new("id", super::descriptions::nested(60), false),
        Field::new("name", DataType::Utf8, false),
    ]);
    cases.puppet("rows nested sixty deep", given(&[&ipc_schema(&deep)], 0));
    cases.puppet(
        "rows with a schema that stands for half a gigabyte",
        given(&[&repeated_column(50_000, 10_000)], 0),
    );
    cases.puppet(
        "rows with a schema that says nothing",
        given(&[&hollow_schema()], 0),
    );
    let chunk = ipc(&made(&[1]));
    cases.puppet("rows whose schema comes twice", given(&[&chunk, &chunk], 2));
    cases.puppet(
        "rows before their schema",
        given(&[&headless(&made(&[1]))], 1),
    );
    let dictionary: DictionaryArray<Int32Type> = ["a"].into_iter().collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int32Array::from(vec![1]))),
        ("name", Arc::new(dictionary)),
    ];
    let encoded = RecordBatch::try_from_iter(columns).expect("it fits");
    cases.puppet("rows with a dictionary", given(&[&ipc(&encoded)], 1));
    let dictionary = headless(&encoded);
    cases.puppet(
        "a dictionary after the declared schema",
        given(&[&ipc_schema(&output_schema()), &dictionary], 1),
    );
}

fn values(cases: &mut Cases) {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![Some("a"), None])),
    ];
    let nulls = RecordBatch::try_new(input_schema().into(), columns).expect("it fits");
    let schema = ipc_schema(&output_schema());
    cases.puppet(
        "NULL where there may be none",
        given(&[&schema, &headless(&nulls)], 2),
    );
    cases.puppet(
        "a key that comes twice",
        given(&[&ipc(&made(&[1, 2, 1]))], 3),
    );
    cases.puppet(
        "a key that comes again in another chunk",
        given(&[&ipc(&made(&[1, 2])), &headless(&made(&[3, 2]))], 4),
    );
    cases.puppet(
        "a key that comes again in another call",
        given(&[&ipc(&made(&[1]))], 1)
            .does_with("finish", "rows", &headless(&made(&[1])))
            .does("finish", "counts 0 1 0 0"),
    );
    cases.puppet(
        "a key that is made and retracted",
        given(&[&ipc(&made(&[1]))], 1)
            .does_with("retract", "retractions", &ipc(&keys(&[1])))
            .does("retract", "counts 1 0 1 0"),
    );
    let chunk = ipc(&made(&[1]));
    let mut broken = chunk.clone();
    let letter = broken.iter_mut().rfind(|byte| **byte == b'n');
    *letter.expect("the name is there") = 0xff;
    cases.puppet("text that is no UTF-8", given(&[&broken], 1));
}

/// The same type for a column beside `id`.
fn column(name: &str, column: ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..column.len() as i32));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new(name, column.data_type().clone(), true),
    ]);
    RecordBatch::try_new(schema.into(), vec![ids, column]).expect("it fits")
}

/// A module that declares the schema of `batch` and gives `chunk`.
fn declared(batch: &RecordBatch, chunk: &[u8]) -> Puppet {
    Puppet::default()
        .says("output-schema", &[&ipc_schema(&batch.schema())])
        .gives(&[chunk], batch.num_rows() as u64)
}

fn le(numbers: &[i32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn offsets(cases: &mut Cases) {
    let texts = column(
        "x",
        Arc::new(StringArray::from(vec!["abcd", "efgh", "ijkl"])),
    );
    let lists = column("x", {
        let lists = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]];
        let lists = lists.map(|list| Some(list.map(Some)));
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
    });
    for (name, instead) in [
        ("negative offsets", [0, -4, 8, 12]),
        ("decreasing offsets", [0, 8, 4, 12]),
        ("offsets beyond the data", [0, 4, 8, i32::MAX]),
        ("offsets that begin before the data", [i32::MIN, 4, 8, 12]),
    ] {
        for (what, batch) in [("texts", &texts), ("lists", &lists)] {
            let broken = patched(&ipc(batch), &le(&[0, 4, 8, 12]), &le(&instead));
            cases.puppet(&format!("{what} with {name}"), declared(batch, &broken));
        }
    }
    let long = column("x", Arc::new(LargeStringArray::from(vec!["abcd", "efgh"])));
    let offsets = |offsets: [i64; 3]| offsets.map(i64::to_le_bytes).concat();
    for (name, instead) in [
        ("a text of exabytes", [0, 4, i64::MAX]),
        ("a text of minus exabytes", [0, i64::MIN, 8]),
    ] {
        let broken = patched(&ipc(&long), &offsets([0, 4, 8]), &offsets(instead));
        cases.puppet(name, declared(&long, &broken));
    }
    let split = column("x", Arc::new(StringArray::from(vec!["äö", "ü"])));
    let broken = patched(&ipc(&split), &le(&[0, 4, 6]), &le(&[0, 3, 6]));
    cases.puppet("texts cut within a character", declared(&split, &broken));
}

fn types(cases: &mut Cases) {
    let prices = Decimal128Array::from(vec![9_999, 10_000]);
    let prices = prices.with_precision_and_scale(4, 2).expect("a type");
    let prices = column("x", Arc::new(prices));
    cases.puppet(
        "a decimal with more digits",
        declared(&prices, &ipc(&prices)),
    );
    // Sixteen million rows of one byte: their keys, widened at once, would be a quarter of a gigabyte.
    cases.puppet("sixteen million keys in one batch", {
        let one = Schema::new(vec![Field::new("id", DataType::Int8, false)]);
        let head = batch_of_zeros(16_000_000);
        Puppet::default()
            .says("output-schema", &[&ipc_schema(&one)])
            .gives(&[&ipc_schema(&one)], 0)
            .does_with("end", "padded-rows 16000000", &head)
    });
    cases.within(|limits| limits.output_rows = 20_000_000);
}

fn frames(cases: &mut Cases) {
    let whole = ipc(&made(&[1, 2]));
    let half = whole.get(..whole.len() - 8).expect("it is longer");
    cases.puppet("a stream cut in its last message", given(&[half], 2));
    let (first, second) = whole.split_at(whole.len() / 2);
    cases.puppet("a message in two chunks", given(&[first, second], 2));
    cases.puppet("chunks that are text", given(&[b"id,name\n1,n\n"], 1));
    let end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    cases.puppet(
        "rows after the end",
        given(&[&whole, &end, &headless(&made(&[3]))], 3),
    );
    cases.puppet("a head of four gigabytes", given(&[&[0xff; 16]], 0));
    cases.puppet("an honest stream", given(&[&whole], 2));
    let schema = ipc_schema(&output_schema());
    for (name, length, body, compressed) in [
        ("a batch of more rows than bytes", 1 << 40, 64, false),
        ("a batch of minus one row", -1, 64, false),
        ("a body of minus eight bytes", 1, -8, false),
        ("a body of exabytes", 1, i64::MAX - 7, false),
        ("a compressed body", 1, 64, true),
        ("a batch without columns", 1, 64, false),
    ] {
        let chunk = batch(length, body, compressed);
        cases.puppet(name, given(&[&schema, &chunk], 1));
    }
}

/// A message with this header.
fn message<'b>(
    mut builder: FlatBufferBuilder<'b>,
    kind: MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    body: i64,
) -> Vec<u8> {
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(kind);
    message.add_header(header);
    message.add_bodyLength(body);
    let message = message.finish();
    builder.finish(message, None);
    framed(builder.finished_data())
}

/// A batch that has no columns, and says what it says; with a body of 64 bytes.
fn batch(length: i64, body: i64, compressed: bool) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let compression = compressed.then(|| BodyCompressionBuilder::new(&mut builder).finish());
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(length);
    if let Some(compression) = compression {
        batch.add_compression(compression);
    }
    let header = batch.finish().as_union_value();
    let mut chunk = message(builder, MessageHeader::RecordBatch, header, body);
    chunk.resize(chunk.len() + 64, 0);
    chunk
}

/// The head of a batch of one column of so many bytes that are not there yet.
fn batch_of_zeros(rows: i64) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let nodes = builder.create_vector(&[arrow::ipc::FieldNode::new(rows, 0)]);
    let none = arrow::ipc::Buffer::new(0, 0);
    let buffers = builder.create_vector(&[none, arrow::ipc::Buffer::new(0, rows)]);
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(rows);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let header = batch.finish().as_union_value();
    message(builder, MessageHeader::RecordBatch, header, rows)
}

/// A schema whose columns are all the same place, with a long name: small as it is, and huge once it is read.
pub(crate) fn repeated_column(times: usize, name_bytes: usize) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let name = builder.create_string(&"c".repeat(name_bytes));
    let mut int = IntBuilder::new(&mut builder);
    int.add_bitWidth(32);
    int.add_is_signed(true);
    let int = int.finish();
    let children = builder.create_vector::<WIPOffset<arrow::ipc::Field<'_>>>(&[]);
    let mut field = FieldBuilder::new(&mut builder);
    field.add_name(name);
    field.add_type_type(Type::Int);
    field.add_type_(int.as_union_value());
    field.add_children(children);
    let field = field.finish();
    let fields = builder.create_vector(&vec![field; times]);
    let mut schema = SchemaBuilder::new(&mut builder);
    schema.add_fields(fields);
    let header = schema.finish().as_union_value();
    message(builder, MessageHeader::Schema, header, 0)
}
