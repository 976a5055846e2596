//! Log lines to stderr, as text or as JSON for a log collector; figures and traces for whoever wants them.
//!
//! ```text
//! spans, events ─┬─▶ log lines                 RunReport ──▶ samples ──▶ Meters ─┬─▶ /metrics of `serve`
//!                └─▶ traces, for a collector      (pipeline)     (metric)          ├─▶ embedded metric format, in the log
//!                                                                                └─▶ a collector
//! ```
//!
//! There is one span per run, one per stage, and one per table and stage. Fields have the same name everywhere: `run_id`,
//! `table`, `stage`, `module`, `module_version`, `digest`, `rows`, `bytes`, `watermark`, `elapsed_ms`.
//! Messages are constant and lower-case. Values of rows and URLs with passwords never enter.

mod collector;
mod embedded;
mod exposition;
mod lines;
mod meters;
pub(crate) mod metric;
mod standing;
mod traces;

use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use indicatif::MultiProgress;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

pub(crate) use exposition::CONTENT_TYPE;
pub(crate) use meters::Meters;

use crate::config::Plan;
use traces::{Traces, is_ours};

/// Tells the time.
pub(crate) type Clock = fn() -> DateTime<Utc>;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loudness {
    Errors,
    Warnings,
    /// What tidemill does, step by step.
    Steps,
    /// Everything that tidemill has to say.
    Details,
    /// A filter in the notation of `tracing`: `tidemill=debug,deltalake=info`.
    Filter(String),
}

impl Loudness {
    /// Libraries are heard from warnings on: their steps are not the operator's. Delta's commits are not
    /// heard at all: they log an error where another host was faster, which is a conflict that we tell. Nor is the
    /// kernel beneath: it logs each error that it returns. Where Amazon's chain looked in vain stands in the error.
    fn directives(&self) -> &str {
        match self {
            Self::Errors => "error,deltalake_core::kernel::transaction=off,buoyant_kernel=off",
            Self::Warnings => {
                "warn,deltalake_core::kernel::transaction=off,buoyant_kernel=off,aws_config=error"
            }
            Self::Steps => {
                "warn,tidemill=info,deltalake_core::kernel::transaction=off,buoyant_kernel=off,aws_config=error"
            }
            Self::Details => "warn,tidemill=debug",
            Self::Filter(filter) => filter,
        }
    }
}

/// Telemetry of this process: log lines from the beginning, the rest once a plan says where it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    traces: Traces,
}

impl Telemetry {
    /// Turns log lines on for this process. They step aside for the progress in `bars`.
    ///
    /// A second call changes nothing: the first subscriber stays.
    pub(crate) fn start(
        loudness: &Loudness,
        format: LogFormat,
        colour: bool,
        bars: MultiProgress,
    ) -> Self {
        let telemetry = Self::default();
        let filter = EnvFilter::builder().parse_lossy(loudness.directives());
        let traces = telemetry.traces.clone().with_filter(filter_fn(is_ours));
        let registry = Registry::default().with(traces);
        let lines = tracing_subscriber::fmt::layer().with_writer(Aside(bars));
        let _ = match format {
            LogFormat::Text => {
                let lines = lines.with_ansi(colour).with_target(false);
                registry.with(lines.with_filter(filter)).try_init()
            }
            LogFormat::Json => {
                let lines = lines
                    .fmt_fields(JsonFields::new())
                    .event_format(lines::Lines);
                // A warning says which run it belongs to, however quiet the rest is.
                let filter = filter.or(filter_fn(is_ours));
                registry.with(lines.with_filter(filter)).try_init()
            }
        };
        telemetry
    }

    /// What the figures of `plan` go to. `instance` tells this process from others of the same project.
    pub(crate) fn meters(&self, plan: &Plan, instance: String, clock: Clock) -> Arc<Meters> {
        Arc::new(Meters::new(plan, instance, clock, &self.traces))
    }
}

/// stderr, with the progress lines taken away while something is written.
struct Aside(MultiProgress);

impl MakeWriter<'_> for Aside {
    type Writer = AsideWriter;

    fn make_writer(&self) -> AsideWriter {
        AsideWriter(self.0.clone())
    }
}

struct AsideWriter(MultiProgress);

impl Write for AsideWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loudness_is_a_filter() {
        for loudness in [
            Loudness::Errors,
            Loudness::Warnings,
            Loudness::Steps,
            Loudness::Details,
        ] {
            assert!(EnvFilter::builder().parse(loudness.directives()).is_ok());
        }
    }
}
