//! How the output of a version differs from that of the active one, and what the warehouses do about it.

use serde::Serialize;

use crate::registry::{DescribedColumn, DescribedOutput, Descriptor};

/// A difference between what two versions make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputChange {
    /// "the column `location` is new".
    pub what: String,
    /// What the warehouse does about it when the version is used.
    pub consequence: String,
    /// Whether it must be asked for.
    pub breaking: bool,
}

/// How the output of a version differs from that of the active one, and what the warehouses do about it: see
/// `match_columns` and `unfilled` of PostgreSQL, `merge` and `check_identity` of Delta.
pub(super) fn changes(active: &Descriptor, pushed: &Descriptor) -> Vec<OutputChange> {
    const REFUSED: &str = "the warehouse refuses to load it into the table that is there";
    let (was, is) = (&active.output, &pushed.output);
    let mut changes = Vec::new();
    let mut broken = |what: String, consequence: &str| {
        changes.push(OutputChange {
            what,
            consequence: consequence.to_owned(),
            breaking: true,
        });
    };
    if was.table != is.table {
        broken(
            format!("the table is `{}` and was `{}`", is.table, was.table),
            "the old table stays as it is, and the project file must name the new one",
        );
    }
    if was.mode != is.mode {
        broken(
            format!("its mode is {} and was {}", is.mode, was.mode),
            REFUSED,
        );
    }
    if was.primary_key != is.primary_key {
        let (is, was) = (is.primary_key.join(", "), was.primary_key.join(", "));
        broken(format!("its key is ({is}) and was ({was})"), REFUSED);
    }
    if active.properties != pushed.properties {
        broken(
            "its properties are others".into(),
            "the numbers of versions or the view of the table may be others, or the load is refused",
        );
    }
    changes.extend(was.columns.iter().filter_map(|column| changed(column, is)));
    changes.extend(is.columns.iter().filter_map(|column| added(column, was)));
    changes
}

/// How a column of the active version differs in the pushed one.
fn changed(was: &DescribedColumn, output: &DescribedOutput) -> Option<OutputChange> {
    let name = &was.name;
    let (what, consequence) = match output.columns.iter().find(|column| column.name == *name) {
        None if was.nullable => (
            format!("the column `{name}` is gone"),
            "it stays in the table, and new rows have NULL in it",
        ),
        None => (
            format!("the column `{name}` is gone"),
            "PostgreSQL lets it be NULL from then on, Delta refuses the load",
        ),
        Some(is) if is.data_type != was.data_type => (
            format!(
                "the column `{name}` is {} and was {}",
                is.data_type, was.data_type
            ),
            "the warehouse refuses the load, unless its column holds both exactly",
        ),
        Some(is) if is.nullable && !was.nullable => (
            format!("the column `{name}` may be NULL and always had a value"),
            "the warehouse refuses NULL in the table that is there",
        ),
        Some(is) if !is.nullable && was.nullable => (
            format!("the column `{name}` always has a value and could be NULL"),
            "rows that are there keep their NULL",
        ),
        Some(_) => return None,
    };
    Some(OutputChange {
        what,
        consequence: consequence.to_owned(),
        breaking: true,
    })
}

/// A column that the active version does not have.
fn added(is: &DescribedColumn, output: &DescribedOutput) -> Option<OutputChange> {
    if output.columns.iter().any(|column| column.name == is.name) {
        return None;
    }
    let (kind, consequence) = match is.nullable {
        true => (
            "",
            "the warehouse adds it; rows that are there have NULL in it",
        ),
        false => (
            " and always has a value",
            "PostgreSQL adds it but lets it be NULL, for rows that are there have no value; Delta refuses the load",
        ),
    };
    Some(OutputChange {
        what: format!("the column `{}` is new{kind}", is.name),
        consequence: consequence.to_owned(),
        breaking: !is.nullable,
    })
}
