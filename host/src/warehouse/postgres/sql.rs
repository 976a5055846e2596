//! Pieces of SQL text: quoted names and lists. Values are never written into SQL; they are bound.

/// PostgreSQL cuts longer names off, so that two could become one.
pub(super) const NAME_BYTES: usize = 63;

/// `name` as a quoted identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.name`, both quoted.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// The parts with `separator` between them.
pub(super) fn join<T: AsRef<str>>(parts: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push_str(separator);
        }
        text.push_str(part.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_cannot_end_the_identifier() {
        assert_eq!(ident(r#"a" ; drop"#), r#""a"" ; drop""#);
        assert_eq!(qualified("my schema", "Order"), r#""my schema"."Order""#);
    }
}
