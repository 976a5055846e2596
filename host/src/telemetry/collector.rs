//! Figures and traces for a collector, by OTLP over HTTP.
//!
//! The SDK's own threads gather and send; nobody who works waits for them. What is not sent when the program ends is sent
//! then, for [`FLUSH`] at most: a collector that is down costs that and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use super::Clock;
use super::metric::{self, DURATIONS, Kind, Labels, Metric, Sample, Value};
use super::standing::Standing;
use crate::config::{CollectorPlan, ConfigError};

/// How long the end of the program may wait for the collector.
const FLUSH: Duration = Duration::from_secs(3);

/// Why nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectorError {
    #[error("{0}")]
    Unusable(&'static str),
    #[error("a header for the collector is not known")]
    Header(#[source] ConfigError),
    #[error("the exporter cannot be made")]
    Exporter(#[source] ExporterBuildError),
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// A collector that is sent to.
#[derive(Debug)]
pub(super) struct Collector {
    meters: Option<Meters>,
    traces: Option<SdkTracerProvider>,
}

#[derive(Debug)]
struct Meters {
    provider: SdkMeterProvider,
    counts: HashMap<&'static str, Counter<u64>>,
    spreads: HashMap<&'static str, Histogram<f64>>,
}

impl Collector {
    /// A collector for figures and traces of `project`. Nothing is contacted yet.
    ///
    /// # Errors
    /// When the plan names what cannot be spoken to.
    pub(super) fn new(
        plan: &CollectorPlan,
        project: &str,
        instance: String,
        standing: &Arc<Standing>,
        clock: Clock,
    ) -> Result<Self, CollectorError> {
        if let Some(reason) = plan.unusable {
            return Err(CollectorError::Unusable(reason));
        }
        let client = reqwest::Client::builder().timeout(plan.timeout).build();
        let channel = Channel {
            client: client.map_err(CollectorError::Client)?,
            runtime: Handle::current(),
        };
        let resource = Resource::builder()
            .with_service_name(plan.service.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance),
                KeyValue::new("tidemill.project", project.to_owned()),
            ])
            .build();
        let way = Way {
            channel,
            headers: headers(plan)?,
            timeout: plan.timeout,
        };
        let meters = plan.metrics.as_ref().map(|endpoint| {
            let exporter = way
                .lead(MetricExporter::builder().with_http(), endpoint)
                .build();
            let exporter = exporter.map_err(CollectorError::Exporter)?;
            let reader = PeriodicReader::builder(exporter)
                .with_interval(plan.interval)
                .build();
            let provider = SdkMeterProvider::builder()
                .with_reader(reader)
                .with_resource(resource.clone())
                .build();
            Ok(Meters::new(provider, standing, clock))
        });
        let traces = plan.traces.as_ref().map(|endpoint| {
            let exporter = way
                .lead(SpanExporter::builder().with_http(), endpoint)
                .build();
            let exporter = exporter.map_err(CollectorError::Exporter)?;
            Ok(SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource.clone())
                .build())
        });
        Ok(Self {
            meters: meters.transpose()?,
            traces: traces.transpose()?,
        })
    }

    /// Who makes traces of spans, where traces are sent.
    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        let provider = self.traces.as_ref()?;
        Some(provider.tracer_with_scope(scope()))
    }

    /// Adds a sample.
    pub(super) fn add(&self, sample: &Sample) {
        if let Some(meters) = &self.meters {
            meters.add(sample);
        }
    }

    /// Sends what there is, waiting for [`FLUSH`] at most; whether all of it was taken.
    pub(super) async fn flush(&self) -> bool {
        let meters = self.meters.as_ref().map(|meters| meters.provider.clone());
        let traces = self.traces.clone();
        bounded(move || {
            let metrics = meters.is_none_or(|meters| meters.force_flush().is_ok());
            let traces = traces.is_none_or(|traces| traces.force_flush().is_ok());
            metrics && traces
        })
        .await
    }

    /// Sends what there is and ends the threads that send, waiting for [`FLUSH`] at most; whether all of it was taken.
    pub(super) async fn finish(&self) -> bool {
        let meters = self.meters.as_ref().map(|meters| meters.provider.clone());
        let traces = self.traces.clone();
        bounded(move || {
            let traces = traces.is_none_or(|t| t.shutdown_with_timeout(FLUSH).is_ok());
            let metrics = meters.is_none_or(|m| m.shutdown_with_timeout(FLUSH).is_ok());
            metrics && traces
        })
        .await
    }
}

/// Runs `send`, which blocks, on a thread of its own and waits for it for [`FLUSH`] at most.
async fn bounded(send: impl FnOnce() -> bool + Send + 'static) -> bool {
    let sending = tokio::task::spawn_blocking(send);
    matches!(tokio::time::timeout(FLUSH, sending).await, Ok(Ok(true)))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("tidemill")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// How the collector is reached, for figures and traces alike.
struct Way {
    channel: Channel,
    headers: HashMap<String, String>,
    timeout: Duration,
}

impl Way {
    /// Has an exporter send to `endpoint`.
    fn lead<B: WithHttpConfig + WithExportConfig>(&self, exporter: B, endpoint: &str) -> B {
        exporter
            .with_http_client(self.channel.clone())
            .with_headers(self.headers.clone())
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(self.timeout)
    }
}

fn headers(plan: &CollectorPlan) -> Result<HashMap<String, String>, CollectorError> {
    let headers = plan.headers.iter().map(|(name, value)| {
        let value = value.expose().map_err(CollectorError::Header)?;
        Ok((name.clone(), value.to_owned()))
    });
    headers.collect()
}

impl Meters {
    fn new(provider: SdkMeterProvider, standing: &Arc<Standing>, clock: Clock) -> Self {
        let meter = provider.meter_with_scope(scope());
        let mut meters = Self {
            provider,
            counts: HashMap::new(),
            spreads: HashMap::new(),
        };
        for metric in metric::ALL {
            match metric.kind {
                Kind::Count => {
                    let counter = meter
                        .u64_counter(metric.name)
                        .with_description(metric.help)
                        .with_unit(metric.unit.ucum());
                    meters.counts.insert(metric.name, counter.build());
                }
                Kind::Spread => {
                    let histogram = meter
                        .f64_histogram(metric.name)
                        .with_description(metric.help)
                        .with_unit(metric.unit.ucum())
                        .with_boundaries(DURATIONS.to_vec());
                    meters.spreads.insert(metric.name, histogram.build());
                }
                Kind::Moment | Kind::Age | Kind::Info => {
                    gauge(&meter, metric, standing.clone(), clock);
                }
            }
        }
        meters
    }

    fn add(&self, sample: &Sample) {
        let name = sample.metric.name;
        match sample.value {
            Value::Count(count) => {
                if let Some(counter) = self.counts.get(name) {
                    counter.add(count, &attributes(&sample.labels));
                }
            }
            Value::Seconds(seconds) => {
                if let Some(histogram) = self.spreads.get(name) {
                    histogram.record(seconds, &attributes(&sample.labels));
                }
            }
            Value::At(_) | Value::True => {}
        }
    }
}

/// A gauge that is read from `standing` whenever figures are sent.
fn gauge(meter: &Meter, metric: &'static Metric, standing: Arc<Standing>, clock: Clock) {
    // The provider keeps what it reads.
    let _gauge = meter
        .f64_observable_gauge(metric.name)
        .with_description(metric.help)
        .with_unit(metric.unit.ucum())
        .with_callback(move |observer| {
            for reading in standing.readings(metric, clock()) {
                observer.observe(reading.figure, &attributes(&reading.labels));
            }
        })
        .build();
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let attributes = labels.iter();
    attributes
        .map(|(name, value)| KeyValue::new(*name, value.clone()))
        .collect()
}

/// The way to the collector. The SDK sends from threads that know no runtime, so the request is made in ours.
#[derive(Debug, Clone)]
struct Channel {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Channel {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move { client.send_bytes(request).await };
        self.runtime.spawn(sending).await?
    }
}
