use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::pipeline::report::{LoadReport, TableFailure, TransformReport};
use crate::run::{RunId, Stage};
use crate::table::SchemaChange;
use crate::watermark::{CompareReason, CursorValue, Watermark, Window};

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_253_400 + second, 0).expect("a time")
}

fn mark(second: i64) -> Option<Watermark> {
    Some(Watermark {
        column: "last_updated".into(),
        value: CursorValue::Timestamp(time(second).timestamp_micros()),
    })
}

fn table(name: &str, window: Window, changed: u64) -> TableExtracted {
    TableExtracted {
        table: name.into(),
        window,
        changes: Vec::new(),
        ignored: Vec::new(),
        watermark_before: None,
        watermark_after: None,
        rows_read: changed + 2,
        rows_new: 0,
        rows_changed: changed,
        rows_deleted: 0,
        rows_live: 9_845,
        bytes: 2_048,
        elapsed: Duration::from_millis(12),
    }
}

fn extract_report() -> ExtractReport {
    let cursor = Window::Cursor {
        from: mark(0),
        overlap: 120_000_000,
    };
    ExtractReport {
        left: Vec::new(),
        source: "totesys".into(),
        landing: 42,
        logical_time: time(0),
        tables: vec![
            table("address", Window::Snapshot { xmin: 745 }, 0),
            TableExtracted {
                changes: vec![SchemaChange::ColumnWidened {
                    column: "design_id".into(),
                    before: "integer".into(),
                    after: "bigint".into(),
                }],
                ignored: vec![SchemaChange::ColumnAdded {
                    column: "licence".into(),
                    source_type: "text".into(),
                    renamed_from: None,
                }],
                ..table(
                    "design",
                    Window::Compare {
                        reason: CompareReason::SchemaChanged,
                    },
                    1,
                )
            },
            TableExtracted {
                watermark_before: mark(0),
                watermark_after: mark(60),
                rows_new: 3,
                ..table("sales_order", cursor, 1)
            },
        ],
        left_out: vec!["audit".into()],
        failures: Vec::new(),
        swept: SweepReport::default(),
        elapsed: Duration::from_millis(700),
    }
}

fn transform_report() -> TransformReport {
    TransformReport {
        left: Vec::new(),
        rebuilt: Vec::new(),
        tables: vec![TableTransformed {
            table: "fact_sales_order".into(),
            landing: 42,
            module: ModuleRef {
                name: "fact-sales-order".into(),
                version: "1.0.0".into(),
                digest: Digest::of("module"),
            },
            rows_in: 4,
            rows_out: 3,
            rows_retracted: 0,
            rows_rejected: 1,
            bytes: 512,
            reasons: vec![RejectReason {
                code: "bad-date".into(),
                message: "agreed_delivery_date is not a date".into(),
                rows: 1,
            }],
            fuel: 1_000,
            elapsed: Duration::from_millis(7),
        }],
        failures: vec![TableFailure {
            table: "dim_design".into(),
            stage: Stage::Transform,
            kind: ErrorKind::Module,
            message: "transform: dim_design: the module trapped".into(),
            hint: Some("roll it back".into()),
        }],
        swept: SweepReport::default(),
        modules: BTreeMap::new(),
        elapsed: Duration::from_millis(200),
    }
}

fn load_report() -> LoadReport {
    let table = TableLoaded {
        table: "fact_sales_order".into(),
        inserted: 3,
        notes: vec!["the warehouse has no column agreed_payment_date".into()],
        ..TableLoaded::default()
    };
    LoadReport {
        left: Vec::new(),
        rebuilds: Vec::new(),
        landings: vec![LandingLoaded {
            source: "totesys".into(),
            landing: 42,
            tables: vec![table],
            elapsed: Duration::from_millis(80),
        }],
        failures: Vec::new(),
        swept: SweepReport::default(),
        elapsed: Duration::from_millis(90),
    }
}

fn run_report() -> RunReport {
    RunReport {
        run: RunId::new(time(0), 7),
        started: time(0),
        elapsed: Duration::from_millis(1_240),
        extract: vec![extract_report()],
        transform: Some(transform_report()),
        load: Some(load_report()),
        store: None,
    }
}

#[test]
fn a_run_reads_from_top_to_bottom() {
    insta::assert_snapshot!(report(&run_report(), Paint::new(false)));
}

#[test]
fn an_idle_run_is_short() {
    let idle = RunReport {
        extract: Vec::new(),
        transform: Some(TransformReport::default()),
        load: Some(LoadReport::default()),
        ..run_report()
    };
    insta::assert_snapshot!(report(&idle, Paint::new(false)));
}

#[test]
fn a_run_as_json_keeps_its_schema() {
    let json = serde_json::to_string_pretty(&run_report()).expect("JSON");
    insta::assert_snapshot!(json);
}

#[test]
fn failures_win_over_rejects_over_success() {
    use crate::cli::answer::Exit;
    let failed = run_report();
    assert_eq!(super::super::exit(&failed), Exit::Failed);
    let mut flawed = failed;
    flawed
        .transform
        .as_mut()
        .expect("transformed")
        .failures
        .clear();
    assert_eq!(super::super::exit(&flawed), Exit::Flawed);
    let done = RunReport {
        transform: None,
        ..flawed
    };
    assert_eq!(super::super::exit(&done), Exit::Done);
}
