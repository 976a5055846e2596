//! Tables and columns of a source, as data: what `discover` finds and a landing manifest records.

mod change;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
pub use change::{SchemaChange, between, is_digested_alike};

/// The name of a table: the schema only where it is not the source's default one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableName(String);

impl TableName {
    /// A table in the default schema (`staff`) or in another (`hr.staff`).
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TableName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A table's name as one part of a key. What is not a letter, a digit, `-` or `_` is percent-encoded, and so
/// is a leading `_`, with which tidemill's own folders begin.
pub fn folder(table: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    match table.strip_prefix('_') {
        Some(rest) => format!("%5F{}", utf8_percent_encode(rest, KEPT)),
        None => utf8_percent_encode(table, KEPT).to_string(),
    }
}

/// What kind of relation a table is in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// An ordinary table.
    Plain,
    /// A table whose rows are in its partitions.
    Partitioned,
    /// A view: it has no row versions of its own.
    View,
    /// A materialised view.
    MaterializedView,
    /// A table that lives on another server.
    Foreign,
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "a plain table",
            Self::Partitioned => "a partitioned table",
            Self::View => "a view",
            Self::MaterializedView => "a materialised view",
            Self::Foreign => "a foreign table",
        })
    }
}

/// Where a table's key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyOrigin {
    /// Its primary key.
    Primary,
    /// A unique index over columns that are all NOT NULL.
    Unique,
    /// The project file.
    Declared,
    /// There is none: the table is landed whole whenever it changed.
    None,
}

/// How exactly a source type is landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "reason")]
pub enum Fidelity {
    /// Every value of the source type has exactly one Arrow value, and the other way round.
    Exact,
    /// The value is landed as the source's own text for it, for the reason given.
    Text(String),
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the source.
    pub name: String,
    /// The source's own name of its type, with modifiers: `numeric(10,2)`, `timestamp(3) without time zone`.
    pub source_type: String,
    /// What it is landed as, in Arrow's own notation: `Decimal128(10, 2)`.
    #[serde(with = "arrow_notation")]
    pub data_type: DataType,
    /// Whether the source allows NULL.
    pub nullable: bool,
    /// How exact `data_type` is.
    pub fidelity: Fidelity,
}

/// A table of a source with its columns in physical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// What kind of relation it is.
    pub kind: TableKind,
    /// Its columns, in physical order.
    pub columns: Vec<Column>,
    /// The names of its key columns, in key order; empty when `key_origin` is [`KeyOrigin::None`].
    pub key: Vec<String>,
    /// Where `key` was found.
    pub key_origin: KeyOrigin,
}

/// By what a source tells a table or a column that was made anew from the one that had its name before.
/// Empty where a source has nothing of the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The number of the relation: PostgreSQL's oid.
    pub relation: u32,
    /// Its columns by name.
    pub columns: BTreeMap<String, ColumnIdentity>,
}

/// What is known of a column besides its name and type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnIdentity {
    /// Its number in the table, which no other column ever gets: PostgreSQL's attnum.
    pub number: i16,
    /// The digest of the labels and attributes that its type is made of; `None` for a built-in type. The
    /// label of an enum may be renamed without a trace in any row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_of: Option<Digest>,
}

impl Column {
    /// Whether it is landed as the source's own text, and declared to be.
    pub fn is_declared_text(&self) -> bool {
        matches!(self.fidelity, Fidelity::Text(_))
    }

    /// Lands it as the source's own text for the reason given, unless it is already for another.
    pub fn land_as_text(&mut self, reason: &str) {
        if self.fidelity == Fidelity::Exact {
            self.data_type = DataType::Utf8;
            self.fidelity = Fidelity::Text(reason.to_owned());
        }
    }
}

impl Table {
    /// The Arrow schema of its landed rows: every column, in physical order.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable))
                .collect::<Vec<_>>(),
        ))
    }

    /// The Arrow schema of its key columns, in key order.
    pub fn key_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.key
                .iter()
                .filter_map(|name| self.columns.iter().find(|c| c.name == *name))
                .map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable))
                .collect::<Vec<_>>(),
        ))
    }

    /// The fingerprint of what decides how rows are read: names, source types, what they are landed as,
    /// nullability and key. Row counts and comments do not enter.
    pub fn fingerprint(&self) -> Digest {
        let landed: Vec<String> = self
            .columns
            .iter()
            .map(|c| c.data_type.to_string())
            .collect();
        let mut parts: Vec<&[u8]> = Vec::new();
        for (column, landed) in self.columns.iter().zip(&landed) {
            parts.push(column.name.as_bytes());
            parts.push(column.source_type.as_bytes());
            parts.push(landed.as_bytes());
            parts.push(if column.nullable {
                b"null"
            } else {
                b"not null"
            });
        }
        parts.push(b"key");
        parts.extend(self.key.iter().map(|name| name.as_bytes()));
        Digest::of_parts(parts)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

pub(crate) mod arrow_notation {
    //! `DataType` as Arrow's own text, which it can also read.

    use arrow::datatypes::DataType;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Parentheses within parentheses. Arrow's parser calls itself at each, and would overflow its stack, which ends the
    /// process; no source has types that are nested a fraction as deep.
    const MOST_DEPTH: usize = 64;

    pub(crate) fn serialize<S: Serializer>(
        data_type: &DataType,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(data_type)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DataType, D::Error> {
        let text = String::deserialize(deserializer)?;
        if depth(&text) > MOST_DEPTH {
            let refused = format!("a type is nested deeper than {MOST_DEPTH}");
            return Err(serde::de::Error::custom(refused));
        }
        text.parse().map_err(serde::de::Error::custom)
    }

    fn depth(notation: &str) -> usize {
        let (mut open, mut most) = (0_usize, 0);
        for byte in notation.bytes() {
            match byte {
                b'(' => open += 1,
                b')' => open = open.saturating_sub(1),
                _ => {}
            }
            most = most.max(open);
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn column(data_type: DataType) -> Column {
        Column {
            name: "c".into(),
            source_type: "t".into(),
            data_type,
            nullable: true,
            fidelity: Fidelity::Exact,
        }
    }

    #[test]
    fn every_landed_type_survives_its_notation() {
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        for data_type in [
            DataType::Boolean,
            DataType::Int64,
            DataType::Utf8,
            DataType::Binary,
            DataType::FixedSizeBinary(16),
            DataType::Decimal128(10, 2),
            DataType::Decimal256(76, 0),
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::List(item),
        ] {
            let column = column(data_type);
            let json = serde_json::to_string(&column).expect("a column is JSON");
            let back: Column = serde_json::from_str(&json).expect(&json);
            assert_eq!(back, column);
        }
    }

    #[test]
    fn a_type_that_would_overflow_the_parser_s_stack_is_refused() {
        let column = serde_json::to_string(&column(DataType::Int32)).expect("a column is JSON");
        let deep = column.replace("Int32", &"List(".repeat(100_000));
        let error = serde_json::from_str::<Column>(&deep).expect_err("it is too deep");
        assert!(
            error.to_string().contains("nested deeper than 64"),
            "{error}"
        );
    }
}
