//! Which rows of a table a landing reads: the decision of DESIGN 4a, without any I/O.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::Cursor;
use crate::manifest::LandedTable;
use crate::source::Selection;
use crate::table::{KeyOrigin, Table};
use crate::watermark::{CompareReason, CursorValue, Position, Window};

/// What the user and the clock ask for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// A full compare, whatever the source can tell.
    pub(crate) compare: bool,
    /// A full compare for what became of the table itself.
    pub(crate) schema: Option<CompareReason>,
    /// How often every row is compared; `None` for never.
    pub(crate) interval: Option<Duration>,
    /// The source's clock.
    pub(crate) now: DateTime<Utc>,
}

/// Chooses the window of one table; `changes_since` is what the source can tell since a position.
pub(crate) fn choose(
    table: &Table,
    landed: Option<&LandedTable>,
    cursor: &Cursor,
    asked: &Asked,
    changes_since: impl FnOnce(&Position) -> Result<Selection, CompareReason>,
) -> Window {
    if table.key_origin == KeyOrigin::None {
        return Window::Replace;
    }
    // Without a key it had no index: nothing of it can be compared with.
    let Some(landed) = landed.filter(|landed| !landed.table.key.is_empty()) else {
        return Window::First;
    };
    let compare = |reason| Window::Compare { reason };
    if asked.compare {
        return compare(CompareReason::Asked);
    }
    if let Some(reason) = &asked.schema {
        return compare(reason.clone());
    }
    if let Some(reached) = &landed.reached {
        return match changes_since(&landed.position) {
            Ok(Selection::SinceTransaction { xmin }) => {
                let reached = reached.clone();
                Window::Rest { xmin, reached }
            }
            Ok(_) => compare(CompareReason::NoCursor),
            Err(reason) => compare(reason),
        };
    }
    if is_due(landed, asked) {
        return compare(CompareReason::Due);
    }
    match (cursor, changes_since(&landed.position)) {
        (Cursor::Snapshot, Ok(Selection::SinceTransaction { xmin })) => Window::Snapshot { xmin },
        (Cursor::Snapshot, Ok(_)) => compare(CompareReason::NoCursor),
        (Cursor::Snapshot, Err(reason)) => compare(reason),
        (
            Cursor::Column { .. },
            Err(reason @ (CompareReason::OtherSystem | CompareReason::IdsWentBack)),
        ) => compare(reason),
        (Cursor::Column { name, overlap }, _) => match &landed.watermark {
            Some(watermark) if watermark.column == *name => Window::Cursor {
                from: Some(watermark.clone()),
                overlap: micros(*overlap),
            },
            // An empty table had no value yet: everything in it is later.
            None if landed.live_rows == 0 => Window::Cursor {
                from: None,
                overlap: micros(*overlap),
            },
            _ => compare(CompareReason::MethodChanged),
        },
    }
}

fn is_due(landed: &LandedTable, asked: &Asked) -> bool {
    let since = asked.now.signed_duration_since(landed.compared_at).to_std();
    asked
        .interval
        .is_some_and(|interval| since.is_ok_and(|since| since >= interval))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The value that lies `overlap` microseconds before a time. Integers have no clock: they are read again
/// from the watermark itself, and what commits late below it is found by a compare.
pub(crate) fn less(value: &CursorValue, overlap: i64) -> CursorValue {
    match value {
        CursorValue::Integer(n) => CursorValue::Integer(*n),
        CursorValue::Timestamp(t) => CursorValue::Timestamp(t.saturating_sub(overlap)),
        CursorValue::TimestampTz(t) => CursorValue::TimestampTz(t.saturating_sub(overlap)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Fidelity, TableKind, TableName};
    use crate::watermark::{Reached, Watermark};
    use arrow::datatypes::DataType;
    use chrono::TimeZone as _;

    const XMIN: u64 = 700;

    fn column(name: &str) -> Column {
        Column {
            name: name.into(),
            source_type: "integer".into(),
            data_type: DataType::Int32,
            nullable: false,
            fidelity: Fidelity::Exact,
        }
    }

    fn table() -> Table {
        Table {
            name: TableName::new("staff"),
            kind: TableKind::Plain,
            columns: vec![column("staff_id"), column("updated")],
            key: vec!["staff_id".into()],
            key_origin: KeyOrigin::Primary,
        }
    }

    fn at(hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 1, hour, 0, 0).unwrap()
    }

    fn landed() -> LandedTable {
        LandedTable {
            table: table(),
            identity: None,
            dropped: vec![],
            position: Position::Sqlite,
            reached: None,
            window: None,
            watermark: Some(Watermark {
                column: "updated".into(),
                value: CursorValue::Integer(5),
            }),
            compared_at: at(0),
            changed: vec![],
            deleted: vec![],
            replaces: false,
            live_rows: 3,
            content: None,
            changed_in: 1,
            changed_before: None,
            index: vec![],
        }
    }

    fn asked() -> Asked {
        Asked {
            compare: false,
            schema: None,
            interval: Some(Duration::from_secs(7 * 3600)),
            now: at(6),
        }
    }

    fn by_column(name: &str) -> Cursor {
        Cursor::Column {
            name: name.into(),
            overlap: Duration::from_secs(120),
        }
    }

    fn since(_: &Position) -> Result<Selection, CompareReason> {
        Ok(Selection::SinceTransaction { xmin: XMIN })
    }

    fn restored(_: &Position) -> Result<Selection, CompareReason> {
        Err(CompareReason::OtherSystem)
    }

    fn compared(reason: CompareReason) -> Window {
        Window::Compare { reason }
    }

    #[test]
    fn the_snapshot_cursor_is_used_where_the_source_can_tell() {
        let window = choose(
            &table(),
            Some(&landed()),
            &Cursor::Snapshot,
            &asked(),
            since,
        );
        assert_eq!(window, Window::Snapshot { xmin: XMIN });
    }

    #[test]
    fn a_table_that_is_landed_in_parts_goes_on_where_the_source_can_tell_what_changed_since() {
        let reached = Reached {
            file: 16_384,
            whole: 8,
            begun: Some(12),
        };
        let landed = LandedTable {
            reached: Some(reached.clone()),
            ..landed()
        };
        let later = Asked {
            now: at(8),
            ..asked()
        };
        for cursor in [Cursor::Snapshot, by_column("updated")] {
            let xmin = XMIN;
            let rest = Window::Rest {
                xmin,
                reached: reached.clone(),
            };
            assert_eq!(
                choose(&table(), Some(&landed), &cursor, &later, since),
                rest
            );
            let window = choose(&table(), Some(&landed), &cursor, &asked(), restored);
            assert_eq!(window, compared(CompareReason::OtherSystem));
        }
    }

    #[test]
    fn a_table_is_read_whole_the_first_time_and_replaced_without_a_key() {
        let first = choose(&table(), None, &Cursor::Snapshot, &asked(), since);
        assert_eq!(first, Window::First);
        let mut keyless = table();
        keyless.key_origin = KeyOrigin::None;
        let window = choose(
            &keyless,
            Some(&landed()),
            &Cursor::Snapshot,
            &asked(),
            since,
        );
        assert_eq!(window, Window::Replace);
    }

    #[test]
    fn a_restored_copy_is_compared_whatever_the_cursor() {
        for cursor in [Cursor::Snapshot, by_column("updated")] {
            let window = choose(&table(), Some(&landed()), &cursor, &asked(), restored);
            assert_eq!(window, compared(CompareReason::OtherSystem), "{cursor:?}");
        }
    }

    #[test]
    fn a_changed_column_and_a_past_interval_are_compared() {
        let changed = Asked {
            schema: Some(CompareReason::SchemaChanged),
            ..asked()
        };
        for cursor in [Cursor::Snapshot, by_column("updated")] {
            let window = choose(&table(), Some(&landed()), &cursor, &changed, since);
            assert_eq!(window, compared(CompareReason::SchemaChanged));
        }
        let later = Asked {
            now: at(7),
            ..asked()
        };
        let window = choose(&table(), Some(&landed()), &Cursor::Snapshot, &later, since);
        assert_eq!(window, compared(CompareReason::Due));
    }

    #[test]
    fn a_cursor_column_is_read_from_its_watermark_and_another_column_is_compared() {
        let window = choose(
            &table(),
            Some(&landed()),
            &by_column("updated"),
            &asked(),
            since,
        );
        let Window::Cursor {
            from: Some(from),
            overlap,
        } = window
        else {
            panic!("{window:?}");
        };
        assert_eq!(
            (from.value, overlap),
            (CursorValue::Integer(5), 120_000_000)
        );
        let window = choose(
            &table(),
            Some(&landed()),
            &by_column("other"),
            &asked(),
            since,
        );
        assert_eq!(window, compared(CompareReason::MethodChanged));
    }

    #[test]
    fn the_overlap_is_taken_off_times_only() {
        assert_eq!(
            less(&CursorValue::Timestamp(100), 30),
            CursorValue::Timestamp(70)
        );
        assert_eq!(
            less(&CursorValue::Integer(100), 30),
            CursorValue::Integer(100)
        );
    }
}
