//! As whom a registry is asked: what `docker login`, `podman login` or `oras login` kept.
//!
//! The file that `REGISTRY_AUTH_FILE` names, and no other; else the one in `DOCKER_CONFIG`; else those of podman and of
//! docker in their own places, of which the first counts that knows the registry. What a credential helper says is used
//! and never told, not even when it fails: some say the secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::OciError;
use super::reference::Reference;
use crate::config::Environment;

/// The name by which docker knows its own registry.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// What helpers say when they know nothing of a registry.
const UNKNOWN: &str = "credentials not found";

/// As whom a registry is asked. Shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nobody logged in.
    None,
    /// With a password.
    Password { user: String, password: String },
    /// With a token that is good for others.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password { .. } => "Password(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}

impl Credentials {
    /// Those for a registry. Blocks while a credential helper runs.
    ///
    /// # Errors
    /// `Config` when a file that may have some cannot be used.
    pub(super) fn find(reference: &Reference, environment: &Environment) -> Result<Self, OciError> {
        for (file, must_exist) in files(environment) {
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                    continue;
                }
                Err(cause) => return Err(unusable(&file, cause.to_string())),
            };
            let found = of_file(&text, reference).map_err(|reason| unusable(&file, reason))?;
            if found != Self::None {
                return Ok(found);
            }
        }
        Ok(Self::None)
    }

    /// As whom, for people.
    pub(super) fn user(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Password { user, .. } => Some(user.clone()),
            Self::Token(_) => Some("the owner of the identity token".into()),
        }
    }
}

fn unusable(file: &Path, reason: String) -> OciError {
    OciError::Credentials {
        file: file.to_owned(),
        reason,
    }
}

/// The files that may have some, each with whether somebody named it.
fn files(environment: &Environment) -> Vec<(PathBuf, bool)> {
    let named = |name: &str| {
        let value = environment.get(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    if let Some(file) = named("REGISTRY_AUTH_FILE") {
        return vec![(file, true)];
    }
    if let Some(folder) = named("DOCKER_CONFIG") {
        return vec![(folder.join("config.json"), false)];
    }
    let home = named("HOME");
    let within = |folder: Option<PathBuf>, file: &str| folder.map(|folder| folder.join(file));
    let config = named("XDG_CONFIG_HOME").or_else(|| within(home.clone(), ".config"));
    [
        within(named("XDG_RUNTIME_DIR"), "containers/auth.json"),
        within(config, "containers/auth.json"),
        within(home, ".docker/config.json"),
    ]
    .into_iter()
    .flatten()
    .map(|file| (file, false))
    .collect()
}

/// What of a file matters for which of its keys is asked for.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    auths: BTreeMap<String, IgnoredAny>,
}

/// The credentials of a registry in a file.
fn of_file(text: &[u8], reference: &Reference) -> Result<Credentials, String> {
    let unreadable = |_| "it is not the JSON of docker or podman".to_owned();
    let keys: Keys = serde_json::from_slice(text).map_err(unreadable)?;
    let key = key(&keys, reference);
    match get_credential_from_reader(text, &key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Credentials::Password { user, password })
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Credentials::Token(token)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Credentials::None),
        Err(CredentialRetrievalError::HelperFailure {
            helper,
            stdout,
            stderr,
        }) => match stdout.contains(UNKNOWN) || stderr.contains(UNKNOWN) {
            true => Ok(Credentials::None),
            false => Err(format!("the credential helper {helper} failed")),
        },
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            Err("the credential helper that it names does not run".into())
        }
        Err(error) => Err(error.to_string().to_lowercase()),
    }
}

/// The key by which a file knows a registry, or a part of it as podman has them: the longest that is there.
fn key(keys: &Keys, reference: &Reference) -> String {
    let registry = reference.registry();
    let mut part = format!("{registry}/{}", reference.repository());
    while part.len() > registry.len() {
        if keys.auths.contains_key(&part) {
            return part;
        }
        let above = part.rfind('/').unwrap_or_default();
        part.truncate(above);
    }
    match reference.host() == registry {
        true => registry.to_owned(),
        false => DOCKER_HUB_KEY.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password {
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn what_docker_podman_and_oras_keep_is_found() {
        let text = br#"{"auths": {
            "registry.example.org": {"auth": "YWRhOmxvdmU6bGFjZQ=="},
            "registry.example.org/shop": {"auth": "Z3JhY2U6aG9wcGVy"},
            "https://index.docker.io/v1/": {"auth": "YWRhOmh1Yg=="},
            "tokens.example.org": {"auth": "YWRhOg==", "identitytoken": "whale"},
            "known.example.org": {}
        }}"#;
        for (name, found) in [
            (
                "oci://registry.example.org/other/a:1",
                password("ada", "love:lace"),
            ),
            (
                "oci://registry.example.org/shop/a:1",
                password("grace", "hopper"),
            ),
            (
                "oci://registry.example.org/shops/a:1",
                password("ada", "love:lace"),
            ),
            ("oci://docker.io/a:1", password("ada", "hub")),
            (
                "oci://tokens.example.org/a:1",
                Credentials::Token("whale".into()),
            ),
            ("oci://known.example.org/a:1", Credentials::None),
            ("oci://registry.example.org:5000/a:1", Credentials::None),
            ("oci://example.org/a:1", Credentials::None),
        ] {
            assert_eq!(of_file(text, &reference(name)), Ok(found), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_what_stands_in_it() {
        let name = reference("oci://registry.example.org/a:1");
        for text in [
            r#"lovelace"#,
            r#"{"auths": {"registry.example.org": {"auth": "bG92ZWxhY2U"}}}"#,
            r#"{"auths": {"registry.example.org": {"auth": "lovelace!"}}}"#,
            r#"{"credHelpers": {"registry.example.org": "tidemill-that-is-not-there"}, "auths": {"b": {"auth": "lovelace"}}}"#,
        ] {
            let reason = of_file(text.as_bytes(), &name).expect_err(text);
            assert!(!reason.contains("lovelace"), "{reason}");
        }
    }

    #[test]
    fn the_file_that_is_named_counts_and_else_those_in_their_places() {
        let of = |variables: &[(&str, &str)]| {
            let environment: Environment = variables.iter().copied().collect();
            let files = files(&environment).into_iter();
            let files = files.map(|(file, named)| (file.display().to_string(), named));
            files.collect::<Vec<_>>()
        };
        let owned = |files: &[(&str, bool)]| {
            let files = files
                .iter()
                .map(|(file, named)| ((*file).to_owned(), *named));
            files.collect::<Vec<_>>()
        };
        assert_eq!(
            of(&[
                ("HOME", "/h"),
                ("XDG_RUNTIME_DIR", "/r"),
                ("DOCKER_CONFIG", "")
            ]),
            owned(&[
                ("/r/containers/auth.json", false),
                ("/h/.config/containers/auth.json", false),
                ("/h/.docker/config.json", false),
            ])
        );
        assert_eq!(
            of(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]),
            owned(&[("/d/config.json", false)])
        );
        assert_eq!(
            of(&[("REGISTRY_AUTH_FILE", "/a"), ("DOCKER_CONFIG", "/d")]),
            owned(&[("/a", true)])
        );
    }
}
