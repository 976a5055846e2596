//! Values that are used and never shown.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::reference::Piece;
use super::{ConfigError, Reference, Setting};

/// What may stand anywhere in a URL as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A connection URL that may hold a password: it has neither `Display` nor a telling `Debug`.
///
/// A reference that cannot be resolved is an error only when the value is asked for: the load stage of
/// a deployment runs without the source's password, and the extract stage without the warehouse's.
/// What a service keeps is asked for by the room `vault`, when it is needed.
#[derive(Clone)]
pub struct Secret {
    content: Content,
    /// Where it was found, in words, where that was said.
    found_in: Option<Arc<str>>,
}

#[derive(Clone)]
enum Content {
    Known(Result<String, ConfigError>),
    Kept(Arc<Kept>),
}

/// A value of which a service keeps at least a part.
struct Kept {
    pieces: Vec<Piece>,
    setting: Box<Setting>,
}

impl Secret {
    /// A secret that is known.
    pub fn new(value: impl Into<String>) -> Self {
        Self::of(Content::Known(Ok(value.into())))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            found_in: None,
        }
    }

    /// The same, which was found there.
    pub(super) fn found(self, place: &str) -> Self {
        Self {
            found_in: Some(place.into()),
            ..self
        }
    }

    /// Where it was found, or should have been: "the environment variable TOTESYS_URL".
    pub fn found_in(&self) -> Option<&str> {
        self.found_in.as_deref()
    }

    /// A secret that could not be resolved, for the reason given.
    pub(super) fn missing(reason: ConfigError) -> Self {
        Self::of(Content::Known(Err(reason)))
    }

    /// The secret of these pieces, of which a service keeps some.
    pub(super) fn kept(pieces: Vec<Piece>, setting: Box<Setting>) -> Self {
        Self::of(Content::Kept(Arc::new(Kept { pieces, setting })))
    }

    /// The value, to be handed to a driver and to nobody else.
    ///
    /// # Errors
    /// Why its reference could not be resolved; of what a service keeps, that it is not known here.
    pub fn expose(&self) -> Result<&str, ConfigError> {
        match &self.content {
            Content::Known(known) => known.as_deref().map_err(Clone::clone),
            Content::Kept(kept) => Err(ConfigError::Reference {
                setting: kept.setting.clone(),
                target: self.origin().unwrap_or_default(),
                problem: "which is read when a connection is made".into(),
                hint: "write a value that is known before, like ${env:NAME}".into(),
            }),
        }
    }

    /// What services keep of it; empty where it is known.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let pieces = match &self.content {
            Content::Known(_) => &[],
            Content::Kept(kept) => kept.pieces.as_slice(),
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Kept(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }

    /// Where it comes from, where a service keeps it.
    pub fn origin(&self) -> Option<String> {
        let origins: Vec<String> = self.references().map(ToString::to_string).collect();
        (!origins.is_empty()).then(|| origins.join(" and "))
    }

    /// The setting that it is the value of, where a service keeps it.
    pub fn setting(&self) -> Option<&Setting> {
        match &self.content {
            Content::Known(_) => None,
            Content::Kept(kept) => Some(&kept.setting),
        }
    }

    /// The value, with what services keep in its place; `None` where `keep` does not have it. A part of a URL is
    /// percent-encoded, because whoever changes a password does not think of the URL that it will stand in.
    ///
    /// # Errors
    /// As [`expose`](Self::expose), where it is known and could not be resolved.
    pub fn filled<'k>(
        &self,
        kept: impl Fn(&Reference) -> Option<&'k str>,
    ) -> Result<Option<String>, ConfigError> {
        let pieces = match &self.content {
            Content::Known(_) => return self.expose().map(|known| Some(known.to_owned())),
            Content::Kept(kept) => &kept.pieces,
        };
        let is_part = pieces.len() > 1;
        let filled = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Kept(reference) => kept(reference).map(|value| match is_part {
                true => utf8_percent_encode(value, PLAIN).to_string(),
                false => value.to_owned(),
            }),
        });
        Ok(filled.collect())
    }

    /// The value with its password replaced, for messages; `None` where it is not known.
    pub fn redacted(&self) -> Option<String> {
        self.expose().ok().map(crate::connection::redact)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Keeper, Place};

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("postgresql://ada:lovelace@db/totesys");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(
            secret.redacted().as_deref(),
            Some("postgresql://ada:***@db/totesys")
        );
    }

    fn kept(pieces: &[&str]) -> Secret {
        let pieces = pieces.iter().map(|piece| match piece.strip_prefix('$') {
            Some(name) => Piece::Kept(Reference {
                keeper: Keeper::Secrets,
                name: name.into(),
                key: None,
            }),
            None => Piece::Text((*piece).into()),
        });
        let setting = Setting {
            place: Place::Flag("--set".into()),
            key: "warehouse.url".into(),
        };
        Secret::kept(pieces.collect(), Box::new(setting))
    }

    #[test]
    fn a_part_of_a_url_is_encoded_and_a_whole_one_is_not() {
        let value = |_: &Reference| Some("p@ss/w#rd %1");
        let part = kept(&["postgresql://ada:", "$db", "@h/d"]).filled(value);
        assert_eq!(
            part.ok().flatten().as_deref(),
            Some("postgresql://ada:p%40ss%2Fw%23rd%20%251@h/d")
        );
        let whole = kept(&["$db"]).filled(value);
        assert_eq!(whole.ok().flatten().as_deref(), Some("p@ss/w#rd %1"));
        let host = kept(&["postgresql://", "$db", "/d"]).filled(|_| Some("db-1.example.org"));
        assert_eq!(
            host.ok().flatten().as_deref(),
            Some("postgresql://db-1.example.org/d")
        );
        assert_eq!(kept(&["$db"]).filled(|_| None).ok(), Some(None));
    }

    #[test]
    fn what_is_kept_says_where_it_comes_from() {
        let secret = kept(&["postgresql://", "$user", ":", "$password"]);
        assert_eq!(
            secret.origin().as_deref(),
            Some("the AWS secret user and the AWS secret password")
        );
        let error = secret.expose().expect_err("nobody asked for it");
        assert_eq!(
            error.to_string(),
            "--set: `warehouse.url` refers to the AWS secret user and the AWS secret password, which is read when a \
             connection is made"
        );
        assert_eq!(Secret::new("a").origin(), None);
    }
}
