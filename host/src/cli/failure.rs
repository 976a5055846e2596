//! Errors as people and programs read them: once, with their causes and the next step.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use super::answer::Exit;
use super::invocation::Output;
use super::text::plain;
use crate::error::{Error, ErrorKind};
use crate::pipeline::report::TableFailure;

/// Writes the error to stderr and says how the program ends.
pub(super) fn tell(error: &Error, output: Output) -> Exit {
    write(match output {
        Output::Text => plain(&text(error)),
        Output::Json => format!("{}\n", object(error)),
    });
    match error.kind() {
        ErrorKind::Config => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Writes the failure of one table. Programs find it in the report.
pub(super) fn tell_table(failure: &TableFailure, output: Output) {
    if output == Output::Text {
        write(plain(&table(failure)));
    }
}

/// Writes that the program was interrupted.
pub(super) fn interrupted(output: Output) -> Exit {
    write(match output {
        Output::Text => "interrupted: nothing is half committed; run again to go on\n".to_owned(),
        Output::Json => {
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
    for cause in causes(error) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

/// The failure of one table as text.
pub(super) fn table(failure: &TableFailure) -> String {
    let TableFailure {
        table,
        stage,
        message,
        hint,
        ..
    } = failure;
    let place = format!("{stage}: {table}: ");
    let message = message.strip_prefix(&place).unwrap_or(message);
    let mut text = format!("error: {place}{message}\n");
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {hint}");
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
            "causes": causes(error),
            "hint": error.hint(),
        }
    })
}

/// The texts of the causes, without those that say what the one above has said already.
fn causes(error: &Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut above = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !above.ends_with(&text) {
            texts.push(text.clone());
        }
        above = text;
        cause = inner.source();
    }
    texts
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
            table(&failure),
            "error: transform: dim_staff: the module trapped\n  hint: try again\n"
        );
    }
}
