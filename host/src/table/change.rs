//! How the schema of a table differs from the one that was landed before. Pure rules, no policy.
//!
//! What counts is what is landed: `varchar(3)` that becomes `text` is landed alike, whatever the source calls it.

use std::fmt;

use arrow::datatypes::DataType;
use serde::Serialize;

use super::{Column, Identity, Table, TableKind, TableName};

/// One difference between a table as it was landed and as the source has it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum SchemaChange {
    /// The table has never been landed.
    TableAdded,
    /// The table is gone.
    TableDropped {
        /// The table that has its identity now, where the source tells.
        renamed_to: Option<TableName>,
    },
    /// It is another kind of relation.
    KindChanged {
        /// As landed.
        before: TableKind,
        /// As it is.
        after: TableKind,
    },
    /// Other columns identify a row, or the same ones in a type in which no landed key is found.
    KeyChanged {
        /// As landed, each column with its type.
        before: Vec<String>,
        /// As it is.
        after: Vec<String>,
    },
    /// A column is new.
    ColumnAdded {
        /// The column.
        column: String,
        /// The source's name of its type.
        source_type: String,
        /// The column that it was before, where the source tells.
        renamed_from: Option<String>,
    },
    /// A column is gone.
    ColumnDropped {
        /// The column.
        column: String,
        /// The column that it is now, where the source tells.
        renamed_to: Option<String>,
    },
    /// A column was dropped, and another of its name and type was added.
    ColumnReplaced {
        /// The column.
        column: String,
    },
    /// A column has a type that holds every value of the one before.
    ColumnWidened {
        /// The column.
        column: String,
        /// The source's name of the type before.
        before: String,
        /// The source's name of the type now.
        after: String,
    },
    /// A column has another type.
    ColumnRetyped {
        /// The column.
        column: String,
        /// The source's name of the type before.
        before: String,
        /// The source's name of the type now.
        after: String,
    },
    /// A column is declared in another way and landed as before.
    ColumnRedeclared {
        /// The column.
        column: String,
        /// The source's name of the type before.
        before: String,
        /// The source's name of the type now.
        after: String,
    },
    /// The type of a column, an enum or a composite, has other labels or attributes.
    TypeRemade {
        /// The column.
        column: String,
        /// The source's name of the type.
        source_type: String,
    },
    /// NULL is allowed now, or is not any more.
    NullabilityChanged {
        /// The column.
        column: String,
        /// Whether NULL is allowed now.
        nullable: bool,
    },
    /// The same columns come in another order.
    ColumnsReordered,
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableAdded => f.write_str("new table"),
            Self::TableDropped { renamed_to: None } => f.write_str("table dropped"),
            Self::TableDropped {
                renamed_to: Some(name),
            } => write!(f, "table renamed to {name}"),
            Self::KindChanged { before, after } => write!(f, "it is {after} and was {before}"),
            Self::KeyChanged { before, after } => {
                write!(
                    f,
                    "key is ({}) and was ({})",
                    after.join(", "),
                    before.join(", ")
                )
            }
            Self::ColumnAdded {
                column,
                source_type,
                renamed_from: None,
            } => {
                write!(f, "column {column} ({source_type}) added")
            }
            Self::ColumnAdded {
                column,
                source_type,
                renamed_from: Some(name),
            } => {
                write!(f, "column {column} ({source_type}) added, which was {name}")
            }
            Self::ColumnDropped {
                column,
                renamed_to: None,
            } => write!(f, "column {column} dropped"),
            Self::ColumnDropped {
                column,
                renamed_to: Some(name),
            } => {
                write!(f, "column {column} dropped, which is {name} now")
            }
            Self::ColumnReplaced { column } => {
                write!(f, "column {column} dropped, and another of its name added")
            }
            Self::ColumnWidened {
                column,
                before,
                after,
            } => {
                write!(f, "column {column} widened from {before} to {after}")
            }
            Self::ColumnRetyped {
                column,
                before,
                after,
            } => {
                write!(f, "column {column} is {after} and was {before}")
            }
            Self::ColumnRedeclared {
                column,
                before,
                after,
            } => {
                write!(
                    f,
                    "column {column} is {after} and was {before}, landed alike"
                )
            }
            Self::TypeRemade {
                column,
                source_type,
            } => {
                write!(
                    f,
                    "column {column}: the type {source_type} is made of other values"
                )
            }
            Self::NullabilityChanged {
                column,
                nullable: true,
            } => write!(f, "column {column} is NULL now"),
            Self::NullabilityChanged {
                column,
                nullable: false,
            } => {
                write!(f, "column {column} is NOT NULL now")
            }
            Self::ColumnsReordered => f.write_str("columns in another order"),
        }
    }
}

/// What differs between `before` and `now`, by column in the order of `now`. The identities are compared only
/// where both are given: numbers of another database mean nothing.
pub fn between(
    before: &Table,
    now: &Table,
    identities: Option<(&Identity, &Identity)>,
) -> Vec<SchemaChange> {
    let numbers = Numbers(identities);
    let mut changes = Vec::new();
    if before.kind != now.kind {
        let (before, after) = (before.kind, now.kind);
        changes.push(SchemaChange::KindChanged { before, after });
    }
    changes.extend(key(before, now));
    for column in &now.columns {
        match before.column(&column.name) {
            None => changes.push(SchemaChange::ColumnAdded {
                column: column.name.clone(),
                source_type: column.source_type.clone(),
                renamed_from: numbers
                    .name_before(&column.name)
                    .filter(|n| now.column(n).is_none()),
            }),
            Some(old) => changes.extend(column_changes(old, column, &numbers)),
        }
    }
    for old in before
        .columns
        .iter()
        .filter(|old| now.column(&old.name).is_none())
    {
        changes.push(SchemaChange::ColumnDropped {
            column: old.name.clone(),
            renamed_to: numbers
                .name_now(&old.name)
                .filter(|n| before.column(n).is_none()),
        });
    }
    let order = |one: &Table, other: &Table| -> Vec<String> {
        let shared = one
            .columns
            .iter()
            .filter(|c| other.column(&c.name).is_some());
        shared.map(|c| c.name.clone()).collect()
    };
    if order(before, now) != order(now, before) {
        changes.push(SchemaChange::ColumnsReordered);
    }
    changes
}

/// SQLite gives the same name in other cases from version to version.
fn column_changes(old: &Column, new: &Column, numbers: &Numbers<'_>) -> Vec<SchemaChange> {
    let column = new.name.clone();
    let (before, after) = (old.source_type.clone(), new.source_type.clone());
    let mut changes = Vec::new();
    if old.data_type != new.data_type {
        changes.push(
            if widens(&old.data_type, &new.data_type) && !numbers.is_another(&column) {
                SchemaChange::ColumnWidened {
                    column,
                    before,
                    after,
                }
            } else {
                SchemaChange::ColumnRetyped {
                    column,
                    before,
                    after,
                }
            },
        );
    } else if numbers.is_another(&column) {
        changes.push(SchemaChange::ColumnReplaced { column });
    } else if !before.eq_ignore_ascii_case(&after) {
        changes.push(SchemaChange::ColumnRedeclared {
            column,
            before,
            after,
        });
    } else if numbers.is_remade(&column) {
        changes.push(SchemaChange::TypeRemade {
            column,
            source_type: after,
        });
    }
    if old.nullable != new.nullable {
        let (column, nullable) = (new.name.clone(), new.nullable);
        changes.push(SchemaChange::NullabilityChanged { column, nullable });
    }
    changes
}

/// Keys are found by their digests, in which columns are sorted by name: their order does not count.
fn key(before: &Table, now: &Table) -> Option<SchemaChange> {
    let names = |table: &Table| {
        let mut names = table.key.clone();
        names.sort();
        names
    };
    let found_again = |name: &String| match (before.column(name), now.column(name)) {
        (Some(old), Some(new)) => is_digested_alike(&old.data_type, &new.data_type),
        _ => false,
    };
    if names(before) == names(now) && now.key.iter().all(found_again) {
        return None;
    }
    let typed = |table: &Table| {
        let column = |name: &String| match table.column(name) {
            Some(column) => format!("{name} {}", column.source_type),
            None => name.clone(),
        };
        table.key.iter().map(column).collect()
    };
    let (before, after) = (typed(before), typed(now));
    Some(SchemaChange::KeyChanged { before, after })
}

/// Whether every value of `from` is a value of `to`, the same one.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64};
    match (from, to) {
        (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => true,
        (
            Decimal128(digits, scale) | Decimal256(digits, scale),
            Decimal128(to_digits, to_scale) | Decimal256(to_digits, to_scale),
        ) => {
            let whole = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            to_scale >= scale && whole(*to_digits, *to_scale) >= whole(*digits, *scale)
        }
        _ => false,
    }
}

/// Whether a value that is the same in both types has the same digest in both, and no other value has it. Rows
/// that were landed in one then need not be landed again in the other.
pub fn is_digested_alike(before: &DataType, now: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Int16, Int32, Int64};
    before == now
        || widens(before, now)
            && match (before, now) {
                (Int16 | Int32, Int32 | Int64) => true,
                (Decimal128(_, before), Decimal128(_, now))
                | (Decimal256(_, before), Decimal256(_, now)) => before == now,
                _ => false,
            }
}

/// The identities of columns, where they can be compared.
struct Numbers<'a>(Option<(&'a Identity, &'a Identity)>);

impl Numbers<'_> {
    fn same_relation(&self) -> Option<(&Identity, &Identity)> {
        self.0
            .filter(|(before, now)| before.relation == now.relation)
    }

    fn is_another(&self, column: &str) -> bool {
        self.same_relation().is_some_and(|(before, now)| {
            let numbers = (before.columns.get(column), now.columns.get(column));
            matches!(numbers, (Some(before), Some(now)) if before.number != now.number)
        })
    }

    /// The type is the database's and not the table's.
    fn is_remade(&self, column: &str) -> bool {
        self.0.is_some_and(|(before, now)| {
            let known = (before.columns.get(column), now.columns.get(column));
            matches!(known, (Some(before), Some(now)) if before.made_of != now.made_of)
        })
    }

    fn name_before(&self, column: &str) -> Option<String> {
        let (before, now) = self.same_relation()?;
        named(before, now.columns.get(column)?.number)
    }

    fn name_now(&self, column: &str) -> Option<String> {
        let (before, now) = self.same_relation()?;
        named(now, before.columns.get(column)?.number)
    }
}

fn named(identity: &Identity, number: i16) -> Option<String> {
    let mut columns = identity.columns.iter();
    let (name, _) = columns.find(|(_, column)| column.number == number)?;
    Some(name.clone())
}

#[cfg(test)]
mod tests;
