//! The project file, with variables and flags over it.

use std::path::Path;

use super::Target;
use crate::config::{self, Assignment, Environment, When};
use crate::error::Classify as _;

pub(super) const TARGET: Target = Target {
    name: "project",
    run,
    seeds,
    words,
};

/// Between the file, each flag, and each variable, which has a name before its `=`.
const NEXT: char = '\u{1e}';
/// What a variable begins with, as opposed to a flag.
const PREFIX: &str = "TIDEMILL_";
/// A variable that is set and must not be shown.
const SECRET: (&str, &str) = ("SECRET", "zq7-lovelace-9xk");

const EXAMPLES: &[&str] = &[
    include_str!("../cli/init/totesys.toml"),
    include_str!("../cli/init/minimal.toml"),
    include_str!("../../../tests/fixtures/v1/documents/everything.toml"),
];

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Files of the machine are no input: what they hold differs, and some never end.
    if text.contains("{file:") {
        return;
    }
    let mut parts = text.split(NEXT);
    let file = parts.next().unwrap_or_default();
    let mut variables = vec![("HOME", "/home/ada"), SECRET];
    let mut flags = Vec::new();
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if name.starts_with(PREFIX) => variables.push((name, value)),
            _ => flags.extend(Assignment::flag(part).ok()),
        }
    }
    let environment: Environment = variables.into_iter().collect();
    let parsed = || {
        let name = Path::new("tidemill.toml");
        config::parse(file, name, Path::new("/nowhere"), &environment, &flags)
    };
    match parsed() {
        Ok(plan) => {
            plan.schedule.values().for_each(|entry| occurs(&entry.when));
            let _ = format!("{plan:?}");
        }
        Err(error) => {
            let shown = format!("{error:?} {error} {:?}", error.hint());
            // Where the secret is written in the open, nobody can hide it.
            let hidden = text.contains(SECRET.1) || !shown.contains(SECRET.1);
            assert!(hidden, "a secret is shown: {shown}");
        }
    }
}

/// The next time is found, or there is none; either takes no time worth the name.
fn occurs(when: &When) {
    if let When::Cron { expression, zone } = when {
        let now = chrono::DateTime::UNIX_EPOCH.with_timezone(zone);
        if let Ok(next) = expression.find_next_occurrence(&now, false) {
            assert!(next > now);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = EXAMPLES
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    for flag in [
        "warehouse.schema=star",
        "source.totesys.exclude=a, b",
        "limits.memory=64 MiB",
        "TIDEMILL_LIMITS__MEMORY=1 GiB",
        "TIDEMILL_SCHEDULE__OFFICE_HOURS__RECONCILE=true",
        "TIDEMILL_SOURCE__TOTESYS__URL=postgresql://ada:${env:SECRET}@db/totesys",
    ] {
        let everything = EXAMPLES.last().copied().unwrap_or_default();
        seeds.push(format!("{everything}{NEXT}{flag}").into_bytes());
    }
    for table in EXAMPLES.iter().flat_map(|text| text.split("\n[")).skip(1) {
        seeds.push(format!("[{table}").into_bytes());
    }
    seeds
}

/// The keys of the file and the kinds of values.
fn words() -> Vec<String> {
    let mut words = Vec::new();
    keys(&config::json_schema(), &mut words);
    for value in [
        "\"\"\"",
        "'''",
        "${env:SECRET}",
        "${env:NONE:-",
        "${aws-secret:",
        "$${",
        "\"64 MiB\"",
        "\"7d\"",
        "\"30s\"",
        "\"1h 5m\"",
        "\"*/15 7-19 * * MON-FRI\"",
        "\"0 0 30 2 *\"",
        "\"@daily\"",
        "\"Europe/London\"",
        "[[",
        "]]",
        "{ a = 1 }",
        "1979-05-27T07:32:00Z",
        "0x7fffffffffffffff",
        "true",
        "postgresql://",
        "sqlite://",
        "delta://",
        "s3://",
        "\\u001eTIDEMILL_LIMITS__",
    ] {
        words.push(value.replace("\\u001e", "\u{1e}"));
    }
    words
}

fn keys(schema: &serde_json::Value, words: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        words.extend(properties.keys().map(|key| format!("{key} = ")));
    }
    match schema {
        serde_json::Value::Object(entries) => entries.values().for_each(|v| keys(v, words)),
        serde_json::Value::Array(items) => items.iter().for_each(|v| keys(v, words)),
        _ => {}
    }
}
