//! Single values: what they stand for, and what is wrong with them.

use std::time::Duration;

use super::super::reference::Piece;
use super::super::{ConfigError, Secret, reference, unit};
use super::{Key, Resolver};

impl Resolver<'_> {
    pub(super) fn text(
        &self,
        value: Option<&str>,
        key: &Key,
    ) -> Result<Option<String>, ConfigError> {
        value.map(|text| self.expand(text, key)).transpose()
    }

    pub(super) fn texts(&self, values: &[String], key: &Key) -> Result<Vec<String>, ConfigError> {
        values.iter().map(|text| self.expand(text, key)).collect()
    }

    pub(super) fn size(&self, value: Option<&str>, key: &Key) -> Result<Option<u64>, ConfigError> {
        self.unit(value, key, unit::size, "is not a size")
    }

    pub(super) fn duration(
        &self,
        value: Option<&str>,
        key: &Key,
    ) -> Result<Option<Duration>, ConfigError> {
        self.unit(value, key, unit::duration, "is not a duration")
    }

    fn unit<U>(
        &self,
        value: Option<&str>,
        key: &Key,
        parse: impl Fn(&str) -> Option<U>,
        problem: &str,
    ) -> Result<Option<U>, ConfigError> {
        value
            .map(|written| {
                parse(&self.expand(written, key)?).ok_or_else(|| self.value(key, written, problem))
            })
            .transpose()
    }

    /// A value that may be kept by a service. What is known of it goes through `known`.
    pub(super) fn secret(
        &self,
        value: &str,
        key: &Key,
        known: impl Fn(String) -> String,
    ) -> Secret {
        let pieces = reference::pieces(value, self.environment, self.base);
        let is_kept = |piece: &Piece| matches!(piece, Piece::Kept(_));
        let secret = match pieces {
            Ok(pieces) if pieces.iter().any(is_kept) => {
                Secret::kept(pieces, self.document.setting(&key.0))
            }
            _ => match self.expand(value, key) {
                Ok(value) => Secret::new(known(value)),
                Err(reason) => Secret::missing(reason),
            },
        };
        secret.found(&self.found_in(value, key))
    }

    /// Where a value comes from: what it refers to, or else where it was written.
    pub(super) fn found_in(&self, value: &str, key: &Key) -> String {
        let targets = reference::targets(value, self.environment, self.base);
        match targets.as_slice() {
            [] if self.document.has(&key.0) => self.document.setting(&key.0).place.to_string(),
            [] => "the default".to_owned(),
            targets => targets.join(" and "),
        }
    }

    pub(super) fn expand(&self, text: &str, key: &Key) -> Result<String, ConfigError> {
        reference::expand(text, self.environment, self.base).map_err(|unresolved| {
            ConfigError::Reference {
                setting: self.document.setting(&key.0),
                target: unresolved.target,
                problem: unresolved.problem,
                hint: unresolved.hint,
            }
        })
    }

    /// What is wrong with a value. It is shown as it was written: what a reference stands for may be secret. `value` is
    /// what was written where that is one of a list.
    pub(super) fn value(&self, key: &Key, value: &str, problem: &str) -> ConfigError {
        ConfigError::Value {
            setting: self.document.setting(&key.0),
            value: self.document.text(&key.0).unwrap_or(value).to_owned(),
            problem: problem.to_owned(),
            example: self.document.example(&key.0),
        }
    }

    pub(super) fn missing(&self, key: &Key, assignment: &str) -> ConfigError {
        ConfigError::MissingKey {
            setting: self.document.setting(&key.0),
            example: format!("{assignment}{}", self.document.example(&key.0)),
        }
    }
}
