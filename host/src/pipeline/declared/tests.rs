use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use chrono::DateTime;

use super::*;
use crate::contract::Role;
use crate::table::{Fidelity, KeyOrigin, TableKind, TableName};
use crate::watermark::Position;

fn column(name: &str, data_type: DataType) -> Column {
    Column {
        name: name.into(),
        source_type: "t".into(),
        data_type,
        nullable: true,
        fidelity: Fidelity::Exact,
    }
}

fn landed() -> LandedTable {
    LandedTable {
        table: Table {
            name: TableName::new("staff"),
            kind: TableKind::Plain,
            columns: vec![
                column("id", DataType::Int64),
                column("name", DataType::Utf8),
            ],
            key: vec!["id".into()],
            key_origin: KeyOrigin::Primary,
        },
        identity: None,
        dropped: vec![column("district", DataType::Utf8)],
        position: Position::Sqlite,
        reached: None,
        window: None,
        watermark: None,
        compared_at: DateTime::UNIX_EPOCH,
        changed: vec![],
        deleted: vec![],
        replaces: false,
        live_rows: 0,
        content: None,
        changed_in: 1,
        changed_before: None,
        index: vec![],
    }
}

fn input(fields: Vec<Field>) -> Input {
    Input {
        table: "staff".into(),
        schema: Arc::new(Schema::new(fields)),
        key: vec!["id".into()],
        delivery: Delivery::Changes,
        role: Role::Streamed,
    }
}

fn told(input: &Input) -> String {
    check(input, &landed())
        .err()
        .map_or_else(|| "fits".into(), |error| error.to_string())
}

#[test]
fn a_column_that_was_never_landed_is_null_and_one_that_is_gone_is_not() {
    let id = Field::new("id", DataType::Int32, false);
    let reads = |name: &str, nullable| {
        told(&input(vec![
            id.clone(),
            Field::new(name, DataType::Utf8, nullable),
        ]))
    };
    assert_eq!(reads("name", true), "fits");
    assert_eq!(reads("nickname", true), "fits");
    assert_eq!(
        reads("nickname", false),
        "the module reads `staff.nickname`, which has not been landed"
    );
    for nullable in [true, false] {
        assert_eq!(
            reads("district", nullable),
            "the module reads `staff.district`, which the source does not have any more"
        );
    }
}

#[test]
fn a_type_and_a_key_must_be_those_that_were_declared() {
    let id = Field::new("id", DataType::Utf8, false);
    assert_eq!(
        told(&input(vec![id])),
        "the module reads `staff.id` as Utf8, and it is landed as Int64"
    );
    let mut by_name = input(vec![Field::new("name", DataType::Utf8, false)]);
    by_name.key = vec!["name".into()];
    assert_eq!(
        told(&by_name),
        "the module tells rows of `staff` by (name), and they are landed by (id)"
    );
    // The latest rows are told by the landed key, whatever the module calls one.
    by_name.delivery = Delivery::Current;
    assert_eq!(told(&by_name), "fits");
}
