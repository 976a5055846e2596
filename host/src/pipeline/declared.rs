//! Whether what a module declared of a table is what is landed: asked before a row of it is read.

use super::inputs::{InputError, can_become};
use crate::contract::{Delivery, Input};
use crate::manifest::LandedTable;
use crate::table::{Column, Table};

/// Checks an input against the table as of one landing.
///
/// A column that has never been landed is NULL where the module allows that; one that is gone never is, for
/// its module would take an empty column for the truth.
///
/// # Errors
/// `Config` when the module cannot be given what it declared.
pub(super) fn check(input: &Input, landed: &LandedTable) -> Result<(), InputError> {
    check_columns(input, &landed.table, &landed.dropped)?;
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let key = &landed.table.key;
    if input.delivery == Delivery::Changes && !key.is_empty() && sorted(key) != sorted(&input.key) {
        return Err(InputError::OtherKey {
            table: input.table.clone(),
            declared: input.key.join(", "),
            landed: key.join(", "),
        });
    }
    Ok(())
}

/// Checks the columns of an input against those of `table`; `dropped` are those that it does not have any more.
///
/// # Errors
/// As [`check`].
pub(super) fn check_columns(
    input: &Input,
    table: &Table,
    dropped: &[Column],
) -> Result<(), InputError> {
    let is_dropped = |name: &str| dropped.iter().any(|column| column.name == *name);
    for field in input.schema.fields() {
        let (table_name, column) = (input.table.clone(), field.name().clone());
        match table.column(&column) {
            None if is_dropped(&column) => {
                return Err(InputError::Dropped {
                    table: table_name,
                    column,
                });
            }
            None if !field.is_nullable() => {
                return Err(InputError::NoColumn {
                    table: table_name,
                    column,
                });
            }
            Some(landed) if !can_become(&landed.data_type, field.data_type()) => {
                return Err(InputError::Type {
                    table: table_name,
                    column,
                    declared: field.data_type().clone(),
                    landed: landed.data_type.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
