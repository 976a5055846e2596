//! Cursor values: microseconds of a calendar as SQL, and which clock a cursor column is compared with.

use chrono::{DateTime, Datelike};

use super::super::SourceError;
use super::super::cursor::CursorKind;
use super::name::{literal, quote};
use crate::watermark::CursorValue;

/// What the source's clock showed when the snapshot was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) utc: i64,
    /// The same moment in the time zone that a session of this role has by default, as microseconds of
    /// that calendar.
    pub(super) local: i64,
}

impl Clock {
    /// The latest value that a `timestamp without time zone` may have without being in the future.
    ///
    /// Such a column does not say whose calendar it is in. The server's default zone is right for
    /// `DEFAULT CURRENT_TIMESTAMP`, UTC for the many applications that send UTC. The earlier of both is
    /// never past the true one; at worst the rows of some hours are read again and found equal. Rejected:
    /// the local clock alone, which in a zone east of Greenwich lets the future of a UTC column pass.
    fn without_zone(self) -> i64 {
        self.utc.min(self.local)
    }
}

/// The query for the highest value that is not past the clock, as a `bigint`.
pub(super) fn highest(kind: CursorKind, column: &str, from: &str, clock: Clock) -> Option<String> {
    let column = quote(column);
    let (limit, zone) = match kind {
        CursorKind::Integer => {
            return Some(format!(
                "SELECT pg_catalog.max({column})::pg_catalog.int8 FROM {from}"
            ));
        }
        CursorKind::Timestamp => (clock.without_zone(), ""),
        CursorKind::TimestampTz => (clock.utc, "tz"),
    };
    let limit = literal(&text(limit)?);
    // Before PostgreSQL 14 the epoch is a double, which holds the microseconds of our centuries exactly.
    Some(format!(
        "SELECT (extract(epoch FROM pg_catalog.max({column})) * 1000000)::pg_catalog.int8 FROM {from} \
         WHERE {column} <= {limit}::pg_catalog.timestamp{zone} AND pg_catalog.isfinite({column})"
    ))
}

/// The condition that selects rows whose `column` is `from` or later, or NULL.
pub(super) fn condition(column: &str, from: &CursorValue) -> Result<String, SourceError> {
    let quoted = quote(column);
    let (micros, zone) = match from {
        CursorValue::Integer(number) => {
            return Ok(format!("({quoted} >= {number} OR {quoted} IS NULL)"));
        }
        CursorValue::Timestamp(micros) => (*micros, ""),
        CursorValue::TimestampTz(micros) => (*micros, "tz"),
    };
    let text = text(micros).ok_or_else(|| SourceError::Value {
        column: column.to_owned(),
        value: format!("the watermark {micros}"),
        expected: "point in time".into(),
    })?;
    let from = literal(&text);
    Ok(format!(
        "({quoted} >= {from}::pg_catalog.timestamp{zone} OR {quoted} IS NULL)"
    ))
}

/// Microseconds since 1970 as PostgreSQL's text, in UTC where the type has a zone.
fn text(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let (year, era) = match time.year() {
        year @ 1.. => (year, ""),
        year => (1 - year, " BC"),
    };
    // `timestamp` reads the offset and ignores it, so one text serves both types.
    let rest = time.format("%m-%d %H:%M:%S%.6f+00");
    Some(format!("{year:04}-{rest}{era}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_written_as_the_server_reads_them() {
        for (micros, written) in [
            (0, "1970-01-01 00:00:00.000000+00"),
            (-1, "1969-12-31 23:59:59.999999+00"),
            (1_795_262_400_123_456, "2026-11-21 12:00:00.123456+00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999+00 BC"),
        ] {
            assert_eq!(text(micros).as_deref(), Some(written));
        }
        assert_eq!(text(i64::MAX), None);
    }

    #[test]
    fn a_column_without_a_zone_is_held_against_the_earlier_clock() {
        for (utc, local, limit) in [
            (0, 3_600_000_000, "1970-01-01 00"),
            (0, -3_600_000_000, "1969-12-31 23"),
        ] {
            let sql = highest(CursorKind::Timestamp, "at", "t", Clock { utc, local })
                .expect("the clock is in range");
            assert!(sql.contains(limit), "{sql}");
        }
    }

    #[test]
    fn rows_without_a_cursor_value_are_always_selected() {
        assert_eq!(
            condition("at \"x\"", &CursorValue::Integer(-7))
                .ok()
                .as_deref(),
            Some("(\"at \"\"x\"\"\" >= -7 OR \"at \"\"x\"\"\" IS NULL)")
        );
    }
}
