use arrow::datatypes::DataType;
use chrono::DateTime;

use super::*;
use crate::error::Classify as _;
use crate::table::{ColumnIdentity, Fidelity, KeyOrigin, TableKind, TableName};

fn column(name: &str, data_type: DataType) -> Column {
    Column {
        name: name.into(),
        source_type: data_type.to_string(),
        data_type,
        nullable: true,
        fidelity: Fidelity::Exact,
    }
}

fn table(columns: Vec<Column>) -> Table {
    Table {
        name: TableName::new("staff"),
        kind: TableKind::Plain,
        columns,
        key: vec!["id".into()],
        key_origin: KeyOrigin::Primary,
    }
}

fn before() -> Table {
    table(vec![
        column("id", DataType::Int32),
        column("name", DataType::Utf8),
    ])
}

fn position() -> Position {
    Position::Postgres {
        system_identifier: Some("7".into()),
        timeline: Some(1),
        database: "totesys".into(),
        snapshot: String::new(),
        xmin: 1,
        xmax: 1,
    }
}

fn landed(table: Table) -> LandedTable {
    LandedTable {
        table,
        identity: None,
        dropped: vec![],
        position: position(),
        reached: None,
        window: None,
        watermark: None,
        compared_at: DateTime::UNIX_EPOCH,
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

fn found(table: Table) -> Discovered {
    Discovered {
        table,
        identity: None,
        rows_estimate: None,
        bytes_estimate: None,
        cursor_candidates: vec![],
        changes: Ok(()),
    }
}

const POLICIES: [OnSchemaChange; 3] = [
    OnSchemaChange::Evolve,
    OnSchemaChange::Freeze,
    OnSchemaChange::Reject,
];

/// What a policy makes of a table that is `now` and was [`before`].
fn verdict(now: &Table, policy: OnSchemaChange, accepted: bool) -> Verdict {
    let (found, landed) = (found(now.clone()), landed(before()));
    let candidate = Candidate {
        found: &found,
        landed: Some(&landed),
        position: &position(),
        policy,
        expected: false,
        accepted,
    };
    candidate.judge()
}

/// What the three policies make of a table, and what they make of it once it is accepted.
fn said(now: &Table) -> [String; 4] {
    let say = |verdict| match verdict {
        Verdict::Stop(ExtractError::KeyChanged { .. }) => "key".to_owned(),
        Verdict::Stop(_) => "stops".to_owned(),
        Verdict::LeaveOut => "left out".to_owned(),
        Verdict::Land(admitted) => {
            let how = match (admitted.anew, &admitted.compare) {
                (true, Some(_)) => "anew",
                (true, None) => "anew without a compare",
                (false, Some(_)) => "compared",
                (false, None) => "as ever",
            };
            let columns: Vec<&str> = admitted
                .table
                .columns
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            format!("{how} {}", columns.join(" "))
        }
    };
    let [evolve, freeze, reject] = POLICIES.map(|policy| say(verdict(now, policy, false)));
    let accepted = POLICIES.map(|policy| say(verdict(now, policy, true)));
    assert!(
        accepted.iter().all(|other| *other == accepted[0]),
        "{accepted:?}"
    );
    let [accepted, ..] = accepted;
    [evolve, freeze, reject, accepted]
}

#[test]
fn every_change_has_its_policy() {
    let with = |change: fn(&mut Table)| {
        let mut now = before();
        change(&mut now);
        now
    };
    for (now, expected) in [
        (before(), ["as ever id name"; 4]),
        (
            with(|t| t.columns.push(column("badge", DataType::Utf8))),
            [
                "compared id name badge",
                "as ever id name",
                "stops",
                "compared id name badge",
            ],
        ),
        (
            with(|t| t.columns.truncate(1)),
            ["stops", "stops", "stops", "compared id"],
        ),
        (
            with(|t| t.columns[0] = column("id", DataType::Int64)),
            ["compared id name", "stops", "stops", "compared id name"],
        ),
        (
            with(|t| t.columns[1] = column("name", DataType::Date32)),
            ["stops", "stops", "stops", "anew id name"],
        ),
        (
            with(|t| t.columns[1].source_type = "varchar(3)".into()),
            [
                "compared id name",
                "compared id name",
                "stops",
                "compared id name",
            ],
        ),
        (
            with(|t| t.columns[1].nullable = false),
            [
                "as ever id name",
                "as ever id name",
                "stops",
                "as ever id name",
            ],
        ),
        (
            with(|t| t.columns.reverse()),
            [
                "as ever name id",
                "as ever id name",
                "stops",
                "as ever name id",
            ],
        ),
        (
            with(|t| t.kind = TableKind::Partitioned),
            [
                "compared id name",
                "compared id name",
                "stops",
                "compared id name",
            ],
        ),
        (with(|t| t.key.clear()), ["key"; 4]),
        (
            with(|t| t.columns[0] = column("id", DataType::Utf8)),
            ["key"; 4],
        ),
    ] {
        assert_eq!(said(&now), expected, "{now:#?}");
    }
}

#[test]
fn new_tables_are_taken_where_they_are_expected() {
    let found = found(before());
    let say = |policy, expected, accepted| {
        let position = position();
        let candidate = Candidate {
            found: &found,
            landed: None,
            position: &position,
            policy,
            expected,
            accepted,
        };
        match candidate.judge() {
            Verdict::Land(_) => "landed",
            Verdict::LeaveOut => "left out",
            Verdict::Stop(_) => "stops",
        }
    };
    assert_eq!(
        POLICIES.map(|policy| say(policy, true, false)),
        ["landed"; 3]
    );
    assert_eq!(
        POLICIES.map(|policy| say(policy, false, true)),
        ["landed"; 3]
    );
    assert_eq!(
        POLICIES.map(|policy| say(policy, false, false)),
        ["landed", "left out", "stops"]
    );
}

#[test]
fn a_key_where_there_was_none_is_accepted_by_landing_everything_anew() {
    let mut keyless = before();
    keyless.key.clear();
    let (found, landed) = (found(before()), landed(keyless));
    let judge = |accepted| {
        let position = position();
        let landed = Some(&landed);
        let policy = OnSchemaChange::Evolve;
        Candidate {
            found: &found,
            landed,
            position: &position,
            policy,
            expected: false,
            accepted,
        }
        .judge()
    };
    assert!(matches!(
        judge(false),
        Verdict::Stop(ExtractError::SchemaChanged { .. })
    ));
    assert!(matches!(judge(true), Verdict::Land(admitted) if admitted.anew));
}

#[test]
fn a_column_that_comes_back_in_another_type_is_landed_anew() {
    let mut landed = landed(table(vec![column("id", DataType::Int32)]));
    landed.dropped = vec![column("name", DataType::Date32)];
    let found = found(before());
    let position = position();
    let policy = OnSchemaChange::Evolve;
    let candidate = Candidate {
        found: &found,
        landed: Some(&landed),
        position: &position,
        policy,
        expected: false,
        accepted: false,
    };
    let Verdict::Land(admitted) = candidate.judge() else {
        panic!("a column that is added is landed");
    };
    assert!(admitted.anew && admitted.dropped.is_empty());
}

#[test]
fn a_table_that_took_the_name_of_another_is_compared_and_numbers_of_another_database_say_nothing() {
    let identity = |relation, number| Identity {
        relation,
        columns: [(
            "name".to_owned(),
            ColumnIdentity {
                number,
                made_of: None,
            },
        )]
        .into(),
    };
    let mut landed = landed(before());
    landed.identity = Some(identity(16_385, 2));
    let mut found = found(before());
    let restored = Position::Postgres {
        system_identifier: Some("8".into()),
        timeline: Some(1),
        database: "totesys".into(),
        snapshot: String::new(),
        xmin: 1,
        xmax: 1,
    };
    for (now, position, expected) in [
        (identity(16_385, 2), position(), Some(None)),
        (
            identity(16_999, 2),
            position(),
            Some(Some(CompareReason::OtherTable)),
        ),
        (
            identity(16_999, 3),
            position(),
            Some(Some(CompareReason::OtherTable)),
        ),
        (identity(16_385, 3), position(), None),
        // Another system is compared anyhow, and its numbers are its own.
        (identity(16_385, 3), restored, Some(None)),
    ] {
        found.identity = Some(now.clone());
        let policy = OnSchemaChange::Reject;
        let candidate = Candidate {
            found: &found,
            landed: Some(&landed),
            position: &position,
            policy,
            expected: false,
            accepted: false,
        };
        let compare = match candidate.judge() {
            Verdict::Land(admitted) => Some(admitted.compare),
            _ => None,
        };
        assert_eq!(compare, expected, "{now:?}");
    }
}

#[test]
fn who_is_stopped_is_told_what_changed_and_how_to_go_on() {
    let mut now = before();
    now.name = TableName::new("hr.\"O'Hara staff\"");
    now.columns.truncate(1);
    let Verdict::Stop(error) = verdict(&now, OnSchemaChange::Evolve, false) else {
        panic!("a column that is dropped stops the table");
    };
    assert_eq!(error.to_string(), "its schema changed: column name dropped");
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "on_schema_change is evolve; `tidemill run --accept 'hr.\"O'\\''Hara staff\"'` goes on with the \
             table as it is now and keeps what was landed"
        )
    );
}
