//! Why a value that a service keeps could not be had. Never with the value, and never with what somebody says about it.

use std::error::Error;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::config::{Keeper, Reference, Secret};
use crate::connection::aws;
use crate::error::{Classify, ErrorKind};

/// A value could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{setting} refers to {reference}, {problem}")]
pub struct VaultError {
    /// "tidemill.toml:5: `source.totesys.url`".
    setting: String,
    reference: Reference,
    problem: Problem,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The service has none of that name.
    #[error("which is not there")]
    Missing,
    /// The role may not read it, or may not use the key that it is encrypted with.
    #[error("which may not be read: {0}")]
    Denied(String),
    /// It is to be deleted, or is refused for another reason.
    #[error("which is not given: {0}")]
    Refused(String),
    /// It holds bytes, or nothing.
    #[error("which holds no text")]
    NoText,
    /// A key is asked for, and it is no object.
    #[error("and what it holds is no JSON object, so that it has no keys")]
    NoObject,
    /// It has no such key.
    #[error("and it has no such key")]
    NoKey {
        /// The keys that it has.
        known: Vec<String>,
    },
    /// The key holds an object or the like.
    #[error("and what is there is no text")]
    NoTextAtKey,
    /// Too many questions.
    #[error("and the service asks for fewer questions")]
    Throttled,
    /// The service does not answer, or nobody knows as whom to ask it.
    #[error("and the service does not answer: {0}")]
    Unavailable(String),
}

impl Problem {
    /// What the client says of a question.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(code) = error.code() else {
            return Self::Unavailable(aws::chain(error));
        };
        let said = match error.message() {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        };
        match code {
            "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
                Self::Missing
            }
            "ThrottlingException" | "TooManyRequestsException" | "RequestLimitExceeded" => {
                Self::Throttled
            }
            "AccessDeniedException"
            | "DecryptionFailure"
            | "InvalidKeyId"
            | "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "InvalidSignatureException" => Self::Denied(said),
            _ => match error.raw_response().map(|answer| answer.status().as_u16()) {
                Some(status) if status < 500 => Self::Refused(said),
                _ => Self::Unavailable(said),
            },
        }
    }
}

impl VaultError {
    pub(super) fn new(secret: &Secret, reference: &Reference, problem: Problem) -> Self {
        Self {
            setting: secret
                .setting()
                .map(ToString::to_string)
                .unwrap_or_default(),
            reference: reference.clone(),
            problem,
        }
    }
}

impl Classify for VaultError {
    fn kind(&self) -> ErrorKind {
        match self.problem {
            Problem::Throttled | Problem::Unavailable(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        let name = &self.reference.name;
        let (action, what) = match self.reference.keeper {
            Keeper::Secrets => ("secretsmanager:GetSecretValue", "secret"),
            Keeper::Parameters => ("ssm:GetParameter", "parameter"),
        };
        Some(match &self.problem {
            Problem::Missing => {
                format!("make a {what} `{name}` in this account and region, or mend the name")
            }
            Problem::Denied(_) => format!(
                "allow the role {action} on the {what} `{name}`, and kms:Decrypt on the key that it is encrypted with"
            ),
            Problem::Refused(_) => {
                format!("look at the {what} `{name}`: it may be about to be deleted")
            }
            Problem::NoText => format!("store a text in the {what} `{name}`; bytes cannot be used"),
            Problem::NoObject => {
                format!("write ${{aws-secret:{name}}} for all of it, or store a JSON object")
            }
            Problem::NoKey { known } if known.is_empty() => {
                format!("the secret `{name}` has no keys")
            }
            Problem::NoKey { known } => format!("it has: {}", known.join(", ")),
            Problem::NoTextAtKey => "name a key that holds a text or a number".into(),
            Problem::Throttled => "run again in a moment, or raise the account's limit".into(),
            Problem::Unavailable(_) => {
                "check the network, AWS_REGION, and that there are credentials, and run again"
                    .into()
            }
        })
    }
}
