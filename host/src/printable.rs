//! Text of others, made safe to print: values and names come from databases, words from modules.

use arrow::array::Array;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A value as Arrow writes it, all of it and not yet safe to print; `None` for NULL.
///
/// # Errors
/// When Arrow has no text for its type.
pub(crate) fn value(column: &dyn Array, row: usize) -> Result<Option<String>, ArrowError> {
    if column.is_null(row) {
        return Ok(None);
    }
    let format = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &format)?;
    Ok(Some(formatter.value(row).try_to_string()?))
}

/// `text` without a character that does something to a terminal: those are escaped. Lines stay lines.
pub(crate) fn whole(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && disturbs(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// `text` in one line, without a character that does something to a terminal, cut to `bytes` with an ellipsis.
pub(crate) fn line(text: &str, bytes: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes));
    for character in text.chars() {
        let escaped = disturbs(character);
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
fn disturbs(character: char) -> bool {
    character.is_control() || is_direction(character)
}

/// Characters that reorder what follows them on a terminal, or hide it.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(
            line("a\x1b[2Jb\r\u{202e}c\n", 100),
            "a\\u{1b}[2Jb\\r\\u{202e}c\\n"
        );
        assert_eq!(whole("a\x1b[2J\n\u{202e}ç\t"), "a\\u{1b}[2J\n\\u{202e}ç\\t");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(line("äöü", 5), "äö…");
        assert_eq!(line("äöü", 6), "äöü");
    }
}
