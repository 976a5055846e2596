//! A repository of a registry, over the OCI distribution protocol.
//!
//! Credentials go to the registry and to the token server that it names, and to nobody else: not along a redirect to
//! another host, not to an upload location elsewhere, and from a registry with TLS to nothing without.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::credentials::Credentials;
use super::error::OciError;
use super::login::Login;
use super::manifest::{self, DOCKER, INDEX, MANIFEST, MANIFEST_BYTES};
use super::reference::Reference;
use super::{Blob, Store, failure};
use crate::config::Environment;
use crate::digest::Digest;

/// How long a connection may take to stand, and how long nothing may come over it.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);
/// How long a registry on this machine may take to show that it has TLS. One without mostly says so at once; some wait
/// for more.
const GREETING: Duration = Duration::from_secs(5);
/// The header in which a registry names the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What is done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy)]
pub struct Way<'w> {
    /// Whether it may be reached without TLS although it is on another machine.
    pub plain_http: bool,
    /// Where credentials are found.
    pub environment: &'w Environment,
}

/// A repository of a registry, and the artefact in it that is meant.
#[derive(Debug)]
pub struct Repository {
    http: reqwest::Client,
    /// `https://registry.example.org/v2/shop/dim-staff/`.
    base: Url,
    reference: Reference,
    scope: String,
    credentials: Credentials,
    /// What the registry was told last.
    told: Mutex<Option<HeaderValue>>,
}

/// A request that can be made a second time.
#[derive(Debug, Clone)]
struct Request {
    method: Method,
    url: Url,
    accept: Option<String>,
    body: Option<(&'static str, Bytes)>,
}

impl Request {
    fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            accept: None,
            body: None,
        }
    }

    fn build(&self, http: &reqwest::Client) -> RequestBuilder {
        let mut request = http.request(self.method.clone(), self.url.clone());
        if let Some(accept) = &self.accept {
            request = request.header(ACCEPT, accept);
        }
        match &self.body {
            Some((media_type, bytes)) => request
                .header(CONTENT_TYPE, *media_type)
                .body(bytes.clone()),
            None if self.method == Method::POST => request.header(CONTENT_LENGTH, 0),
            None => request,
        }
    }
}

impl Repository {
    /// The repository of an artefact. Asks a registry on this machine whether it has TLS, no other anything.
    ///
    /// # Errors
    /// `Config` when credentials cannot be used, or a registry on this machine has TLS that is not trusted.
    pub async fn open(
        reference: Reference,
        access: Access,
        way: Way<'_>,
    ) -> Result<Self, OciError> {
        let is_secure = match (way.plain_http, reference.is_loopback()) {
            (true, _) => false,
            (false, true) => speaks_tls(&reference).await?,
            (false, false) => true,
        };
        let (known, environment) = (reference.clone(), way.environment.clone());
        let find = move || Credentials::find(&known, &environment);
        let found = tokio::task::spawn_blocking(find).await;
        let credentials = found.unwrap_or(Ok(Credentials::None))?;
        let repository = reference.repository();
        let scheme = if is_secure { "https" } else { "http" };
        let base = format!("{scheme}://{}/v2/{repository}/", reference.host());
        let rights = match access {
            Access::Read => "pull",
            Access::Write => "pull,push",
        };
        Ok(Self {
            http: client(&reference, is_secure)?,
            base: Url::parse(&base).map_err(|cause| OciError::Reference {
                text: reference.to_string(),
                reason: cause.to_string(),
            })?,
            scope: format!("repository:{repository}:{rights}"),
            credentials,
            told: Mutex::new(None),
            reference,
        })
    }

    fn registry(&self) -> &str {
        self.reference.registry()
    }

    fn is_secure(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Something below the repository; the parts are of our own making.
    fn url(&self, path: &str) -> Result<Url, OciError> {
        let url = self.base.join(path);
        url.map_err(|cause| self.against(cause.to_string()))
    }

    /// Makes a request, and once more when the registry wants to know who asks.
    async fn send(&self, request: &Request) -> Result<Response, OciError> {
        // Elsewhere nobody is told anything.
        let is_ours = request.url.origin() == self.base.origin();
        let mut told = self.told.lock().await.clone().filter(|_| is_ours);
        for is_last in [false, true] {
            let mut built = request.build(&self.http);
            if let Some(told) = &told {
                built = built.header(AUTHORIZATION, told.clone());
            }
            let sent = built.send().await;
            let response = sent.map_err(|cause| failure::of(self.registry(), cause))?;
            match response.status() {
                StatusCode::UNAUTHORIZED if is_ours && !is_last => {
                    let answer = self.login().answer(response.headers()).await?;
                    let answer = answer.ok_or_else(|| self.unauthorised())?;
                    *self.told.lock().await = Some(answer.clone());
                    told = Some(answer);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => break,
                _ => return Ok(response),
            }
        }
        Err(self.unauthorised())
    }

    fn login(&self) -> Login<'_> {
        Login {
            http: &self.http,
            registry: self.registry(),
            scope: &self.scope,
            credentials: &self.credentials,
            is_secure: self.is_secure(),
        }
    }

    /// The body of an answer, as long as was said at most.
    async fn body(
        &self,
        mut response: Response,
        what: &'static str,
        limit: u64,
    ) -> Result<Bytes, OciError> {
        let body = failure::bounded(self.registry(), &mut response, limit).await?;
        body.ok_or_else(|| OciError::TooLarge {
            place: self.place(),
            what,
            limit,
        })
    }

    /// Opens an upload; gives where the bytes belong.
    async fn begin_upload(&self) -> Result<Url, OciError> {
        let begin = Request::new(Method::POST, self.url("blobs/uploads/")?);
        let response = self.send(&begin).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(failure::refusal(self.registry(), response).await);
        }
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let location = location.and_then(|location| begin.url.join(location).ok());
        location.ok_or_else(|| self.against("an upload without a location".into()))
    }

    /// Sees to it that a registry means the same bytes.
    fn same(&self, response: &Response, digest: &Digest) -> Result<(), OciError> {
        let named = response.headers().get(CONTENT_DIGEST);
        let named = named.and_then(|named| named.to_str().ok());
        let is_other =
            |named: &&str| named.starts_with("sha256:") && *named != manifest::name(digest);
        match named.filter(is_other) {
            Some(_) => Err(self.against("a manifest has another digest than it says".into())),
            None => Ok(()),
        }
    }

    fn unauthorised(&self) -> OciError {
        OciError::Unauthorised {
            place: self.place(),
            registry: self.registry().to_owned(),
            user: self.credentials.user(),
        }
    }

    fn against(&self, reason: String) -> OciError {
        OciError::Protocol {
            registry: self.registry().to_owned(),
            reason,
        }
    }
}

#[async_trait]
impl Store for Repository {
    fn place(&self) -> String {
        self.reference.to_string()
    }

    async fn manifest(&self) -> Result<Option<Bytes>, OciError> {
        let path = format!("manifests/{}", self.reference.version());
        let mut get = Request::new(Method::GET, self.url(&path)?);
        get.accept = Some([MANIFEST, INDEX, DOCKER[0], DOCKER[1]].join(", "));
        let response = self.send(&get).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(failure::refusal(self.registry(), response).await);
        }
        let headers = response.headers().get(CONTENT_DIGEST).cloned();
        let bytes = self.body(response, "the manifest", MANIFEST_BYTES).await?;
        let found = Digest::of(&bytes);
        let said = headers.as_ref().and_then(|said| said.to_str().ok());
        let said = said.and_then(|said| said.strip_prefix("sha256:")?.parse().ok());
        for wanted in [self.reference.digest().copied(), said]
            .into_iter()
            .flatten()
        {
            if wanted != found {
                return Err(OciError::Damaged {
                    place: self.place(),
                    wanted,
                    found,
                });
            }
        }
        Ok(Some(bytes))
    }

    async fn blob(&self, blob: &Blob) -> Result<Bytes, OciError> {
        let url = self.url(&format!("blobs/{}", blob.name()))?;
        let response = self.send(&Request::new(Method::GET, url)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let lost = format!("the registry has no blob {}", blob.name());
            return Err(OciError::malformed(&self.place(), lost));
        }
        if !response.status().is_success() {
            return Err(failure::refusal(self.registry(), response).await);
        }
        let bytes = self.body(response, "a blob", blob.bytes).await?;
        blob.check(&self.place(), &bytes)?;
        Ok(bytes)
    }

    async fn put_blob(&self, bytes: &Bytes) -> Result<(), OciError> {
        let name = manifest::name(&Digest::of(bytes));
        let head = Request::new(Method::HEAD, self.url(&format!("blobs/{name}"))?);
        if self.send(&head).await?.status().is_success() {
            return Ok(());
        }
        let mut url = self.begin_upload().await?;
        url.query_pairs_mut().append_pair("digest", &name);
        let mut put = Request::new(Method::PUT, url);
        put.body = Some(("application/octet-stream", bytes.clone()));
        let response = self.send(&put).await?;
        // 201 by the protocol, 202 by some registries.
        match response.status().is_success() {
            true => Ok(()),
            false => Err(failure::refusal(self.registry(), response).await),
        }
    }

    async fn put_manifest(&self, bytes: &Bytes) -> Result<(), OciError> {
        let path = format!("manifests/{}", self.reference.version());
        let mut put = Request::new(Method::PUT, self.url(&path)?);
        put.body = Some((MANIFEST, bytes.clone()));
        let response = self.send(&put).await?;
        match response.status().is_success() {
            true => self.same(&response, &Digest::of(bytes)),
            false => Err(failure::refusal(self.registry(), response).await),
        }
    }
}

/// A client for one registry. With TLS it follows no redirect to a place without.
fn client(reference: &Reference, is_secure: bool) -> Result<reqwest::Client, OciError> {
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .https_only(is_secure);
    if reference.is_loopback() {
        // No proxy leads to this machine.
        client = client.no_proxy();
    }
    client.build().map_err(OciError::Client)
}

/// Whether a registry on this machine has TLS, which those for trying things out do not.
async fn speaks_tls(reference: &Reference) -> Result<bool, OciError> {
    let url = format!("https://{}/v2/", reference.host());
    let asked = client(reference, true)?.get(url).send();
    match tokio::time::timeout(GREETING, asked).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(cause)) if failure::is_of_tls(&cause) => {
            Err(failure::of(reference.registry(), cause))
        }
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}
