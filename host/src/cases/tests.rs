use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn input(table: &str, columns: &[(&str, DataType)], rows: &[&[&str]]) -> CaseInput {
    let fields = columns
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
        .collect();
    let key = Arc::new(schema.project(&[0]).expect("a column"));
    CaseInput {
        table: table.into(),
        rows: batch(&schema, &cells).expect("values"),
        deleted: RecordBatch::new_empty(key),
    }
}

fn column(table: &str, column: &str) -> SourceColumn {
    SourceColumn {
        source: "shop".into(),
        table: table.into(),
        column: column.into(),
    }
}

#[test]
fn sensitive_values_are_replaced_and_joins_stay() {
    let staff = [
        ("id", DataType::Int32),
        ("mail", DataType::Utf8),
        ("team", DataType::Utf8),
    ];
    let team = [("team", DataType::Utf8), ("since", DataType::Date32)];
    let mut inputs = [
        input(
            "staff",
            &staff,
            &[
                &["7", "\"a@x\"", "\"red\""],
                &["8", "null", "\"blue\""],
                &["9", "\"a@x\"", "\"red\""],
            ],
        ),
        input(
            "team",
            &team,
            &[
                &["\"blue\"", "\"2020-01-01\""],
                &["\"red\"", "\"2021-01-01\""],
            ],
        ),
    ];
    let sensitive = [
        column("staff", "id"),
        column("staff", "mail"),
        column("staff", "team"),
        column("team", "team"),
        column("team", "since"),
        column("other", "name"),
    ];
    let replaced = replace_sensitive("shop", &mut inputs, &sensitive.into()).expect("replaced");
    assert_eq!(
        replaced,
        [
            "staff.id",
            "staff.mail",
            "staff.team",
            "team.team",
            "team.since"
        ]
    );
    assert_eq!(
        cells(&inputs[0].rows),
        [
            ["1", "\"redacted-4\"", "\"redacted-5\""],
            ["2", "null", "\"redacted-6\""],
            ["3", "\"redacted-4\"", "\"redacted-5\""]
        ]
    );
    assert_eq!(
        cells(&inputs[1].rows),
        [["\"redacted-6\"", "null"], ["\"redacted-5\"", "null"]]
    );
}

#[test]
fn what_is_not_sensitive_stays_as_it_is() {
    let staff = [("id", DataType::Int32), ("mail", DataType::Utf8)];
    let mut inputs = [input("staff", &staff, &[&["7", "\"a@x\""]])];
    let before = inputs[0].clone();
    let of_another_source = SourceColumn {
        source: "other".into(),
        ..column("staff", "mail")
    };
    let replaced = replace_sensitive("shop", &mut inputs, &[of_another_source].into());
    assert_eq!(replaced.expect("nothing"), [""; 0]);
    assert_eq!(inputs[0], before);
}

#[test]
fn limits_are_kept_where_they_are_not_the_usual_ones() {
    assert_eq!(kept_limits(&Limits::default()), None);
    let limits = Limits {
        memory_bytes: 1 << 20,
        output_rows: 7,
        ..Limits::default()
    };
    let origin = Origin {
        limits: kept_limits(&limits),
        ..Origin::default()
    };
    assert_eq!(limits_of(&origin).expect("limits"), limits);
}
