//! The model against a mirror of the database that checks what the schema would check.

use std::collections::{BTreeMap, BTreeSet};

use super::super::rows::{DateText, Value};
use super::*;

/// The database that the commits would make.
#[derive(Default)]
struct Mirror(BTreeMap<(Table, i32), Row>);

impl Mirror {
    fn load(&mut self, model: &mut Totesys) {
        while let Some(rows) = model.next_of_history() {
            for row in rows {
                self.apply(&Change::Insert(row));
            }
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Insert(row) => {
                let known = self.0.insert((row.table(), row.key()), row.clone());
                assert_eq!(known, None, "a key is entered twice");
                self.check_references(row);
            }
            Change::Update { before, after } | Change::SetNull { before, after } => {
                let known = self.0.insert((after.table(), after.key()), after.clone());
                assert_eq!(
                    known.as_ref(),
                    Some(before),
                    "an update knows what it changes"
                );
                assert_ne!(before, after, "an update changes something");
                self.check_references(after);
            }
            Change::Delete(row) => {
                let known = self.0.remove(&(row.table(), row.key()));
                assert_eq!(
                    known.as_ref(),
                    Some(row),
                    "a delete knows what it takes away"
                );
            }
        }
    }

    fn check_references(&self, row: &Row) {
        let parents = row
            .table()
            .columns()
            .iter()
            .zip(row.values())
            .skip(1)
            .filter_map(|((column, _), value)| Some((parent_of(column)?, value)));
        for (parent, value) in parents {
            match value {
                Value::Null => {}
                Value::Int(key) => assert!(
                    self.0.contains_key(&(parent, key)),
                    "{row:?} has no {parent:?}"
                ),
                other => panic!("{other:?} is no key"),
            }
        }
    }

    /// What the foreign keys and the unique constraints say of the whole database.
    fn check_everything(&self) {
        let mut unique = BTreeSet::new();
        for row in self.0.values() {
            self.check_references(row);
            for ((column, _), value) in row.table().columns().iter().zip(row.values()) {
                let is_unique = matches!(
                    (row.table(), *column),
                    (Table::Transaction, "sales_order_id" | "purchase_order_id")
                        | (Table::Payment, "transaction_id")
                );
                if is_unique && value != Value::Null {
                    assert!(
                        unique.insert((row.table(), *column, value.to_string())),
                        "{row:?}"
                    );
                }
            }
        }
    }

    fn count(&self, table: Table) -> usize {
        self.0.keys().filter(|(of, _)| *of == table).count()
    }
}

fn parent_of(column: &str) -> Option<Table> {
    Some(match column {
        "legal_address_id" | "agreed_delivery_location_id" => Table::Address,
        "department_id" => Table::Department,
        "design_id" => Table::Design,
        "staff_id" => Table::Staff,
        "counterparty_id" => Table::Counterparty,
        "currency_id" => Table::Currency,
        "sales_order_id" => Table::SalesOrder,
        "purchase_order_id" => Table::PurchaseOrder,
        "transaction_id" => Table::Transaction,
        "payment_type_id" => Table::PaymentType,
        _ => return None,
    })
}

fn company(seed: u64, oddities: &[Oddity]) -> Totesys {
    Totesys::new(Options {
        seed,
        scale: 1.0,
        history_days: 20,
        oddities: oddities.to_vec(),
    })
}

#[test]
fn the_default_history_has_the_size_of_the_real_thing() {
    let mut mirror = Mirror::default();
    mirror.load(&mut Totesys::new(Options::default()));
    mirror.check_everything();
    let near = |table, expected: usize| {
        let count = mirror.count(table);
        assert!(
            count.abs_diff(expected) * 20 < expected,
            "{count} {table:?}"
        );
    };
    near(Table::SalesOrder, 9_845);
    near(Table::PurchaseOrder, 4_114);
    near(Table::Design, 424);
    assert_eq!(
        mirror.count(Table::Transaction),
        mirror.count(Table::Payment)
    );
    let small = [
        Table::Address,
        Table::Counterparty,
        Table::Staff,
        Table::Department,
    ];
    assert_eq!(small.map(|table| mirror.count(table)), [30, 20, 20, 8]);
}

#[test]
fn the_same_seed_gives_the_same_company_and_another_seed_another() {
    let lived = |seed| {
        let mut company = company(seed, &Oddity::ALL);
        let history: Vec<_> = std::iter::from_fn(|| company.next_of_history()).collect();
        let days: Vec<Day> = (0..10).map(|_| company.next_day()).collect();
        (history, days)
    };
    assert!(lived(7) == lived(7));
    assert!(lived(7).1 != lived(8).1);
}

/// A change here changes every database that was ever generated, and every snapshot made from one.
#[test]
fn the_company_of_a_seed_is_the_same_for_ever() {
    let mut company = company(1, &Oddity::ALL);
    let mut lived = String::new();
    let mut write = |kind: &str, row: &Row| {
        let values: Vec<String> = row.values().iter().map(ToString::to_string).collect();
        lived.push_str(&format!(
            "{kind} {} {}\n",
            row.table().name(),
            values.join("|")
        ));
    };
    while let Some(rows) = company.next_of_history() {
        rows.iter().for_each(|row| write("load", row));
    }
    for commit in (0..20).flat_map(|_| company.next_day().commits) {
        for change in &commit.changes {
            match change {
                Change::Insert(row) => write("insert", row),
                Change::Update { after, .. } => write("update", after),
                Change::Delete(row) => write("delete", row),
                Change::SetNull { after, .. } => write("set null", after),
            }
        }
    }
    let digest = crate::digest::Digest::of_parts([lived.as_bytes()]);
    assert_eq!(
        digest.to_string(),
        "789f439e591cd19d1735e80b048313fad16ebcf82ded76d07f1ad0549c1d359a"
    );
}

#[test]
fn an_oddity_does_not_change_the_deals_of_the_day_it_is_switched_on() {
    let deals = |oddities: &[Oddity]| {
        let mut company = company(3, oddities);
        while company.next_of_history().is_some() {}
        let mut day = company.next_day();
        day.commits.retain(|commit| commit.event == Event::Deal);
        day
    };
    assert!(deals(&[]) == deals(&Oddity::ALL));
}

#[test]
fn ordinary_days_hold_deals_paydays_designs_and_silent_edits_only() {
    let mut company = company(5, &[]);
    let mut mirror = Mirror::default();
    mirror.load(&mut company);
    let mut events: BTreeMap<Event, usize> = BTreeMap::new();
    for commit in (0..100).flat_map(|_| company.next_day().commits) {
        *events.entry(commit.event).or_default() += 1;
        for change in &commit.changes {
            mirror.apply(change);
            check_ordinary(&commit, change);
        }
    }
    mirror.check_everything();
    let expected = [
        Event::Deal,
        Event::Payday,
        Event::NewDesign,
        Event::SilentEdit,
    ];
    assert_eq!(events.keys().copied().collect::<Vec<_>>(), expected);
    assert!((15..35).contains(&events[&Event::SilentEdit]), "{events:?}");
    assert!((2_700..3_200).contains(&events[&Event::Deal]), "{events:?}");
}

fn check_ordinary(commit: &Commit, change: &Change) {
    match (commit.event, change) {
        (Event::Deal, Change::Insert(row)) => {
            let stamps: Vec<Value<'_>> = row
                .values()
                .into_iter()
                .filter(|v| matches!(v, Value::Time(_)))
                .collect();
            assert_eq!(stamps, [Value::Time(commit.at), Value::Time(commit.at)]);
        }
        (
            Event::Payday,
            Change::Update {
                before: Row::Payment(before),
                after: Row::Payment(after),
            },
        ) => {
            assert!(!before.paid && after.paid);
            assert!(matches!(before.payment_date, DateText::Date(due) if due <= commit.at.date()));
            assert_eq!(after.stamps.last_updated, commit.at);
            assert_eq!(commit.at.time().to_string(), "07:55:11");
        }
        (Event::SilentEdit, Change::Update { before, after }) => {
            let times = |row: &Row| -> Vec<String> {
                row.values()
                    .iter()
                    .filter(|v| matches!(v, Value::Time(_)))
                    .map(ToString::to_string)
                    .collect()
            };
            assert_eq!(times(before), times(after));
            let changed = before
                .values()
                .iter()
                .zip(after.values())
                .filter(|(a, b)| **a != *b)
                .count();
            assert_eq!(changed, 1);
        }
        (Event::NewDesign, Change::Insert(Row::Design(_))) => {}
        other => panic!("{other:?} is not ordinary"),
    }
}

#[test]
fn everything_the_schema_allows_keeps_the_schema() {
    let mut company = company(11, &Oddity::ALL);
    let mut mirror = Mirror::default();
    mirror.load(&mut company);
    let mut seen = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for commit in (0..120).flat_map(|_| company.next_day().commits) {
        seen.insert(commit.event);
        for change in &commit.changes {
            if let Change::Delete(row) = change {
                kinds.insert(row.table());
            }
            mirror.apply(change);
        }
    }
    mirror.check_everything();
    for oddity in Oddity::ALL {
        assert!(
            seen.contains(&Event::Odd(oddity)),
            "{oddity} never happened"
        );
    }
    let deleted = [
        Table::Design,
        Table::SalesOrder,
        Table::PurchaseOrder,
        Table::Transaction,
        Table::Payment,
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), deleted);
}

#[test]
fn an_oddity_can_be_caused_at_will_in_a_company_without_a_future() {
    let mut company = company(2, &[]);
    let mut mirror = Mirror::default();
    mirror.load(&mut company);
    for commit in company.next_day().commits {
        commit
            .changes
            .iter()
            .for_each(|change| mirror.apply(change));
    }
    for oddity in Oddity::ALL.into_iter().chain(Oddity::ALL) {
        let commit = company
            .cause(oddity)
            .unwrap_or_else(|| panic!("no {oddity}"));
        commit
            .changes
            .iter()
            .for_each(|change| mirror.apply(change));
    }
    for commit in company.next_day().commits {
        commit
            .changes
            .iter()
            .for_each(|change| mirror.apply(change));
    }
    mirror.check_everything();
}

#[test]
fn edits_are_taken_back_and_orders_entered_again_unchanged() {
    let mut company = company(13, &[]);
    Mirror::default().load(&mut company);
    company.next_day();
    let edit = company.cause(Oddity::EditsBack).expect("there are orders");
    let delete = company
        .cause(Oddity::EnteredAgain)
        .expect("there are orders");
    let back: Vec<Commit> = company
        .next_day()
        .commits
        .into_iter()
        .filter(|commit| matches!(commit.event, Event::Odd(_)))
        .collect();
    let [Change::Update { before, .. }] = edit.changes.as_slice() else {
        panic!("{edit:?} is no edit");
    };
    let [Change::Delete(deleted), Change::SetNull { .. }] = delete.changes.as_slice() else {
        panic!("{delete:?} is no delete");
    };
    let [taken_back, entered_again] = back.as_slice() else {
        panic!("{back:?} is not what follows");
    };
    assert!(matches!(&taken_back.changes[..], [Change::Update { after, .. }] if after == before));
    assert_eq!(entered_again.changes[0], Change::Insert(deleted.clone()));
}

#[test]
fn the_sample_is_bounded_and_depends_on_the_highest_id_alone() {
    assert_eq!(
        [1, 16_384, 16_385, 32_768, 32_769].map(sample_stride),
        [1, 1, 2, 2, 4]
    );
    assert_eq!(sample_stride(i32::MAX), 131_072);
    let mut company = Totesys::new(Options {
        scale: 20.0,
        history_days: 60,
        ..Options::default()
    });
    while company.next_of_history().is_some() {}
    let kept = company.book.deals().count();
    assert!((4_000..=16_384).contains(&kept), "{kept}");
}
