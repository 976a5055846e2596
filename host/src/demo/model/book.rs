//! What the model has to remember of the database, in bounded memory.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime};

use super::super::calendar::after;
use super::super::pcg::Pcg32;
use super::super::rows::{
    Address, Counterparty, Currency, DateText, Department, Design, Payment, PurchaseOrder, Row,
    SalesOrder, Staff, Table, Transaction,
};

/// The most deals that are remembered whole. Edits, refunds and deletes are made to these. It is more than
/// the default history holds, so that every order may be edited there, and about 8 MB.
const SAMPLE: u32 = 16_384;

/// Of how many transactions one is remembered: the smallest power of two for which at most [`SAMPLE`] of
/// `highest` ids are its multiples. It depends on the highest id alone, so a database read again gives
/// the same sample.
pub(in super::super) fn sample_stride(highest: i32) -> i32 {
    let highest = u32::try_from(highest).unwrap_or(0);
    let stride = highest.div_ceil(SAMPLE).max(1).next_power_of_two();
    i32::try_from(stride).unwrap_or(i32::MAX)
}

/// The order of a deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Sale(SalesOrder),
    Purchase(PurchaseOrder),
}

impl Order {
    pub(super) fn into_row(self) -> Row {
        match self {
            Self::Sale(order) => Row::SalesOrder(order),
            Self::Purchase(order) => Row::PurchaseOrder(order),
        }
    }

    /// Whether its delivery date is a date.
    pub(super) fn is_dated(&self) -> bool {
        let (Self::Sale(SalesOrder {
            agreed_delivery_date,
            ..
        })
        | Self::Purchase(PurchaseOrder {
            agreed_delivery_date,
            ..
        })) = self;
        matches!(agreed_delivery_date, DateText::Date(_))
    }

    /// The same order with the stamps of `other`.
    pub(super) fn touched_like(mut self, other: &Self) -> Self {
        let (Self::Sale(SalesOrder { stamps, .. }) | Self::Purchase(PurchaseOrder { stamps, .. })) =
            other;
        match &mut self {
            Self::Sale(order) => order.stamps = *stamps,
            Self::Purchase(order) => order.stamps = *stamps,
        }
        self
    }
}

/// A transaction with its payment and its order; a refund has no order, and an order may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deal {
    pub(super) order: Option<Order>,
    pub(super) transaction: Transaction,
    pub(super) payment: Payment,
}

impl Deal {
    /// Its rows, parents before children.
    pub(super) fn into_rows(self) -> impl Iterator<Item = Row> {
        self.order.map(Order::into_row).into_iter().chain([
            Row::Transaction(self.transaction),
            Row::Payment(self.payment),
        ])
    }

    pub(super) fn sale(&self) -> Option<&SalesOrder> {
        match &self.order {
            Some(Order::Sale(order)) => Some(order),
            _ => None,
        }
    }
}

/// What is read from a database to go on with it.
#[derive(Debug, Default)]
pub(in super::super) struct Memory {
    /// Every row of the small tables, the sampled transactions with their orders and payments, and all
    /// payments that are not paid.
    pub(in super::super) rows: Vec<Row>,
    /// The highest key of each table.
    pub(in super::super) highest: BTreeMap<Table, i32>,
    /// When the newest transaction was entered: the day that has passed.
    pub(in super::super) last_deal: Option<NaiveDateTime>,
}

/// The rows that the model remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    pub(super) addresses: BTreeMap<i32, Address>,
    pub(super) departments: BTreeMap<i32, Department>,
    pub(super) currencies: BTreeMap<i32, Currency>,
    pub(super) designs: BTreeMap<i32, Design>,
    pub(super) staff: BTreeMap<i32, Staff>,
    pub(super) counterparties: BTreeMap<i32, Counterparty>,
    deals: BTreeMap<i32, Deal>,
    due: BTreeMap<NaiveDate, BTreeMap<i32, Payment>>,
    highest: BTreeMap<Table, i32>,
}

impl Book {
    pub(super) fn remembered(memory: Memory) -> Self {
        let mut book = Self {
            highest: memory.highest,
            ..Self::default()
        };
        let mut sales = BTreeMap::new();
        let mut purchases = BTreeMap::new();
        let mut transactions = Vec::new();
        let mut payments = BTreeMap::new();
        for row in memory.rows {
            match row {
                Row::SalesOrder(order) => drop(sales.insert(order.sales_order_id, order)),
                Row::PurchaseOrder(order) => drop(purchases.insert(order.purchase_order_id, order)),
                Row::Transaction(transaction) => transactions.push(transaction),
                Row::Payment(payment) => drop(payments.insert(payment.transaction_id, payment)),
                small => book.put(small),
            }
        }
        for payment in payments.values().filter(|payment| !payment.paid) {
            book.wait(payment);
        }
        for transaction in transactions {
            let Some(payment) = payments.remove(&transaction.transaction_id) else {
                continue;
            };
            let sale = transaction.sales_order_id.and_then(|id| sales.remove(&id));
            let purchase = transaction
                .purchase_order_id
                .and_then(|id| purchases.remove(&id));
            let deal = Deal {
                order: sale.map(Order::Sale).or(purchase.map(Order::Purchase)),
                transaction,
                payment,
            };
            book.deals.insert(deal.transaction.transaction_id, deal);
        }
        book
    }

    pub(super) fn is_empty(&self) -> bool {
        self.highest.is_empty()
    }

    /// Remembers a row of a small table; rows of deals go through [`Book::enter`].
    pub(super) fn put(&mut self, row: Row) {
        match row {
            Row::Address(row) => drop(self.addresses.insert(row.address_id, row)),
            Row::Department(row) => drop(self.departments.insert(row.department_id, row)),
            Row::Currency(row) => drop(self.currencies.insert(row.currency_id, row)),
            Row::Design(row) => drop(self.designs.insert(row.design_id, row)),
            Row::Staff(row) => drop(self.staff.insert(row.staff_id, row)),
            Row::Counterparty(row) => drop(self.counterparties.insert(row.counterparty_id, row)),
            Row::PaymentType(_)
            | Row::SalesOrder(_)
            | Row::PurchaseOrder(_)
            | Row::Transaction(_)
            | Row::Payment(_) => {}
        }
    }

    /// The next value of the table's sequence.
    pub(super) fn next_id(&mut self, table: Table) -> i32 {
        let highest = self.highest.entry(table).or_insert(0);
        *highest = highest.saturating_add(1);
        *highest
    }

    /// Remembers a new deal, if it belongs to the sample, and the payment that waits for its day.
    pub(super) fn enter(&mut self, deal: &Deal) {
        if !deal.payment.paid {
            self.wait(&deal.payment);
        }
        let id = deal.transaction.transaction_id;
        let highest = self.highest.get(&Table::Transaction).copied().unwrap_or(id);
        let stride = sample_stride(highest);
        if self.deals.len() > SAMPLE as usize {
            self.deals.retain(|id, _| id % stride == 0);
        }
        if id % stride == 0 {
            self.deals.insert(id, deal.clone());
        }
    }

    /// The deals of the sample, in the order in which they were entered.
    pub(super) fn deals(&self) -> impl Iterator<Item = &Deal> {
        let highest = self.highest.get(&Table::Transaction).copied().unwrap_or(0);
        let stride = sample_stride(highest);
        self.deals
            .values()
            .filter(move |deal| deal.transaction.transaction_id % stride == 0)
    }

    /// The deal of that transaction, if it belongs to the sample and was not deleted.
    pub(super) fn deal(&self, transaction_id: i32) -> Option<&Deal> {
        self.deals.get(&transaction_id)
    }

    /// A deal of the sample that `fits`, drawn by `random`.
    pub(super) fn draw(&self, random: &mut Pcg32, fits: impl Fn(&Deal) -> bool) -> Option<Deal> {
        let fitting: Vec<&Deal> = self.deals().filter(|deal| fits(deal)).collect();
        random.pick(&fitting).map(|deal| (*deal).clone())
    }

    /// Remembers a deal of the sample as it is now.
    pub(super) fn replace(&mut self, deal: Deal) {
        if let Some(remembered) = self.deals.get_mut(&deal.transaction.transaction_id) {
            *remembered = deal;
        }
    }

    /// Forgets a deal that was deleted, and that its payment is waited for.
    pub(super) fn forget(&mut self, deal: &Deal) {
        self.deals.remove(&deal.transaction.transaction_id);
        for waiting in self.due.values_mut() {
            waiting.remove(&deal.payment.payment_id);
        }
    }

    /// The payments that are due on `date` or were before, in the order of their ids; they wait no more.
    pub(super) fn fall_due(&mut self, date: NaiveDate) -> Vec<Payment> {
        let later = self.due.split_off(&after(date, 1));
        let due = std::mem::replace(&mut self.due, later);
        let mut payments: Vec<Payment> =
            due.into_values().flat_map(BTreeMap::into_values).collect();
        payments.sort_by_key(|payment| payment.payment_id);
        payments
    }

    /// Remembers that a payment was made.
    pub(super) fn pay(&mut self, payment: &Payment) {
        if let Some(deal) = self.deals.get_mut(&payment.transaction_id) {
            deal.payment = payment.clone();
        }
    }

    /// A payment without a readable date is never paid by the nightly job.
    fn wait(&mut self, payment: &Payment) {
        if let DateText::Date(date) = payment.payment_date {
            self.due
                .entry(date)
                .or_default()
                .insert(payment.payment_id, payment.clone());
        }
    }
}
