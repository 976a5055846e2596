//! Modules that lie about themselves.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::case::Cases;
use super::scripted::{input_schema, ipc_schema, output_schema};
use super::streams;
use tidemill_tests::puppet::{Puppet, hex, input};

pub(crate) fn add(cases: &mut Cases) {
    let honest = Puppet::default;
    for (what, name) in [
        ("with path parts", b"../../../etc/cron.d/x".as_slice()),
        ("of an absolute path", b"/etc/passwd"),
        ("with control characters", b"a\x1b[2J\x00\r\nb\x07"),
        ("that is no UTF-8", b"dim-\xff\xfe"),
        ("of nothing", b""),
        ("in capitals", b"Dim-Staff"),
    ] {
        cases.puppet(&format!("a name {what}"), honest().says("name", &[name]));
        cases.puppet(
            &format!("an output {what}"),
            honest().says("output", &[name]),
        );
    }
    cases.puppet(
        "a name of a hundred kilobytes",
        honest().says("name", &[&[b'a'; 100_000]]),
    );
    cases.puppet(
        "a version that leaves its folder",
        honest().says("version", &[b"1.0.0/../../.."]),
    );
    cases.puppet(
        "a version with control characters",
        honest().says("version", &[b"1.0.0\x1b[2J"]),
    );
    cases.puppet("ten thousand inputs", honest().set("inputs", 10_000));
    cases.puppet("no input", honest().takes(vec![]));
    inputs(cases);
    schemas(cases);
    properties(cases);
}

fn inputs(cases: &mut Cases) {
    let honest = Puppet::default;
    let thing = |table: &str, delivery: &str, role: &str, key: &[&str]| {
        input(table, &input_schema(), delivery, role, key)
    };
    let once = thing("thing", "changes", "streamed", &["id"]);
    cases.puppet(
        "the same input twice",
        honest().takes(vec![once.clone(), once.clone()]),
    );
    for (name, table) in [
        ("an input with control characters", "a\u{1b}[2J\nb"),
        ("an input of a kilobyte", &"t".repeat(1_000)),
        ("an input without a name", ""),
    ] {
        cases.puppet(
            name,
            honest().takes(vec![thing(table, "changes", "streamed", &["id"])]),
        );
    }
    cases.puppet(
        "an input whose key it does not see",
        honest().takes(vec![thing("thing", "changes", "streamed", &["secret"])]),
    );
    cases.puppet(
        "a key that comes twice",
        honest().takes(vec![thing("thing", "changes", "streamed", &["id", "id"])]),
    );
    cases.puppet(
        "a lookup of changes",
        honest().takes(vec![thing("thing", "changes", "lookup", &["id"])]),
    );
    cases.puppet(
        "an overwritten output of changes",
        honest().set("mode", "overwrite"),
    );
    cases.puppet("an output without a key", honest().set("primary-key", ""));
    cases.puppet(
        "an output whose key is not there",
        honest().says("primary-key", &[b"nothing"]),
    );
}

/// A schema of `id` and a column of this type.
fn with(data_type: DataType) -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("x", data_type, true),
    ])
}

/// A type in so many lists.
pub(crate) fn nested(depth: usize) -> DataType {
    (0..depth).fold(DataType::Int32, |inner, _| {
        DataType::List(Arc::new(Field::new("item", inner, true)))
    })
}

fn schemas(cases: &mut Cases) {
    let mut output = |name: &str, schema: &[u8]| {
        cases.puppet(name, Puppet::default().says("output-schema", &[schema]));
    };
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let union = {
        let fields = [(0, Arc::new(Field::new("a", DataType::Int32, true)))];
        DataType::Union(
            fields.into_iter().collect(),
            arrow::datatypes::UnionMode::Sparse,
        )
    };
    for (name, data_type) in [
        ("a type nested nine deep", nested(8)),
        ("a type nested sixty deep", nested(60)),
        ("a type nested a hundred deep", nested(100)),
        ("a column that takes no room", DataType::Null),
        ("a dictionary", dictionary),
        ("a union", union),
        ("a view", DataType::Utf8View),
        (
            "a struct of nothing",
            DataType::Struct(arrow::datatypes::Fields::empty()),
        ),
        (
            "lists of minus one",
            DataType::FixedSizeList(Arc::new(Field::new("i", DataType::Int8, true)), -1),
        ),
        ("bytes of length zero", DataType::FixedSizeBinary(0)),
    ] {
        output(
            &format!("a schema with {name}"),
            &ipc_schema(&with(data_type)),
        );
    }
    let wide = (0..2_001).map(|n| Field::new(format!("c{n}"), DataType::Int8, true));
    output(
        "a schema of 2001 columns",
        &ipc_schema(&Schema::new(wide.collect::<Vec<_>>())),
    );
    let twice = vec![Field::new("id", DataType::Int32, false); 2];
    output(
        "a schema with the same column twice",
        &ipc_schema(&Schema::new(twice)),
    );
    let evil = vec![Field::new("id\u{1b}[2J", DataType::Int32, false)];
    output(
        "a schema with control characters",
        &ipc_schema(&Schema::new(evil)),
    );
    let long = vec![Field::new("c".repeat(64), DataType::Int32, false)];
    output(
        "a schema with a name that PostgreSQL would cut",
        &ipc_schema(&Schema::new(long)),
    );
    output("a schema that is text", b"CREATE TABLE dim_thing (id int)");
    output("a schema of nothing", b"");
    output(
        "a schema that says nothing",
        &tidemill_tests::puppet::hollow_schema(),
    );
    output(
        "a schema and rows",
        &super::scripted::ipc(&super::case::made(&[1])),
    );
    output(
        "a schema cut short",
        ipc_schema(&output_schema())
            .split_last_chunk::<16>()
            .expect("it is longer")
            .0,
    );
    // Fifty thousand columns that are the same column, whose name has ten kilobytes.
    output(
        "a schema of kilobytes that stands for half a gigabyte",
        &streams::repeated_column(50_000, 10_000),
    );
    let nullable = Schema::new(vec![Field::new("id", DataType::Int32, true)]);
    output("a primary key that may be NULL", &ipc_schema(&nullable));
}

fn properties(cases: &mut Cases) {
    let property = |name: &[u8], value: &[u8]| {
        let words = format!("{} {}", hex(name), hex(value));
        Puppet::default().set("property", words)
    };
    cases.puppet(
        "a property with a name like SQL",
        property(b"x; DROP TABLE x", b"1"),
    );
    cases.puppet(
        "a property with control characters",
        property(b"colour", b"\x1b[31m"),
    );
    cases.puppet("an alias with a path", property(b"alias", b"../x"));
    cases.puppet(
        "an alias that is the output",
        property(b"alias", b"dim_thing"),
    );
    cases.puppet(
        "a record id where there are no versions",
        property(b"record-id", b"n"),
    );
    let many = (0..65).fold(Puppet::default(), |puppet, n| {
        puppet.set(
            "property",
            format!("{} {}", hex(format!("p{n}").as_bytes()), hex(b"v")),
        )
    });
    cases.puppet("65 properties", many);
}
