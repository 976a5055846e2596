//! Figures as Prometheus scrapes them: OpenMetrics text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Clock;
use super::metric::{self, DURATIONS, Kind, Labels, Sample, Value};
use super::standing::Standing;

/// What the answer to a scrape is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Spreads = Family<Labels, Histogram, fn() -> Histogram>;

/// The figures since the program began.
#[derive(Debug)]
pub(super) struct Exposition {
    registry: Registry,
    counts: BTreeMap<&'static str, Family<Labels, Counter>>,
    spreads: BTreeMap<&'static str, Spreads>,
}

impl Exposition {
    /// No figures yet, but those that `standing` has.
    pub(super) fn new(standing: Arc<Standing>, clock: Clock) -> Self {
        let mut registry = Registry::default();
        let mut counts = BTreeMap::new();
        let mut spreads = BTreeMap::new();
        for metric in metric::ALL {
            match metric.kind {
                Kind::Count => {
                    let family = Family::<Labels, Counter>::default();
                    // The library writes the ending itself.
                    let name = metric.name.trim_end_matches("_total");
                    registry.register(name, metric.help, family.clone());
                    counts.insert(metric.name, family);
                }
                Kind::Spread => {
                    let family = Spreads::new_with_constructor(|| Histogram::new(DURATIONS));
                    registry.register(metric.name, metric.help, family.clone());
                    spreads.insert(metric.name, family);
                }
                Kind::Moment | Kind::Age | Kind::Info => {}
            }
        }
        registry.register_collector(Box::new(Gauges { standing, clock }));
        Self {
            registry,
            counts,
            spreads,
        }
    }

    /// Adds a sample.
    pub(super) fn add(&self, sample: &Sample) {
        let name = sample.metric.name;
        match sample.value {
            Value::Count(count) => {
                if let Some(family) = self.counts.get(name) {
                    family.get_or_create(&sample.labels).inc_by(count);
                }
            }
            Value::Seconds(seconds) => {
                if let Some(family) = self.spreads.get(name) {
                    family.get_or_create(&sample.labels).observe(seconds);
                }
            }
            Value::At(_) | Value::True => {}
        }
    }

    /// The figures as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String fails where an encoder does, and half an exposition is worse than none.
            Err(fmt::Error) => "# EOF\n".to_owned(),
        }
    }
}

/// What holds, read at the time of the scrape.
#[derive(Debug)]
struct Gauges {
    standing: Arc<Standing>,
    clock: Clock,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = (self.clock)();
        for metric in metric::ALL {
            let readings = self.standing.readings(metric, now);
            if readings.is_empty() {
                continue;
            }
            let gauge = MetricType::Gauge;
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, gauge)?;
            for reading in readings {
                family
                    .encode_family(&reading.labels)?
                    .encode_gauge(&reading.figure)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::metric::{MODULE, ROWS, STAGE_DURATION, WATERMARK_LAG};
    use super::*;

    #[test]
    fn counts_add_up_and_names_are_those_of_the_list() {
        let standing = Arc::new(Standing::default());
        let clock = || DateTime::from_timestamp(100, 0).expect("a time");
        let exposition = Exposition::new(standing.clone(), clock);
        let table = |name: &str| [("stage", "load".to_owned()), ("table", name.to_owned())];
        let stage = [("stage", "load".to_owned())];
        let module = [("table", "a\"b\\\n".to_owned())];
        let source = [("source", "s".to_owned())];
        for sample in [
            ROWS.sample(table("a"), Value::Count(3)),
            ROWS.sample(table("a"), Value::Count(4)),
            ROWS.sample(table("b"), Value::Count(1)),
            STAGE_DURATION.sample(stage, Value::Seconds(0.3)),
            MODULE.sample(module, Value::True),
            WATERMARK_LAG.sample(source, Value::At(DateTime::UNIX_EPOCH)),
        ] {
            standing.note(&sample);
            exposition.add(&sample);
        }
        let text = exposition.text();
        for line in [
            "# TYPE tidemill_rows counter",
            "tidemill_rows_total{stage=\"load\",table=\"a\"} 7",
            "tidemill_rows_total{stage=\"load\",table=\"b\"} 1",
            "tidemill_stage_duration_seconds_bucket{le=\"0.5\",stage=\"load\"} 1",
            "tidemill_stage_duration_seconds_bucket{le=\"0.25\",stage=\"load\"} 0",
            "tidemill_module_info{table=\"a\\\"b\\\\\\n\"} 1.0",
            "tidemill_watermark_lag_seconds{source=\"s\"} 100.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
