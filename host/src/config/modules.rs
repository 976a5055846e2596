//! Modules as the project file names and trusts them.

use crate::digest::Digest;

/// Whose modules are used, besides those inside tidemill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModulesPlan {
    /// Public keys of minisign, in base 64. Where there is one, no module runs that nobody vouches for.
    pub keys: Vec<String>,
    /// Whether modules that nobody signed are used as well.
    pub unsigned: bool,
}

/// Whether `text` is a name of lower-case letters, digits and hyphens, `@`, and one to three numbers or a digest.
pub(super) fn is_module(text: &str) -> bool {
    let Some((name, version)) = text.split_once('@') else {
        return false;
    };
    let name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(name_byte);
    if let Some(digest) = version.strip_prefix("sha256:") {
        return is_name && digest.parse::<Digest>().is_ok();
    }
    let numbers: Vec<_> = version.split('.').collect();
    is_name && numbers.len() <= 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_with_a_range_a_version_or_a_digest() {
        let digest = format!("dim-staff@sha256:{}", Digest::of("dim-staff"));
        for module in ["dim-staff@1", "dim-staff@1.2", "dim-staff@1.2.3", &digest] {
            assert!(is_module(module), "{module}");
        }
        for module in [
            "dim-staff",
            "dim-staff@",
            "dim-staff@one",
            "dim-staff@1.2.3.4",
            "Dim-Staff@1",
            "dim-staff@sha256:00",
            &format!("Dim{digest}"),
        ] {
            assert!(!is_module(module), "{module}");
        }
    }
}
