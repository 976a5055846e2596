//! An ordinary working day: what falls due, what is dealt, and what is edited without a trace.

use chrono::NaiveDate;

use super::super::calendar::{after, date_of};
use super::super::pcg::Pcg32;
use super::super::rows::{DateText, Row};
use super::book::{Deal, Order};
use super::deals::item_code;
use super::staff_room::folder;
use super::{Change, Commit, Event, PAYDAY_TIME, Purpose, Totesys};

/// A silent edit happens about once in so many working days, and more often in a bigger company.
const DAYS_PER_SILENT_EDIT: f64 = 4.0;

/// The most silent edits of one day, whatever the scale.
const MOST_SILENT_EDITS: u32 = 64;

impl Totesys {
    /// Marks what is due as paid, as the nightly job does at 07:55:11.
    pub(super) fn payday(&mut self, day: u32) -> Option<Commit> {
        let at = date_of(day).and_time(PAYDAY_TIME);
        let mut changes = Vec::new();
        for before in self.book.fall_due(at.date()) {
            let mut after = before.clone();
            after.paid = true;
            after.stamps.last_updated = at;
            self.book.pay(&after);
            changes.push(Change::Update {
                before: Row::Payment(before),
                after: Row::Payment(after),
            });
        }
        Some(Commit {
            at,
            event: Event::Payday,
            changes,
        })
    }

    /// The deals of the day, each in a transaction of its own.
    pub(super) fn enter_deals(&mut self, day: u32) -> Vec<Commit> {
        let deals = self.deals_of(day);
        deals
            .into_iter()
            .map(|deal| {
                self.book.enter(&deal);
                enter(deal, Event::Deal)
            })
            .collect()
    }

    /// The edits of the day that leave `last_updated` as it was: usually none, sometimes one.
    pub(super) fn edit_silently(&mut self, day: u32) -> Vec<Commit> {
        let mut random = self.random(day, Purpose::SilentEdits);
        let usual = self.options.scale.max(1.0) / DAYS_PER_SILENT_EDIT;
        let count = ((usual + random.fraction()) as u32).min(MOST_SILENT_EDITS);
        (0..count).filter_map(|_| self.silent_edit()).collect()
    }

    /// One field of one old order, or the folder of a design, changes; `last_updated` does not.
    pub fn silent_edit(&mut self) -> Option<Commit> {
        let (at, mut random) = self.after_hours();
        let change = match random.below(8) {
            0 => self.move_design_file(&mut random)?,
            _ => {
                let deal = self.book.draw(&mut random, |deal| deal.order.is_some())?;
                self.edit_order(&mut random, deal)?
            }
        };
        Some(Commit {
            at,
            event: Event::SilentEdit,
            changes: vec![change],
        })
    }

    /// Changes one field of the deal's order, and nothing else.
    pub(super) fn edit_order(&mut self, random: &mut Pcg32, mut deal: Deal) -> Option<Change> {
        let before = deal.order.clone()?;
        let after = match before.clone() {
            Order::Sale(mut order) => {
                match random.below(4) {
                    0 => order.staff_id = self.other_staff(random, order.staff_id),
                    1 => order.agreed_delivery_date = later(&order.agreed_delivery_date, at(&deal)),
                    2 => {
                        let location = order.agreed_delivery_location_id;
                        order.agreed_delivery_location_id = self.other_location(random, location);
                    }
                    _ => order.design_id = self.other_design(random, order.design_id),
                }
                Order::Sale(order)
            }
            Order::Purchase(mut order) => {
                match random.below(4) {
                    0 => order.staff_id = self.other_staff(random, order.staff_id),
                    1 => order.agreed_delivery_date = later(&order.agreed_delivery_date, at(&deal)),
                    2 => {
                        let location = order.agreed_delivery_location_id;
                        order.agreed_delivery_location_id = self.other_location(random, location);
                    }
                    _ => order.item_code = other_item(random, &order.item_code),
                }
                Order::Purchase(order)
            }
        };
        deal.order = Some(after.clone());
        self.book.replace(deal);
        Some(Change::Update {
            before: before.into_row(),
            after: after.into_row(),
        })
    }

    fn move_design_file(&mut self, random: &mut Pcg32) -> Option<Change> {
        let id = random.pick(&self.sellable_designs()).copied()?;
        let before = self.book.designs.get(&id)?.clone();
        let mut after = before.clone();
        after.file_location = std::iter::repeat_with(|| folder(random))
            .find(|folder| *folder != before.file_location)?;
        self.book.put(Row::Design(after.clone()));
        Some(Change::Update {
            before: Row::Design(before),
            after: Row::Design(after),
        })
    }

    fn other_staff(&self, random: &mut Pcg32, than: i32) -> i32 {
        other(random, self.book.staff.keys().copied(), than)
    }

    fn other_location(&self, random: &mut Pcg32, than: i32) -> i32 {
        other(random, self.book.addresses.keys().copied(), than)
    }

    fn other_design(&self, random: &mut Pcg32, than: i32) -> i32 {
        other(random, self.sellable_designs().into_iter(), than)
    }
}

/// The commit that enters a deal.
pub(super) fn enter(deal: Deal, event: Event) -> Commit {
    Commit {
        at: deal.transaction.stamps.created_at,
        event,
        changes: deal.into_rows().map(Change::Insert).collect(),
    }
}

/// One of `ids` that is not `than`; `than` when there is no other.
pub(super) fn other(random: &mut Pcg32, ids: impl Iterator<Item = i32>, than: i32) -> i32 {
    let others: Vec<i32> = ids.filter(|id| *id != than).collect();
    random.pick(&others).copied().unwrap_or(than)
}

fn other_item(random: &mut Pcg32, than: &str) -> String {
    let item = item_code(random);
    if item == than {
        format!("{item}/B")
    } else {
        item
    }
}

fn at(deal: &Deal) -> NaiveDate {
    deal.transaction.stamps.created_at.date()
}

/// Three days later; a week after the deal where there was no date.
fn later(date: &DateText, dealt: NaiveDate) -> DateText {
    DateText::Date(match date {
        DateText::Date(date) => after(*date, 3),
        DateText::Typed(_) => after(dealt, 7),
    })
}
