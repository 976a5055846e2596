//! Why a request was not done, in words for people and with what a store's operator asks for first.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::connection::aws;

/// A request that was not done.
#[derive(Debug)]
pub(in crate::zone) struct Refusal {
    /// The status of HTTP; none without an answer.
    pub(super) status: Option<u16>,
    code: Option<String>,
    message: String,
    request: Option<String>,
    is_unanswered: bool,
}

impl Refusal {
    /// What the client says of a request.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let answer = error.raw_response();
        let header = |name: &str| {
            answer
                .and_then(|answer| answer.headers().get(name))
                .map(str::to_owned)
        };
        let code = error.code().map(str::to_owned);
        let message = match (error.message(), &code) {
            (Some(message), _) => message.to_owned(),
            (None, Some(_)) => String::new(),
            (None, None) => aws::chain(error),
        };
        Self {
            status: answer.map(|answer| answer.status().as_u16()),
            code,
            message,
            request: header("x-amz-request-id"),
            is_unanswered: matches!(
                error,
                SdkError::TimeoutError(_)
                    | SdkError::DispatchFailure(_)
                    | SdkError::ResponseError(_)
            ),
        }
    }

    /// An answer that came and then broke off, or was not what it says it is.
    pub(super) fn broken(error: &(dyn Error + 'static), request: Option<String>) -> Self {
        Self {
            status: None,
            code: None,
            message: format!("the answer broke off: {}", aws::chain(error)),
            request,
            is_unanswered: true,
        }
    }

    /// Whether the store calls it so.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether the store refused it and did not say why, because the answer has no body.
    pub(super) fn is_mute(&self) -> bool {
        self.code.is_none() && matches!(self.status, Some(400 | 403))
    }

    /// Whether who asked may not do it.
    pub(in crate::zone) fn is_denied(&self) -> bool {
        self.is("AccessDenied")
    }

    /// Whether nobody knows if it was done: no answer, or the store says that it failed itself.
    pub(super) fn is_no_answer(&self) -> bool {
        self.is_unanswered || self.status.is_some_and(|status| status >= 500)
    }

    /// What to do about it.
    pub(in crate::zone) fn hint(&self) -> &'static str {
        match self.status.is_none() && aws::lacks_region(&self.message) {
            true => aws::REGION_HINT,
            false => aws::hint(self.code.as_deref(), self.status),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.status) {
            (Some(code), _) if self.message.is_empty() => f.write_str(code)?,
            (Some(code), _) => write!(f, "{code}: {}", self.message)?,
            (None, Some(status)) => write!(f, "HTTP status {status}")?,
            (None, None) => f.write_str(&self.message)?,
        }
        match &self.request {
            Some(request) => write!(f, " (request {request})"),
            None => Ok(()),
        }
    }
}

impl Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: Option<&str>, status: Option<u16>) -> Refusal {
        Refusal {
            status,
            code: code.map(str::to_owned),
            message: "no".into(),
            request: Some("4442587FB7D0A2F9".into()),
            is_unanswered: false,
        }
    }

    #[test]
    fn a_refusal_names_its_code_and_its_request() {
        assert_eq!(
            refusal(Some("AccessDenied"), Some(403)).to_string(),
            "AccessDenied: no (request 4442587FB7D0A2F9)"
        );
        assert_eq!(
            refusal(None, Some(403)).to_string(),
            "HTTP status 403 (request 4442587FB7D0A2F9)"
        );
    }

    #[test]
    fn whether_it_was_done_is_open_only_without_an_answer() {
        assert!(!refusal(Some("AccessDenied"), Some(403)).is_no_answer());
        assert!(refusal(Some("InternalError"), Some(500)).is_no_answer());
        assert!(Refusal::broken(&std::io::Error::other("reset"), None).is_no_answer());
    }
}
