//! How a registry is told who asks: HTTP's basic scheme, or a token from the server that the registry names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeRef;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::credentials::Credentials;
use super::error::OciError;
use super::failure;

/// The longest answer of a token server.
const TOKEN_BYTES: u64 = 256 << 10;
/// What asks, to a server that gives tokens for others.
const CLIENT: &str = "tidemill";

/// What a registry wants to be told.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    /// A user and a password.
    Basic,
    /// A token from there.
    Token {
        realm: String,
        service: Option<String>,
    },
}

/// Who asks which registry for what.
#[derive(Debug)]
pub(super) struct Login<'c> {
    pub(super) http: &'c reqwest::Client,
    pub(super) registry: &'c str,
    /// `repository:shop/dim-staff:pull`.
    pub(super) scope: &'c str,
    pub(super) credentials: &'c Credentials,
    /// Whether the registry has TLS: then no secret goes where there is none.
    pub(super) is_secure: bool,
}

impl Login<'_> {
    /// The answer to what a registry asks for; `None` where it asks for somebody and nobody logged in.
    ///
    /// # Errors
    /// `Config` when it cannot be told, `Unavailable` when the token server does not answer.
    pub(super) async fn answer(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, OciError> {
        let Some(challenge) = challenge(headers) else {
            return Err(self.impossible("it says neither `Basic` nor `Bearer`"));
        };
        let (realm, service) = match challenge {
            Challenge::Basic => return self.basic(),
            Challenge::Token { realm, service } => (realm, service),
        };
        let realm = Url::parse(&realm).ok();
        let realm = realm.ok_or_else(|| self.impossible("its token server has no URL"))?;
        if self.is_secure && realm.scheme() != "https" {
            return Err(self.impossible("its token server has no TLS"));
        }
        let mut response = self
            .ask(realm, service)?
            .send()
            .await
            .map_err(|cause| failure::of(self.registry, cause))?;
        if response.status() == 401 || response.status() == 403 {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(failure::refusal(self.registry, response).await);
        }
        let bytes = failure::bounded(self.registry, &mut response, TOKEN_BYTES).await?;
        let bytes = bytes.ok_or_else(|| self.impossible("its token server gives too much"))?;
        self.bearer(&bytes).map(Some)
    }

    /// The question to a token server: for a token of one's own by password, or for nobody; for one by an identity
    /// token as OAuth 2 has it.
    fn ask(
        &self,
        mut realm: Url,
        service: Option<String>,
    ) -> Result<reqwest::RequestBuilder, OciError> {
        let service = service.iter().map(|service| ("service", service.as_str()));
        let pairs = service.chain([("scope", self.scope)]);
        if let Credentials::Token(token) = self.credentials {
            let form = Serializer::new(String::new())
                .extend_pairs(pairs)
                .extend_pairs([
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT),
                    ("refresh_token", token.as_str()),
                ])
                .finish();
            let post = self.http.post(realm);
            return Ok(post
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form));
        }
        realm.query_pairs_mut().extend_pairs(pairs);
        let mut get = self.http.get(realm);
        if let Some(basic) = self.basic()? {
            get = get.header(AUTHORIZATION, basic);
        }
        Ok(get)
    }

    fn basic(&self) -> Result<Option<HeaderValue>, OciError> {
        let Credentials::Password { user, password } = self.credentials else {
            return Ok(None);
        };
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.secret(format!("Basic {pair}")).map(Some)
    }

    fn bearer(&self, answer: &[u8]) -> Result<HeaderValue, OciError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        // What is wrong with it is not told: it may be a token with a comma too much.
        let answer = serde_json::from_slice::<Answer>(answer).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| self.impossible("its token server gives no token"))?;
        self.secret(format!("Bearer {token}"))
    }

    fn secret(&self, text: String) -> Result<HeaderValue, OciError> {
        let value = HeaderValue::try_from(text);
        let mut value = value.map_err(|_| self.impossible("what is to be told is no text"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn impossible(&self, reason: &str) -> OciError {
        OciError::Login {
            registry: self.registry.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// What a registry wants to be told; a token rather than a password.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let parsed = texts
        .iter()
        .filter_map(|text| http_auth::parse_challenges(text).ok());
    let challenges: Vec<ChallengeRef<'_>> = parsed.flatten().collect();
    let of_scheme = |scheme: &str| {
        let is_it = |one: &&ChallengeRef<'_>| one.scheme.eq_ignore_ascii_case(scheme);
        challenges.iter().find(is_it)
    };
    if let Some(bearer) = of_scheme("bearer") {
        let parameter = |name: &str| {
            let mut all = bearer.params.iter();
            let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if let Some(realm) = parameter("realm") {
            let service = parameter("service");
            return Some(Challenge::Token { realm, service });
        }
    }
    of_scheme("basic").map(|_| Challenge::Basic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&'static str]) -> Option<Challenge> {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        challenge(&values.map(|value| (WWW_AUTHENTICATE, value)).collect())
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let token = Some(Challenge::Token {
            realm: "https://auth.example.org/token".into(),
            service: Some("registry, the one".into()),
        });
        let bearer = r#"Bearer realm="https://auth.example.org/token",service="registry, the one",scope="a""#;
        assert_eq!(asked(&[bearer]), token);
        assert_eq!(asked(&[r#"Basic realm="r""#, bearer]), token);
        assert_eq!(asked(&[r#"basic realm="r""#]), Some(Challenge::Basic));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for values in [
            &[][..],
            &[""],
            &["Digest realm=\"r\""],
            &["Bearer"],
            &["\"\u{7f}"],
        ] {
            let values = values
                .iter()
                .filter_map(|value| HeaderValue::from_str(value).ok());
            let headers = values.map(|value| (WWW_AUTHENTICATE, value)).collect();
            assert_eq!(challenge(&headers), None);
        }
    }
}
