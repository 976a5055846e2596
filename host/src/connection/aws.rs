//! What clients of Amazon's services begin with: the region, the credentials and who asks.

use std::error::Error;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
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
    } else if !plan.is_amazons() {
        // Its machine is most likely none of Amazon's either: what such a machine would say is not waited for.
        let profile = ProfileFileRegionProvider::builder();
        let profile = match &plan.profile {
            Some(name) => profile.profile_name(name),
            None => profile,
        };
        let known = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        let known = known.or_else(profile.build());
        loader = loader.region(known.or_else(Region::from_static(REGION)));
    }
    if let Some(profile) = &plan.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(known) = plan.credentials.as_ref().and_then(credentials) {
        loader = loader.credentials_provider(known);
    }
    let settings = loader.load().await;
    let is_elsewhere = plan.endpoint.is_some() || settings.endpoint_url().is_some();
    if is_elsewhere && settings.region().is_none() {
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

/// Waits a while, longer with every attempt, and not as long as others do.
pub async fn pause(attempt: u32) {
    let mut chance = [0_u8; 1];
    // Without randomness all wait as long.
    let _ = getrandom::fill(&mut chance);
    let longest = 50 * 2_u64.pow(attempt.min(6));
    let millis = longest / 2 + longest * u64::from(chance[0]) / 512;
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// An error and its causes, each said once: what a client says before there is an answer.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !parts.iter().any(|part| part.contains(&said)) {
            parts.push(said);
        }
        next = error.source();
    }
    parts.join(": ")
}

/// What to do where nobody says in which region a bucket is.
pub const REGION_HINT: &str = "give the bucket's region: `region` under [lake.s3], or AWS_REGION";

/// Whether a client of a store says that nobody told it a region.
pub fn lacks_region(said: &str) -> bool {
    said.contains("region must be set")
}

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
