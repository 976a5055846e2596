//! Whether transaction ids tell everything that changed since an earlier snapshot. Pure rules, no I/O.
//!
//! Why it is exact: a row version whose id is below the recorded xmin had been decided when the earlier
//! snapshot was taken, so that snapshot saw it or nobody ever will. Everything else has an id at or above
//! it, subtransactions included, whose ids are above their parent's. Ids are compared modulo 2^32, which
//! is right as long as fewer than 2^31 lie between. A frozen row keeps its id; one so old that the circle
//! has passed it may be read once too often, and is then dropped as equal to what has been landed.

use crate::table::TableKind;
use crate::watermark::{CompareReason, Position};

use super::super::Selection;

/// Ids that a 32-bit id can be told apart from.
const HORIZON: u64 = 1 << 31;

/// What to read so that nothing that changed in a table of `kind` between the snapshots is missed.
///
/// # Errors
/// The reason for which a full compare is needed instead.
pub(super) fn since(
    kind: TableKind,
    now: &Position,
    previous: &Position,
) -> Result<Selection, CompareReason> {
    if !matches!(kind, TableKind::Plain | TableKind::Partitioned) {
        return Err(CompareReason::NoRowVersions);
    }
    let (
        Position::Postgres {
            system_identifier,
            timeline,
            database,
            xmin,
            xmax,
            ..
        },
        Position::Postgres {
            system_identifier: previous_identifier,
            timeline: previous_timeline,
            database: previous_database,
            xmin: previous_xmin,
            xmax: previous_xmax,
            ..
        },
    ) = (now, previous)
    else {
        return Err(CompareReason::OtherSystem);
    };
    // Where a service hides the identifier or the timeline, both are None and equal: then only ids that
    // went back, the count and the reconcile interval can tell a restored copy.
    if (system_identifier, timeline, database)
        != (previous_identifier, previous_timeline, previous_database)
    {
        return Err(CompareReason::OtherSystem);
    }
    if xmin < previous_xmin || xmax < previous_xmax {
        return Err(CompareReason::IdsWentBack);
    }
    if xmax.saturating_sub(*previous_xmin) >= HORIZON {
        return Err(CompareReason::TooOld);
    }
    Ok(Selection::SinceTransaction {
        xmin: *previous_xmin,
    })
}

/// The condition that selects rows written by transaction `xmin` or a later one.
///
/// `age` is the distance from the next id, modulo 2^32 and with a sign; the special ids of rows that were
/// frozen by very old versions are infinitely old.
pub(super) fn condition(xmin: u64) -> String {
    let low = xmin & u64::from(u32::MAX);
    format!("pg_catalog.age(xmin) <= pg_catalog.age('{low}'::pg_catalog.xid)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(identifier: Option<&str>, timeline: u32, xmin: u64, xmax: u64) -> Position {
        Position::Postgres {
            system_identifier: identifier.map(str::to_owned),
            timeline: Some(timeline),
            database: "totesys".into(),
            snapshot: format!("{xmin}:{xmax}:"),
            xmin,
            xmax,
        }
    }

    #[test]
    fn the_recorded_xmin_is_read_from() {
        let now = position(Some("7"), 1, 900, 1_000);
        for previous in [
            position(Some("7"), 1, 800, 850),
            position(Some("7"), 1, 900, 1_000),
        ] {
            let Position::Postgres { xmin, .. } = previous else {
                panic!("it is PostgreSQL's");
            };
            assert_eq!(
                since(TableKind::Plain, &now, &previous),
                Ok(Selection::SinceTransaction { xmin })
            );
        }
    }

    #[test]
    fn whatever_makes_ids_incomparable_asks_for_a_compare() {
        let now = position(Some("7"), 1, 1 << 31, 1 << 32);
        for (previous, reason) in [
            (
                position(Some("8"), 1, 1 << 31, 1 << 31),
                CompareReason::OtherSystem,
            ),
            (
                position(None, 1, 1 << 31, 1 << 31),
                CompareReason::OtherSystem,
            ),
            (
                position(Some("7"), 2, 1 << 31, 1 << 31),
                CompareReason::OtherSystem,
            ),
            (Position::Sqlite, CompareReason::OtherSystem),
            (
                position(Some("7"), 1, (1 << 31) + 1, 1 << 32),
                CompareReason::IdsWentBack,
            ),
            (
                position(Some("7"), 1, 1 << 31, (1 << 32) + 1),
                CompareReason::IdsWentBack,
            ),
            (
                position(Some("7"), 1, 1 << 31, 1 << 31),
                CompareReason::TooOld,
            ),
        ] {
            assert_eq!(
                since(TableKind::Plain, &now, &previous),
                Err(reason),
                "{previous:?}"
            );
        }
        let within = position(Some("7"), 1, (1 << 31) + 1, 1 << 32);
        assert!(since(TableKind::Partitioned, &within, &within).is_ok());
    }

    #[test]
    fn a_view_has_no_row_versions() {
        let now = position(Some("7"), 1, 900, 1_000);
        for kind in [
            TableKind::View,
            TableKind::MaterializedView,
            TableKind::Foreign,
        ] {
            assert_eq!(since(kind, &now, &now), Err(CompareReason::NoRowVersions));
        }
    }

    #[test]
    fn the_condition_takes_the_low_half_of_the_id() {
        let condition = condition((3 << 32) + 742);
        assert!(condition.ends_with("pg_catalog.age('742'::pg_catalog.xid)"));
    }
}
