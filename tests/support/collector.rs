//! A collector of a test's own: what the program sends by OTLP over HTTP, decoded by the protocol's own types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::task::JoinHandle;

use crate::figures::{Figure, Figures};

/// A collector that runs until it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    heard: Heard,
    task: JoinHandle<()>,
}

/// What was sent, in its order.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    metrics: Vec<ExportMetricsServiceRequest>,
    traces: Vec<ExportTraceServiceRequest>,
    headers: Vec<HeaderMap>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start() -> Result<Self> {
        let heard = Heard::default();
        let routes = Router::new()
            .route("/v1/metrics", post(metrics))
            .route("/v1/traces", post(traces))
            .with_state(heard.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            heard,
            task,
        })
    }

    /// Its URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The figures that were sent last.
    ///
    /// # Errors
    /// When none were sent, or one is of a kind that nobody sends.
    pub fn figures(&self) -> Result<Figures> {
        let requests = self.heard.lock();
        let last = requests.metrics.last().context("figures were sent")?;
        let mut figures = Figures::new();
        let scopes = last.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            let data = metric.data.as_ref().context("a metric has data")?;
            for (labels, figure) in points(data)? {
                figures.insert((metric.name.clone(), labels), figure);
            }
        }
        Ok(figures)
    }

    /// What every request says of its sender, of the last figures.
    ///
    /// # Errors
    /// When none were sent.
    pub fn resource(&self) -> Result<BTreeMap<String, String>> {
        let requests = self.heard.lock();
        let last = requests.metrics.last().context("figures were sent")?;
        let resource = last.resource_metrics.first();
        let resource = resource.and_then(|r| r.resource.as_ref());
        Ok(labels(&resource.context("a resource")?.attributes))
    }

    /// Every span that was sent.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.heard.lock();
        let resources = requests.traces.iter().flat_map(|t| &t.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The value of a header in every request that was made.
    pub fn header(&self, name: &str) -> Vec<Option<String>> {
        let requests = self.heard.lock();
        let value = |headers: &HeaderMap| Some(headers.get(name)?.to_str().ok()?.to_owned());
        requests.headers.iter().map(value).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metrics(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match ExportMetricsServiceRequest::decode(body) {
        Ok(request) => {
            let mut requests = heard.lock();
            requests.metrics.push(request);
            requests.headers.push(headers);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

async fn traces(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            let mut requests = heard.lock();
            requests.traces.push(request);
            requests.headers.push(headers);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

type Labels = BTreeMap<String, String>;

fn points(data: &Data) -> Result<Vec<(Labels, Figure)>> {
    let number = |value: &Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsInt(n)) => Some(*n as f64),
        Some(number_data_point::Value::AsDouble(n)) => Some(*n),
        None => None,
    };
    let numbers = match data {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Histogram(histogram) => {
            let points = histogram.data_points.iter().map(|point| {
                let sum = point.sum.context("a histogram has a sum")?;
                let count = point.count;
                Ok((labels(&point.attributes), Figure::Spread { sum, count }))
            });
            return points.collect();
        }
        _ => anyhow::bail!("nobody sends {data:?}"),
    };
    let points = numbers.iter().map(|point| {
        let value = number(&point.value).context("a point has a value")?;
        Ok((labels(&point.attributes), Figure::Number(value)))
    });
    points.collect()
}

/// Attributes as texts.
pub fn labels(attributes: &[KeyValue]) -> Labels {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(n) => n.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.iter().filter_map(|attribute| {
        let value = attribute.value.as_ref()?.value.as_ref()?;
        Some((attribute.key.clone(), text(value)))
    });
    attributes.collect()
}
