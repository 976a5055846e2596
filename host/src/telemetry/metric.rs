//! What is measured: the one list of names, and samples of it.
//!
//! Prometheus, CloudWatch and OpenTelemetry get these names letter by letter. They follow Prometheus, whose rules are the
//! strictest: units in full, `_total` behind what is counted.

use std::fmt;

use chrono::{DateTime, Utc};

/// Something that is measured.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its name, the same everywhere.
    pub(crate) name: &'static str,
    /// What it says, in one sentence without its full stop.
    pub(crate) help: &'static str,
    /// How its samples add up.
    pub(crate) kind: Kind,
    /// What it counts.
    pub(crate) unit: Unit,
}

/// How samples add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They are added.
    Count,
    /// They are spread over [`DURATIONS`].
    Spread,
    /// The last one counts, as seconds since 1970.
    Moment,
    /// The last one counts, as seconds that have passed since: it grows by itself.
    Age,
    /// The last one counts of those whose first label is the same; its value is always 1.
    Info,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Runs,
    Rows,
    Tables,
    Requests,
    Bytes,
    Seconds,
    None,
}

const fn metric(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric {
        name,
        help,
        kind,
        unit,
    }
}

pub(crate) static RUNS: Metric = metric(
    "tidemill_runs_total",
    Kind::Count,
    Unit::Runs,
    "Runs that ended, by outcome: done, rejects, failed, conflict or interrupted",
);
pub(crate) static RUN_DURATION: Metric = metric(
    "tidemill_run_duration_seconds",
    Kind::Spread,
    Unit::Seconds,
    "How long runs took, by outcome",
);
pub(crate) static RUN_ENDED: Metric = metric(
    "tidemill_run_end_timestamp_seconds",
    Kind::Moment,
    Unit::Seconds,
    "When the last run of each outcome ended",
);
pub(crate) static STAGE_DURATION: Metric = metric(
    "tidemill_stage_duration_seconds",
    Kind::Spread,
    Unit::Seconds,
    "How long the stages of runs took",
);
pub(crate) static ROWS_READ: Metric = metric(
    "tidemill_rows_read_total",
    Kind::Count,
    Unit::Rows,
    "Rows that a stage was given: by the source, or a module by its inputs",
);
pub(crate) static ROWS: Metric = metric(
    "tidemill_rows_total",
    Kind::Count,
    Unit::Rows,
    "Rows and keys that a stage wrote: landed, made, or changed in the warehouse",
);
pub(crate) static BYTES: Metric = metric(
    "tidemill_bytes_total",
    Kind::Count,
    Unit::Bytes,
    "Bytes of the objects that a stage wrote",
);
pub(crate) static REJECTS: Metric = metric(
    "tidemill_rows_rejected_total",
    Kind::Count,
    Unit::Rows,
    "Rows that modules refused",
);
pub(crate) static FAILURES: Metric = metric(
    "tidemill_table_failures_total",
    Kind::Count,
    Unit::Tables,
    "Tables that failed in a run, by the kind of error",
);
pub(crate) static WATERMARK: Metric = metric(
    "tidemill_watermark_timestamp_seconds",
    Kind::Moment,
    Unit::Seconds,
    "Up to when the rows of a source table are landed, by the source's clock",
);
pub(crate) static WATERMARK_LAG: Metric = metric(
    "tidemill_watermark_lag_seconds",
    Kind::Age,
    Unit::Seconds,
    "How long ago that is",
);
pub(crate) static MODULE: Metric = metric(
    "tidemill_module_info",
    Kind::Info,
    Unit::None,
    "The module that makes a warehouse table, with its version and digest",
);
pub(crate) static STORE_REQUESTS: Metric = metric(
    "tidemill_store_requests_total",
    Kind::Count,
    Unit::Requests,
    "Requests to stores of zones and of a warehouse in a bucket, repeated ones included",
);

/// Everything that is measured.
pub(crate) static ALL: [&Metric; 13] = [
    &RUNS,
    &RUN_DURATION,
    &RUN_ENDED,
    &STAGE_DURATION,
    &ROWS_READ,
    &ROWS,
    &BYTES,
    &REJECTS,
    &FAILURES,
    &WATERMARK,
    &WATERMARK_LAG,
    &MODULE,
    &STORE_REQUESTS,
];

/// The bounds by which durations are told apart, in seconds: from an idle stage to the hour that a snapshot may take.
pub(crate) const DURATIONS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// What tells the series of a metric apart, by name.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// What was measured.
    pub(crate) metric: &'static Metric,
    /// Of what.
    pub(crate) labels: Labels,
    /// How much.
    pub(crate) value: Value,
}

/// How much was measured. Which of these a metric has is decided by its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// So many more.
    Count(u64),
    /// So long, in seconds.
    Seconds(f64),
    /// At this time.
    At(DateTime<Utc>),
    /// It is so.
    True,
}

impl Metric {
    /// A sample of this metric.
    pub(crate) fn sample(
        &'static self,
        labels: impl IntoIterator<Item = (&'static str, String)>,
        value: Value,
    ) -> Sample {
        Sample {
            metric: self,
            labels: labels.into_iter().collect(),
            value,
        }
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Value {
    /// The figure that is shown at `now`, where a metric of this kind has such values.
    pub(crate) fn figure(self, kind: Kind, now: DateTime<Utc>) -> Option<f64> {
        match (self, kind) {
            (Self::Count(count), Kind::Count) => Some(count as f64),
            (Self::Seconds(seconds), Kind::Spread) => Some(seconds),
            (Self::At(time), Kind::Moment) => Some(time.timestamp_micros() as f64 / 1e6),
            (Self::At(time), Kind::Age) => {
                Some((now - time).num_microseconds()? as f64 / 1e6).map(|age| age.max(0.0))
            }
            (Self::True, Kind::Info) => Some(1.0),
            _ => None,
        }
    }
}

impl Unit {
    /// As OpenTelemetry writes units.
    pub(crate) fn ucum(self) -> &'static str {
        match self {
            Self::Runs => "{run}",
            Self::Rows => "{row}",
            Self::Tables => "{table}",
            Self::Requests => "{request}",
            Self::Bytes => "By",
            Self::Seconds => "s",
            Self::None => "1",
        }
    }

    /// As CloudWatch writes units.
    pub(crate) fn cloudwatch(self) -> &'static str {
        match self {
            Self::Runs | Self::Rows | Self::Tables | Self::Requests => "Count",
            Self::Bytes => "Bytes",
            Self::Seconds => "Seconds",
            Self::None => "None",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Everything was done, and rows were refused.
    Rejects,
    /// It failed, or a table of it.
    Failed,
    /// Another run was faster, and did the work.
    Conflict,
    /// Somebody ended it.
    Interrupted,
}

impl Outcome {
    /// Every outcome.
    pub(crate) const ALL: [Self; 5] = [
        Self::Done,
        Self::Rejects,
        Self::Failed,
        Self::Conflict,
        Self::Interrupted,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Rejects => "rejects",
            Self::Failed => "failed",
            Self::Conflict => "conflict",
            Self::Interrupted => "interrupted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_rules_of_prometheus() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(
                name.starts_with("tidemill_") && name.bytes().all(is_plain),
                "{name}"
            );
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Kind::Count,
                "{name}"
            );
            assert_eq!(
                name.ends_with("_seconds"),
                metric.unit == Unit::Seconds,
                "{name}"
            );
            assert_eq!(name.ends_with("_info"), metric.kind == Kind::Info, "{name}");
            assert!(!metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn an_age_grows_and_is_never_negative() {
        let then = DateTime::from_timestamp(1_000, 0).expect("a time");
        let later = DateTime::from_timestamp(1_090, 500_000_000).expect("a time");
        assert_eq!(Value::At(then).figure(Kind::Age, later), Some(90.5));
        assert_eq!(Value::At(later).figure(Kind::Age, then), Some(0.0));
        assert_eq!(Value::At(then).figure(Kind::Moment, later), Some(1_000.0));
        assert_eq!(Value::Count(1).figure(Kind::Age, then), None);
    }
}
