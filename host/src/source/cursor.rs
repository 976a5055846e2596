//! Which columns a column cursor could use, in which order they are proposed, and what their values are.

use arrow::datatypes::DataType;

use super::CursorCandidate;
use crate::table::Column;
use crate::watermark::CursorValue;

/// What a source knows of a column besides its type.
pub(super) struct Facts<'a> {
    pub(super) column: &'a Column,
    /// Whether an index that can be searched by range begins with it.
    pub(super) indexed: bool,
    /// Whether the database numbers it.
    pub(super) serial: bool,
}

/// The columns that could tell when a row changed, the best first.
///
/// Names decide before types, because a table often has both the time of creation and that of the last
/// change, and only the latter finds updates. A numbered key comes last: it finds inserts only.
pub(super) fn candidates<'a>(columns: impl IntoIterator<Item = Facts<'a>>) -> Vec<CursorCandidate> {
    let mut ranked: Vec<(u8, bool, CursorCandidate)> = columns
        .into_iter()
        .filter_map(|facts| {
            let candidate = CursorCandidate {
                column: facts.column.name.clone(),
                indexed: facts.indexed,
                nullable: facts.column.nullable,
            };
            Some((rank(&facts)?, !facts.indexed, candidate))
        })
        .collect();
    // Stable: equals stay in physical order.
    ranked.sort_by_key(|(rank, unindexed, _)| (*rank, *unindexed));
    ranked
        .into_iter()
        .map(|(.., candidate)| candidate)
        .collect()
}

fn rank(facts: &Facts<'_>) -> Option<u8> {
    let name = facts.column.name.to_lowercase();
    match facts.column.data_type {
        DataType::Timestamp(..) => Some(
            if ["updat", "modif", "chang"].iter().any(|w| name.contains(w)) {
                0
            } else if ["creat", "insert", "add"].iter().any(|w| name.contains(w)) {
                2
            } else {
                1
            },
        ),
        DataType::Int16 | DataType::Int32 | DataType::Int64 if facts.serial => Some(3),
        _ => None,
    }
}

/// The kinds of cursor that a column can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorKind {
    Integer,
    Timestamp,
    TimestampTz,
}

impl CursorKind {
    /// The kind of cursor that `column` makes; `None` for a type without an order that time follows.
    pub(super) fn of(column: &Column) -> Option<Self> {
        match &column.data_type {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(Self::Integer),
            DataType::Timestamp(_, None) => Some(Self::Timestamp),
            DataType::Timestamp(_, Some(_)) => Some(Self::TimestampTz),
            _ => None,
        }
    }

    /// The value of this kind.
    pub(super) fn value(self, number: i64) -> CursorValue {
        match self {
            Self::Integer => CursorValue::Integer(number),
            Self::Timestamp => CursorValue::Timestamp(number),
            Self::TimestampTz => CursorValue::TimestampTz(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Fidelity;
    use arrow::datatypes::TimeUnit;

    #[test]
    fn the_time_of_the_last_change_comes_first_and_a_number_last() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns: Vec<Column> = [
            ("staff_id", DataType::Int32),
            ("created_at", time.clone()),
            ("seen", time.clone()),
            ("Modified", time.clone()),
            ("last_updated", time),
            ("department_id", DataType::Int32),
        ]
        .into_iter()
        .map(|(name, data_type)| Column {
            name: name.into(),
            source_type: "t".into(),
            data_type,
            nullable: false,
            fidelity: Fidelity::Exact,
        })
        .collect();
        let facts = columns.iter().map(|column| Facts {
            column,
            indexed: column.name == "last_updated",
            serial: column.name == "staff_id",
        });
        let names: Vec<String> = candidates(facts).into_iter().map(|c| c.column).collect();
        assert_eq!(
            names,
            ["last_updated", "Modified", "seen", "created_at", "staff_id"]
        );
    }
}
