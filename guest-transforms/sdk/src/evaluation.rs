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
    /// By row, up to the last one that is refused. A map was rejected: where every row of a batch is refused, it
    /// costs more than the reasons themselves.
    reasons: Vec<Option<Reason>>,
}

impl Refusals {
    /// Refuses a row of the batch, unless it is refused already: the first reason stands, and no other is worked
    /// out.
    pub fn refuse(&mut self, row: usize, reason: impl FnOnce() -> Reason) {
        if row >= self.reasons.len() {
            self.reasons.resize_with(row + 1, || None);
        }
        if let Some(slot) = self.reasons.get_mut(row) {
            slot.get_or_insert_with(reason);
        }
    }

    /// The positions of the rows that go on; `None` when all do.
    pub(crate) fn kept(&self, rows: usize) -> Option<UInt32Array> {
        if self.reasons.is_empty() {
            return None;
        }
        let refused = |row: &usize| self.reasons.get(*row).is_some_and(Option::is_some);
        let kept = (0..rows).filter(|row| !refused(row));
        Some(kept.map(|row| row as u32).collect::<Vec<_>>().into())
    }

    /// The refused rows in their order.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (usize, Reason)> {
        let reasons = self.reasons.into_iter().enumerate();
        reasons.filter_map(|(row, reason)| Some((row, reason?)))
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
            let why = self.why_null(rule, target)?;
            for row in (0..values.len()).filter(|row| nulls.is_null(*row)) {
                self.refusals.refuse(row, || why.reason(row));
            }
        }
        Ok(values)
    }

    /// Why rows have no value of a rule, with all that is the same for every row worked out once.
    fn why_null(&mut self, rule: &Rule, target: &str) -> Result<WhyNull, Failure> {
        match rule {
            Rule::Computed { from, .. } => self.why_null(from, target),
            Rule::Input { .. } => Ok(WhyNull::Missing(missing(rule, target))),
            Rule::Joined { join, .. } => {
                let Found { keys, positions } = self.find(join)?;
                Ok(WhyNull::Joined {
                    no_key: Box::new(self.why_null(&join.key, target)?),
                    before_key: format!("{} is ", join.key.origin()),
                    after_key: format!(", and {} has no such row", join.table.table),
                    keys,
                    positions,
                    no_value: missing(rule, target),
                })
            }
        }
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

/// Why the rows of a batch have no value in a column that must have one.
enum WhyNull {
    /// The value itself is NULL, with the message.
    Missing(String),
    /// The value should come from another table.
    Joined {
        /// The key to find it by is NULL.
        no_key: Box<WhyNull>,
        /// The message when the table has no row of a key, but for the key in the middle.
        before_key: String,
        after_key: String,
        keys: ArrayRef,
        positions: UInt32Array,
        /// The message when it has the row, and NULL in it.
        no_value: String,
    },
}

impl WhyNull {
    fn reason(&self, row: usize) -> Reason {
        match self {
            Self::Missing(message) => Reason::new(Reason::MISSING_VALUE, message.clone()),
            Self::Joined { no_key, keys, .. } if keys.is_null(row) => no_key.reason(row),
            Self::Joined {
                before_key,
                after_key,
                keys,
                positions,
                ..
            } if positions.is_null(row) => {
                let key = written(keys, row);
                let message = [before_key.as_str(), &key, after_key].concat();
                Reason::new(Reason::NO_MATCH, message)
            }
            Self::Joined { no_value, .. } => Reason::new(Reason::MISSING_VALUE, no_value.clone()),
        }
    }
}

fn missing(rule: &Rule, target: &str) -> String {
    format!("{} is NULL, and {target} must have a value", rule.origin())
}

/// A key as messages show it.
fn written(keys: &ArrayRef, row: usize) -> String {
    match keys.data_type() {
        DataType::Int32 => keys.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => keys.as_primitive::<Int64Type>().value(row).to_string(),
        _ => keys
            .as_string_opt::<i32>()
            .map_or_else(String::new, |texts| quoted(texts.value(row))),
    }
}
