//! Text that a guest wrote, made safe to print: bounded, and without a character that moves a cursor.

/// `text` with control and bidirectional characters escaped, cut to `bytes` with an ellipsis.
pub(super) fn printable(text: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes));
    for character in text.chars() {
        let escaped = disturbs_a_terminal(character);
        let width = if escaped { 8 } else { character.len_utf8() };
        if out.len() + width > bytes {
            out.push('…');
            return out;
        }
        if escaped {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Characters that do something to a terminal, or to how it shows what follows them.
pub(crate) fn disturbs_a_terminal(character: char) -> bool {
    character.is_control() || is_direction(character)
}

/// Characters that reorder what follows them on a terminal, or hide it.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

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
    fn a_guest_cannot_move_the_cursor() {
        assert_eq!(
            printable("a\x1b[2Jb\r\u{202e}c", 100),
            "a\\u{1b}[2Jb\\r\\u{202e}c"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(printable("äöü", 5), "äö…");
        assert_eq!(printable("äöü", 6), "äöü");
    }

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
