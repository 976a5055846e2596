//! Figures in CloudWatch's embedded metric format: JSON lines in a log, of which CloudWatch makes metrics.
//!
//! Every combination of dimensions is a metric that is paid for, so only a few labels are dimensions. The others (tables,
//! versions, digests) stand beside the figures, where queries of the log find them, and CloudWatch adds figures up over them.

use std::collections::BTreeMap;
use std::io::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json, json};

use super::metric::{Labels, Sample, Value};

/// Where the metrics are found.
const NAMESPACE: &str = "tidemill";
/// The labels that are dimensions, besides the project.
const DIMENSIONS: [&str; 4] = ["outcome", "stage", "source", "operation"];
/// Values of one figure in a line: what the format allows.
const MOST_VALUES: usize = 100;

/// The lines for `samples`, one for each set of labels, with `properties` in each.
pub(super) fn lines(
    samples: &[Sample],
    project: &str,
    properties: &[(&'static str, String)],
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut by_labels: BTreeMap<&Labels, Vec<&Sample>> = BTreeMap::new();
    // A count of nothing adds nothing, and every line is paid for.
    let is_telling = |sample: &&Sample| sample.value != Value::Count(0);
    for sample in samples.iter().filter(is_telling) {
        by_labels.entry(&sample.labels).or_default().push(sample);
    }
    let lines = by_labels.into_iter().flat_map(|(labels, samples)| {
        // A figure that was measured more often than a line may hold has several.
        let mut rest = figures(&samples, now);
        let mut lines = Vec::new();
        while !rest.is_empty() {
            let here = split(&mut rest);
            lines.push(line(labels, &here, project, properties, now));
        }
        lines
    });
    lines.collect()
}

/// A metric's name, its unit and its figures.
type Figures<'s> = BTreeMap<&'static str, (&'s Sample, Vec<f64>)>;

fn figures<'s>(samples: &[&'s Sample], now: DateTime<Utc>) -> Figures<'s> {
    let mut figures = Figures::new();
    for sample in samples {
        let metric = sample.metric;
        if let Some(figure) = sample.value.figure(metric.kind, now) {
            let entry = figures.entry(metric.name);
            let (_, values) = entry.or_insert_with(|| (sample, Vec::new()));
            values.push(figure);
        }
    }
    figures
}

/// Takes what one line may hold off the figures.
fn split<'s>(rest: &mut Figures<'s>) -> Figures<'s> {
    let mut here = Figures::new();
    rest.retain(|name, (sample, values)| {
        let later = values.split_off(values.len().min(MOST_VALUES));
        here.insert(name, (sample, std::mem::replace(values, later)));
        !values.is_empty()
    });
    here
}

fn line(
    labels: &Labels,
    figures: &Figures<'_>,
    project: &str,
    properties: &[(&'static str, String)],
    now: DateTime<Utc>,
) -> String {
    let dimensions: Vec<&str> = std::iter::once("project")
        .chain(labels.iter().map(|(name, _)| *name))
        .filter(|name| *name == "project" || DIMENSIONS.contains(name))
        .collect();
    let declared: Vec<Json> = figures
        .iter()
        .map(|(name, (sample, _))| json!({"Name": name, "Unit": sample.metric.unit.cloudwatch()}))
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now.timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": declared,
            }],
        }),
    );
    line.insert("project".into(), project.into());
    for (name, value) in labels.iter().chain(properties) {
        line.insert((*name).into(), value.as_str().into());
    }
    for (name, (_, values)) in figures {
        let value = match values.as_slice() {
            [only] => json!(only),
            several => json!(several),
        };
        line.insert((*name).into(), value);
    }
    Json::Object(line).to_string()
}

/// Writes lines to stdout, whole. A reader that has gone is no reason to fail.
pub(super) fn write(lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::super::metric::{BYTES, MODULE, ROWS, STAGE_DURATION};
    use super::*;

    fn parsed(samples: &[Sample]) -> Vec<Json> {
        let now = DateTime::from_timestamp(1_795_262_400, 0).expect("a time");
        let run = [("run_id", "r1".to_owned())];
        let lines = lines(samples, "totesys", &run, now);
        let parse = |line: &String| serde_json::from_str(line).expect("JSON");
        lines.iter().map(parse).collect()
    }

    #[test]
    fn what_is_of_one_table_and_stage_is_one_line() {
        let of = |table: &str| [("stage", "extract".to_owned()), ("table", table.to_owned())];
        let lines = parsed(&[
            ROWS.sample(of("staff"), Value::Count(3)),
            BYTES.sample(of("staff"), Value::Count(900)),
            ROWS.sample(of("design"), Value::Count(1)),
        ]);
        assert_eq!(lines.len(), 2);
        let staff = &lines[1];
        assert_eq!(staff["tidemill_rows_total"], 3.0);
        assert_eq!(staff["tidemill_bytes_total"], 900.0);
        assert_eq!(staff["table"], "staff");
        assert_eq!(staff["run_id"], "r1");
        let directive = &staff["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "tidemill");
        assert_eq!(directive["Dimensions"], json!([["project", "stage"]]));
        let units = json!([
            {"Name": "tidemill_bytes_total", "Unit": "Bytes"},
            {"Name": "tidemill_rows_total", "Unit": "Count"},
        ]);
        assert_eq!(directive["Metrics"], units);
        assert_eq!(staff["_aws"]["Timestamp"], 1_795_262_400_000_u64);
    }

    #[test]
    fn a_digest_is_no_dimension() {
        let labels = [("table", "t".to_owned()), ("digest", "d".to_owned())];
        let lines = parsed(&[MODULE.sample(labels, Value::True)]);
        let dimensions = &lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!(*dimensions, json!([["project"]]));
        assert_eq!(lines[0]["digest"], "d");
    }

    #[test]
    fn more_values_than_a_line_may_hold_are_several_lines() {
        let stage = || [("stage", "load".to_owned())];
        let sample = |n| STAGE_DURATION.sample(stage(), Value::Seconds(f64::from(n)));
        let samples: Vec<_> = (0..250).map(sample).collect();
        let lines = parsed(&samples);
        let values = lines.iter().map(|line| {
            let values = line["tidemill_stage_duration_seconds"].as_array();
            values.map_or(1, Vec::len)
        });
        assert_eq!(values.collect::<Vec<_>>(), [100, 100, 50]);
    }
}
