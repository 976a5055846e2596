//! How a project file names a module: `dim-staff@1`.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

use super::error::RegistryError;
use crate::digest::Digest;

/// The longest name and the longest version.
const NAME_BYTES: usize = 64;

/// A module as a project file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub name: String,
    /// Which version.
    pub pick: Pick,
}

/// Which version of a module is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// What was promoted last: `dim-staff`.
    Active,
    /// What was promoted last within a range: `dim-staff@1`, `dim-staff@^1.2`.
    Range(VersionReq),
    /// One version, promoted or not: `dim-staff@1.2.3`, `dim-staff@=1.2.3`.
    Version(Version),
    /// One digest, promoted or not: `dim-staff@sha256:…`.
    Digest(Digest),
}

impl FromStr for Wanted {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.trim())),
            None => (text, None),
        };
        check_name(name)?;
        let unreadable = |e: &dyn fmt::Display| RegistryError::Name {
            what: "reference",
            text: text.to_owned(),
            reason: e.to_string(),
        };
        let pick = match version {
            None => Pick::Active,
            Some(version) => {
                let exact = version.strip_prefix('=').unwrap_or(version).trim();
                if let Some(digest) = version.strip_prefix("sha256:") {
                    Pick::Digest(digest.parse().map_err(|e| unreadable(&e))?)
                } else if Version::parse(exact).is_ok() {
                    Pick::Version(check_version(exact)?)
                } else {
                    Pick::Range(VersionReq::parse(version).map_err(|e| unreadable(&e))?)
                }
            }
        };
        Ok(Self {
            name: name.to_owned(),
            pick,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pick {
            Pick::Active => f.write_str(&self.name),
            Pick::Range(range) => write!(f, "{}@{range}", self.name),
            Pick::Version(version) => write!(f, "{}@{version}", self.name),
            Pick::Digest(digest) => write!(f, "{}@sha256:{digest}", self.name),
        }
    }
}

/// Refuses what is no name: it becomes a folder.
pub(super) fn check_name(name: &str) -> Result<(), RegistryError> {
    let letters = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if letters && begins && name.len() <= NAME_BYTES {
        return Ok(());
    }
    Err(RegistryError::Name {
        what: "name",
        text: name.chars().take(NAME_BYTES).collect(),
        reason: format!(
            "it is made of lower-case letters, digits and hyphens, begins with a letter and has at most {NAME_BYTES} bytes"
        ),
    })
}

/// Refuses what is no version: it becomes a folder. Build metadata is refused because two versions that
/// differ in nothing else are equal to semver.
pub(super) fn check_version(text: &str) -> Result<Version, RegistryError> {
    let refuse = |reason: String| RegistryError::Name {
        what: "version",
        text: text.chars().take(NAME_BYTES).collect(),
        reason,
    };
    let version = Version::parse(text).map_err(|e| refuse(e.to_string()))?;
    if !version.build.is_empty() || text.len() > NAME_BYTES {
        return Err(refuse(format!(
            "it has no build metadata and at most {NAME_BYTES} bytes"
        )));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(text: &str) -> Pick {
        text.parse::<Wanted>().expect(text).pick
    }

    #[test]
    fn every_way_to_name_a_module_is_read() {
        let version = Version::new(1, 2, 3);
        let digest = Digest::of("module");
        assert_eq!(pick("dim-staff"), Pick::Active);
        assert_eq!(pick("dim-staff@1.2.3"), Pick::Version(version.clone()));
        assert_eq!(pick("dim-staff@=1.2.3"), Pick::Version(version.clone()));
        assert_eq!(
            pick(&format!("dim-staff@sha256:{digest}")),
            Pick::Digest(digest)
        );
        for (range, inside) in [
            ("1", true),
            ("1.2", true),
            ("^1.2.0", true),
            ("1.3", false),
            ("*", true),
        ] {
            let Pick::Range(range) = pick(&format!("dim-staff@{range}")) else {
                panic!("{range} is a range");
            };
            assert_eq!(range.matches(&version), inside, "{range}");
        }
    }

    #[test]
    fn what_could_leave_its_folder_is_refused() {
        for text in [
            "",
            "..",
            "a/b",
            "A",
            "a@../1",
            "a@1.0.0+b",
            "a@",
            "a@sha256:12",
            "a@one",
        ] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }
}
