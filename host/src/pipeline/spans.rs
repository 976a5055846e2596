//! The spans of a run, its stages and its tables, and the lines that are said at their ends.
//!
//! A table's span holds what its last line says, so that a log collector and a collector of traces are told the same.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tracing::Span;
use tracing::field::{Empty, display};

use super::report::{TableExtracted, TableTransformed};
use crate::contract::ModuleRef;
use crate::run::Stage;
use crate::warehouse::TableLoaded;
use crate::watermark::{CursorValue, Watermark};

/// The span of a stage.
pub(super) fn stage(stage: Stage) -> Span {
    tracing::info_span!("stage", otel.name = %stage, %stage, otel.status_code = Empty)
}

/// The span of a table in a stage.
pub(super) fn table(stage: Stage, source: &str, table: &str) -> Span {
    tracing::info_span!(
        "table",
        otel.name = %format_args!("{stage} {table}"),
        otel.status_code = Empty,
        %stage,
        source,
        table,
        landing = Empty,
        module = Empty,
        module_version = Empty,
        digest = Empty,
        rows = Empty,
        bytes = Empty,
        watermark = Empty,
        elapsed_ms = Empty,
    )
}

/// Says that a table is landed. Called in its span.
pub(super) fn extracted(extracted: &TableExtracted, landing: u64, clock: DateTime<Utc>) {
    let span = Span::current();
    let after = extracted.watermark_after.as_ref();
    let after = after.map_or_else(|| time(clock), position);
    span.record("landing", landing);
    span.record(
        "rows",
        extracted.rows_new + extracted.rows_changed + extracted.rows_deleted,
    );
    span.record("bytes", extracted.bytes);
    span.record("watermark", after);
    span.record("elapsed_ms", millis(extracted.elapsed));
    tracing::info!(rows_read = extracted.rows_read, "table extracted");
}

/// Says that a table is made. Called in its span.
pub(super) fn transformed(made: &TableTransformed) {
    let span = Span::current();
    module(&span, &made.module);
    span.record("landing", made.landing);
    span.record("rows", made.rows_out + made.rows_retracted);
    span.record("bytes", made.bytes);
    span.record("elapsed_ms", millis(made.elapsed));
    tracing::info!(
        rows_read = made.rows_in,
        rows_rejected = made.rows_rejected,
        fuel = made.fuel,
        "table transformed"
    );
}

/// Says that a table is loaded. All tables of a landing are loaded at once, so each is told by itself.
pub(super) fn loaded(
    source: &str,
    landing: u64,
    loaded: &TableLoaded,
    made_by: Option<&ModuleRef>,
    elapsed: Duration,
) {
    let span = table(Stage::Load, source, &loaded.table);
    if let Some(made_by) = made_by {
        module(&span, made_by);
    }
    span.record("landing", landing);
    span.record("rows", loaded.inserted + loaded.updated + loaded.removed);
    span.record("elapsed_ms", millis(elapsed));
    span.in_scope(|| tracing::info!(already = loaded.already, "table loaded"));
}

/// Marks the span of what failed, for collectors of traces.
pub(super) fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

fn module(span: &Span, module: &ModuleRef) {
    span.record("module", module.name.as_str());
    span.record("module_version", module.version.as_str());
    span.record("digest", display(&module.digest));
}

/// A watermark as text; where there is no column to read by, it is the time of the snapshot.
fn position(watermark: &Watermark) -> String {
    match watermark.value {
        CursorValue::Integer(n) => n.to_string(),
        CursorValue::Timestamp(micros) | CursorValue::TimestampTz(micros) => {
            DateTime::from_timestamp_micros(micros).map_or_else(|| micros.to_string(), time)
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
