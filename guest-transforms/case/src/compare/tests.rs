use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::case::{Case, Failed, FailureKind, InputShape, Shape};

const RIGHT: &str = r#"{
  "format": 1,
  "title": "Two rows and a fault",
  "about": "The case that is then spoilt.",
  "context": {"logical_time":"2022-11-03T14:20:52.187Z","seed":21,"parameters":"a \"b\""},
  "inputs": {
    "note": {
      "columns":
        ["note_id", "body"],
      "rows": [
        [1,         "one"],
        [2,         null],
        [3,         ""]
      ],
      "deleted": {
        "columns":
          ["note_id"],
        "rows": [
          [9]
        ]
      }
    }
  },
  "output": {
    "columns":
      ["note_id", "body"],
    "rows": [
      [1,         "one"],
      [3,         ""]
    ]
  },
  "retractions": {
    "columns":
      ["note_id"],
    "rows": [
      [2],
      [9]
    ]
  },
  "rejects": [
    {"input":"note","row":2,"code":"missing-value","message":"note.body is NULL"}
  ],
  "fuel": 41230,
  "fuel_tolerance_percent": 10
}
"#;

fn shape() -> Shape {
    let schema = |nullable: bool, names: &[(&str, DataType)]| {
        let fields = names
            .iter()
            .map(|(name, kind)| Field::new(*name, kind.clone(), nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let both = [("note_id", DataType::Int32), ("body", DataType::Utf8)];
    Shape {
        inputs: vec![InputShape {
            table: "note".into(),
            rows: schema(true, &both),
            key: schema(true, &both[..1]),
        }],
        output: schema(false, &both),
        output_key: schema(false, &both[..1]),
    }
}

fn parse(text: &str) -> Result<Case, String> {
    Case::parse(Path::new("a.json"), text, &shape()).map_err(|error| error.to_string())
}

/// What is said to differ from the right case after a text in it was replaced.
fn spoilt(from: &str, to: &str) -> Vec<String> {
    assert_eq!(RIGHT.matches(from).count(), 1, "{from}");
    let right = parse(RIGHT).expect("a case");
    let wrong = parse(&RIGHT.replace(from, to)).expect("a case");
    compare(&wrong.expected, &right.expected)
        .map_or_else(|difference| difference.lines, |()| Vec::new())
}

#[test]
fn a_case_is_written_as_it_was_read() {
    let case = parse(RIGHT).expect("a case");
    assert_eq!(case.to_json(), RIGHT);
    assert_eq!(case.rows_in(), 4);
    assert_eq!(compare(&case.expected, &case.expected), Ok(()));
}

#[test]
fn what_a_case_gives_is_read_whatever_it_expects() {
    let right = parse(RIGHT).expect("a case");
    let (before, after) = RIGHT.split_once("\"output\"").expect("it expects rows");
    let after = after.replacen("\"body\"]", "\"once\"]", 1);
    let other = format!("{before}\"output\"{after}");
    assert!(parse(&other).is_err());
    let given =
        Case::parse_given(Path::new("a.json"), &other, &shape()).expect("it gives the same");
    assert_eq!(given.inputs, right.inputs);
    assert_eq!(given.expected, Outcome::Made(Made::nothing(&shape())));
    let broken = other.replacen("\"columns\"", "\"colums\"", 1);
    assert!(Case::parse_given(Path::new("a.json"), &broken, &shape()).is_err());
}

#[test]
fn what_a_version_does_not_declare_is_not_given_to_it_when_its_case_is_written_anew() {
    let mut shape = shape();
    for input in &mut shape.inputs {
        input.rows = Arc::new(Schema::new(vec![input.rows.field(0).clone()]));
    }
    let strict = Case::parse(Path::new("a.json"), RIGHT, &shape).expect_err("it gives more");
    assert!(strict.message.contains("no column body"), "{strict}");
    let given = Case::parse_given(Path::new("a.json"), RIGHT, &shape).expect("it is left out");
    let (right, given) = (parse(RIGHT).expect("a case"), &given.inputs[0]);
    assert_eq!(given.rows.column(0), right.inputs[0].rows.column(0));
    assert_eq!(given.deleted, right.inputs[0].deleted);
    shape.inputs.clear();
    let none = Case::parse_given(Path::new("a.json"), RIGHT, &shape).expect("no input is left");
    assert!(none.inputs.is_empty());
}

#[test]
fn a_wrong_value_is_shown_with_its_row_key_and_column() {
    assert_eq!(
        spoilt(
            "      [1,         \"one\"],\n      [3",
            "      [1,         \"two\"],\n      [3"
        ),
        ["output, row 1 (note_id 1), body: expected \"two\", came \"one\""]
    );
    assert_eq!(
        spoilt(
            "\n      [3,         \"\"]\n",
            "\n      [3,         \"NULL\"]\n"
        ),
        ["output, row 2 (note_id 3), body: expected \"NULL\", came \"\""]
    );
}

#[test]
fn a_row_too_few_and_a_row_too_many_are_shown_whole_and_the_rest_is_left_alone() {
    assert_eq!(
        spoilt("      [1,         \"one\"],\n      [3", "      [3"),
        ["output, row 1: came and was not expected: [1, \"one\"]"]
    );
    assert_eq!(
        spoilt(
            "\n      [3,         \"\"]\n",
            "\n      [2, \"two\"], [3,         \"\"]\n"
        ),
        ["output, row 2: expected and did not come: [2, \"two\"]"]
    );
}

#[test]
fn rows_in_another_order_are_told_as_that() {
    assert_eq!(
        spoilt(
            "      [1,         \"one\"],\n      [3,         \"\"]\n",
            "[3, \"\"], [1, \"one\"]\n"
        ),
        ["output: the same rows came in another order: row 1 (note_id 3) came as row 2"]
    );
}

#[test]
fn rows_that_keys_do_not_tell_apart_are_compared_one_by_one() {
    assert_eq!(
        spoilt("\n      [3,         \"\"]\n", "\n      [1,         \"\"]\n"),
        ["output, row 2 (note_id 1), note_id: expected 1, came 3"]
    );
}

#[test]
fn a_reject_with_another_row_code_or_message_is_shown_both_ways() {
    for (from, to) in [
        ("\"row\":2", "\"row\":1"),
        ("missing-value", "missing"),
        ("is NULL", "is no value"),
    ] {
        let lines = spoilt(from, to);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("rejects: expected and did not come: row"));
        assert_eq!(
            lines[1],
            "rejects: came and was not expected: row 2 of note: missing-value: note.body is NULL"
        );
    }
}

#[test]
fn a_case_may_expect_a_failure_and_nothing_else() {
    let failure = r#"{"format": 1, "failure": {"kind": "gave-up", "phase": "push", "code": "x", "message": "no"}}"#;
    let case = parse(failure).expect("a case");
    let failed = Failed {
        kind: FailureKind::GaveUp,
        phase: "push".into(),
        code: Some("x".into()),
        message: "no".into(),
    };
    assert_eq!(case.expected, Outcome::Failed(failed.clone()));
    assert_eq!(parse(&case.to_json()), Ok(case.clone()));
    let other = Outcome::Failed(Failed {
        phase: "finish".into(),
        ..failed
    });
    let lines = compare(&case.expected, &other)
        .expect_err("another phase")
        .lines;
    assert_eq!(
        lines[0],
        "failure: expected that it gave up in push: no [x]"
    );
    let right = parse(RIGHT).expect("a case").expected;
    let lines = compare(&case.expected, &right)
        .expect_err("no failure")
        .lines;
    assert_eq!(
        lines[1],
        "failure: none came, but 2 rows, 2 retractions and 1 rejects"
    );
    let both = failure.replace("\"failure\"", "\"rejects\": [], \"failure\"");
    assert!(
        parse(&both)
            .expect_err("both")
            .contains("expects no output")
    );
}

#[test]
fn a_file_that_is_no_case_is_told_with_the_place() {
    for (from, to, told) in [
        (
            "\"format\": 1",
            "\"format\": 2",
            "it has format 2, and this tidemill reads formats up to 1",
        ),
        (
            "\"format\": 1,",
            "",
            "begins with \"format\": 1: missing field `format`",
        ),
        ("\"format\": 1,", "\"format\": 1", "at line 3"),
        ("\"title\"", "\"titel\"", "unknown field `titel`"),
        (
            "\"note\": {",
            "\"notes\": {",
            "the module has no input notes; it has note",
        ),
        (
            "[2,         null]",
            "[2]",
            "input note, row 2: it has 1 values under 2 columns",
        ),
        (
            "[2,         null]",
            "[\"x\", null]",
            "input note, row 2, column note_id: \"x\" is no value of Int32",
        ),
        (
            "      [1,         \"one\"],\n      [3",
            "[1, null],[3",
            "output, row 1, column body: it is null",
        ),
        (
            "      [\"note_id\", \"body\"],\n    \"rows\": [\n      [1",
            "[\"note_id\", \"text\"], \"rows\": [[1",
            "output: the module declares no column text; it declares note_id, body",
        ),
        (
            "2022-11-03T14:20:52.187Z",
            "today",
            "the logical time \"today\" is none",
        ),
        (
            "\"parameters\"",
            "\"parameters_hex\"",
            "parameters_hex is not made of",
        ),
    ] {
        assert_eq!(RIGHT.matches(from).count(), 1, "{from}");
        let error = parse(&RIGHT.replace(from, to)).expect_err(told);
        assert!(
            error.starts_with("a.json: ") && error.contains(told),
            "{error}"
        );
    }
}

/// What was written once is read for ever, and written again as it was while its format is the newest.
#[test]
fn a_case_of_every_released_format_is_read() {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    let micros = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None);
    let fields = vec![
        field("note_id", DataType::Int64),
        field("price", DataType::Decimal128(10, 2)),
        field("at", micros),
    ];
    let rows = Arc::new(Schema::new(fields));
    let key = Arc::new(rows.project(&[0]).expect("a column"));
    let shape = Shape {
        inputs: vec![InputShape {
            table: "note".into(),
            rows: rows.clone(),
            key: key.clone(),
        }],
        output: rows,
        output_key: key,
    };
    for text in [
        include_str!("../../fixtures/v1.json"),
        include_str!("../../fixtures/v1-failed.json"),
    ] {
        let case = Case::parse(Path::new("v1.json"), text, &shape).expect("format 1");
        assert_eq!(case.to_json(), text);
    }
}
