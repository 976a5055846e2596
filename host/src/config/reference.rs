//! References in values: `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}`, `${aws-secret:NAME#KEY}`, `${aws-ssm:NAME}`.
//!
//! `$${` is a plain `${`. A default is taken as it is: references do not nest. What a service of AWS keeps is not read
//! here: a plan says where it is, and the room that needs it asks for it.

use std::fmt;
use std::path::Path;

use super::Environment;

/// A value that a service of AWS keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Who keeps it.
    pub keeper: Keeper,
    /// Its name or ARN there.
    pub name: String,
    /// The key of a JSON object, where the value is one of it.
    pub key: Option<String>,
}

/// A service of AWS that keeps values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// Secrets Manager.
    Secrets,
    /// The Parameter Store of Systems Manager.
    Parameters,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.keeper {
            Keeper::Secrets => "the AWS secret ",
            Keeper::Parameters => "the AWS parameter ",
        })?;
        f.write_str(&self.name)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "#{key}"))
    }
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// It is known.
    Text(String),
    /// It is to be asked for.
    Kept(Reference),
}

/// Why a reference could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// "the environment variable TOTESYS_URL".
    pub(super) target: String,
    /// "which is not set".
    pub(super) problem: String,
    /// The next step.
    pub(super) hint: String,
}

/// The text with every reference replaced by what it refers to. Relative paths are below `base`.
pub(super) fn expand(
    text: &str,
    environment: &Environment,
    base: &Path,
) -> Result<String, Unresolved> {
    let pieces = pieces(text, environment, base)?;
    let known = pieces.into_iter().map(|piece| match piece {
        Piece::Text(text) => Ok(text),
        Piece::Kept(reference) => Err(Unresolved {
            target: reference.to_string(),
            problem: "and only the `url` of a source or of the warehouse can".into(),
            hint: "write the value itself, or put it into a variable and write ${env:NAME}".into(),
        }),
    });
    known.collect()
}

/// The text in pieces: what is known already is one with the text around it.
pub(super) fn pieces(
    text: &str,
    environment: &Environment,
    base: &Path,
) -> Result<Vec<Piece>, Unresolved> {
    let mut pieces = Vec::new();
    let mut known = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            known.push_str(literal);
            known.push_str("${");
            rest = after;
            continue;
        }
        known.push_str(before);
        let (reference, after) = after.split_once('}').ok_or_else(|| Unresolved {
            target: "something".into(),
            problem: "but its `${` has no `}`".into(),
            hint: "close it, or write `$${` for a plain `${`".into(),
        })?;
        match resolve(reference, environment, base)? {
            Piece::Text(text) => known.push_str(&text),
            kept => {
                pieces.push(Piece::Text(std::mem::take(&mut known)));
                pieces.push(kept);
            }
        }
        rest = after;
    }
    known.push_str(rest);
    pieces.push(Piece::Text(known));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Ok(pieces)
}

/// What the references of a text refer to, in words, each once: nothing of it is read.
pub(super) fn targets(text: &str, environment: &Environment, base: &Path) -> Vec<String> {
    let mut targets = Vec::new();
    // What is doubled is no reference.
    let plain = text.replace("$${", "");
    for reference in plain.split("${").skip(1) {
        let Some((reference, _)) = reference.split_once('}') else {
            continue;
        };
        let target = match reference.split_once(':') {
            Some(("env", variable)) => match variable.split_once(":-") {
                Some((name, _)) if environment.get(name).is_none_or(str::is_empty) => {
                    format!("the default of the environment variable {name}")
                }
                Some((name, _)) => format!("the environment variable {name}"),
                None => format!("the environment variable {variable}"),
            },
            Some(("file", path)) => format!("the file {}", base.join(path).display()),
            _ => match resolve(reference, environment, base) {
                Ok(Piece::Kept(kept)) => kept.to_string(),
                _ => continue,
            },
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

fn resolve(reference: &str, environment: &Environment, base: &Path) -> Result<Piece, Unresolved> {
    match reference.split_once(':') {
        Some(("env", variable)) => from_environment(variable, environment).map(Piece::Text),
        Some(("file", path)) => from_file(&base.join(path)).map(Piece::Text),
        Some(("aws-secret", name)) => {
            let (name, key) = match name.split_once('#') {
                Some((name, key)) => (name, Some(key)),
                None => (name, None),
            };
            kept(Keeper::Secrets, reference, name, key)
        }
        Some(("aws-ssm", name)) => kept(Keeper::Parameters, reference, name, None),
        _ => Err(Unresolved {
            target: format!("${{{reference}}}"),
            problem: "which is no kind of reference".into(),
            hint: "write ${env:NAME}, ${env:NAME:-default}, ${file:PATH}, ${aws-secret:NAME#KEY} or ${aws-ssm:NAME}"
                .into(),
        }),
    }
}

fn kept(
    keeper: Keeper,
    reference: &str,
    name: &str,
    key: Option<&str>,
) -> Result<Piece, Unresolved> {
    if name.is_empty() || key == Some("") {
        return Err(Unresolved {
            target: format!("${{{reference}}}"),
            problem: "which names nothing".into(),
            hint: "write ${aws-secret:NAME}, ${aws-secret:NAME#KEY} or ${aws-ssm:NAME}".into(),
        });
    }
    Ok(Piece::Kept(Reference {
        keeper,
        name: name.to_owned(),
        key: key.map(str::to_owned),
    }))
}

/// As a shell does it: a default stands in for a variable that is unset or empty.
fn from_environment(variable: &str, environment: &Environment) -> Result<String, Unresolved> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let value = environment.get(name);
    if let Some(value) = value.filter(|value| !value.is_empty()).or(default) {
        return Ok(value.to_owned());
    }
    let problem = match value {
        Some(_) => "which is empty",
        None => "which is not set",
    };
    Err(Unresolved {
        target: format!("the environment variable {name}"),
        problem: problem.into(),
        hint: format!(
            "set it, add it to the .env beside the project file, or write ${{env:{name}:-default}}"
        ),
    })
}

/// The file's text without the line end that editors add.
fn from_file(path: &Path) -> Result<String, Unresolved> {
    let text = std::fs::read_to_string(path).map_err(|cause| Unresolved {
        target: format!("the file {}", path.display()),
        problem: format!("which cannot be read: {cause}"),
        hint: "check that it exists and that you may read it".into(),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Unresolved> {
        let environment = [("USER", "ada"), ("EMPTY", "")].into_iter().collect();
        expand(text, &environment, Path::new("."))
    }

    #[test]
    fn what_is_referred_to_is_told_without_being_read() {
        let environment = [("USER", "ada"), ("EMPTY", "")].into_iter().collect();
        let told = |text: &str| targets(text, &environment, Path::new("/project"));
        assert_eq!(
            told(
                "postgresql://${env:USER}:${file:secret/key}@${aws-secret:db#host}/${env:USER}$${env:A}"
            ),
            [
                "the environment variable USER",
                "the file /project/secret/key",
                "the AWS secret db#host"
            ]
        );
        assert_eq!(
            told("${env:EMPTY:-sqlite://x}"),
            ["the default of the environment variable EMPTY"]
        );
        assert_eq!(told("${env:NONE}"), ["the environment variable NONE"]);
        assert_eq!(
            told("${aws-ssm:/a/b} ${wrong} ${"),
            ["the AWS parameter /a/b"]
        );
        assert!(told("sqlite://x").is_empty());
    }

    #[test]
    fn variables_are_put_in_anywhere() {
        assert_eq!(
            expanded("postgresql://${env:USER}@db/${env:BASE:-totesys}").as_deref(),
            Ok("postgresql://ada@db/totesys")
        );
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(expanded("${env:EMPTY:-x}").as_deref(), Ok("x"));
        let error = expanded("${env:EMPTY}").expect_err("nothing to put in");
        assert_eq!(error.problem, "which is empty");
    }

    #[test]
    fn a_default_may_hold_colons_and_hyphens() {
        assert_eq!(
            expanded("${env:NONE:-sqlite://./a-b.sqlite}").as_deref(),
            Ok("sqlite://./a-b.sqlite")
        );
    }

    #[test]
    fn a_doubled_dollar_is_plain() {
        assert_eq!(expanded("a$${env:USER}").as_deref(), Ok("a${env:USER}"));
    }

    #[test]
    fn a_file_loses_its_last_line_end_only() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), " a\nb \n").expect("a file");
        let text = expand("${file:secret}", &Environment::default(), folder.path());
        assert_eq!(text.as_deref(), Ok(" a\nb "));
    }

    #[test]
    fn what_a_service_keeps_stands_between_what_is_known() {
        let text =
            "postgresql://${env:USER}:${aws-secret:prod/db#password}@${aws-ssm:/db/host}/totesys";
        let environment = [("USER", "ada")].into_iter().collect();
        let pieces = pieces(text, &environment, Path::new(".")).expect("it is well formed");
        let text = |text: &str| Piece::Text(text.into());
        let kept = |keeper, name: &str, key: Option<&str>| {
            Piece::Kept(Reference {
                keeper,
                name: name.into(),
                key: key.map(str::to_owned),
            })
        };
        assert_eq!(
            pieces,
            [
                text("postgresql://ada:"),
                kept(Keeper::Secrets, "prod/db", Some("password")),
                text("@"),
                kept(Keeper::Parameters, "/db/host", None),
                text("/totesys"),
            ]
        );
    }

    #[test]
    fn an_arn_is_a_name() {
        let arn = "arn:aws:secretsmanager:eu-west-2:123456789012:secret:db-AbCdEf";
        let text = format!("${{aws-secret:{arn}}}");
        let pieces = pieces(&text, &Environment::default(), Path::new("."));
        let [Piece::Kept(reference)] = &pieces.expect("it is well formed")[..] else {
            panic!("one reference");
        };
        assert_eq!((reference.name.as_str(), &reference.key), (arn, &None));
    }

    #[test]
    fn what_cannot_be_resolved_says_why() {
        for (text, target, problem) in [
            (
                "${env:NONE}",
                "the environment variable NONE",
                "which is not set",
            ),
            ("${env:USER", "something", "but its `${` has no `}`"),
            ("${vault:a}", "${vault:a}", "which is no kind of reference"),
            (
                "${aws-secret:db#password}",
                "the AWS secret db#password",
                "and only the `url` of a source or of the warehouse can",
            ),
            (
                "${aws-secret:#key}",
                "${aws-secret:#key}",
                "which names nothing",
            ),
            ("${aws-ssm:}", "${aws-ssm:}", "which names nothing"),
        ] {
            let error = expanded(text).expect_err(text);
            assert_eq!(
                (error.target.as_str(), error.problem.as_str()),
                (target, problem)
            );
        }
    }
}
