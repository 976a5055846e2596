//! What is measured of a run, from its report.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ExtractReport, LoadReport, RunReport, TableFailure, TransformReport};
use crate::error::ErrorKind;
use crate::pipeline::is_halted;
use crate::run::Stage;
use crate::telemetry::metric::{
    BYTES, FAILURES, MODULE, Outcome, REJECTS, ROWS, ROWS_READ, RUN_DURATION, RUN_ENDED, RUNS,
    STAGE_DURATION, STORE_REQUESTS, Sample, Value, WATERMARK, WATERMARK_LAG,
};
use crate::warehouse::TableLoaded;

impl RunReport {
    /// How it ended.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.has_failures() {
            Outcome::Failed
        } else if self.rejected() > 0 {
            Outcome::Rejects
        } else {
            Outcome::Done
        }
    }

    /// What was measured of it, which ended at `ended`.
    pub(crate) fn samples(&self, ended: DateTime<Utc>) -> Vec<Sample> {
        let mut samples = of_run(self.outcome(), self.elapsed, ended);
        for extract in &self.extract {
            extract.sample(&mut samples);
        }
        if let Some(transform) = &self.transform {
            transform.sample(&mut samples);
        }
        if let Some(load) = &self.load {
            load.sample(&mut samples);
        }
        for ((operation, outcome), count) in self.store.iter().flat_map(|moved| &moved.by_request) {
            let labels = [
                ("operation", operation.clone()),
                ("outcome", (*outcome).to_owned()),
            ];
            samples.push(STORE_REQUESTS.sample(labels, Value::Count(*count)));
        }
        samples
    }
}

/// What was measured of a run that has no report: it failed, or somebody ended it.
pub(crate) fn of_run(outcome: Outcome, elapsed: Duration, ended: DateTime<Utc>) -> Vec<Sample> {
    let outcome = [("outcome", outcome.to_string())];
    vec![
        RUNS.sample(outcome.clone(), Value::Count(1)),
        RUN_DURATION.sample(outcome.clone(), seconds(elapsed)),
        RUN_ENDED.sample(outcome, Value::At(ended)),
    ]
}

/// What was measured of a run that failed as a whole.
pub(crate) fn of_error(
    error: &crate::Error,
    elapsed: Duration,
    ended: DateTime<Utc>,
) -> Vec<Sample> {
    let mut samples = of_run(outcome_of(error), elapsed, ended);
    if let (Some(stage), Some(table)) = (error.stage(), error.table()) {
        samples.push(failure(stage, table, error.kind()));
    }
    samples
}

/// How a run ended that has no report.
pub(crate) fn outcome_of(error: &crate::Error) -> Outcome {
    if is_halted(error) {
        return Outcome::Interrupted;
    }
    match error.kind() {
        ErrorKind::Conflict => Outcome::Conflict,
        _ => Outcome::Failed,
    }
}

impl ExtractReport {
    fn sample(&self, samples: &mut Vec<Sample>) {
        samples.push(duration(Stage::Extract, self.elapsed));
        for table in &self.tables {
            let rows = table.rows_new + table.rows_changed + table.rows_deleted;
            let labels = || of(Stage::Extract, &table.table);
            samples.push(ROWS_READ.sample(labels(), Value::Count(table.rows_read)));
            samples.push(ROWS.sample(labels(), Value::Count(rows)));
            samples.push(BYTES.sample(labels(), Value::Count(table.bytes)));
            // Not the cursor's own value: a source in which nothing changes is not late.
            let labels = || {
                [
                    ("source", self.source.clone()),
                    ("table", table.table.clone()),
                ]
            };
            samples.push(WATERMARK.sample(labels(), Value::At(self.logical_time)));
            samples.push(WATERMARK_LAG.sample(labels(), Value::At(self.logical_time)));
        }
        failures(&self.failures, samples);
    }
}

impl TransformReport {
    fn sample(&self, samples: &mut Vec<Sample>) {
        samples.push(duration(Stage::Transform, self.elapsed));
        for made in &self.tables {
            let labels = || of(Stage::Transform, &made.table);
            let rows = made.rows_out + made.rows_retracted;
            samples.push(ROWS_READ.sample(labels(), Value::Count(made.rows_in)));
            samples.push(ROWS.sample(labels(), Value::Count(rows)));
            samples.push(BYTES.sample(labels(), Value::Count(made.bytes)));
            samples.push(REJECTS.sample(labels(), Value::Count(made.rows_rejected)));
        }
        for rebuilt in &self.rebuilt {
            let labels = || of(Stage::Transform, &rebuilt.table);
            samples.push(ROWS_READ.sample(labels(), Value::Count(rebuilt.rows_in)));
            samples.push(ROWS.sample(labels(), Value::Count(rebuilt.rows_out)));
            samples.push(REJECTS.sample(labels(), Value::Count(rebuilt.rows_rejected)));
        }
        for (table, module) in &self.modules {
            let labels = [
                ("table", table.clone()),
                ("module", module.name.clone()),
                ("module_version", module.version.clone()),
                ("digest", module.digest.to_string()),
            ];
            samples.push(MODULE.sample(labels, Value::True));
        }
        failures(&self.failures, samples);
    }
}

impl LoadReport {
    fn sample(&self, samples: &mut Vec<Sample>) {
        samples.push(duration(Stage::Load, self.elapsed));
        let landings = self.landings.iter().flat_map(|landing| &landing.tables);
        let rebuilds = self.rebuilds.iter().flat_map(|rebuild| &rebuild.tables);
        for table in landings.chain(rebuilds) {
            let labels = of(Stage::Load, &table.table);
            samples.push(ROWS.sample(labels, Value::Count(changed(table))));
        }
        failures(&self.failures, samples);
    }
}

fn changed(loaded: &TableLoaded) -> u64 {
    loaded.inserted + loaded.updated + loaded.removed
}

fn failures(failures: &[TableFailure], samples: &mut Vec<Sample>) {
    let failures = failures.iter();
    samples.extend(failures.map(|one| failure(one.stage, &one.table, one.kind)));
}

fn failure(stage: Stage, table: &str, kind: ErrorKind) -> Sample {
    let labels = of(stage, table).into_iter();
    let labels = labels.chain([("kind", kind.to_string())]);
    FAILURES.sample(labels, Value::Count(1))
}

fn of(stage: Stage, table: &str) -> [(&'static str, String); 2] {
    [("stage", stage.to_string()), ("table", table.to_owned())]
}

fn duration(stage: Stage, elapsed: Duration) -> Sample {
    STAGE_DURATION.sample([("stage", stage.to_string())], seconds(elapsed))
}

fn seconds(elapsed: Duration) -> Value {
    Value::Seconds(elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::connection::traffic::Moved;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;
    use crate::pipeline::report::{LandingLoaded, SweepReport, TableExtracted, TableTransformed};
    use crate::run::RunId;
    use crate::telemetry::metric::ALL;
    use crate::watermark::Window;

    fn time(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_253_400 + second, 0).expect("a time")
    }

    fn extract() -> ExtractReport {
        ExtractReport {
            source: "shop".into(),
            landing: 4,
            logical_time: time(0),
            tables: vec![TableExtracted {
                table: "staff".into(),
                window: Window::First,
                changes: Vec::new(),
                ignored: Vec::new(),
                watermark_before: None,
                watermark_after: None,
                rows_read: 9,
                rows_new: 3,
                rows_changed: 2,
                rows_deleted: 1,
                rows_live: 40,
                bytes: 700,
                elapsed: Duration::from_millis(5),
            }],
            left_out: Vec::new(),
            left: Vec::new(),
            failures: vec![TableFailure {
                table: "design".into(),
                stage: Stage::Extract,
                kind: ErrorKind::Data,
                message: "broken".into(),
                hint: None,
            }],
            swept: SweepReport::default(),
            elapsed: Duration::from_millis(250),
        }
    }

    fn transform() -> TransformReport {
        let module = ModuleRef {
            name: "dim-staff".into(),
            version: "1.0.0".into(),
            digest: Digest::of("module"),
        };
        TransformReport {
            tables: vec![TableTransformed {
                table: "dim_staff".into(),
                landing: 4,
                module: module.clone(),
                rows_in: 6,
                rows_out: 4,
                rows_retracted: 1,
                rows_rejected: 1,
                bytes: 300,
                reasons: Vec::new(),
                fuel: 9,
                elapsed: Duration::from_millis(5),
            }],
            modules: [("dim_staff".to_owned(), module)].into(),
            ..TransformReport::default()
        }
    }

    fn report() -> RunReport {
        let loaded = TableLoaded {
            table: "dim_staff".into(),
            inserted: 3,
            updated: 1,
            removed: 1,
            unchanged: 20,
            ..TableLoaded::default()
        };
        let landing = LandingLoaded {
            source: "shop".into(),
            landing: 4,
            tables: vec![loaded],
            elapsed: Duration::from_millis(30),
        };
        RunReport {
            run: RunId::new(time(0), 7),
            started: time(0),
            elapsed: Duration::from_millis(900),
            extract: vec![extract()],
            transform: Some(transform()),
            load: Some(LoadReport {
                landings: vec![landing],
                ..LoadReport::default()
            }),
            store: Some(Moved {
                by_request: [(("PutObject".to_owned(), "ok"), 5)].into(),
                ..Moved::default()
            }),
        }
    }

    /// The samples as the lines of a page, without their times.
    fn told(samples: &[Sample]) -> Vec<String> {
        let lines = samples.iter().map(|sample| {
            let labels: Vec<String> = sample
                .labels
                .iter()
                .filter(|(name, _)| *name != "digest")
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let figure = sample.value.figure(sample.metric.kind, time(60));
            let figure = figure.expect("the value is of the metric's kind");
            format!("{} {} {figure}", sample.metric.name, labels.join(","))
        });
        lines.collect()
    }

    #[test]
    fn a_report_says_everything_that_is_measured() {
        let samples = report().samples(time(30));
        let lines = told(&samples);
        for line in [
            "tidemill_runs_total outcome=failed 1",
            "tidemill_run_duration_seconds outcome=failed 0.9",
            "tidemill_stage_duration_seconds stage=extract 0.25",
            "tidemill_rows_read_total stage=extract,table=staff 9",
            "tidemill_rows_total stage=extract,table=staff 6",
            "tidemill_bytes_total stage=extract,table=staff 700",
            "tidemill_watermark_lag_seconds source=shop,table=staff 60",
            "tidemill_table_failures_total stage=extract,table=design,kind=data 1",
            "tidemill_rows_total stage=transform,table=dim_staff 5",
            "tidemill_rows_rejected_total stage=transform,table=dim_staff 1",
            "tidemill_module_info table=dim_staff,module=dim-staff,module_version=1.0.0 1",
            "tidemill_rows_total stage=load,table=dim_staff 5",
            "tidemill_store_requests_total operation=PutObject,outcome=ok 5",
        ] {
            assert!(
                lines.iter().any(|l| l == line),
                "{line} is not in {lines:#?}"
            );
        }
        let measured: BTreeMap<_, _> = samples.iter().map(|s| (s.metric.name, ())).collect();
        assert_eq!(measured.len(), ALL.len(), "{measured:?}");
    }

    #[test]
    fn a_run_without_a_report_counts_as_well() {
        let interrupted = of_run(Outcome::Interrupted, Duration::from_secs(2), time(0));
        let lines = told(&interrupted);
        assert_eq!(lines[0], "tidemill_runs_total outcome=interrupted 1");
    }
}
