//! Works out the rules of a table for one batch.

use std::collections::BTreeMap;
use std::rc::Rc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::DataType;

use crate::column::{Rule, column};
use crate::failure::{Failure, Reason, quoted};
use crate::gather::gather;
use crate::lookup::{Join, Lookup};

/// The rows of a batch that are refused, each with its first reason.
#[derive(Debug, Default)]
pub struct Refusals {
    reasons: BTreeMap<usize, Reason>,
}

impl Refusals {
    /// Refuses a row of the batch, unless it is refused already: the first reason stands.
    pub fn refuse(&mut self, row: usize, reason: impl FnOnce() -> Reason) {
        self.reasons.entry(row).or_insert_with(reason);
    }

    /// The positions of the rows that go on; `None` when all do.
    pub(crate) fn kept(&self, rows: usize) -> Option<UInt32Array> {
        if self.reasons.is_empty() {
            return None;
        }
        let mut refused = self.reasons.keys().copied().peekable();
        let kept = (0..rows).filter(|row| refused.next_if_eq(row).is_none());
        Some(kept.map(|row| row as u32).collect::<Vec<_>>().into())
    }

    /// The refused rows in their order.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (usize, Reason)> {
        self.reasons.into_iter()
    }
}

/// One batch of the streamed input, on its way to rows of the output.
pub(crate) struct Evaluation<'a> {
    rows: &'a RecordBatch,
    lookups: &'a BTreeMap<String, Lookup>,
    /// What each join found, so that several columns of a joined table cost one search.
    found: Vec<(Rc<Join>, Found)>,
    pub(crate) refusals: Refusals,
}

#[derive(Clone)]
struct Found {
    keys: ArrayRef,
    positions: UInt32Array,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(rows: &'a RecordBatch, lookups: &'a BTreeMap<String, Lookup>) -> Self {
        Self {
            rows,
            lookups,
            found: Vec::new(),
            refusals: Refusals::default(),
        }
    }

    /// The values of a rule.
    pub(crate) fn values(&mut self, rule: &Rule) -> Result<ArrayRef, Failure> {
        match rule {
            Rule::Input { field, .. } => column(self.rows, field).cloned(),
            Rule::Joined { join, field } => {
                let found = self.find(join)?;
                let rows = self.lookup(join)?.rows()?;
                gather(column(rows, field)?, &found.positions)
            }
            Rule::Computed { from, compute, .. } => {
                let values = self.values(from)?;
                compute(&values, &from.origin(), &mut self.refusals)
            }
        }
    }

    /// The values of a rule for a column that must have one in every row: rows without are refused.
    pub(crate) fn required(&mut self, rule: &Rule, target: &str) -> Result<ArrayRef, Failure> {
        let values = self.values(rule)?;
        if let Some(nulls) = values.nulls().filter(|nulls| nulls.null_count() > 0) {
            for row in (0..values.len()).filter(|row| nulls.is_null(*row)) {
                let reason = self.why_null(rule, row, target)?;
                self.refusals.refuse(row, || reason);
            }
        }
        Ok(values)
    }

    fn why_null(&mut self, rule: &Rule, row: usize, target: &str) -> Result<Reason, Failure> {
        if let Rule::Computed { from, .. } = rule {
            return self.why_null(from, row, target);
        }
        if let Rule::Joined { join, .. } = rule {
            let found = self.find(join)?;
            if found.keys.is_null(row) {
                return self.why_null(&join.key, row, target);
            }
            if found.positions.is_null(row) {
                return Ok(no_match(join, &found.keys, row));
            }
        }
        Ok(Reason::new(
            Reason::MISSING_VALUE,
            format!("{} is NULL, and {target} must have a value", rule.origin()),
        ))
    }

    fn find(&mut self, join: &Rc<Join>) -> Result<Found, Failure> {
        if let Some((_, found)) = self.found.iter().find(|(known, _)| Rc::ptr_eq(known, join)) {
            return Ok(found.clone());
        }
        let keys = self.values(&join.key)?;
        let positions = self.lookup(join)?.find(&keys)?;
        let found = Found { keys, positions };
        self.found.push((join.clone(), found.clone()));
        Ok(found)
    }

    fn lookup(&self, join: &Join) -> Result<&'a Lookup, Failure> {
        self.lookups.get(&join.table.table).ok_or_else(|| {
            Failure::new(
                "call-order",
                format!("{} has not arrived", join.table.table),
            )
        })
    }
}

fn no_match(join: &Join, keys: &ArrayRef, row: usize) -> Reason {
    let key = match keys.data_type() {
        DataType::Int32 => keys.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => keys.as_primitive::<Int64Type>().value(row).to_string(),
        _ => keys
            .as_string_opt::<i32>()
            .map_or_else(String::new, |texts| quoted(texts.value(row))),
    };
    Reason::new(
        Reason::NO_MATCH,
        format!(
            "{} is {key}, and {} has no such row",
            join.key.origin(),
            join.table.table
        ),
    )
}
