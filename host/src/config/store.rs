//! The store of zones that are buckets, as the project file and the environment speak of it.
//!
//! Variables are looked up here and not left to the client alone: those of a `.env` beside the project file count, too,
//! and of those the client knows nothing.

use super::{Environment, Secret};

/// A store of objects. What is not said comes from profiles or the role of the machine.
#[derive(Debug, Clone, Default)]
pub struct StorePlan {
    /// The region of the buckets.
    pub region: Option<String>,
    /// The URL of a store that is not Amazon's.
    pub endpoint: Option<String>,
    /// How objects are encrypted; as the bucket says, if nothing is said.
    pub encryption: Option<Encryption>,
    /// The profile that the rest comes from.
    pub profile: Option<String>,
    /// Credentials that variables hold.
    pub credentials: Option<StoreCredentials>,
}

/// Who asks the store.
#[derive(Debug, Clone)]
pub struct StoreCredentials {
    /// Whose key it is.
    pub id: String,
    /// The key.
    pub key: Secret,
    /// The token of a session, where the key is one for a time.
    pub token: Option<Secret>,
}

impl StorePlan {
    /// Whether the store is Amazon's own, as far as its endpoint tells.
    pub fn is_amazons(&self) -> bool {
        let Some(endpoint) = self.endpoint.as_deref() else {
            return true;
        };
        let host = endpoint
            .split_once("://")
            .map_or(endpoint, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"]
            .iter()
            .any(|domain| host.ends_with(domain))
    }

    /// Where the credentials come from, in words.
    pub fn credentials_found_in(&self) -> String {
        match (&self.credentials, &self.profile) {
            (Some(credentials), _) => credentials.key.found_in().unwrap_or_default().to_owned(),
            (None, Some(profile)) => format!("the profile {profile}"),
            (None, None) => "the default chain of AWS, such as the role of the machine".to_owned(),
        }
    }

    /// What the variables of Amazon's tools say where the project file says nothing.
    pub(super) fn or_variables(mut self, environment: &Environment) -> Self {
        let variable = |name: &str| {
            let value = environment.get(name).filter(|value| !value.is_empty());
            value.map(str::to_owned)
        };
        let either = |first: &str, second: &str| variable(first).or_else(|| variable(second));
        let secret = |name: &str| {
            let place = format!("the environment variable {name}");
            variable(name).map(|value| Secret::new(value).found(&place))
        };
        self.region = self
            .region
            .or_else(|| either("AWS_REGION", "AWS_DEFAULT_REGION"));
        self.endpoint = self
            .endpoint
            .or_else(|| either("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"));
        self.profile = variable("AWS_PROFILE");
        if let (Some(id), Some(key)) = (
            variable("AWS_ACCESS_KEY_ID"),
            secret("AWS_SECRET_ACCESS_KEY"),
        ) {
            self.credentials = Some(StoreCredentials {
                id,
                key,
                token: secret("AWS_SESSION_TOKEN"),
            });
        }
        self
    }
}

/// How the services of AWS are asked that keep secrets and parameters.
#[derive(Debug, Clone, Default)]
pub struct VaultPlan {
    /// Region, profile and credentials: those of the zones' store.
    pub account: StorePlan,
    /// The URL of Secrets Manager, where that is not Amazon's own.
    pub secrets: Option<String>,
    /// The URL of Systems Manager, where that is not Amazon's own.
    pub parameters: Option<String>,
}

impl VaultPlan {
    /// What the variables of Amazon's tools say.
    pub(super) fn new(environment: &Environment, store: &StorePlan) -> Self {
        let endpoint = |service: &str| {
            let names = [
                format!("AWS_ENDPOINT_URL_{service}"),
                "AWS_ENDPOINT_URL".into(),
            ];
            let mut found = names.iter().filter_map(|name| environment.get(name));
            found.find(|url| !url.is_empty()).map(str::to_owned)
        };
        Self {
            account: store.clone(),
            secrets: endpoint("SECRETS_MANAGER"),
            parameters: endpoint("SSM"),
        }
    }
}

/// How a store encrypts objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// By keys of the store's own.
    Store,
    /// By a key of the key service: this one, or the account's own.
    Service(Option<String>),
}

/// The encryption that a word and a key mean; `Err` for a word that means none.
pub(super) fn encryption(
    word: Option<&str>,
    key: Option<String>,
) -> Result<Option<Encryption>, &'static str> {
    match (word, key) {
        (None, None) => Ok(None),
        (Some("sse-s3"), None) => Ok(Some(Encryption::Store)),
        (Some("sse-s3"), Some(_)) => Err("uses no `kms_key`, and there is one"),
        // A key means that it is used.
        (None | Some("sse-kms"), key) => Ok(Some(Encryption::Service(key))),
        (Some(_), _) => Err("is neither sse-s3 nor sse-kms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_file_goes_before_variables() {
        let variables = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://one"),
            ("AWS_ENDPOINT_URL_S3", "http://two"),
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "not to be seen"),
        ];
        let plan = StorePlan {
            region: Some("eu-west-2".into()),
            ..StorePlan::default()
        };
        let plan = plan.or_variables(&Environment::from_iter(variables));
        assert_eq!(plan.region.as_deref(), Some("eu-west-2"));
        assert_eq!(plan.endpoint.as_deref(), Some("http://two"));
        assert!(!format!("{plan:?}").contains("not to be seen"));
        let credentials = plan.credentials.expect("both variables are there");
        assert_eq!(credentials.id, "AK");
        assert!(credentials.token.is_none());
    }

    #[test]
    fn a_key_means_that_it_is_used() {
        let key = || Some("alias/warehouse".to_owned());
        let with_key = Ok(Some(Encryption::Service(key())));
        assert_eq!(encryption(None, None), Ok(None));
        assert_eq!(encryption(None, key()), with_key);
        assert_eq!(encryption(Some("sse-kms"), key()), with_key);
        assert_eq!(
            encryption(Some("sse-kms"), None),
            Ok(Some(Encryption::Service(None)))
        );
        assert_eq!(
            encryption(Some("sse-s3"), None),
            Ok(Some(Encryption::Store))
        );
        assert!(encryption(Some("sse-s3"), key()).is_err());
        assert!(encryption(Some("aes"), None).is_err());
    }
}
