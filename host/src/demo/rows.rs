//! The rows of totesys as typed data, and as values in the order of their columns.
//!
//! Both appliers and the reader work on [`Row::values`] and [`Row::parse`]; no SQL is written here.

mod parse;
mod table;
mod values;

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};

pub use parse::RowError;
pub use table::{Kind, Table};
pub use values::Value;

/// How totesys writes a timestamp as text.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// An amount in hundredths of the currency: `numeric(10,2)` without a float in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub i64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// A business date, which totesys keeps as text: nearly always `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DateText {
    /// A date.
    Date(NaiveDate),
    /// What somebody typed instead.
    Typed(String),
}

impl fmt::Display for DateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Typed(text) => f.write_str(text),
        }
    }
}

/// When a row was entered and last touched by the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// Never changes.
    pub created_at: NaiveDateTime,
    /// Set by visible updates; silent ones leave it.
    pub last_updated: NaiveDateTime,
}

impl Stamps {
    /// Both stamps at the same time: a new row.
    pub(super) fn new(at: NaiveDateTime) -> Self {
        Self {
            created_at: at,
            last_updated: at,
        }
    }
}

/// A row of `address`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Address {
    pub address_id: i32,
    pub address_line_1: String,
    pub address_line_2: Option<String>,
    pub district: Option<String>,
    pub city: String,
    pub postal_code: String,
    pub country: String,
    pub phone: String,
    pub stamps: Stamps,
}

/// A row of `department`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Department {
    pub department_id: i32,
    pub department_name: String,
    pub location: Option<String>,
    pub manager: Option<String>,
    pub stamps: Stamps,
}

/// A row of `currency`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Currency {
    pub currency_id: i32,
    pub currency_code: String,
    pub stamps: Stamps,
}

/// A row of `payment_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PaymentType {
    pub payment_type_id: i32,
    pub payment_type_name: String,
    pub stamps: Stamps,
}

/// A row of `design`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Design {
    pub design_id: i32,
    pub design_name: String,
    pub file_location: String,
    pub file_name: String,
    pub stamps: Stamps,
}

/// A row of `staff`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Staff {
    pub staff_id: i32,
    pub first_name: String,
    pub last_name: String,
    pub department_id: i32,
    pub email_address: String,
    pub stamps: Stamps,
}

/// A row of `counterparty`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counterparty {
    pub counterparty_id: i32,
    pub counterparty_legal_name: String,
    pub legal_address_id: i32,
    pub commercial_contact: Option<String>,
    pub delivery_contact: Option<String>,
    pub stamps: Stamps,
}

/// A row of `sales_order`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SalesOrder {
    pub sales_order_id: i32,
    pub stamps: Stamps,
    pub design_id: i32,
    pub staff_id: i32,
    pub counterparty_id: i32,
    pub units_sold: i32,
    pub unit_price: Cents,
    pub currency_id: i32,
    pub agreed_delivery_date: DateText,
    pub agreed_payment_date: DateText,
    pub agreed_delivery_location_id: i32,
}

/// A row of `purchase_order`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PurchaseOrder {
    pub purchase_order_id: i32,
    pub stamps: Stamps,
    pub staff_id: i32,
    pub counterparty_id: i32,
    pub item_code: String,
    pub item_quantity: i32,
    pub item_unit_price: Cents,
    pub currency_id: i32,
    pub agreed_delivery_date: DateText,
    pub agreed_payment_date: DateText,
    pub agreed_delivery_location_id: i32,
}

/// A row of `transaction`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Transaction {
    pub transaction_id: i32,
    pub transaction_type: TransactionType,
    pub sales_order_id: Option<i32>,
    pub purchase_order_id: Option<i32>,
    pub stamps: Stamps,
}

/// The enum type of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionType {
    /// `SALE`.
    Sale,
    /// `PURCHASE`.
    Purchase,
}

/// A row of `payment`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Payment {
    pub payment_id: i32,
    pub stamps: Stamps,
    pub transaction_id: i32,
    pub counterparty_id: i32,
    pub payment_amount: Cents,
    pub currency_id: i32,
    pub payment_type_id: i32,
    pub paid: bool,
    pub payment_date: DateText,
    pub company_ac_number: i32,
    pub counterparty_ac_number: i32,
}

/// A row of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Row {
    Address(Address),
    Department(Department),
    Currency(Currency),
    PaymentType(PaymentType),
    Design(Design),
    Staff(Staff),
    Counterparty(Counterparty),
    SalesOrder(SalesOrder),
    PurchaseOrder(PurchaseOrder),
    Transaction(Transaction),
    Payment(Payment),
}

impl TransactionType {
    /// Its label in the database.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sale => "SALE",
            Self::Purchase => "PURCHASE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_with_two_digits() {
        let written: Vec<String> = [310, 5, 0, -205, 40_000_000]
            .map(|cents| Cents(cents).to_string())
            .into();
        assert_eq!(written, ["3.10", "0.05", "0.00", "-2.05", "400000.00"]);
    }
}
