//! Figures of runs, read from each of the forms in which the program tells them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;

/// Figures by their metric's name and labels.
pub type Figures = BTreeMap<(String, BTreeMap<String, String>), Figure>;

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// What was counted, or holds.
    Number(f64),
    /// What is spread: what the measurements add up to, and how many there are.
    Spread {
        /// All of them together.
        sum: f64,
        /// How many.
        count: u64,
    },
}

/// Reads what Prometheus scrapes.
///
/// # Errors
/// When a line is none of OpenMetrics, a sample has no declared type, or the end is missing.
pub fn exposition(text: &str) -> Result<Figures> {
    ensure!(text.ends_with("# EOF\n"), "the end is missing:\n{text}");
    let sample = Regex::new(r#"^([a-z_]+)(?:\{(.*)\})? (\S+)$"#)?;
    let label = Regex::new(r#"([a-z_]+)="((?:[^"\\]|\\.)*)""#)?;
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut figures = Figures::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').context("a type has a name")?;
            ensure!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} is declared twice"
            );
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let found = sample.captures(line).with_context(|| line.to_owned())?;
        let part = |number| found.get(number).map_or("", |part| part.as_str());
        let (name, labels, value) = (part(1), part(2), part(3));
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        let labels = label.captures_iter(labels).map(|l| {
            let (_, [name, value]) = l.extract();
            (name.to_owned(), unescaped(value))
        });
        let labels: BTreeMap<String, String> = labels.collect();
        add(&mut figures, &types, name, labels, value).with_context(|| line.to_owned())?;
    }
    Ok(figures)
}

fn add(
    figures: &mut Figures,
    types: &BTreeMap<String, String>,
    name: &str,
    labels: BTreeMap<String, String>,
    value: f64,
) -> Result<()> {
    let kind = |name: &str| types.get(name).map(String::as_str);
    if let Some(base) = name.strip_suffix("_total") {
        ensure!(kind(base) == Some("counter"), "{base} is no counter");
        figures.insert((name.to_owned(), labels), Figure::Number(value));
        return Ok(());
    }
    for part in ["_sum", "_count", "_bucket"] {
        let Some(base) = name.strip_suffix(part) else {
            continue;
        };
        if kind(base) != Some("histogram") {
            continue;
        }
        if part == "_bucket" {
            return Ok(());
        }
        let spread = figures.entry((base.to_owned(), labels));
        let spread = spread.or_insert(Figure::Spread { sum: 0.0, count: 0 });
        if let Figure::Spread { sum, count } = spread {
            match part {
                "_sum" => *sum = value,
                _ => *count = value as u64,
            }
        }
        return Ok(());
    }
    ensure!(kind(name) == Some("gauge"), "{name} is no gauge");
    figures.insert((name.to_owned(), labels), Figure::Number(value));
    Ok(())
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
}

/// Reads lines in CloudWatch's embedded metric format, as CloudWatch does: what is declared is a metric, everything else a
/// property. `spreads` names the metrics whose values are spread; values of the others add up.
///
/// # Errors
/// When a line breaks a rule of the format.
pub fn embedded(lines: &[Value], spreads: &[&str]) -> Result<Figures> {
    let mut figures = Figures::new();
    for line in lines {
        let declared = declared(line).with_context(|| line.to_string())?;
        let object = line.as_object().context("a line is an object")?;
        let labels = object.iter().filter_map(|(name, value)| {
            let is_label = !["_aws", "project", "run_id"].contains(&name.as_str());
            let value = value.as_str().filter(|_| is_label)?;
            Some((name.clone(), value.to_owned()))
        });
        let labels: BTreeMap<String, String> = labels.collect();
        for name in declared {
            let values = match object.get(&name).context("what is declared is there")? {
                Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
                value => vec![value.as_f64().context("a metric is a number")?],
            };
            ensure!(
                !values.is_empty() && values.len() <= 100,
                "{name}: {values:?}"
            );
            let entry = figures.entry((name.clone(), labels.clone()));
            if spreads.contains(&name.as_str()) {
                let spread = entry.or_insert(Figure::Spread { sum: 0.0, count: 0 });
                if let Figure::Spread { sum, count } = spread {
                    *sum += values.iter().sum::<f64>();
                    *count += values.len() as u64;
                }
            } else {
                let number = entry.or_insert(Figure::Number(0.0));
                if let Figure::Number(number) = number {
                    *number += values.iter().sum::<f64>();
                }
            }
        }
    }
    Ok(figures)
}

/// The metrics that a line declares, when it keeps to the schema of the format: root, directives, dimensions, definitions.
fn declared(line: &Value) -> Result<Vec<String>> {
    const UNITS: [&str; 4] = ["Count", "Bytes", "Seconds", "None"];
    let aws = line.get("_aws").context("a line has metadata")?;
    ensure!(
        aws.get("Timestamp").is_some_and(Value::is_u64),
        "the time is no integer"
    );
    let list = |value: &Value, name: &str| -> Result<Vec<Value>> {
        let list = value.get(name).and_then(Value::as_array);
        let list = list.with_context(|| format!("{name} is no list"))?;
        ensure!(!list.is_empty(), "{name} is empty");
        Ok(list.clone())
    };
    let mut names = Vec::new();
    for directive in list(aws, "CloudWatchMetrics")? {
        let namespace = directive.get("Namespace").and_then(Value::as_str);
        ensure!(
            namespace.is_some_and(|n| !n.is_empty() && n.len() <= 1024),
            "namespace"
        );
        for set in list(&directive, "Dimensions")? {
            let set = set.as_array().context("a set of dimensions is a list")?;
            ensure!(set.len() <= 30, "a set has too many dimensions");
            for dimension in set {
                let dimension = dimension.as_str().context("a dimension is a text")?;
                let value = line.get(dimension).and_then(Value::as_str);
                ensure!(
                    value.is_some_and(|v| !v.is_empty() && v.len() <= 1024),
                    "{dimension} has no value"
                );
            }
        }
        let metrics = list(&directive, "Metrics")?;
        ensure!(metrics.len() <= 100, "a directive has too many metrics");
        for metric in metrics {
            let name = metric.get("Name").and_then(Value::as_str);
            let unit = metric.get("Unit").and_then(Value::as_str);
            ensure!(unit.is_some_and(|unit| UNITS.contains(&unit)), "{unit:?}");
            names.push(name.context("a metric has a name")?.to_owned());
        }
    }
    Ok(names)
}
