//! References in values: `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}`, `${aws-secret:NAME#KEY}`.
//!
//! `$${` is a plain `${`. A default is taken as it is: references do not nest.

use std::path::Path;

use super::Environment;

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
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let (reference, after) = after.split_once('}').ok_or_else(|| Unresolved {
            target: "something".into(),
            problem: "but its `${` has no `}`".into(),
            hint: "close it, or write `$${` for a plain `${`".into(),
        })?;
        expanded.push_str(&resolve(reference, environment, base)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn resolve(reference: &str, environment: &Environment, base: &Path) -> Result<String, Unresolved> {
    match reference.split_once(':') {
        Some(("env", variable)) => from_environment(variable, environment),
        Some(("file", path)) => from_file(&base.join(path)),
        Some(("aws-secret", name)) => Err(Unresolved {
            target: format!("the AWS secret {name}"),
            problem: "and this build cannot read AWS secrets".into(),
            hint: "put the value into a variable and write ${env:NAME}, or into a file and write ${file:PATH}"
                .into(),
        }),
        _ => Err(Unresolved {
            target: format!("${{{reference}}}"),
            problem: "which is no kind of reference".into(),
            hint: "write ${env:NAME}, ${env:NAME:-default} or ${file:PATH}".into(),
        }),
    }
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
                "and this build cannot read AWS secrets",
            ),
        ] {
            let error = expanded(text).expect_err(text);
            assert_eq!(
                (error.target.as_str(), error.problem.as_str()),
                (target, problem)
            );
        }
    }
}
