//! Lists, structs and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields};
use serde_json::value::RawValue;

use super::{Fault, array, column, each, is_null};

/// The items of lists, all of them one after the other, how many each list has, and which lists there are.
struct Items {
    items: Vec<String>,
    /// Which row each item belongs to.
    rows: Vec<usize>,
    lengths: Vec<usize>,
    nulls: NullBuffer,
}

impl Items {
    fn of(cells: &[&str]) -> Result<Self, Fault> {
        let lists = each(cells, |cell| {
            let items: Vec<Box<RawValue>> =
                serde_json::from_str(cell).map_err(|_| format!("{cell} is no list"))?;
            Ok(items)
        })?;
        let mut found = Self {
            items: Vec::new(),
            rows: Vec::new(),
            lengths: lists
                .iter()
                .map(|list| list.as_ref().map_or(0, Vec::len))
                .collect(),
            nulls: lists.iter().map(Option::is_some).collect(),
        };
        for (row, item) in lists.iter().enumerate().flat_map(|(row, list)| {
            let items = list.iter().flatten();
            items.map(move |item| (row, item))
        }) {
            found.items.push(item.get().to_owned());
            found.rows.push(row);
        }
        Ok(found)
    }

    fn nulls(&self) -> Option<NullBuffer> {
        (self.nulls.null_count() > 0).then(|| self.nulls.clone())
    }

    fn column(&self, field: &Field) -> Result<ArrayRef, Fault> {
        let items: Vec<&str> = self.items.iter().map(String::as_str).collect();
        // A fault of an item is one of its row.
        column(field, &items).map_err(|fault| Fault {
            row: self.rows.get(fault.row).copied().unwrap_or_default(),
            message: fault.message,
        })
    }
}

fn whole(error: &ArrowError) -> Fault {
    Fault {
        row: 0,
        message: error.to_string(),
    }
}

pub(super) fn list<O: OffsetSizeTrait>(item: &FieldRef, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let items = Items::of(cells)?;
    let values = items.column(item)?;
    let offsets = OffsetBuffer::from_lengths(items.lengths.iter().copied());
    let list = GenericListArray::<O>::try_new(item.clone(), offsets, values, items.nulls());
    Ok(Arc::new(list.map_err(|error| whole(&error))?))
}

pub(super) fn fixed_list(item: &FieldRef, size: i32, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let items = Items::of(cells)?;
    let length = usize::try_from(size).unwrap_or_default();
    let mut filled = Vec::new();
    let mut left = items.items.iter();
    for (row, found) in items.lengths.iter().enumerate() {
        if items.nulls.is_null(row) {
            // What lies beneath a list that is NULL is nothing, and takes its place all the same.
            filled.extend(std::iter::repeat_n("null".to_owned(), length));
            continue;
        }
        if *found != length {
            let message = format!("it has {found} items, and the list has {length}");
            return Err(Fault { row, message });
        }
        filled.extend(left.by_ref().take(length).cloned());
    }
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    let values = array(item.data_type(), &filled)?;
    let list = FixedSizeListArray::try_new(item.clone(), size, values, items.nulls());
    Ok(Arc::new(list.map_err(|error| whole(&error))?))
}

pub(super) fn structs(fields: &Fields, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let objects = each(cells, |cell| {
        let object: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(cell).map_err(|_| format!("{cell} is no object"))?;
        match object
            .keys()
            .find(|name| !fields.iter().any(|field| field.name() == *name))
        {
            Some(stranger) => Err(format!("there is no part {stranger}")),
            None => Ok(object),
        }
    })?;
    let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
    let mut parts = Vec::new();
    for field in fields {
        let mut cells = Vec::new();
        for (row, object) in objects.iter().enumerate() {
            let part = object.as_ref().map(|object| object.get(field.name()));
            cells.push(match part {
                None => "null",
                Some(Some(part)) if field.is_nullable() || !is_null(part.get()) => part.get(),
                Some(_) => {
                    let message = format!("the part {} is missing", field.name());
                    return Err(Fault { row, message });
                }
            });
        }
        parts.push(array(field.data_type(), &cells)?);
    }
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let made = StructArray::try_new(fields.clone(), parts, nulls);
    Ok(Arc::new(made.map_err(|error| whole(&error))?))
}

/// A map is a list of pairs.
pub(super) fn map(entries: &FieldRef, sorted: bool, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let DataType::Struct(fields) = entries.data_type() else {
        let message = "the map has no entries".to_owned();
        return Err(Fault { row: 0, message });
    };
    let items = Items::of(cells)?;
    let mut columns = vec![Vec::new(); fields.len()];
    for (item, row) in items.items.iter().zip(&items.rows) {
        let pair: Vec<Box<RawValue>> = serde_json::from_str(item).unwrap_or_default();
        if pair.len() != columns.len() {
            let message = format!("{item} is no pair of a key and a value");
            return Err(Fault { row: *row, message });
        }
        for (column, part) in columns.iter_mut().zip(pair) {
            column.push(part.get().to_owned());
        }
    }
    let mut parts = Vec::new();
    for (field, cells) in fields.iter().zip(&columns) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let part = column(field, &cells).map_err(|fault| Fault {
            row: items.rows.get(fault.row).copied().unwrap_or_default(),
            message: fault.message,
        });
        parts.push(part?);
    }
    let pairs = StructArray::try_new(fields.clone(), parts, None).map_err(|error| whole(&error))?;
    let offsets = OffsetBuffer::from_lengths(items.lengths.iter().copied());
    let made = MapArray::try_new(entries.clone(), offsets, pairs, items.nulls(), sorted);
    Ok(Arc::new(made.map_err(|error| whole(&error))?))
}
