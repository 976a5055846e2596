//! The objects of a bucket as Delta needs them: created once, by whoever comes first.
//!
//! ```text
//! commit, publication, data file ── create: If-None-Match: * ──▶ it is ours │ it exists │ no answer ─▶ whose is it?
//! ```
//!
//! It is `object_store`'s client of S3, which Delta itself is written for, with the credentials, region, endpoint and
//! encryption of zones. Three things are added. Nobody is connected to before the first request, so that a warehouse can
//! be named without credentials. The bucket is seen to refuse what exists before the first object is created in it.
//! And when an answer is lost, what is there is compared with what was sent, and sent again where nothing is: no two
//! writers send the same, because commits and publications name their run, and data files have names of chance.
//!
//! Rejected: Delta's own crate for S3, which asks for another client of Amazon's services and for a table of locks where
//! a store knows no conditions. Such a store is refused here.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum, S3ConditionalPut,
};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, CopyOptions, CredentialProvider, Error, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, RetryConfig,
};
use tokio::sync::{Mutex, OnceCell};

use crate::config::{Encryption, StorePlan};
use crate::connection::aws;
use crate::connection::contact;
use crate::connection::traffic::Traffic;

/// How long one request may take, its body included: a data file of 64 MiB at half a megabyte a second.
const REQUEST: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
/// How long requests are repeated, waiting longer each time.
const PATIENCE: Duration = contact::PATIENCE;
/// How often a create is sent to which no answer comes.
const ATTEMPTS: u32 = 6;
/// How long credentials are used before they are asked for again: with `PATIENCE`, less than the five minutes for which a
/// machine gives new ones before the old ones end.
const FRESH: Duration = Duration::from_secs(60);
/// So long before they end they are not used any more, as by the client of zones.
const MARGIN: Duration = Duration::from_secs(10);
/// What is in the object by which a store shows that it refuses to create what exists.
const NOTE: &[u8] =
    b"tidemill makes sure by this object that the store refuses to create what exists.\n";

/// The store creates what exists already.
#[derive(Debug, thiserror::Error)]
#[error("it does not refuse to create an object that exists: two runs would overwrite each other")]
pub(super) struct Unconditional;

/// Nobody said where the bucket is.
#[derive(Debug, thiserror::Error)]
#[error("there is no region for the bucket")]
pub(super) struct NoRegion;

/// The objects of one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Objects(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: StorePlan,
    traffic: Traffic,
    bucket: String,
    /// Where the proof is.
    proof: Key,
    store: OnceCell<Arc<dyn ObjectStore>>,
    proven: OnceCell<()>,
}

impl Objects {
    /// The objects of `bucket`; the one that is the proof is called `proof`. Nothing is contacted yet.
    pub(super) fn new(plan: StorePlan, traffic: Traffic, bucket: &str, proof: Key) -> Self {
        Self(Arc::new(Inner {
            plan,
            traffic,
            bucket: bucket.to_owned(),
            proof,
            store: OnceCell::new(),
            proven: OnceCell::new(),
        }))
    }

    /// The same of a store that is connected to.
    #[cfg(test)]
    pub(super) fn of(store: Arc<dyn ObjectStore>, proof: Key) -> Self {
        Self(Arc::new(Inner {
            plan: StorePlan::default(),
            traffic: Traffic::default(),
            bucket: "test".into(),
            proof,
            store: OnceCell::new_with(Some(store)),
            proven: OnceCell::new(),
        }))
    }
}

impl Inner {
    async fn store(&self) -> Result<&Arc<dyn ObjectStore>> {
        let connecting = async {
            let store = connect(&self.plan, &self.traffic, &self.bucket).await?;
            Ok(Arc::new(store) as Arc<dyn ObjectStore>)
        };
        self.store.get_or_try_init(|| connecting).await
    }

    /// Makes sure that the bucket refuses to create what exists.
    async fn prove(&self) -> Result<()> {
        let proving = async {
            let store = self.store().await?;
            // The first of all creates it; from then on the first answer is the proof.
            for _ in 0..2 {
                let note = PutPayload::from_static(NOTE);
                let put = store.put_opts(&self.proof, note, PutMode::Create.into());
                match put.await {
                    Err(Error::AlreadyExists { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
            Err(failure(Unconditional))
        };
        self.proven.get_or_try_init(|| proving).await.copied()
    }

    /// Creates an object, and asks again where no answer came: the client itself does so only with what may be done twice.
    async fn create(
        &self,
        location: &Key,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (store, begin) = (self.store().await?, Instant::now());
        for attempt in 0.. {
            let put = store.put_opts(location, payload.clone(), options.clone());
            let error = match put.await {
                Ok(put) => return Ok(put),
                Err(error) => error,
            };
            let is_open = matches!(error, Error::AlreadyExists { .. } | Error::Generic { .. });
            if is_open && self.holds(location, payload.clone()).await {
                break;
            }
            let is_late = attempt + 1 >= ATTEMPTS || begin.elapsed() > PATIENCE;
            if is_late || !is_unanswered(&error) {
                return Err(error);
            }
            aws::pause(attempt).await;
        }
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    /// Whether an object holds just this.
    async fn holds(&self, location: &Key, payload: PutPayload) -> bool {
        let Ok(store) = self.store().await else {
            return false;
        };
        let found = async { store.get(location).await?.bytes().await };
        found.await.is_ok_and(|found| found == Bytes::from(payload))
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(
        &self,
        location: &Key,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let store = self.0.store().await?;
        if options.mode != PutMode::Create {
            return store.put_opts(location, payload, options).await;
        }
        self.0.prove().await?;
        self.0.create(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let store = self.0.store().await?;
        store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        self.0.store().await?.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.store().await?.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        let inner = Arc::clone(&self.0);
        let begun = async move { Ok::<_, Error>(inner.store().await?.delete_stream(locations)) };
        stream::once(begun).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (Arc::clone(&self.0), prefix.cloned());
        let begun = async move { Ok::<_, Error>(inner.store().await?.list(prefix.as_ref())) };
        stream::once(begun).try_flatten().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Key>,
        offset: &Key,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix, offset) = (Arc::clone(&self.0), prefix.cloned(), offset.clone());
        let begun = async move {
            let store = inner.store().await?;
            Ok::<_, Error>(store.list_with_offset(prefix.as_ref(), &offset))
        };
        stream::once(begun).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.0.store().await?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.0.store().await?.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.0.bucket)
    }
}

/// Whether no answer came to a request that the client sends once.
fn is_unanswered(error: &Error) -> bool {
    use HttpErrorKind::{Decode, Interrupted, Timeout, Unknown};
    let lost = super::failure::find::<HttpError>(error);
    lost.is_some_and(|lost| matches!(lost.kind(), Timeout | Interrupted | Decode | Unknown))
}

fn failure(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: "S3",
        source: cause.into(),
    }
}

async fn connect(plan: &StorePlan, traffic: &Traffic, bucket: &str) -> Result<AmazonS3> {
    let settings = aws::configuration(plan).await;
    let region = settings.region().ok_or_else(|| failure(NoRegion))?;
    let provider = settings.credentials_provider();
    let provider = provider.ok_or_else(|| failure("there are no credentials"))?;
    let credentials = Credentials {
        provider,
        last: Mutex::default(),
    };
    let retries = RetryConfig {
        retry_timeout: PATIENCE,
        ..RetryConfig::default()
    };
    let client = ClientOptions::new()
        .with_timeout(REQUEST)
        .with_connect_timeout(CONNECT);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region.as_ref())
        .with_credentials(Arc::new(credentials))
        .with_client_options(client)
        .with_http_connector(Counting(ReqwestConnector::default(), traffic.clone()))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_retry(retries);
    if let Some(endpoint) = plan.endpoint.as_deref().or(settings.endpoint_url()) {
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_endpoint(endpoint.trim_end_matches('/'));
    }
    for (setting, value) in encryption(plan.encryption.as_ref()) {
        builder = builder.with_config(setting.parse::<AmazonS3ConfigKey>()?, value);
    }
    builder.build()
}

/// The settings of the client by which objects are encrypted.
fn encryption(encryption: Option<&Encryption>) -> Vec<(&'static str, &str)> {
    const HOW: &str = "aws_server_side_encryption";
    const KEY: &str = "aws_sse_kms_key_id";
    match encryption {
        None => Vec::new(),
        Some(Encryption::Store) => vec![(HOW, "AES256")],
        Some(Encryption::Service(None)) => vec![(HOW, "aws:kms")],
        Some(Encryption::Service(Some(key))) => vec![(HOW, "aws:kms"), (KEY, key)],
    }
}

/// A connection that counts what goes over it, and brings short answers whole: the client asks again where none came, and
/// not where a listing or the reason of a refusal breaks off in the middle.
#[derive(Debug)]
struct Counting<C>(C, Traffic);

impl HttpConnector for Counting<ReqwestConnector> {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let client = self.0.connect(options)?;
        Ok(HttpClient::new(Counting(client, self.1.clone())))
    }
}

#[async_trait]
impl HttpService for Counting<HttpClient> {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        tracing::trace!(method = %request.method(), uri = %request.uri(), "asks the store");
        let (operation, traffic) = (operation(&request), &self.1);
        traffic.sent(request.body().content_length() as u64);
        let is_head = request.method() == "HEAD";
        let contact = traffic.contact();
        contact.asked(&request.uri().to_string());
        let answer = self.0.execute(request).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        traffic.answered(operation, status);
        match &answer {
            Ok(answer) if answer.status().is_server_error() => {
                let error = format!("HTTP status {}", answer.status().as_u16());
                contact.failed(true, &error);
            }
            Ok(_) => contact.answered(),
            Err(error) => contact.failed(false, &aws::chain(error)),
        }
        let answer = answer.map_err(|error| match contact.is_hopeless() {
            // The client asks again after errors of other kinds.
            true => HttpError::new(HttpErrorKind::Unknown, error),
            false => error,
        })?;
        let length = answer.headers().get("content-length");
        let length = length
            .filter(|_| !is_head)
            .and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok());
        traffic.received(length.unwrap_or_default());
        if answer.status().is_success() && operation != "ListObjectsV2" {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let whole = body.bytes().await;
        let whole = whole.map_err(|broken| HttpError::new(HttpErrorKind::Interrupted, broken))?;
        Ok(HttpResponse::from_parts(head, whole.into()))
    }
}

/// What Amazon calls a request of this client.
fn operation(request: &HttpRequest) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let asks = |name: &str| {
        let mut names = query.split('&').filter_map(|part| part.split('=').next());
        names.any(|asked| asked == name)
    };
    match request.method().as_str() {
        "HEAD" => "HeadObject",
        "GET" if asks("list-type") => "ListObjectsV2",
        "GET" => "GetObject",
        "POST" if asks("uploads") => "CreateMultipartUpload",
        "POST" if asks("delete") => "DeleteObjects",
        "POST" => "CompleteMultipartUpload",
        "PUT" if asks("uploadId") => "UploadPart",
        "PUT" => "PutObject",
        "DELETE" if asks("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        _ => "",
    }
}

/// The credentials of Amazon's default chain, in the words of another client.
#[derive(Debug)]
struct Credentials {
    provider: SharedCredentialsProvider,
    /// Those asked for last, and until when they are used.
    last: Mutex<Option<(Arc<AwsCredential>, Instant)>>,
}

/// For how long credentials are used that end then.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever gives credentials says by the clock when they end"
)]
fn fresh(ends: Option<SystemTime>) -> Duration {
    let left = |ends: SystemTime| ends.duration_since(SystemTime::now()).unwrap_or_default();
    ends.map_or(FRESH, |ends| left(ends).saturating_sub(MARGIN).min(FRESH))
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        if let Some((credential, until)) = last.as_ref()
            && Instant::now() < *until
        {
            return Ok(Arc::clone(credential));
        }
        let found = self.provider.provide_credentials().await.map_err(failure)?;
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        let until = Instant::now() + fresh(found.expiry());
        *last = Some((Arc::clone(&credential), until));
        Ok(credential)
    }
}
