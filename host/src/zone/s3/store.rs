//! The connection to a store, shared by the zones that are in it.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::{Metadata, OrchestratorError};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use tokio::sync::{Mutex, OnceCell};

use super::super::ZoneError;
use super::super::kept::Kept;
use super::super::log::Memory;
use crate::config::StorePlan;
use crate::connection::aws;
use crate::connection::contact::{self, Contact};
use crate::connection::traffic::Traffic;

/// How often a request is sent before it counts as failed; the client waits longer each time, by chance, and as long as
/// a store wants that says `SlowDown`.
const ATTEMPTS: u32 = 6;
/// The longest wait between two of them.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// What a connection may take, one attempt, and all attempts of a request together.
const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(60);
const REQUEST: Duration = contact::PATIENCE;

/// A store and what is known of it.
#[derive(Debug)]
pub struct Store {
    plan: StorePlan,
    traffic: Traffic,
    /// Made by the first who needs it: a run with folders alone looks for no credentials.
    client: OnceCell<Client>,
    /// What buckets were seen to do, by bucket.
    proven: Mutex<BTreeSet<(String, Promise)>>,
    memory: Memory,
    kept: Option<Kept>,
}

/// What a bucket has to do before it is trusted with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// To be there, which a miss alone does not tell.
    Exists,
    /// To refuse a put of an object that exists.
    RefusesPut,
    /// To refuse to complete an upload in parts of an object that exists.
    RefusesComplete,
}

impl Store {
    /// The store of this plan. Nothing is contacted yet.
    pub fn new(plan: StorePlan) -> Self {
        Self {
            plan,
            traffic: Traffic::default(),
            client: OnceCell::new(),
            proven: Mutex::default(),
            memory: Memory::default(),
            kept: None,
        }
    }

    /// The same, which keeps some of its objects in a folder of this machine and notes there where its logs end.
    pub(in crate::zone) fn keeping(self, folder: &Path, room_bytes: u64) -> Self {
        Self {
            memory: Memory::noting(folder.join("logs")),
            kept: Some(Kept::new(folder.join("objects"), room_bytes)),
            ..self
        }
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(in crate::zone) fn plan(&self) -> &StorePlan {
        &self.plan
    }

    /// What was sent and what came back.
    pub(in crate::zone) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) async fn client(&self) -> &Client {
        let connecting = || connect(&self.plan, self.traffic.clone());
        self.client.get_or_init(connecting).await
    }

    /// Runs `proving` unless `bucket` was seen to keep `promise` before; others wait for it.
    pub(super) async fn prove(
        &self,
        bucket: &str,
        promise: Promise,
        proving: impl Future<Output = Result<(), ZoneError>> + Send,
    ) -> Result<(), ZoneError> {
        let place = (bucket.to_owned(), promise);
        let mut proven = self.proven.lock().await;
        if !proven.contains(&place) {
            proving.await?;
            proven.insert(place);
        }
        Ok(())
    }

    /// Remembers that `bucket` was seen to keep `promise`.
    pub(super) async fn saw(&self, bucket: &str, promise: Promise) {
        let mut proven = self.proven.lock().await;
        proven.insert((bucket.to_owned(), promise));
    }
}

/// Counts what is sent and what comes back.
#[derive(Debug)]
struct Count(Traffic);

#[dyn_dispatch_hint]
impl Intercept for Count {
    fn name(&self) -> &'static str {
        "Count"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        tracing::trace!(
            method = request.method(),
            uri = request.uri(),
            "asks the store"
        );
        self.0.contact().asked(request.uri());
        self.0
            .sent(request.body().content_length().unwrap_or_default());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let length = context.response().headers().get("content-length");
        // A head says how large the body would be.
        let is_head = operation(settings) == "HeadObject";
        let length = length
            .filter(|_| !is_head)
            .and_then(|length| length.parse().ok());
        self.0.received(length.unwrap_or_default());
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context
            .response()
            .map(|response| response.status().as_u16());
        self.0.answered(operation(settings), status);
        let contact = self.0.contact();
        let is_away = |error: &OrchestratorError<_>| {
            error.is_connector_error() || error.is_timeout_error() || error.is_response_error()
        };
        match (status, context.output_or_error()) {
            (Some(status @ 500..), _) => contact.failed(true, &format!("HTTP status {status}")),
            (None, Some(Err(error))) if is_away(error) => {
                contact.failed(false, &aws::chain(error));
            }
            (Some(_), _) => contact.answered(),
            (None, _) => {}
        }
        Ok(())
    }
}

fn operation(settings: &ConfigBag) -> &str {
    settings.load::<Metadata>().map_or("", Metadata::name)
}

/// Gives up a store that nobody has ever heard of.
#[derive(Debug)]
struct GivesUp(Contact);

impl ClassifyRetry for GivesUp {
    fn name(&self) -> &'static str {
        "GivesUp"
    }

    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        match self.0.is_hopeless() {
            true => RetryAction::RetryForbidden,
            false => RetryAction::NoActionIndicated,
        }
    }
}

async fn connect(plan: &StorePlan, traffic: Traffic) -> Client {
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_max_backoff(LONGEST_WAIT);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(REQUEST)
        .build();
    let shared = aws::configuration(plan).await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .retry_config(retries)
        .timeout_config(timeouts)
        .retry_classifier(GivesUp(traffic.contact().clone()))
        .interceptor(Count(traffic));
    if let Some(endpoint) = plan.endpoint.as_deref().or(shared.endpoint_url()) {
        // Names of buckets are names of hosts at Amazon only.
        config = config.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(config.build())
}
