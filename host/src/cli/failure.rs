//! Errors as people and programs read them: once, with their causes and the next step.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use super::answer::Exit;
use super::invocation::Output;
use crate::error::{Error, ErrorKind};
use crate::pipeline::report::TableFailure;
use crate::printable;

/// Writes the error to stderr and says how the program ends.
pub(super) fn tell(error: &Error, output: Output) -> Exit {
    write(match output {
        Output::Text => printable::whole(&text(error)),
        Output::Json | Output::OpenLineage => format!("{}\n", object(error)),
    });
    exit(error)
}

/// How the program ends that failed so.
pub(super) fn exit(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::Config => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Writes the failures of tables, those that have one reason once. Programs find them in the report.
pub(super) fn tell_tables(failures: &[TableFailure], output: Output) {
    if output == Output::Text {
        write(printable::whole(&tables(failures)));
    }
}

/// Writes that the program was interrupted.
pub(super) fn interrupted(output: Output) -> Exit {
    write(match output {
        Output::Text => "interrupted: nothing is half committed; run again to go on\n".to_owned(),
        Output::Json | Output::OpenLineage => {
            let hint = Some("run again to go on");
            let told = bare(
                "interrupted",
                "interrupted: nothing is half committed",
                hint,
            );
            format!("{told}\n")
        }
    });
    Exit::Interrupted
}

/// Writes what clap says: help and version to stdout, errors to stderr.
pub(super) fn usage(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if error.exit_code() == 0 {
        // A reader that has gone needs no help text.
        let _ = error.print();
        return Exit::Done;
    }
    if wants_json(arguments) {
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let told = bare(ErrorKind::Config, message.trim_end(), None);
        write(format!("{told}\n"));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Whether `--output json` stands among arguments that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments.iter().filter_map(|a| a.to_str()).collect();
    texts.contains(&"--output=json") || texts.windows(2).any(|pair| pair == ["--output", "json"])
}

/// The error as text: what failed, its causes, the next step.
pub(super) fn text(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.causes() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

/// The failures of tables as text.
fn tables(failures: &[TableFailure]) -> String {
    let mut reasons: Vec<(&TableFailure, String, Vec<&str>)> = Vec::new();
    for failure in failures {
        let place = format!("{}: {}: ", failure.stage, failure.table);
        let message = failure.message.strip_prefix(&place);
        let message = message.unwrap_or(&failure.message).to_owned();
        let known = reasons.iter_mut().find(|(first, reason, _)| {
            (first.stage, &first.hint, reason) == (failure.stage, &failure.hint, &message)
        });
        match known {
            Some((_, _, tables)) => tables.push(&failure.table),
            None => reasons.push((failure, message, vec![&failure.table])),
        }
    }
    let mut text = String::new();
    for (failure, message, tables) in reasons {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "error: {}: {}: {message}",
            failure.stage,
            tables.join(", ")
        );
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

/// An error of the program itself, with the keys that every error has.
fn bare(kind: impl Serialize, message: &str, hint: Option<&str>) -> serde_json::Value {
    json!({
        "error": {
            "kind": kind,
            "stage": null,
            "table": null,
            "message": message,
            "causes": [],
            "hint": hint,
        }
    })
}

fn object(error: &Error) -> serde_json::Value {
    json!({
        "error": {
            "kind": error.kind(),
            "stage": error.stage(),
            "table": error.table(),
            "message": error.to_string(),
            "causes": error.causes(),
            "hint": error.hint(),
        }
    })
}

/// stderr may be closed; there is nowhere else to say so.
fn write(text: String) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classify;
    use crate::run::Stage;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        #[source]
        cause: Option<Box<Told>>,
    }

    impl Classify for Told {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Unavailable
        }
        fn hint(&self) -> Option<String> {
            Some("try again".into())
        }
    }

    fn chain(texts: &[&'static str]) -> Told {
        let (text, rest) = texts.split_first().expect("a text");
        Told {
            text,
            cause: (!rest.is_empty()).then(|| Box::new(chain(rest))),
        }
    }

    #[test]
    fn an_error_is_told_once_with_its_causes_and_a_hint() {
        let error = Error::from(chain(&["cannot talk to db", "i/o error: reset", "reset"]))
            .at(Stage::Extract)
            .on("staff");
        assert_eq!(
            text(&error),
            "error: extract: staff: cannot talk to db\n  caused by: i/o error: reset\n  hint: try again\n"
        );
        assert_eq!(
            object(&error)["error"],
            json!({
                "kind": "unavailable",
                "stage": "extract",
                "table": "staff",
                "message": "extract: staff: cannot talk to db",
                "causes": ["i/o error: reset"],
                "hint": "try again",
            })
        );
    }

    #[test]
    fn a_tables_failure_names_its_place_once() {
        let error = Error::from(chain(&["the module trapped"]))
            .at(Stage::Transform)
            .on("dim_staff");
        let failure = TableFailure::new("dim_staff", Stage::Transform, &error);
        assert_eq!(
            tables(&[failure]),
            "error: transform: dim_staff: the module trapped\n  hint: try again\n"
        );
    }

    #[test]
    fn one_reason_of_several_tables_is_told_once() {
        let failure = |table: &str, text: &'static str| {
            let error = Error::from(chain(&[text])).at(Stage::Transform).on(table);
            TableFailure::new(table, Stage::Transform, &error)
        };
        let failures = ["dim_staff", "dim_date"].map(|table| failure(table, "it is damaged"));
        let other = failure("dim_design", "it trapped");
        let [staff, date] = failures;
        assert_eq!(
            tables(&[staff, other, date]),
            "error: transform: dim_staff, dim_date: it is damaged\n  hint: try again\n\
             error: transform: dim_design: it trapped\n  hint: try again\n"
        );
    }
}
