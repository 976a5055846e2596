use std::collections::BTreeMap;

use chrono::DateTime;

use super::*;
use crate::contract::LoadMode;
use crate::digest::Digest;
use crate::registry::{DescribedColumn, DescribedOutput, Descriptor};

/// `key Int32 NOT NULL, name Utf8 NOT NULL, place Utf8`.
fn descriptor() -> Descriptor {
    Descriptor {
        inputs: Vec::new(),
        output: DescribedOutput {
            table: "dim_a".into(),
            mode: LoadMode::Upsert,
            primary_key: vec!["key".into()],
            columns: vec![
                column("key", "Int32", false),
                column("name", "Utf8", false),
                column("place", "Utf8", true),
            ],
        },
        properties: BTreeMap::new(),
    }
}

fn column(name: &str, data_type: &str, nullable: bool) -> DescribedColumn {
    DescribedColumn {
        name: name.into(),
        data_type: data_type.into(),
        nullable,
    }
}

/// What is said of a change of the description, and whether it breaks.
fn told(change: impl Fn(&mut Descriptor)) -> Vec<(String, bool)> {
    let mut pushed = descriptor();
    change(&mut pushed);
    let changes = changes(&descriptor(), &pushed).into_iter();
    changes
        .map(|change| (change.what, change.breaking))
        .collect()
}

#[test]
fn the_same_output_in_another_order_is_no_change() {
    assert_eq!(told(|pushed| pushed.output.columns.reverse()), []);
}

#[test]
fn a_column_that_may_be_null_can_be_added() {
    let added = told(|pushed| pushed.output.columns.push(column("new", "Date32", true)));
    assert_eq!(added, [("the column `new` is new".to_owned(), false)]);
}

#[test]
fn everything_else_breaks() {
    type Change = fn(&mut Descriptor);
    let cases: [(Change, &str); 9] = [
        (
            |d| d.output.columns.push(column("new", "Date32", false)),
            "the column `new` is new and always has a value",
        ),
        (
            |d| drop(d.output.columns.pop()),
            "the column `place` is gone",
        ),
        (
            |d| drop(d.output.columns.remove(1)),
            "the column `name` is gone",
        ),
        (
            |d| d.output.columns[2] = column("place", "Int32", true),
            "the column `place` is Int32 and was Utf8",
        ),
        (
            |d| d.output.columns[1].nullable = true,
            "the column `name` may be NULL and always had a value",
        ),
        (
            |d| d.output.columns[2].nullable = false,
            "the column `place` always has a value and could be NULL",
        ),
        (
            |d| d.output.primary_key = vec!["key".into(), "name".into()],
            "its key is (key, name) and was (key)",
        ),
        (
            |d| d.output.mode = LoadMode::Overwrite,
            "its mode is overwrite and was upsert",
        ),
        (
            |d| d.output.table = "dim_b".into(),
            "the table is `dim_b` and was `dim_a`",
        ),
    ];
    for (change, what) in cases {
        assert_eq!(told(change), [(what.to_owned(), true)]);
    }
}

fn history(versions: &[&str]) -> Vec<Promotion> {
    let promotion = |(at, version): (usize, &&str)| Promotion {
        format: 1,
        sequence: at as u64 + 1,
        name: "dim-a".into(),
        version: (*version).into(),
        digest: Digest::of(version),
        who: "ada".into(),
        when: DateTime::UNIX_EPOCH,
        why: "a test".into(),
        previous: None,
        shadow: None,
        rebuild: false,
        after: None,
    };
    versions.iter().enumerate().map(promotion).collect()
}

#[test]
fn a_rollback_of_a_rollback_goes_further_back() {
    for (promoted, left) in [
        (&["1", "2", "3"][..], &["1", "2", "3"][..]),
        (&["1", "2", "3", "2"], &["1", "2"]),
        (&["1", "2", "3", "2", "1"], &["1"]),
        (&["1", "2", "1", "3"], &["1", "3"]),
        (&["1", "2", "3", "1"], &["1", "2", "3", "1"]),
    ] {
        let history = history(promoted);
        let standing = standing(&history, "dim-a").into_iter();
        let versions: Vec<_> = standing.map(|p| p.version.as_str()).collect();
        assert_eq!(versions, left, "{promoted:?}");
    }
    assert!(standing(&history(&["1"]), "dim-b").is_empty());
}

#[test]
fn what_breaks_is_refused_unless_it_is_asked_for() {
    let mut pushed = descriptor();
    pushed.output.columns.pop();
    let changes = changes(&descriptor(), &pushed);
    let active = history(&["1.0.0"]).remove(0);
    let module = ModuleRef {
        name: "dim-a".into(),
        version: "2.0.0".into(),
        digest: Digest::of("2"),
    };
    let refused = refuse_breaking(&changes, &module, Some(&active), false).expect_err("it breaks");
    assert_eq!(
        refused.to_string(),
        "dim-a@2.0.0 makes something else than 1.0.0, which is active: the column `place` is gone: \
         it stays in the table, and new rows have NULL in it"
    );
    refuse_breaking(&changes, &module, Some(&active), true).expect("it was asked for");
}
