//! The shape of names and codes that a guest may use.

/// Whether `text` has the shape of a code or a name: lower-case letters, digits and hyphens, beginning
/// with a letter, at most `bytes` long.
pub(super) fn is_kebab(text: &str, bytes: usize) -> bool {
    text.len() <= bytes
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case() {
        assert!(is_kebab("dim-staff2", 64));
        for name in [
            "",
            "Dim",
            "2dim",
            "-dim",
            "dim_staff",
            "../dim",
            "dim staff",
        ] {
            assert!(!is_kebab(name, 64), "{name}");
        }
        assert!(!is_kebab(&"a".repeat(65), 64));
    }
}
