//! What can go wrong with artefacts, and what the operator does about it. No text holds a secret.

use std::path::PathBuf;

use tidemill_component::OutlineError;

use crate::digest::Digest;
use crate::error::{Classify, ErrorKind};

/// Why an artefact cannot be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// A text that names no artefact.
    #[error("`{text}` names no artefact: {reason}")]
    Reference {
        /// What was given, without a password.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error("the registry {registry} cannot be reached")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// No trusted connection can be made.
    #[error("there is no TLS connection to the registry {registry}: {reason}")]
    Tls {
        /// Host and port.
        registry: String,
        /// Why, in the words of the TLS library.
        reason: String,
        /// Whether the other side spoke something else than TLS.
        is_plain: bool,
    },
    /// The connection broke, or nothing more came.
    #[error("the registry {registry} stopped answering")]
    Broken {
        /// Host and port.
        registry: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// It may not be read or written.
    #[error("{place} is refused to {}", told(user.as_deref()))]
    Unauthorised {
        /// What was asked for.
        place: String,
        /// Host and port.
        registry: String,
        /// As whom, where somebody logged in.
        user: Option<String>,
    },
    /// A file of credentials cannot be used.
    #[error("cannot use the credentials in {}: {reason}", file.display())]
    Credentials {
        /// The file.
        file: PathBuf,
        /// Why, without what stands in it.
        reason: String,
    },
    /// The registry asks for a login that cannot be made.
    #[error("the registry {registry} asks for a login that cannot be made: {reason}")]
    Login {
        /// Host and port.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The registry says no.
    #[error("the registry {registry} answers {status}{said}")]
    Refused {
        /// Host and port.
        registry: String,
        /// The status of HTTP.
        status: u16,
        /// What it said, after a colon; empty where it said nothing.
        said: String,
    },
    /// The registry does not keep to the protocol.
    #[error("the registry {registry} gives an answer that is against the OCI protocol: {reason}")]
    Protocol {
        /// Host and port.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such artefact.
    #[error("there is no {place}")]
    Missing {
        /// What was asked for.
        place: String,
    },
    /// It is something else.
    #[error("{place} is no Wasm artefact but {is}")]
    NotWasm {
        /// What was asked for.
        place: String,
        /// What it is.
        is: String,
    },
    /// It has another number of layers.
    #[error("{place} has {count} layers, and a Wasm artefact has one")]
    Layers {
        /// What was asked for.
        place: String,
        /// How many it has.
        count: usize,
    },
    /// A document in it is wrong.
    #[error("{place} is damaged: {reason}")]
    Malformed {
        /// What was asked for.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// What came is not what its digest says.
    #[error("{place} is damaged: the digest of what came is {found} instead of {wanted}")]
    Damaged {
        /// What was asked for.
        place: String,
        /// The digest it should have.
        wanted: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// It is larger than a module may be.
    #[error("{what} of {place} has more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        place: String,
        /// What of it.
        what: &'static str,
        /// How many it may have.
        limit: u64,
    },
    /// Its parameters and signatures do not fit into a manifest.
    #[error("parameters and signatures make a manifest of more than {limit} bytes")]
    TooMuch {
        /// How many registries take.
        limit: u64,
    },
    /// The tag means something else.
    #[error("{place} is there already with something else (sha256:{found})")]
    Occupied {
        /// What was to be written.
        place: String,
        /// The digest of the manifest that is there.
        found: Digest,
    },
    /// A signature in it is none.
    #[error("{place} is damaged: the signature of key {key_id} is none of minisign")]
    NoSignature {
        /// What was asked for.
        place: String,
        /// The key that is named.
        key_id: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", file.display())]
    File {
        /// "read" or "write".
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A folder is no OCI layout.
    #[error("{} is no OCI layout: {reason}", folder.display())]
    NoLayout {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder holds several artefacts.
    #[error("{} holds several artefacts: {}", folder.display(), tags.join(", "))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// Their tags.
        tags: Vec<String>,
    },
    /// The bytes are no component.
    #[error(transparent)]
    Component(#[from] OutlineError),
}

fn told(user: Option<&str>) -> String {
    user.map_or_else(|| "those who did not log in".into(), ToOwned::to_owned)
}

impl OciError {
    pub(super) fn malformed(place: &str, reason: String) -> Self {
        Self::Malformed {
            place: place.to_owned(),
            reason,
        }
    }
}

impl Classify for OciError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Protocol { .. }
            | Self::File { .. } => ErrorKind::Unavailable,
            Self::Refused { status, .. } if *status == 429 || *status >= 500 => {
                ErrorKind::Unavailable
            }
            Self::Malformed { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::NoSignature { .. } => ErrorKind::Data,
            Self::Component(_) => ErrorKind::Module,
            Self::Client(_) => ErrorKind::Bug,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Reference { .. } => {
                "write it like oci://registry.example.org/shop/dim-staff:1.0.0".into()
            }
            Self::Unreachable { registry, .. } => format!(
                "check that {registry} is the registry's name, and the way to it (HTTPS_PROXY, firewall)"
            ),
            Self::Tls { is_plain: true, .. } => {
                "give --plain-http where the registry has no TLS and the network is yours".into()
            }
            Self::Tls { .. } => {
                "have this machine trust the authority of its certificate, or name that one's file in SSL_CERT_FILE"
                    .into()
            }
            Self::Broken { .. } | Self::Protocol { .. } => {
                "run it again; what was written so far is no module yet".into()
            }
            Self::Unauthorised { registry, user, .. } => match user {
                Some(_) => format!("check what this user may do there, or log in again: docker login {registry}"),
                None => format!("log in with docker, podman or oras: docker login {registry}"),
            },
            Self::Credentials { .. } => "log in again, or mend the file".into(),
            Self::Login { registry, .. } => format!("log in with a user and a password: docker login {registry}"),
            Self::Refused { status, .. } if *status == 429 || *status >= 500 => "run it again later".into(),
            Self::Refused { .. } => "see what the registry says; it may not take such artefacts".into(),
            Self::Missing { .. } => "check repository and tag, or the folder; `tidemill module export` makes one".into(),
            Self::NotWasm { .. } | Self::Layers { .. } => {
                "name an artefact that `tidemill module export` or `wkg oci push` made".into()
            }
            Self::Malformed { .. } | Self::Damaged { .. } | Self::NoSignature { .. } => {
                "do not use it; export it again from a project that has it, under another tag".into()
            }
            Self::TooLarge { .. } => "see whether it is the module that you mean".into(),
            Self::TooMuch { .. } => "make the parameters smaller".into(),
            Self::Occupied { .. } => {
                "name another tag, or give --overwrite when that one is to mean this module from now on".into()
            }
            Self::File { .. } => "check that the folder exists and that you may use it".into(),
            Self::NoLayout { .. } => {
                "name a folder that `tidemill module export` or another tool made; a registry is written oci://HOST/…"
                    .into()
            }
            Self::Several { .. } => "name one of them with --tag".into(),
            Self::Component(_) | Self::Client(_) => return None,
        })
    }
}
