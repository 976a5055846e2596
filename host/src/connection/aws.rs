//! What clients of Amazon's services begin with: the region, the credentials and who asks.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;

use crate::config::{StoreCredentials, StorePlan};

/// Where a store that is not Amazon's is said to be, which asks for no region.
const REGION: &str = "us-east-1";

/// The settings of a plan, and of the default chain where it says nothing: variables, profiles, single sign-on, the role
/// of a container or a machine. Credentials for a time are asked for again before they end.
pub async fn configuration(plan: &StorePlan) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Ok(name) = AppName::new("tidemill") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &plan.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &plan.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(known) = plan.credentials.as_ref().and_then(credentials) {
        loader = loader.credentials_provider(known);
    }
    let settings = loader.load().await;
    if plan.endpoint.is_some() && settings.region().is_none() {
        let elsewhere = settings.into_builder().region(Region::from_static(REGION));
        return elsewhere.build();
    }
    settings
}

/// Credentials for the client; `None` where a reference to one could not be resolved.
fn credentials(plan: &StoreCredentials) -> Option<Credentials> {
    let token = match &plan.token {
        Some(token) => Some(token.expose().ok()?.to_owned()),
        None => None,
    };
    let key = plan.key.expose().ok()?;
    Some(Credentials::new(&plan.id, key, token, None, "environment"))
}

/// What was asked of stores since the process began: by zones, and by a warehouse in a bucket.
pub static TRAFFIC: Traffic = Traffic::new();

/// Requests that were sent, repeated ones too, and the bytes of their bodies and of those of the answers.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Traffic up to a moment, or between two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes_sent: u64,
    /// Bytes of the bodies of answers.
    pub bytes_received: u64,
}

impl Traffic {
    const fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Counts a request that is sent, with so many bytes.
    pub fn sent(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts the bytes of an answer.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn now(&self) -> Moved {
        Moved {
            requests: self.requests.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
        }
    }
}

impl Moved {
    /// What was moved since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
        }
    }
}

/// What to do where nobody says in which region a bucket is.
pub const REGION_HINT: &str = "give the bucket's region: `region` under [lake.s3], or AWS_REGION";

/// What to do about a request that a store refused with this code and status; without either it was not answered.
pub fn hint(code: Option<&str>, status: Option<u16>) -> &'static str {
    let allow = "let the role or user that runs tidemill do this on the bucket, and run again";
    match (code, status) {
        (Some("NoSuchBucket"), _) => "create the bucket, or mend its name in the project file",
        (Some("AccessDenied" | "AllAccessDisabled"), _) => allow,
        (
            Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken"),
            _,
        ) => {
            "look at the credentials: the variables AWS_…, the profile, or the role of the machine"
        }
        (Some("RequestTimeTooSkewed"), _) => "set this machine's clock",
        (
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
            _,
        ) => REGION_HINT,
        (Some("SlowDown" | "RequestLimitExceeded"), _) | (_, Some(503)) => {
            "the store asks for fewer requests: run again later, nothing half-written counts"
        }
        (Some(code), _) if code.starts_with("KMS.") => {
            "let the role use the key of [lake.s3], and look whether the key is enabled"
        }
        (_, Some(403)) => allow,
        (None, None) => {
            "check the network, the region and `endpoint` under [lake.s3], and that there are credentials, and run again"
        }
        _ => {
            "run again: nothing half-written counts; if it stays, ask who runs the store, with the request's id"
        }
    }
}
