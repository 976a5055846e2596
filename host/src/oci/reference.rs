//! How an artefact in a registry is named: `oci://registry.example.org/shop/dim-staff:1.0.0`.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use super::error::OciError;
use super::manifest;
use crate::connection::redact;
use crate::digest::Digest;
use crate::printable;

/// What every reference begins with.
const SCHEME: &str = "oci://";
/// The longest repository, and the longest tag, that registries take.
const REPOSITORY_BYTES: usize = 255;
const TAG_BYTES: usize = 128;
/// The longest reference that is repeated.
const SHOWN_BYTES: usize = 300;
/// The registry whose name is not the name of its host.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// An artefact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Whether a text means a registry and not a folder.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The same with a tag, where it names neither tag nor digest.
    pub fn or_tag(mut self, tag: &str) -> Self {
        if self.digest.is_none() && self.tag.is_none() {
            self.tag = Some(tag.to_owned());
        }
        self
    }

    /// The same, to be written to.
    ///
    /// # Errors
    /// `Config` when it names a digest: that follows from what is written.
    pub fn to_write(self) -> Result<Self, OciError> {
        match self.digest {
            Some(_) => Err(self.wrong("what is written has its own digest, name a tag")),
            None => Ok(self),
        }
    }

    /// The same, to be read.
    ///
    /// # Errors
    /// `Config` when it names neither tag nor digest: what is newest is nobody's promise.
    pub fn to_read(self) -> Result<Self, OciError> {
        match self.tag.is_none() && self.digest.is_none() {
            true => Err(self.wrong("it has neither a tag nor a digest")),
            false => Ok(self),
        }
    }

    /// Host and port.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// The host and port that speak for the registry.
    pub(super) fn host(&self) -> &str {
        match self.registry == DOCKER_HUB {
            true => DOCKER_HUB_HOST,
            false => &self.registry,
        }
    }

    /// The repository as its registry has it.
    pub(super) fn repository(&self) -> String {
        match self.registry == DOCKER_HUB && !self.repository.contains('/') {
            true => format!("library/{}", self.repository),
            false => self.repository.clone(),
        }
    }

    /// The digest of the manifest, where it names one.
    pub(super) fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// How the manifest is asked for: by its digest, else by its tag.
    pub(super) fn version(&self) -> String {
        match &self.digest {
            Some(digest) => manifest::name(digest),
            None => self.tag.clone().unwrap_or_default(),
        }
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        match url_of(&self.registry).as_ref().and_then(Url::host) {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    fn wrong(&self, reason: &str) -> OciError {
        OciError::Reference {
            text: self.to_string(),
            reason: reason.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{}", manifest::name(digest)),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, OciError> {
        parse(text).map_err(|reason| OciError::Reference {
            text: printable::line(&redacted(text), SHOWN_BYTES),
            reason: reason.to_owned(),
        })
    }
}

/// What may be told of a text that somebody may have written a password into.
fn redacted(text: &str) -> String {
    let rest = text.strip_prefix(SCHEME).unwrap_or(text);
    let registry = rest.split('/').next().unwrap_or_default();
    match registry.contains('@') {
        true => redact(text),
        false => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    let rest = text
        .strip_prefix(SCHEME)
        .ok_or("it does not begin with oci://")?;
    let (registry, path) = rest.split_once('/').ok_or("it has no repository")?;
    if registry.contains('@') {
        return Err("a user and a password do not belong there");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if url_of(registry).is_none() || !registry.bytes().all(plain) {
        return Err("its host is none");
    }
    let (path, digest) = match path.split_once('@') {
        Some((path, digest)) => {
            let digits = digest.strip_prefix("sha256:");
            let digest = digits.and_then(|digits| digits.parse::<Digest>().ok());
            (path, Some(digest.ok_or("its digest is none of sha256")?))
        }
        None => (path, None),
    };
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    if !is_repository(repository) {
        return Err(
            "its repository is not made of lower-case letters, digits, slashes and single . _ -",
        );
    }
    if !tag.is_none_or(is_tag) {
        return Err("its tag is not made of letters, digits, . _ and -");
    }
    Ok(Reference {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn url_of(registry: &str) -> Option<Url> {
    let url = Url::parse(&format!("https://{registry}/")).ok()?;
    url.has_host().then_some(url)
}

/// Whether registries take a text as a repository.
fn is_repository(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(first, last)| is_letter(*first) && is_letter(*last))
            && part.bytes().all(|b| is_letter(b) || b"._-".contains(&b))
            && !part.contains("..")
    };
    text.len() <= REPOSITORY_BYTES && text.split('/').all(is_part)
}

/// Whether registries take a text as a tag.
pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_BYTES
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reference {
        text.parse().expect(text)
    }

    #[test]
    fn a_reference_survives_its_text() {
        let digest = Digest::of("manifest");
        for text in [
            "oci://registry.example.org/shop/dim-staff:1.0.0".to_owned(),
            "oci://localhost:5000/dim-staff".to_owned(),
            "oci://[::1]:5000/a/b__c/d-e:latest".to_owned(),
            format!("oci://ghcr.io/shop/dim-staff@sha256:{digest}"),
            format!("oci://ghcr.io/shop/dim-staff:1.0.0@sha256:{digest}"),
        ] {
            assert_eq!(read(&text).to_string(), text);
        }
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for text in [
            "oci://",
            "oci://registry.example.org",
            "oci://registry.example.org/",
            "oci:///dim-staff:1",
            "registry.example.org/dim-staff:1",
            "oci://a b/dim-staff:1",
            "oci://a%2fb/dim-staff:1",
            "oci://host/../dim-staff:1",
            "oci://host/Dim-Staff:1",
            "oci://host/dim-staff:",
            "oci://host/dim-staff:1:2",
            "oci://host/dim-staff:a/b",
            "oci://host/dim-staff:1?x=y",
            "oci://host/dim-staff@sha256:12",
            "oci://host/dim-staff@md5:12",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_shown() {
        for text in [
            "oci://ada:lovelace@host/dim-staff:1",
            "oci://ada:love/lace@host/dim-staff:1",
        ] {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(!error.to_string().contains("lovelace"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (registry, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.2", true),
            ("[::1]:5000", true),
            ("localhost.example.org", false),
            ("127.0.0.1.example.org", false),
            ("10.0.0.1:5000", false),
        ] {
            let reference = read(&format!("oci://{registry}/dim-staff:1"));
            assert_eq!(reference.is_loopback(), loopback, "{registry}");
        }
    }

    #[test]
    fn docker_hub_has_a_host_and_repositories_of_other_names() {
        let reference = read("oci://docker.io/dim-staff:1");
        assert_eq!(reference.host(), "registry-1.docker.io");
        assert_eq!(reference.repository(), "library/dim-staff");
        assert_eq!(reference.to_string(), "oci://docker.io/dim-staff:1");
        assert_eq!(
            read("oci://docker.io/shop/dim-staff:1").repository(),
            "shop/dim-staff"
        );
    }

    #[test]
    fn reading_needs_a_name_and_writing_makes_a_digest() {
        let bare = read("oci://host/dim-staff");
        assert!(bare.clone().to_read().is_err());
        assert_eq!(bare.or_tag("1.0.0").version(), "1.0.0");
        let digest = Digest::of("manifest");
        let pinned = read(&format!("oci://host/dim-staff@sha256:{digest}"));
        assert_eq!(pinned.clone().or_tag("1.0.0"), pinned);
        assert_eq!(pinned.version(), format!("sha256:{digest}"));
        assert!(pinned.to_write().is_err());
    }
}
