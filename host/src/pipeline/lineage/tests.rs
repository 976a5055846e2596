use super::*;
use crate::contract::{Delivery, Role};
use crate::registry::{DescribedColumn, DescribedInput, DescribedOutput};

fn column(name: &str) -> DescribedColumn {
    DescribedColumn {
        name: name.into(),
        data_type: "Int32".into(),
        nullable: false,
    }
}

fn descriptor(mode: LoadMode, properties: &[(&str, &str)]) -> Descriptor {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Descriptor {
        inputs: vec![DescribedInput {
            table: "sales".into(),
            delivery: Delivery::Changes,
            role: Role::Streamed,
            key: vec!["id".into()],
            columns: vec![column("id"), column("units")],
        }],
        output: DescribedOutput {
            table: "fact".into(),
            mode,
            primary_key: vec!["id".into()],
            columns: vec![column("id"), column("units_sold")],
        },
        properties: properties.iter().map(text).collect(),
    }
}

fn lineage(mode: LoadMode, properties: &[(&str, &str)]) -> TableLineage {
    let descriptor = descriptor(mode, properties);
    let module = ModuleRef {
        name: "fact".into(),
        version: "1.0.0".into(),
        digest: Digest::of("fact"),
    };
    let maker = Maker {
        inputs: vec![InputLineage {
            table: "sales".into(),
            role: Role::Streamed,
            delivery: Delivery::Changes,
            key: vec!["id".into()],
            columns: ["id", "units"]
                .map(|name| SourceField {
                    name: name.into(),
                    data_type: "Int32".into(),
                    sensitive: false,
                })
                .into(),
        }],
        ..Maker::of(module, "shop".into())
    };
    TableLineage {
        table: "fact".into(),
        mode,
        columns: columns("fact", &maker, &descriptor),
        views: views("fact", &descriptor),
        makers: vec![maker],
        next: None,
    }
}

#[test]
fn a_column_may_hold_whatever_its_module_was_given_and_nothing_else() {
    let table = lineage(LoadMode::AppendVersions, &[]);
    let all = ["shop.sales.id", "shop.sales.units"];
    let found: Vec<_> = table
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.origin, c.from.len()))
        .collect();
    let (first, rest) = found.split_at(3);
    assert_eq!(
        first,
        [
            ("fact_record_id", Origin::RecordId, 0),
            ("id", Origin::Module, 2),
            ("units_sold", Origin::Module, 2),
        ]
    );
    assert!(
        rest.iter()
            .all(|(_, origin, from)| *origin == Origin::Provenance && *from == 0)
    );
    assert_eq!(rest.len(), PROVENANCE.len());
    assert_eq!(table.columns[2].from, all);
    assert_eq!(table.columns.iter().filter(|c| c.key).count(), 1);
}

#[test]
fn every_mode_has_its_columns_and_views() {
    let names = |table: &TableLineage| -> Vec<String> {
        table.views.iter().map(|view| view.name.clone()).collect()
    };
    let versions = lineage(
        LoadMode::AppendVersions,
        &[("alias", "facts"), ("record-id", "nr")],
    );
    assert_eq!(names(&versions), ["fact_current", "facts", "facts_current"]);
    assert_eq!(versions.columns[0].name, "nr");
    let scd2 = lineage(LoadMode::Scd2, &[]);
    assert_eq!(names(&scd2), ["fact_current"]);
    assert!(scd2.columns.iter().any(|c| c.origin == Origin::Validity));
    assert!(names(&lineage(LoadMode::Upsert, &[])).is_empty());
}

#[test]
fn a_table_is_found_by_its_views_and_a_column_by_its_table() {
    let tables = || vec![lineage(LoadMode::AppendVersions, &[("alias", "odd.name")])];
    for (wanted, columns) in [
        ("fact", 9),
        ("fact_current", 9),
        ("odd.name", 9),
        ("odd.name.units_sold", 1),
        ("fact_current.units_sold", 1),
    ] {
        let found = picked(tables(), wanted).expect(wanted);
        assert_eq!(
            (found.table.as_str(), found.columns.len()),
            ("fact", columns),
            "{wanted}"
        );
    }
    for (wanted, told, hint) in [
        (
            "fakt",
            "the project makes no table `fakt`",
            "did you mean `fact`?",
        ),
        (
            "fact.units_sole",
            "the table `fact` has no column `units_sole`",
            "did you mean `units_sold`?",
        ),
        (
            "zzz",
            "the project makes no table `zzz`",
            "tables and views: fact, fact_current, odd.name, odd.name_current",
        ),
    ] {
        use crate::error::Classify as _;
        let error = picked(tables(), wanted).expect_err(wanted);
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_deref()),
            (told, Some(hint))
        );
    }
}
