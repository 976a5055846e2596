//! Where measurements go, as the project file and the environment speak of it.
//!
//! Nothing is sent anywhere unless a collector is named here or in the variables that OpenTelemetry gives to all programs.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Environment, Secret};

/// How long a collector may take for one answer.
/// The headers of requests to a collector, as OpenTelemetry calls them.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often figures are sent while the program runs.
const INTERVAL: Duration = Duration::from_secs(60);
/// By what name collectors know the program.
const SERVICE: &str = "tidemill";

/// Where measurements go.
#[derive(Debug, Clone)]
pub struct TelemetryPlan {
    /// The collector; `None` where nothing is sent.
    pub collector: Option<CollectorPlan>,
    /// Whether the figures of every run are written to stdout in CloudWatch's embedded metric format.
    pub emf: bool,
}

/// A collector that is spoken to by OTLP over HTTP, in protobuf.
#[derive(Debug, Clone)]
pub struct CollectorPlan {
    /// Where figures go; `None` where none are sent.
    pub metrics: Option<String>,
    /// Where traces go; `None` where none are sent.
    pub traces: Option<String>,
    /// What goes with every request, by name: keys of who may send.
    pub headers: Vec<(String, Secret)>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often figures are sent while the program runs.
    pub interval: Duration,
    /// By what name the collector knows the program.
    pub service: String,
    /// Why nothing can be sent to this collector although it is named.
    pub unusable: Option<&'static str>,
}

/// What the project file says, its references resolved.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The collector's URL, below which figures and traces have places of their own.
    pub(super) otlp: Option<String>,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) interval: Option<Duration>,
    pub(super) emf: Option<bool>,
}

impl TelemetryPlan {
    /// What the project file says, and what the variables say where it is silent.
    pub(super) fn new(written: Written, environment: &Environment) -> Self {
        // A function's log is where CloudWatch looks for the format.
        let in_lambda = variable(environment, "AWS_LAMBDA_FUNCTION_NAME").is_some();
        Self {
            emf: written.emf.unwrap_or(in_lambda),
            collector: CollectorPlan::new(written, environment),
        }
    }
}

impl CollectorPlan {
    fn new(written: Written, environment: &Environment) -> Option<Self> {
        let variable = |name: &str| variable(environment, name);
        if variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return None;
        }
        let base = written.otlp.as_deref();
        let base = base.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let place = |signal: &str, path: &str| {
            let exporter = variable(&format!("OTEL_{signal}_EXPORTER"));
            if exporter.is_some_and(|exporter| exporter != "otlp") {
                return None;
            }
            let own = variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
            // The file's word stands before the variables', as everywhere.
            let own = own.filter(|_| written.otlp.is_none()).map(str::to_owned);
            own.or_else(|| Some(format!("{}{path}", base?.trim_end_matches('/'))))
        };
        let (metrics, traces) = (
            place("METRICS", "/v1/metrics"),
            place("TRACES", "/v1/traces"),
        );
        if metrics.is_none() && traces.is_none() {
            return None;
        }
        let mut headers = written.headers;
        if headers.is_empty() {
            headers = variable(HEADERS).map_or_else(Vec::new, pairs);
        }
        let protocol = variable("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|_| written.otlp.is_none());
        let millis = |name| {
            let value: Option<u64> = variable(name).and_then(|value| value.parse().ok());
            value.filter(|value| *value > 0).map(Duration::from_millis)
        };
        let interval = written.interval;
        Some(Self {
            metrics,
            traces,
            headers,
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT").unwrap_or(TIMEOUT),
            interval: interval
                .or_else(|| millis("OTEL_METRIC_EXPORT_INTERVAL"))
                .unwrap_or(INTERVAL),
            service: variable("OTEL_SERVICE_NAME").unwrap_or(SERVICE).to_owned(),
            unusable: protocol
                .filter(|protocol| *protocol != "http/protobuf")
                .map(|_| "OTEL_EXPORTER_OTLP_PROTOCOL names a protocol other than http/protobuf"),
        })
    }
}

/// A variable that says something.
fn variable<'e>(environment: &'e Environment, name: &str) -> Option<&'e str> {
    environment.get(name).filter(|value| !value.is_empty())
}

/// A header as a list in the project file has it, `name=value`; `None` for what is none.
pub(super) fn header(text: &str) -> Option<(String, Secret)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    is_name(name).then(|| (name.to_owned(), Secret::new(value.trim())))
}

/// `a=1,b=2`, the values percent-encoded, as OpenTelemetry writes lists of headers.
fn pairs(text: &str) -> Vec<(String, Secret)> {
    let pairs = text.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8_lossy();
        let (name, value) = header(&format!("{}={value}", name.trim()))?;
        let place = format!("the environment variable {HEADERS}");
        Some((name, value.found(&place)))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(written: Written, variables: &[(&str, &str)]) -> TelemetryPlan {
        TelemetryPlan::new(written, &variables.iter().copied().collect())
    }

    #[test]
    fn nothing_is_sent_unless_somebody_names_a_collector() {
        let silent = plan(Written::default(), &[]);
        assert!(silent.collector.is_none() && !silent.emf);
        let off = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_SDK_DISABLED", "true"),
        ];
        assert!(plan(Written::default(), &off).collector.is_none());
    }

    #[test]
    fn the_variables_of_opentelemetry_are_understood() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://elsewhere/spans",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, other=c=d"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_SERVICE_NAME", "night shift"),
        ];
        let plan = plan(Written::default(), &variables);
        let collector = plan.collector.expect("it is named");
        assert_eq!(
            collector.metrics.as_deref(),
            Some("http://collector:4318/v1/metrics")
        );
        assert_eq!(collector.traces.as_deref(), Some("http://elsewhere/spans"));
        assert_eq!(collector.timeout, Duration::from_millis(2500));
        assert_eq!(collector.interval, INTERVAL);
        assert_eq!(collector.service, "night shift");
        assert!(collector.unusable.is_none());
        let headers: Vec<_> = collector
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose().expect("known")))
            .collect();
        assert_eq!(headers, [("x-key", "a b"), ("other", "c=d")]);
    }

    #[test]
    fn one_signal_can_be_left_out_and_another_protocol_is_told() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ];
        let collector = plan(Written::default(), &variables).collector;
        let collector = collector.expect("figures are sent");
        assert_eq!(collector.traces, None);
        assert!(collector.unusable.is_some());
    }

    #[test]
    fn the_project_file_goes_before_the_variables() {
        let written = Written {
            otlp: Some("https://ours/otlp".into()),
            headers: header("authorization=Bearer x").into_iter().collect(),
            interval: Some(Duration::from_secs(5)),
            emf: Some(false),
        };
        let variables = [
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "http://theirs/v1/metrics",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
            ("AWS_LAMBDA_FUNCTION_NAME", "load"),
        ];
        let plan = plan(written, &variables);
        assert!(!plan.emf);
        let collector = plan.collector.expect("it is named");
        assert_eq!(
            collector.metrics.as_deref(),
            Some("https://ours/otlp/v1/metrics")
        );
        assert_eq!(collector.headers.len(), 1);
        assert!(!format!("{collector:?}").contains("Bearer x"));
    }

    #[test]
    fn in_a_function_figures_are_embedded_in_the_log() {
        let variables = [("AWS_LAMBDA_FUNCTION_NAME", "load")];
        assert!(plan(Written::default(), &variables).emf);
    }

    #[test]
    fn what_is_no_header_is_none() {
        for text in ["", "=x", "name", "a b=c", "a:b=c"] {
            assert!(header(text).is_none(), "{text}");
        }
    }
}
