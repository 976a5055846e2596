//! Log lines: to stderr, as text or as JSON for a log collector.
//!
//! There is one span per run and one per table and stage. Fields have the same name everywhere: `run_id`,
//! `table`, `stage`, `module`, `module_version`, `digest`, `rows`, `bytes`, `watermark`, `elapsed_ms`.
//! Messages are constant and lower-case. Values of rows and URLs with passwords never enter.

use std::io::Write;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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
    /// kernel beneath: it logs each error that it returns.
    fn directives(&self) -> &str {
        match self {
            Self::Errors => "error,deltalake_core::kernel::transaction=off,buoyant_kernel=off",
            Self::Warnings => "warn,deltalake_core::kernel::transaction=off,buoyant_kernel=off",
            Self::Steps => {
                "warn,tidemill=info,deltalake_core::kernel::transaction=off,buoyant_kernel=off"
            }
            Self::Details => "warn,tidemill=debug",
            Self::Filter(filter) => filter,
        }
    }
}

/// Turns log lines on for this process. They step aside for the progress in `bars`.
///
/// A second call changes nothing: the first subscriber stays.
pub(crate) fn start(loudness: &Loudness, format: LogFormat, colour: bool, bars: MultiProgress) {
    let filter = EnvFilter::builder().parse_lossy(loudness.directives());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Aside(bars));
    let _ = match format {
        LogFormat::Text => lines.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .try_init(),
    };
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
