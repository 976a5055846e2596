use super::*;
use crate::config::OnSchemaChange;
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::pipeline::report::PlannedSchema;
use crate::table::SchemaChange;
use crate::watermark::{CompareReason, Window};

fn table(name: &str, window: Option<Window>) -> PlannedTable {
    PlannedTable {
        source: "totesys".into(),
        table: name.into(),
        window,
        key: vec!["staff_id".into()],
        rows_estimate: Some(9_845),
        as_text: vec![],
        changed: None,
        schema: None,
    }
}

fn added(column: &str) -> SchemaChange {
    SchemaChange::ColumnAdded {
        column: column.into(),
        source_type: "int4range".into(),
        renamed_from: None,
    }
}

fn schema(policy: OnSchemaChange, action: SchemaAction) -> PlannedSchema {
    PlannedSchema {
        policy,
        action,
        changes: vec![],
        ignored: vec![],
        anew: false,
        hint: None,
    }
}

fn compared() -> Option<Window> {
    let reason = CompareReason::SchemaChanged;
    Some(Window::Compare { reason })
}

fn sources() -> Vec<PlannedTable> {
    let widened = SchemaChange::ColumnWidened {
        column: "price".into(),
        before: "numeric(10,2)".into(),
        after: "numeric(12,4)".into(),
    };
    let dropped = SchemaChange::ColumnDropped {
        column: "name".into(),
        renamed_to: Some("full_name".into()),
    };
    let as_text = (
        "badge".into(),
        "int4range".into(),
        "Arrow has no ranges".into(),
    );
    vec![
        table("as_it_was", Some(Window::Snapshot { xmin: 745 })),
        PlannedTable {
            changed: Some("new table".into()),
            schema: Some(PlannedSchema {
                changes: vec![SchemaChange::TableAdded],
                ..schema(OnSchemaChange::Evolve, SchemaAction::Land)
            }),
            ..table("comes_first", Some(Window::First))
        },
        PlannedTable {
            as_text: vec![as_text],
            changed: Some("column badge (int4range) added, column price widened".into()),
            schema: Some(PlannedSchema {
                changes: vec![added("badge"), widened],
                anew: true,
                ..schema(OnSchemaChange::Evolve, SchemaAction::Land)
            }),
            ..table("evolves", compared())
        },
        PlannedTable {
            schema: Some(PlannedSchema {
                ignored: vec![added("badge")],
                ..schema(OnSchemaChange::Freeze, SchemaAction::Land)
            }),
            ..table("frozen", Some(Window::Snapshot { xmin: 745 }))
        },
        PlannedTable {
            changed: Some(dropped.to_string()),
            schema: Some(PlannedSchema {
                changes: vec![dropped],
                hint: Some("`tidemill run --accept stops` goes on".into()),
                ..schema(OnSchemaChange::Reject, SchemaAction::Stop)
            }),
            ..table("stops", None)
        },
        PlannedTable {
            key: vec![],
            rows_estimate: None,
            schema: Some(PlannedSchema {
                ignored: vec![SchemaChange::TableAdded],
                hint: Some("name it in `include`".into()),
                ..schema(OnSchemaChange::Freeze, SchemaAction::LeaveOut)
            }),
            ..table("unknown", None)
        },
    ]
}

fn report() -> PlanReport {
    PlanReport {
        sources: sources(),
        secrets: [
            ("source.totesys.url", "the environment variable TOTESYS_URL"),
            (
                "warehouse.url",
                "the AWS secret star#user and the AWS secret star#password",
            ),
        ]
        .map(|(setting, from)| PlannedSecret {
            setting: setting.into(),
            from: from.into(),
        })
        .into(),
        transforms: vec![PlannedTransform {
            table: "dim_staff".into(),
            requested: "dim-staff@1".into(),
            module: Some(ModuleRef {
                name: "dim-staff".into(),
                version: "1.0.0".into(),
                digest: Digest::of("module"),
            }),
            inputs: vec![("staff".into(), vec!["staff_id".into(), "first_name".into()])],
            pending: 2,
            changed: None,
            grants: [
                ("totesys.staff.email_address", GrantState::Used),
                ("totesys.staff.phone", GrantState::Missing),
                ("totesys.staff.salary", GrantState::Unused),
                ("totesys.staff.first_name", GrantState::NotSensitive),
                ("totesys.department.manager", GrantState::Unknown),
            ]
            .map(|(column, state)| PlannedGrant {
                column: column.into(),
                state,
            })
            .into(),
        }],
        warnings: vec!["staff_view has no key".into()],
    }
}

#[test]
fn a_plan_says_how_why_and_what_is_seen() {
    insta::assert_snapshot!(told(&report(), Paint::new(false)));
}

#[test]
fn a_plan_as_json_keeps_its_schema() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&report()).expect("JSON"));
}

#[test]
fn what_is_left_out_again_and_again_is_nothing_new() {
    let mut report = report();
    report.transforms.clear();
    assert!(report.has_changes());
    report
        .sources
        .retain(|table| ["as_it_was", "frozen", "unknown"].contains(&&*table.table));
    assert!(!report.has_changes());
}
