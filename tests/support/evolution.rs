//! The versions that facts should have, from the generator's own log of changes.
//!
//! A fact row has one version for every run in which it differs from what it was at the end of the run
//! before: also when it changed back, and when it was gone in between.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use chrono::NaiveDateTime;
use tidemill::demo::rows::{DateText, Row, Stamps};
use tidemill::demo::{Change, Day};
use tidemill::warehouse::Warehouse;

use super::star::{Rows, Star, query, trimmed};

/// A fact: its table, its serial column, and its other columns with the business key first.
struct Fact {
    table: &'static str,
    record_id: &'static str,
    columns: &'static str,
}

const FACTS: [Fact; 3] = [
    Fact {
        table: "fact_sales_order",
        record_id: "sales_record_id",
        columns: "sales_order_id, created_date, created_time, last_updated_date, last_updated_time, \
                  sales_staff_id, counterparty_id, units_sold, unit_price, currency_id, design_id, \
                  agreed_payment_date, agreed_delivery_date, agreed_delivery_location_id",
    },
    Fact {
        table: "fact_purchase_orders",
        record_id: "purchase_record_id",
        columns: "purchase_order_id, created_date, created_time, last_updated_date, last_updated_time, \
                  staff_id, counterparty_id, item_code, item_quantity, item_unit_price, currency_id, \
                  agreed_delivery_date, agreed_payment_date, agreed_delivery_location_id",
    },
    Fact {
        table: "fact_payment",
        record_id: "payment_record_id",
        columns: "payment_id, created_date, created_time, last_updated_date, last_updated_time, \
                  transaction_id, counterparty_id, payment_amount, currency_id, payment_type_id, paid, \
                  payment_date",
    },
];

/// A fact's table and the business key of one of its rows.
type Key = (&'static str, i32);

/// The facts of a totesys over several runs.
#[derive(Debug, Clone, Default)]
pub struct Evolution {
    now: BTreeMap<Key, Vec<String>>,
    at_last_run: BTreeMap<Key, Vec<String>>,
    versions: BTreeMap<Key, Vec<Vec<String>>>,
    /// How many runs there were.
    runs: usize,
    /// The numbers of the runs, from 0, that found each version.
    found_in: BTreeMap<Key, Vec<usize>>,
    /// And of those that found the row gone.
    gone_in: BTreeMap<Key, Vec<usize>>,
}

/// What became of one fact row, run by run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The fact.
    pub table: &'static str,
    /// The business key.
    pub key: i32,
    /// Its columns, the business key first.
    pub columns: Vec<&'static str>,
    /// Its versions, each with the number of the run, from 0, that found it.
    pub versions: Vec<(usize, Vec<String>)>,
    /// The runs that found it gone.
    pub gone: Vec<usize>,
}

impl Evolution {
    /// Rows that were loaded as history.
    pub fn load(&mut self, rows: &[Row]) {
        rows.iter().for_each(|row| self.set(row));
    }

    /// Everything that happened on a day.
    pub fn live(&mut self, day: &Day) {
        let changes = day.commits.iter().flat_map(|commit| &commit.changes);
        changes.for_each(|change| self.change(change));
    }

    /// One change.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Insert(row) => self.set(row),
            Change::Update { after, .. } | Change::SetNull { after, .. } => self.set(after),
            Change::Delete(row) => drop(fact_of(row).map(|(key, _)| self.now.remove(&key))),
        }
    }

    /// A run that sees everything until now.
    pub fn run(&mut self) {
        for (key, row) in &self.now {
            if self.at_last_run.get(key) != Some(row) {
                self.versions.entry(*key).or_default().push(row.clone());
                self.found_in.entry(*key).or_default().push(self.runs);
            }
        }
        for key in self.at_last_run.keys() {
            if !self.now.contains_key(key) {
                self.gone_in.entry(*key).or_default().push(self.runs);
            }
        }
        self.runs += 1;
        self.at_last_run = self.now.clone();
    }

    /// The facts as they are now, as the oracle would read them.
    pub fn current(&self) -> Star {
        let tables = FACTS.iter().map(|fact| {
            let columns = fact.columns.split(", ").map(str::to_owned).collect();
            let rows = self
                .now
                .iter()
                .filter(|((table, _), _)| *table == fact.table);
            let rows = rows.map(|(_, values)| values.clone()).collect();
            (fact.table.to_owned(), Rows::new(columns, rows))
        });
        Star {
            tables: tables.collect(),
        }
    }

    /// What became of every fact row, those with the most versions first.
    pub fn stories(&self) -> Vec<Story> {
        let stories = self.versions.iter().map(|(key, versions)| {
            let fact = FACTS.iter().find(|fact| fact.table == key.0);
            let found = self.found_in.get(key).cloned().unwrap_or_default();
            Story {
                table: key.0,
                key: key.1,
                columns: fact.map_or("", |fact| fact.columns).split(", ").collect(),
                versions: found.into_iter().zip(versions.iter().cloned()).collect(),
                gone: self.gone_in.get(key).cloned().unwrap_or_default(),
            }
        });
        let mut stories: Vec<Story> = stories.collect();
        stories.sort_by_key(|story| std::cmp::Reverse(story.versions.len()));
        stories
    }

    /// The number of versions of all facts.
    pub fn versions(&self) -> usize {
        self.versions.values().map(Vec::len).sum()
    }

    /// Fails, with the first difference, unless the facts of `warehouse` have exactly these versions in
    /// exactly this order.
    ///
    /// # Errors
    /// The first fact row whose versions differ, or what could not be read.
    pub async fn check(&self, warehouse: &dyn Warehouse) -> Result<()> {
        for fact in &FACTS {
            let sql = format!(
                "SELECT {} FROM {} ORDER BY {}",
                fact.columns, fact.table, fact.record_id
            );
            let mut found: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
            for row in query(warehouse, &sql).await? {
                found
                    .entry(row.first().cloned().unwrap_or_default())
                    .or_default()
                    .push(row);
            }
            for ((_, key), expected) in self
                .versions
                .iter()
                .filter(|((table, _), _)| *table == fact.table)
            {
                let versions = found.remove(&key.to_string()).unwrap_or_default();
                ensure!(
                    versions == *expected,
                    "{} {key} has the versions\n{}\nexpected\n{}",
                    fact.table,
                    lines(&versions),
                    lines(expected)
                );
            }
            ensure!(
                found.is_empty(),
                "{} has rows of unknown keys {:?}",
                fact.table,
                found.keys()
            );
        }
        Ok(())
    }

    fn set(&mut self, row: &Row) {
        if let Some((key, values)) = fact_of(row) {
            match values {
                Some(values) => drop(self.now.insert(key, values)),
                // Its date is none: it is refused, and absent until it is mended.
                None => drop(self.now.remove(&key)),
            }
        }
    }
}

fn lines(versions: &[Vec<String>]) -> String {
    let lines: Vec<String> = versions
        .iter()
        .map(|row| format!("  {}", row.join(" | ")))
        .collect();
    lines.join("\n")
}

/// The key of a fact row and its values in the order of [`FACTS`]; `None` when the row is no fact, values
/// `None` when a date of it is none.
fn fact_of(row: &Row) -> Option<(Key, Option<Vec<String>>)> {
    Some(match row {
        Row::SalesOrder(order) => (
            ("fact_sales_order", order.sales_order_id),
            dated([&order.agreed_payment_date, &order.agreed_delivery_date]).map(
                |[payment, delivery]| {
                    let mut values = vec![order.sales_order_id.to_string()];
                    values.extend(stamps(order.stamps));
                    values.extend([
                        order.staff_id.to_string(),
                        order.counterparty_id.to_string(),
                        order.units_sold.to_string(),
                        order.unit_price.to_string(),
                        order.currency_id.to_string(),
                        order.design_id.to_string(),
                        payment,
                        delivery,
                        order.agreed_delivery_location_id.to_string(),
                    ]);
                    values
                },
            ),
        ),
        Row::PurchaseOrder(order) => (
            ("fact_purchase_orders", order.purchase_order_id),
            dated([&order.agreed_delivery_date, &order.agreed_payment_date]).map(
                |[delivery, payment]| {
                    let mut values = vec![order.purchase_order_id.to_string()];
                    values.extend(stamps(order.stamps));
                    values.extend([
                        order.staff_id.to_string(),
                        order.counterparty_id.to_string(),
                        order.item_code.clone(),
                        order.item_quantity.to_string(),
                        order.item_unit_price.to_string(),
                        order.currency_id.to_string(),
                        delivery,
                        payment,
                        order.agreed_delivery_location_id.to_string(),
                    ]);
                    values
                },
            ),
        ),
        Row::Payment(payment) => (
            ("fact_payment", payment.payment_id),
            dated([&payment.payment_date]).map(|[date]| {
                let mut values = vec![payment.payment_id.to_string()];
                values.extend(stamps(payment.stamps));
                values.extend([
                    payment.transaction_id.to_string(),
                    payment.counterparty_id.to_string(),
                    payment.payment_amount.to_string(),
                    payment.currency_id.to_string(),
                    payment.payment_type_id.to_string(),
                    payment.paid.to_string(),
                    date,
                ]);
                values
            }),
        ),
        _ => return None,
    })
}

fn stamps(stamps: Stamps) -> [String; 4] {
    let date = |at: NaiveDateTime| at.date().to_string();
    let time = |at: NaiveDateTime| trimmed(&at.format("%H:%M:%S%.6f").to_string());
    [
        date(stamps.created_at),
        time(stamps.created_at),
        date(stamps.last_updated),
        time(stamps.last_updated),
    ]
}

fn dated<const N: usize>(dates: [&DateText; N]) -> Option<[String; N]> {
    let are_dates = dates.iter().all(|date| matches!(date, DateText::Date(_)));
    are_dates.then(|| dates.map(ToString::to_string))
}
