//! Values that are used and never shown.

use std::fmt;

use super::ConfigError;

/// A connection URL that may hold a password: it has neither `Display` nor a telling `Debug`.
///
/// A reference that cannot be resolved is an error only when the value is asked for: the load stage of
/// a deployment runs without the source's password, and the extract stage without the warehouse's.
#[derive(Clone)]
pub struct Secret(Result<String, ConfigError>);

impl Secret {
    /// A secret that is known.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Ok(value.into()))
    }

    /// A secret that could not be resolved, for the reason given.
    pub(super) fn missing(reason: ConfigError) -> Self {
        Self(Err(reason))
    }

    /// The value, to be handed to a driver and to nobody else.
    ///
    /// # Errors
    /// Why its reference could not be resolved.
    pub fn expose(&self) -> Result<&str, ConfigError> {
        self.0.as_deref().map_err(Clone::clone)
    }

    /// The value with its password replaced, for messages; `None` where it is not known.
    pub fn redacted(&self) -> Option<String> {
        self.0.as_deref().ok().map(crate::connection::redact)
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

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("postgresql://ada:lovelace@db/totesys");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(
            secret.redacted().as_deref(),
            Some("postgresql://ada:***@db/totesys")
        );
    }
}
