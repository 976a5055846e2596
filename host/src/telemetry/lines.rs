//! Log lines for programs: one JSON object each, with the fields of the event and of every span around it beside each other.
//!
//! A log collector finds `run_id` at the same place in every line, however deep in a run it was written. A field of an inner
//! span stands before that of an outer one, and the event's own before both.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The format.
#[derive(Debug, Default)]
pub(super) struct Lines;

#[derive(Serialize)]
struct Line<'e> {
    timestamp: &'e str,
    level: &'e str,
    message: Value,
    target: &'e str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        let spans = context.event_scope().into_iter();
        for span in spans.flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<JsonFields>>();
            if let Some(Ok(of_span)) = formatted.map(|f| serde_json::from_str(&f.fields)) {
                let of_span: Map<String, Value> = of_span;
                // What begins so is for collectors of traces.
                fields.extend(of_span.into_iter().filter(|(n, _)| !n.starts_with("otel.")));
            }
        }
        event.record(&mut Collect(&mut fields));
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        for taken in ["timestamp", "level", "target"] {
            fields.remove(taken);
        }
        let line = Line {
            timestamp: &timestamp,
            level: metadata.level().as_str(),
            message: fields.remove("message").unwrap_or_default(),
            target: metadata.target(),
            fields,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Collects the fields of an event.
struct Collect<'f>(&'f mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Kept {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn the_fields_of_all_spans_stand_beside_each_other_and_inner_ones_win() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(Lines)
            .with_writer(kept.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let run = tracing::info_span!("run", run_id = "r1", stage = "all");
            let _run = run.enter();
            let table = tracing::info_span!(
                "table",
                stage = "load",
                rows = tracing::field::Empty,
                otel.status_code = "OK"
            );
            let _table = table.enter();
            table.record("rows", 3);
            tracing::info!(elapsed_ms = 12, "table \"loaded\"\n");
        });
        let text = String::from_utf8(kept.0.lock().expect("whole").clone()).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["run_id"], "r1");
        assert_eq!(line["stage"], "load");
        assert_eq!(line["rows"], 3);
        assert_eq!(line["elapsed_ms"], 12);
        assert_eq!(line["message"], "table \"loaded\"\n");
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].as_str().is_some_and(|t| t.ends_with('Z')));
        assert!(line.get("otel.status_code").is_none());
    }
}
