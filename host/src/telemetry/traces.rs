//! Spans for a collector: a layer of the subscriber that is there from the beginning and does nothing until somebody wants
//! traces, which the project file says, and that is read when log lines are already written.

use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer};

/// What makes traces of spans, once there is something.
#[derive(Clone, Default)]
pub(super) struct Traces(Arc<OnceLock<OpenTelemetryLayer<Registry, SdkTracer>>>);

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.0.get().is_some();
        f.debug_struct("Traces").field("begun", &begun).finish()
    }
}

impl Traces {
    /// Makes traces from here on. A second call changes nothing.
    pub(super) fn begin(&self, tracer: SdkTracer) {
        let layer = OpenTelemetryLayer::new(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        let _ = self.0.set(layer);
    }
}

/// Whether something is a span of ours: runs, stages and tables. Those of libraries would be thousands, and among them
/// those of the client that sends them.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && metadata.target().starts_with("tidemill")
}

impl Layer<Registry> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, Registry>) {
        if let Some(layer) = self.0.get() {
            layer.on_new_span(attributes, id, context);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, Registry>) {
        if let Some(layer) = self.0.get() {
            layer.on_record(id, values, context);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, Registry>) {
        if let Some(layer) = self.0.get() {
            layer.on_enter(id, context);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, Registry>) {
        if let Some(layer) = self.0.get() {
            layer.on_exit(id, context);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, Registry>) {
        if let Some(layer) = self.0.get() {
            layer.on_close(id, context);
        }
    }
}
