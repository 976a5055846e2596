//! Names: how a relation of the server is written as a [`TableName`], and how identifiers enter SQL.

use crate::table::TableName;

/// The schema whose tables are named without it.
const DEFAULT_SCHEMA: &str = "public";

/// A relation: schema and name exactly as the catalog has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Relation {
    pub(super) fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// `staff` in schema `public`, `hr.staff` elsewhere. A part that holds a dot or a double quote is
    /// written in double quotes, so that no two relations share a name.
    pub(super) fn table_name(&self) -> TableName {
        if self.schema == DEFAULT_SCHEMA {
            return TableName::new(part(&self.name));
        }
        TableName::new(format!("{}.{}", part(&self.schema), part(&self.name)))
    }

    /// The relation that [`Relation::table_name`] writes as `name`; `None` when it writes none so.
    pub(super) fn parse(name: &TableName) -> Option<Self> {
        let (first, rest) = take_part(name.as_str())?;
        if rest.is_empty() {
            return Some(Self::new(DEFAULT_SCHEMA, first));
        }
        let (second, rest) = take_part(rest.strip_prefix('.')?)?;
        rest.is_empty().then(|| Self::new(first, second))
    }

    /// The relation as SQL.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// An identifier as SQL.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text literal as SQL, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        let escaped = text.replace('\\', "\\\\").replace('\'', "''");
        return format!("E'{escaped}'");
    }
    format!("'{}'", text.replace('\'', "''"))
}

fn part(name: &str) -> String {
    if name.contains(['.', '"']) {
        quote(name)
    } else {
        name.to_owned()
    }
}

/// Takes one part off the front: in double quotes, or up to the next dot.
fn take_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (head, tail) = rest.split_once('"')?;
        name.push_str(head);
        match tail.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, tail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_has_its_own_name_and_is_found_by_it() {
        for (schema, name, written) in [
            ("public", "staff", "staff"),
            ("hr", "staff", "hr.staff"),
            ("public", "hr.staff", "\"hr.staff\""),
            ("a.b", "c", "\"a.b\".c"),
            ("a", "b.c", "a.\"b.c\""),
            ("public", "say \"hi\"", "\"say \"\"hi\"\"\""),
            ("Straße 🚢", " blank ", "Straße 🚢. blank "),
        ] {
            let relation = Relation::new(schema, name);
            assert_eq!(relation.table_name().as_str(), written);
            assert_eq!(Relation::parse(&relation.table_name()), Some(relation));
        }
    }

    #[test]
    fn a_name_that_is_never_written_names_nothing() {
        for text in ["", ".a", "a.", "a.b.c", "\"a", "\"a\"b"] {
            assert_eq!(Relation::parse(&TableName::new(text)), None, "{text}");
        }
    }

    #[test]
    fn quotes_cannot_be_closed_from_within() {
        assert_eq!(quote("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("O'Keefe"), "'O''Keefe'");
        assert_eq!(literal("\\'"), "E'\\\\'''");
    }
}
