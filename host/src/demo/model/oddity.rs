//! Oddities: what the schema allows and the real extracts did not show. Each has a switch, off by default.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDateTime, TimeDelta};

use super::super::names::{LATER_CURRENCIES, NOT_DATES};
use super::super::pcg::Pcg32;
use super::super::rows::{
    DateText, Payment, PurchaseOrder, Row, SalesOrder, Stamps, Table, Transaction,
};
use super::book::{Deal, Order};
use super::daily::{enter, other};
use super::deals::{Choice, PURCHASE_REFUND, SALES_RECEIPT, SALES_REFUND};
use super::{Change, Commit, Event, Purpose, Totesys};

/// Something the schema allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oddity {
    /// `units_sold` of an old order grows, and `last_updated` says so.
    BumpedUnits,
    /// A payment is given back: a transaction without an order, and a payment of a refund type.
    Refunds,
    /// An order (its transaction loses the reference by SET NULL), a whole deal, or a design is deleted.
    Deletes,
    /// A silent edit is taken back on the next day.
    EditsBack,
    /// A deleted order is entered again, unchanged, on the next day.
    EnteredAgain,
    /// A department loses its location, and has it again on the next day.
    NoLocation,
    /// A currency is added.
    NewCurrency,
    /// A counterparty loses its contacts, silently.
    NoContacts,
    /// A member of staff changes department, a department or a counterparty's address moves, silently.
    Moves,
    /// A deal is entered with a delivery date that is none.
    BadDates,
    /// A deal is entered by a computer whose clock runs two days ahead.
    FutureDates,
}

/// What an oddity of yesterday brings about today.
#[derive(Debug, Clone)]
pub(super) enum FollowUp {
    EditBack {
        transaction_id: i32,
        order: Order,
    },
    EnterAgain {
        transaction_id: i32,
        order: Order,
    },
    Locate {
        department_id: i32,
        location: String,
    },
}

impl Oddity {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::BumpedUnits,
        Self::Refunds,
        Self::Deletes,
        Self::EditsBack,
        Self::EnteredAgain,
        Self::NoLocation,
        Self::NewCurrency,
        Self::NoContacts,
        Self::Moves,
        Self::BadDates,
        Self::FutureDates,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::BumpedUnits => "bumped-units",
            Self::Refunds => "refunds",
            Self::Deletes => "deletes",
            Self::EditsBack => "edits-back",
            Self::EnteredAgain => "entered-again",
            Self::NoLocation => "no-location",
            Self::NewCurrency => "new-currency",
            Self::NoContacts => "no-contacts",
            Self::Moves => "moves",
            Self::BadDates => "bad-dates",
            Self::FutureDates => "future-dates",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Oddity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|oddity| oddity.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("there is no `{text}`; there are {names}")
            })
    }
}

impl Totesys {
    /// What yesterday's oddities bring about, and today's: each that is switched on about every second day.
    pub(super) fn live_oddly(&mut self, day: u32) -> Vec<Commit> {
        let follow_ups = std::mem::take(&mut self.follow_ups);
        let mut commits: Vec<Commit> = follow_ups
            .into_iter()
            .filter_map(|follow_up| self.follow(follow_up))
            .collect();
        let mut random = self.random(day, Purpose::Oddities);
        for oddity in Oddity::ALL {
            let is_today = random.once_in(2);
            if is_today && self.options.oddities.contains(&oddity) {
                commits.extend(self.cause(oddity));
            }
        }
        commits
    }

    /// Makes `oddity` happen now, after the hours of the last day; `None` when there is nothing it could
    /// happen to.
    pub fn cause(&mut self, oddity: Oddity) -> Option<Commit> {
        let (at, mut random) = self.after_hours();
        let random = &mut random;
        let changes = match oddity {
            Oddity::BumpedUnits => self.bump_units(random, at)?,
            Oddity::Refunds => return self.refund(random, at),
            Oddity::Deletes => self.delete(random)?,
            Oddity::EditsBack => self.edit_for_a_day(random)?,
            Oddity::EnteredAgain => self.delete_for_a_day(random)?,
            Oddity::NoLocation => self.lose_location(random)?,
            Oddity::NewCurrency => self.add_currency(at)?,
            Oddity::NoContacts => self.lose_contacts(random)?,
            Oddity::Moves => self.move_someone(random)?,
            Oddity::BadDates => return Some(self.deal_with_bad_date(random, at)),
            Oddity::FutureDates => return Some(self.deal_in_the_future(random, at)),
        };
        Some(Commit {
            at,
            event: Event::Odd(oddity),
            changes,
        })
    }

    fn bump_units(&mut self, random: &mut Pcg32, at: NaiveDateTime) -> Option<Vec<Change>> {
        let mut deal = self.book.draw(random, |deal| deal.sale().is_some())?;
        let before = deal.sale()?.clone();
        let mut after = before.clone();
        after.units_sold += random.between(1, 500);
        after.stamps.last_updated = at;
        deal.order = Some(Order::Sale(after.clone()));
        self.book.replace(deal);
        Some(vec![Change::Update {
            before: Row::SalesOrder(before),
            after: Row::SalesOrder(after),
        }])
    }

    fn refund(&mut self, random: &mut Pcg32, at: NaiveDateTime) -> Option<Commit> {
        let paid = |deal: &Deal| deal.payment.paid && deal.order.is_some();
        let original = self.book.draw(random, paid)?;
        let is_sale = original.payment.payment_type_id == SALES_RECEIPT;
        let transaction = Transaction {
            transaction_id: self.next_id(Table::Transaction),
            // The order belongs to the first transaction: its column is unique.
            sales_order_id: None,
            purchase_order_id: None,
            stamps: Stamps::new(at),
            ..original.transaction
        };
        let payment = Payment {
            payment_id: self.next_id(Table::Payment),
            stamps: Stamps::new(at),
            transaction_id: transaction.transaction_id,
            payment_type_id: if is_sale {
                SALES_REFUND
            } else {
                PURCHASE_REFUND
            },
            paid: false,
            payment_date: DateText::Date(at.date()),
            ..original.payment
        };
        let refund = Deal {
            order: None,
            transaction,
            payment,
        };
        self.book.enter(&refund);
        Some(enter(refund, Event::Odd(Oddity::Refunds)))
    }

    fn delete(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        match random.below(3) {
            0 => self.delete_design().or_else(|| self.delete_order(random)),
            1 => self.delete_order(random),
            _ => self.delete_deal(random),
        }
    }

    /// The design that was the newest one until today's came: nobody may sell the two newest.
    fn delete_design(&mut self) -> Option<Vec<Change>> {
        let mut from_newest = self.book.designs.values().rev();
        let newest = from_newest.next()?;
        let unsold = from_newest.next()?.clone();
        let is_of_today = newest.stamps.created_at.date() == self.today();
        // A gap between the ids says that it has been done today.
        if !is_of_today || newest.design_id - unsold.design_id != 1 {
            return None;
        }
        self.book.designs.remove(&unsold.design_id);
        Some(vec![Change::Delete(Row::Design(unsold))])
    }

    fn delete_order(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let deal = self.draw_old(random)?;
        self.take_order(deal).map(|(changes, _)| changes)
    }

    fn delete_for_a_day(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let deal = self.draw_old(random)?;
        let transaction_id = deal.transaction.transaction_id;
        let (changes, order) = self.take_order(deal)?;
        self.follow_ups.push(FollowUp::EnterAgain {
            transaction_id,
            order,
        });
        Some(changes)
    }

    /// A deal with a readable order that is not of today, so that the highest ids stay in the database.
    fn draw_old(&self, random: &mut Pcg32) -> Option<Deal> {
        let today = self.today();
        self.book.draw(random, |deal| {
            deal.order.as_ref().is_some_and(Order::is_dated)
                && deal.transaction.stamps.created_at.date() < today
        })
    }

    /// Deletes the order of a deal; the transaction stays and loses its reference.
    fn take_order(&mut self, mut deal: Deal) -> Option<(Vec<Change>, Order)> {
        let order = deal.order.take()?;
        let before = deal.transaction.clone();
        deal.transaction.sales_order_id = None;
        deal.transaction.purchase_order_id = None;
        let set_null = Change::SetNull {
            before: Row::Transaction(before),
            after: Row::Transaction(deal.transaction.clone()),
        };
        self.book.replace(deal);
        let deleted = Change::Delete(order.clone().into_row());
        Some((vec![deleted, set_null], order))
    }

    fn delete_deal(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let deal = self.draw_old(random)?;
        self.book.forget(&deal);
        let mut rows: Vec<Row> = deal.into_rows().collect();
        rows.reverse();
        Some(rows.into_iter().map(Change::Delete).collect())
    }

    fn edit_for_a_day(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let deal = self.draw_old(random)?;
        self.follow_ups.push(FollowUp::EditBack {
            transaction_id: deal.transaction.transaction_id,
            order: deal.order.clone()?,
        });
        self.edit_order(random, deal).map(|change| vec![change])
    }

    fn lose_location(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let ids: Vec<i32> = self.book.departments.keys().copied().collect();
        let before = self.book.departments.get(random.pick(&ids)?)?.clone();
        let location = before.location.clone()?;
        self.follow_ups.push(FollowUp::Locate {
            department_id: before.department_id,
            location,
        });
        self.relocate(before.department_id, None)
    }

    fn relocate(&mut self, department_id: i32, location: Option<String>) -> Option<Vec<Change>> {
        let before = self.book.departments.get(&department_id)?.clone();
        let mut after = before.clone();
        after.location = location;
        self.update(Row::Department(before), Row::Department(after))
    }

    fn add_currency(&mut self, at: NaiveDateTime) -> Option<Vec<Change>> {
        let known = |code: &str| {
            self.book
                .currencies
                .values()
                .any(|c| c.currency_code == code)
        };
        let code = LATER_CURRENCIES.into_iter().find(|code| !known(code))?;
        let currency = Row::Currency(self.currency(code, Stamps::new(at)));
        self.book.put(currency.clone());
        Some(vec![Change::Insert(currency)])
    }

    fn lose_contacts(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        let ids: Vec<i32> = self.book.counterparties.keys().copied().collect();
        let before = self.book.counterparties.get(random.pick(&ids)?)?.clone();
        let mut after = before.clone();
        after.commercial_contact = None;
        after.delivery_contact = None;
        self.update(Row::Counterparty(before), Row::Counterparty(after))
    }

    fn move_someone(&mut self, random: &mut Pcg32) -> Option<Vec<Change>> {
        match random.below(3) {
            0 => {
                let ids: Vec<i32> = self.book.staff.keys().copied().collect();
                let before = self.book.staff.get(random.pick(&ids)?)?.clone();
                let mut after = before.clone();
                let departments = self.book.departments.keys().copied();
                after.department_id = other(random, departments, before.department_id);
                self.update(Row::Staff(before), Row::Staff(after))
            }
            1 => {
                let ids: Vec<i32> = self.book.departments.keys().copied().collect();
                let id = *random.pick(&ids)?;
                let storey = format!("Leeds, {}th floor", random.between(4, 19));
                self.relocate(id, Some(storey))
            }
            _ => {
                let parties: Vec<i32> = self
                    .book
                    .counterparties
                    .values()
                    .map(|c| c.legal_address_id)
                    .collect();
                let before = self.book.addresses.get(random.pick(&parties)?)?.clone();
                let mut after = before.clone();
                after.address_line_1 = format!("{} Mill's End", random.between(1, 999));
                after.phone = format!("0{}", random.between(100_000_000, 199_999_999));
                self.update(Row::Address(before), Row::Address(after))
            }
        }
    }

    /// Remembers and reports the update of a row of a small table; `None` when nothing differs.
    fn update(&mut self, before: Row, after: Row) -> Option<Vec<Change>> {
        if before == after {
            return None;
        }
        self.book.put(after.clone());
        Some(vec![Change::Update { before, after }])
    }

    fn deal_with_bad_date(&mut self, random: &mut Pcg32, at: NaiveDateTime) -> Commit {
        let choice = Choice::of(self);
        let mut deal = self.deal(random, &choice, at);
        let typed = random.pick(&NOT_DATES).copied().unwrap_or_default();
        if let Some(
            Order::Sale(SalesOrder {
                agreed_delivery_date: date,
                ..
            })
            | Order::Purchase(PurchaseOrder {
                agreed_delivery_date: date,
                ..
            }),
        ) = &mut deal.order
        {
            *date = DateText::Typed(typed.into());
        }
        self.book.enter(&deal);
        enter(deal, Event::Odd(Oddity::BadDates))
    }

    fn deal_in_the_future(&mut self, random: &mut Pcg32, at: NaiveDateTime) -> Commit {
        let choice = Choice::of(self);
        let deal = self.deal(random, &choice, at + TimeDelta::days(2));
        self.book.enter(&deal);
        Commit {
            at,
            ..enter(deal, Event::Odd(Oddity::FutureDates))
        }
    }

    fn follow(&mut self, follow_up: FollowUp) -> Option<Commit> {
        let (at, _) = self.after_hours();
        let (oddity, changes) = match follow_up {
            FollowUp::EditBack {
                transaction_id,
                order,
            } => (Oddity::EditsBack, self.edit_back(transaction_id, order)?),
            FollowUp::EnterAgain {
                transaction_id,
                order,
            } => (
                Oddity::EnteredAgain,
                self.enter_again(at, transaction_id, order)?,
            ),
            FollowUp::Locate {
                department_id,
                location,
            } => (
                Oddity::NoLocation,
                self.relocate(department_id, Some(location))?,
            ),
        };
        Some(Commit {
            at,
            event: Event::Odd(oddity),
            changes,
        })
    }

    /// Gives an order the values it had, unless it is gone or has been changed back already.
    fn edit_back(&mut self, transaction_id: i32, order: Order) -> Option<Vec<Change>> {
        let mut deal = self.book.deal(transaction_id)?.clone();
        let before = deal.order.clone()?;
        let order = order.touched_like(&before);
        if before == order {
            return None;
        }
        deal.order = Some(order.clone());
        self.book.replace(deal);
        Some(vec![Change::Update {
            before: before.into_row(),
            after: order.into_row(),
        }])
    }

    /// Enters a deleted order again and lets its transaction refer to it again, visibly.
    fn enter_again(
        &mut self,
        at: NaiveDateTime,
        transaction_id: i32,
        order: Order,
    ) -> Option<Vec<Change>> {
        let mut deal = self.book.deal(transaction_id)?.clone();
        let before = deal.transaction.clone();
        match &order {
            Order::Sale(sale) => deal.transaction.sales_order_id = Some(sale.sales_order_id),
            Order::Purchase(purchase) => {
                deal.transaction.purchase_order_id = Some(purchase.purchase_order_id);
            }
        }
        deal.transaction.stamps.last_updated = at;
        deal.order = Some(order.clone());
        let after = deal.transaction.clone();
        self.book.replace(deal);
        Some(vec![
            Change::Insert(order.into_row()),
            Change::Update {
                before: Row::Transaction(before),
                after: Row::Transaction(after),
            },
        ])
    }
}
