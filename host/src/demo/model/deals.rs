//! Deals: an order, its transaction and its payment, entered together.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::super::calendar::{after, date_of, day_on_or_after};
use super::super::names::ITEMS;
use super::super::pcg::Pcg32;
use super::super::rows::{
    Cents, DateText, Payment, PurchaseOrder, SalesOrder, Stamps, Table, Transaction,
    TransactionType,
};
use super::book::{Deal, Order};
use super::{PAYDAY_TIME, Purpose, Totesys};

/// Deals per working day at scale 1: about 20 sales and 9 purchases.
const DEALS_PER_DAY: f64 = 29.33;

/// Of a hundred deals, how many are sales.
const SALES_PERCENT: u32 = 70;

/// When the offices open; they are open for ten hours.
const OPENING: NaiveTime = NaiveTime::from_hms_opt(8, 0, 0).expect("a time of the day");
const OPEN_MILLIS: f64 = 36_000_000.0;

/// `payment_type_id`, as the application numbers its labels.
pub(super) const SALES_RECEIPT: i32 = 1;
pub(super) const SALES_REFUND: i32 = 2;
pub(super) const PURCHASE_PAYMENT: i32 = 3;
pub(super) const PURCHASE_REFUND: i32 = 4;

/// What the order and the payment of a deal share.
struct Terms {
    at: NaiveDateTime,
    staff_id: i32,
    counterparty_id: i32,
    currency_id: i32,
    agreed_delivery_date: DateText,
    agreed_payment_date: DateText,
    agreed_delivery_location_id: i32,
}

impl Totesys {
    /// The deals of a working day in the order of their time; at least one.
    pub(super) fn deals_of(&mut self, day: u32) -> Vec<Deal> {
        let mut random = self.random(day, Purpose::Deals);
        let count = deals_in(&mut random, self.options.scale);
        let choice = Choice::of(self);
        let mut deals: Vec<Deal> = Vec::with_capacity(count as usize);
        let mut at = date_of(day).and_time(OPENING);
        for index in 0..count {
            // Every fiftieth deal or so is committed within the same millisecond as the one before.
            if index == 0 || !random.once_in(50) {
                at = time_of(&mut random, day, index, count);
            }
            let deal = self.deal(&mut random, &choice, at);
            deals.push(deal);
        }
        cross_payment_ids(&mut random, &mut deals);
        deals
    }

    pub(super) fn deal(&mut self, random: &mut Pcg32, choice: &Choice, at: NaiveDateTime) -> Deal {
        let is_sale = random.below(100) < SALES_PERCENT;
        let terms = choice.terms(random, at);
        let transaction_id = self.next_id(Table::Transaction);
        let (order, amount) = if is_sale {
            let order = self.sale(random, choice, &terms);
            let amount = Cents(i64::from(order.units_sold) * order.unit_price.0);
            (Order::Sale(order), amount)
        } else {
            let order = self.purchase(random, &terms);
            let amount = Cents(i64::from(order.item_quantity) * order.item_unit_price.0);
            (Order::Purchase(order), amount)
        };
        let payment = Payment {
            payment_id: self.next_id(Table::Payment),
            stamps: Stamps::new(at),
            transaction_id,
            counterparty_id: terms.counterparty_id,
            payment_amount: amount,
            currency_id: terms.currency_id,
            payment_type_id: if is_sale {
                SALES_RECEIPT
            } else {
                PURCHASE_PAYMENT
            },
            paid: false,
            payment_date: terms.agreed_payment_date,
            company_ac_number: random.between(10_000_000, 99_999_999),
            counterparty_ac_number: random.between(10_000_000, 99_999_999),
        };
        let (transaction_type, sales_order_id, purchase_order_id) = match &order {
            Order::Sale(order) => (TransactionType::Sale, Some(order.sales_order_id), None),
            Order::Purchase(order) => (
                TransactionType::Purchase,
                None,
                Some(order.purchase_order_id),
            ),
        };
        let transaction = Transaction {
            transaction_id,
            transaction_type,
            sales_order_id,
            purchase_order_id,
            stamps: Stamps::new(at),
        };
        Deal {
            order: Some(order),
            transaction,
            payment,
        }
    }

    fn sale(&mut self, random: &mut Pcg32, choice: &Choice, terms: &Terms) -> SalesOrder {
        SalesOrder {
            sales_order_id: self.next_id(Table::SalesOrder),
            stamps: Stamps::new(terms.at),
            design_id: pick(random, &choice.designs),
            staff_id: terms.staff_id,
            counterparty_id: terms.counterparty_id,
            units_sold: random.between(1_000, 100_000),
            unit_price: Cents(random.between(200, 400).into()),
            currency_id: terms.currency_id,
            agreed_delivery_date: terms.agreed_delivery_date.clone(),
            agreed_payment_date: terms.agreed_payment_date.clone(),
            agreed_delivery_location_id: terms.agreed_delivery_location_id,
        }
    }

    fn purchase(&mut self, random: &mut Pcg32, terms: &Terms) -> PurchaseOrder {
        PurchaseOrder {
            purchase_order_id: self.next_id(Table::PurchaseOrder),
            stamps: Stamps::new(terms.at),
            staff_id: terms.staff_id,
            counterparty_id: terms.counterparty_id,
            item_code: item_code(random),
            item_quantity: random.between(1, 1_000),
            item_unit_price: Cents(random.between(300, 100_000).into()),
            currency_id: terms.currency_id,
            agreed_delivery_date: terms.agreed_delivery_date.clone(),
            agreed_payment_date: terms.agreed_payment_date.clone(),
            agreed_delivery_location_id: terms.agreed_delivery_location_id,
        }
    }
}

/// What deals choose from on one day.
pub(super) struct Choice {
    designs: Vec<i32>,
    staff: Vec<i32>,
    counterparties: Vec<i32>,
    currencies: Vec<i32>,
    locations: Vec<i32>,
}

impl Choice {
    pub(super) fn of(model: &Totesys) -> Self {
        let book = &model.book;
        Self {
            designs: model.sellable_designs(),
            staff: book.staff.keys().copied().collect(),
            counterparties: book.counterparties.keys().copied().collect(),
            currencies: book.currencies.keys().copied().collect(),
            locations: book.addresses.keys().copied().collect(),
        }
    }

    fn terms(&self, random: &mut Pcg32, at: NaiveDateTime) -> Terms {
        let days_to_delivery = match random.below(100) {
            0 => random.between(8, 624),
            _ => random.between(0, 7),
        };
        let days_to_payment = random.between(0, 6);
        let date_in = |days: i32| DateText::Date(after(at.date(), u64::from(days.unsigned_abs())));
        Terms {
            at,
            staff_id: pick(random, &self.staff),
            counterparty_id: pick(random, &self.counterparties),
            currency_id: self.currency(random),
            agreed_delivery_date: date_in(days_to_delivery),
            agreed_payment_date: date_in(days_to_payment),
            agreed_delivery_location_id: pick(random, &self.locations),
        }
    }

    /// Pounds mostly, then dollars and euros; seldom whatever else there is.
    fn currency(&self, random: &mut Pcg32) -> i32 {
        match random.below(100) {
            0..55 => 1,
            55..80 => 2,
            80..95 => 3,
            _ => pick(random, &self.currencies),
        }
    }
}

/// One of `ids`. There is none only before the company is founded, when nothing is dealt.
fn pick(random: &mut Pcg32, ids: &[i32]) -> i32 {
    random.pick(ids).copied().unwrap_or(1)
}

/// An item code like `ZIP-0042`.
pub(super) fn item_code(random: &mut Pcg32) -> String {
    let item = random.pick(&ITEMS).copied().unwrap_or("BOX");
    format!("{item}-{:04}", random.below(10_000))
}

/// Three quarters to five quarters of the usual number; at least one.
fn deals_in(random: &mut Pcg32, scale: f64) -> u32 {
    let usual = DEALS_PER_DAY * scale;
    let today = usual * (0.75 + 0.5 * random.fraction()) + random.fraction();
    // A float beyond the range becomes the nearest integer in it.
    (today as u32).max(1)
}

/// A time in the `index`th of `count` equal parts of the open hours: the deals of a day are in order
/// without sorting them.
fn time_of(random: &mut Pcg32, day: u32, index: u32, count: u32) -> NaiveDateTime {
    let part = (f64::from(index) + random.fraction()) / f64::from(count.max(1));
    let millis = TimeDelta::milliseconds((OPEN_MILLIS * part) as i64);
    date_of(day).and_time(OPENING) + millis
}

/// Two transactions that run at the same time may draw the payment's sequence the other way round.
fn cross_payment_ids(random: &mut Pcg32, deals: &mut [Deal]) {
    for pair in deals.chunks_exact_mut(2) {
        if let [one, other] = pair
            && random.once_in(40)
        {
            std::mem::swap(&mut one.payment.payment_id, &mut other.payment.payment_id);
        }
    }
}

/// Marks a deal of the history as paid if the nightly job had come by until `last`.
pub(super) fn settle_until(deal: &mut Deal, last: NaiveDate) {
    let DateText::Date(due) = deal.payment.payment_date else {
        return;
    };
    let earliest = after(deal.payment.stamps.created_at.date(), 1);
    let payday = date_of(day_on_or_after(due.max(earliest)));
    if payday <= last {
        deal.payment.paid = true;
        deal.payment.stamps.last_updated = payday.and_time(PAYDAY_TIME);
    }
}
