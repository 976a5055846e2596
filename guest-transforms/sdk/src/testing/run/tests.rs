use tidemill_case::Context;

use super::*;
use crate::description::{Input, integer};
use crate::table::Table;
use crate::transform::{Arrival, Step};

const NOTES: &str = r#"{"format": 1,
  "inputs": {"note": {"columns": ["note_id", "body"], "rows": [[1, "one"], [2, null], [3, ""]],
    "deleted": {"columns": ["note_id"], "rows": [[9]]}}},
  "output": {"columns": ["note_id", "body"], "rows": [[1, "one"], [3, ""]]},
  "retractions": {"columns": ["note_id"], "rows": [[2], [9]]},
  "rejects": [{"input": "note", "row": 2, "code": "missing-value",
    "message": "note.body is NULL, and note.body must have a value"}]}"#;

fn notes() -> Table {
    let note = Input::changes("note").key(integer("note_id"));
    Table::upsert("note")
        .key("note_id", note.integer("note_id"))
        .required("body", note.text("body"))
}

fn case(text: &str) -> Case {
    let shape = shape(&notes().describe().unwrap());
    Case::parse(Path::new("case.json"), text, &shape).unwrap()
}

#[test]
fn a_case_holds_in_chunks_of_every_size_and_a_wrong_one_in_none() {
    let (right, wrong) = (
        case(NOTES),
        case(&NOTES.replace(r#"[1, "one"], [3"#, r#"[1, "two"], [3"#)),
    );
    for rows in CHUNK_ROWS {
        let came = run(notes(), &right, rows);
        assert_eq!(judge(&right.expected, &came), Ok(()));
        let difference = judge(&wrong.expected, &came).unwrap_err();
        assert_eq!(
            difference.lines,
            [r#"output, row 1 (note_id 1), body: expected "two", came "one""#]
        );
    }
}

/// Gives up, or panics, at the row of that number.
struct Ends(&'static str);

impl Transform for Ends {
    fn describe(&self) -> Result<Description, Failure> {
        notes().describe()
    }

    fn open(&mut self, context: &crate::transform::Context) -> Result<(), Failure> {
        match context.parameters.as_slice() {
            b"no" => Err(Failure::new("parameters", "it was told no")),
            _ => Ok(()),
        }
    }

    fn push(&mut self, _: &Arrival<'_>, _: &mut Step) -> Result<(), Failure> {
        match self.0 {
            "panic" => panic!("it is {}", self.0),
            _ => Err(Failure::new("gives-up", "it cannot go on")),
        }
    }
}

fn failed(kind: FailureKind, phase: &str, code: Option<&str>, message: &str) -> Outcome {
    Outcome::Failed(Failed {
        kind,
        phase: phase.to_owned(),
        code: code.map(str::to_owned),
        message: message.to_owned(),
    })
}

#[test]
fn a_failure_is_an_outcome_with_its_call() {
    let mut case = case(NOTES);
    let gave_up = run(Ends("gives up"), &case, 1);
    assert_eq!(
        gave_up,
        failed(
            FailureKind::GaveUp,
            "push",
            Some("gives-up"),
            "it cannot go on"
        )
    );
    let trap = run(Ends("panic"), &case, 1);
    assert_eq!(trap, failed(FailureKind::Trap, "push", None, "it is panic"));
    // The sandbox has other words for it.
    assert_eq!(
        judge(
            &failed(FailureKind::Trap, "push", None, "unreachable"),
            &trap
        ),
        Ok(())
    );
    assert!(judge(&case.expected, &trap).is_err());
    case.context = Context {
        parameters: b"no".to_vec(),
        ..Context::default()
    };
    assert_eq!(
        run(Ends("gives up"), &case, 1),
        failed(
            FailureKind::GaveUp,
            "open",
            Some("parameters"),
            "it was told no"
        )
    );
}

#[test]
#[should_panic(expected = "the folder cases has no .json file")]
fn a_crate_without_cases_does_not_hold_all_of_them() {
    check_cases(notes);
}
