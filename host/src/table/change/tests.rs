use super::*;
use crate::digest::Digest;
use crate::table::{ColumnIdentity, Fidelity, KeyOrigin};

fn column(name: &str, source_type: &str, data_type: DataType) -> Column {
    Column {
        name: name.into(),
        source_type: source_type.into(),
        data_type,
        nullable: true,
        fidelity: Fidelity::Exact,
    }
}

fn table(columns: Vec<Column>) -> Table {
    Table {
        name: TableName::new("t"),
        kind: TableKind::Plain,
        columns,
        key: vec!["id".into()],
        key_origin: KeyOrigin::Primary,
    }
}

fn before() -> Table {
    table(vec![
        column("id", "integer", DataType::Int32),
        column("name", "text", DataType::Utf8),
        column("price", "numeric(10,2)", DataType::Decimal128(10, 2)),
    ])
}

fn told(now: &Table) -> Vec<String> {
    let changes = between(&before(), now, None);
    changes.iter().map(ToString::to_string).collect()
}

fn with(name: &str, source_type: &str, data_type: DataType) -> Table {
    let mut now = before();
    for found in now.columns.iter_mut().filter(|c| c.name == name) {
        *found = column(name, source_type, data_type.clone());
    }
    now
}

/// Columns of `table` with these numbers in relation `relation`.
fn identity(relation: u32, table: &Table, numbers: &[i16]) -> Identity {
    let columns = table.columns.iter().zip(numbers).map(|(column, number)| {
        let number = *number;
        (
            column.name.clone(),
            ColumnIdentity {
                number,
                made_of: None,
            },
        )
    });
    Identity {
        relation,
        columns: columns.collect(),
    }
}

#[test]
fn what_a_type_becomes_is_told_by_what_is_landed() {
    for (column, source_type, data_type, expected) in [
        ("name", "text", DataType::Utf8, None),
        (
            "name",
            "varchar(3)",
            DataType::Utf8,
            Some("column name is varchar(3) and was text, landed alike"),
        ),
        (
            "name",
            "integer",
            DataType::Int32,
            Some("column name is integer and was text"),
        ),
        (
            "price",
            "numeric(12,2)",
            DataType::Decimal128(12, 2),
            Some("column price widened from numeric(10,2) to numeric(12,2)"),
        ),
        (
            "price",
            "numeric(12,4)",
            DataType::Decimal128(12, 4),
            Some("column price widened from numeric(10,2) to numeric(12,4)"),
        ),
        (
            "price",
            "numeric(10,4)",
            DataType::Decimal128(10, 4),
            Some("column price is numeric(10,4) and was numeric(10,2)"),
        ),
        (
            "price",
            "numeric(8,2)",
            DataType::Decimal128(8, 2),
            Some("column price is numeric(8,2) and was numeric(10,2)"),
        ),
        (
            "id",
            "bigint",
            DataType::Int64,
            Some("column id widened from integer to bigint"),
        ),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(
            told(&with(column, source_type, data_type)),
            expected,
            "{column} {source_type}"
        );
    }
}

#[test]
fn a_key_is_another_one_when_no_landed_key_is_found_by_it() {
    let uuid = with("id", "uuid", DataType::Utf8);
    assert_eq!(
        told(&uuid),
        [
            "key is (id uuid) and was (id integer)",
            "column id is uuid and was integer"
        ]
    );
    let mut two = before();
    two.key = vec!["name".into(), "id".into()];
    assert_eq!(
        told(&two),
        ["key is (name text, id integer) and was (id integer)"]
    );
    let mut turned = two.clone();
    turned.key.reverse();
    assert_eq!(between(&two, &turned, None), []);
    let mut none = before();
    none.key.clear();
    assert_eq!(told(&none), ["key is () and was (id integer)"]);
}

#[test]
fn columns_and_the_table_itself_come_and_go() {
    let mut now = before();
    now.columns.retain(|c| c.name != "price");
    now.columns.push(column("badge", "text", DataType::Utf8));
    now.kind = TableKind::Partitioned;
    for column in now.columns.iter_mut().filter(|c| c.name == "name") {
        column.nullable = false;
    }
    assert_eq!(
        told(&now),
        [
            "it is a partitioned table and was a plain table",
            "column name is NOT NULL now",
            "column badge (text) added",
            "column price dropped",
        ]
    );
    let mut reordered = before();
    reordered.columns.swap(1, 2);
    assert_eq!(told(&reordered), ["columns in another order"]);
}

#[test]
fn numbers_tell_a_renamed_column_from_a_new_one_and_a_new_one_from_its_namesake() {
    let old = identity(7, &before(), &[1, 2, 3]);
    let mut renamed = before();
    for column in renamed.columns.iter_mut().filter(|c| c.name == "name") {
        column.name = "full_name".into();
    }
    let new = identity(7, &renamed, &[1, 2, 3]);
    let changes = between(&before(), &renamed, Some((&old, &new)));
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "column full_name (text) added, which was name",
            "column name dropped, which is full_name now",
        ]
    );
    let again = identity(7, &before(), &[1, 4, 3]);
    let changes = between(&before(), &before(), Some((&old, &again)));
    assert_eq!(
        changes,
        [SchemaChange::ColumnReplaced {
            column: "name".into()
        }]
    );
    // Numbers of another table mean nothing.
    let other = identity(8, &before(), &[1, 4, 3]);
    assert_eq!(between(&before(), &before(), Some((&old, &other))), []);
}

#[test]
fn a_renamed_label_is_a_change_although_the_type_has_its_name() {
    let old = identity(7, &before(), &[1, 2, 3]);
    let mut new = old.clone();
    if let Some(column) = new.columns.get_mut("name") {
        column.made_of = Some(Digest::of("labels"));
    }
    let changes = between(&before(), &before(), Some((&old, &new)));
    let (column, source_type) = ("name".into(), "text".into());
    assert_eq!(
        changes,
        [SchemaChange::TypeRemade {
            column,
            source_type
        }]
    );
}

#[test]
fn a_digest_is_the_same_in_both_types_or_rows_are_landed_again() {
    use DataType::{Date32, Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64, Utf8};
    for (before, now, alike) in [
        (Int16, Int64, true),
        (Int64, Int32, false),
        (Int32, Date32, false),
        (Float32, Float64, false),
        (Decimal128(10, 2), Decimal128(12, 2), true),
        // 1.00 and 0.0100 have the same digits.
        (Decimal128(10, 2), Decimal128(12, 4), false),
        (Decimal128(10, 2), Decimal256(50, 2), false),
        (DataType::Boolean, Int32, false),
        (Utf8, DataType::Binary, false),
    ] {
        assert_eq!(is_digested_alike(&before, &now), alike, "{before} {now}");
    }
}
