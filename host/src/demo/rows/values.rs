//! Rows as values in the order of their columns.

use std::fmt;

use chrono::NaiveDateTime;

use super::{Cents, DateText, Row, TIME_FORMAT, Table};

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// An integer.
    Int(i32),
    /// Text, or the label of an enum.
    Text(&'a str),
    /// A business date.
    Date(&'a DateText),
    /// Money.
    Money(Cents),
    /// A timestamp with milliseconds.
    Time(NaiveDateTime),
    /// True or false.
    Bool(bool),
}

impl fmt::Display for Value<'_> {
    /// The text that both databases read and write for the value; NULL is the empty text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Date(date) => date.fmt(f),
            Self::Money(amount) => amount.fmt(f),
            Self::Time(time) => time.format(TIME_FORMAT).fmt(f),
            Self::Bool(value) => value.fmt(f),
        }
    }
}

impl Row {
    /// The table it belongs to.
    pub fn table(&self) -> Table {
        match self {
            Self::Address(_) => Table::Address,
            Self::Department(_) => Table::Department,
            Self::Currency(_) => Table::Currency,
            Self::PaymentType(_) => Table::PaymentType,
            Self::Design(_) => Table::Design,
            Self::Staff(_) => Table::Staff,
            Self::Counterparty(_) => Table::Counterparty,
            Self::SalesOrder(_) => Table::SalesOrder,
            Self::PurchaseOrder(_) => Table::PurchaseOrder,
            Self::Transaction(_) => Table::Transaction,
            Self::Payment(_) => Table::Payment,
        }
    }

    /// The value of its key.
    pub fn key(&self) -> i32 {
        match self {
            Self::Address(row) => row.address_id,
            Self::Department(row) => row.department_id,
            Self::Currency(row) => row.currency_id,
            Self::PaymentType(row) => row.payment_type_id,
            Self::Design(row) => row.design_id,
            Self::Staff(row) => row.staff_id,
            Self::Counterparty(row) => row.counterparty_id,
            Self::SalesOrder(row) => row.sales_order_id,
            Self::PurchaseOrder(row) => row.purchase_order_id,
            Self::Transaction(row) => row.transaction_id,
            Self::Payment(row) => row.payment_id,
        }
    }

    /// Its values in the order of [`Table::columns`].
    pub fn values(&self) -> Vec<Value<'_>> {
        use Value::{Bool, Date, Int, Money, Text, Time};
        match self {
            Self::Address(row) => vec![
                Int(row.address_id),
                Text(&row.address_line_1),
                text(row.address_line_2.as_deref()),
                text(row.district.as_deref()),
                Text(&row.city),
                Text(&row.postal_code),
                Text(&row.country),
                Text(&row.phone),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::Department(row) => vec![
                Int(row.department_id),
                Text(&row.department_name),
                text(row.location.as_deref()),
                text(row.manager.as_deref()),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::Currency(row) => vec![
                Int(row.currency_id),
                Text(&row.currency_code),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::PaymentType(row) => vec![
                Int(row.payment_type_id),
                Text(&row.payment_type_name),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::Design(row) => vec![
                Int(row.design_id),
                Time(row.stamps.created_at),
                Text(&row.design_name),
                Text(&row.file_location),
                Text(&row.file_name),
                Time(row.stamps.last_updated),
            ],
            Self::Staff(row) => vec![
                Int(row.staff_id),
                Text(&row.first_name),
                Text(&row.last_name),
                Int(row.department_id),
                Text(&row.email_address),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::Counterparty(row) => vec![
                Int(row.counterparty_id),
                Text(&row.counterparty_legal_name),
                Int(row.legal_address_id),
                text(row.commercial_contact.as_deref()),
                text(row.delivery_contact.as_deref()),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::SalesOrder(row) => vec![
                Int(row.sales_order_id),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
                Int(row.design_id),
                Int(row.staff_id),
                Int(row.counterparty_id),
                Int(row.units_sold),
                Money(row.unit_price),
                Int(row.currency_id),
                Date(&row.agreed_delivery_date),
                Date(&row.agreed_payment_date),
                Int(row.agreed_delivery_location_id),
            ],
            Self::PurchaseOrder(row) => vec![
                Int(row.purchase_order_id),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
                Int(row.staff_id),
                Int(row.counterparty_id),
                Text(&row.item_code),
                Int(row.item_quantity),
                Money(row.item_unit_price),
                Int(row.currency_id),
                Date(&row.agreed_delivery_date),
                Date(&row.agreed_payment_date),
                Int(row.agreed_delivery_location_id),
            ],
            Self::Transaction(row) => vec![
                Int(row.transaction_id),
                Text(row.transaction_type.label()),
                int(row.sales_order_id),
                int(row.purchase_order_id),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
            ],
            Self::Payment(row) => vec![
                Int(row.payment_id),
                Time(row.stamps.created_at),
                Time(row.stamps.last_updated),
                Int(row.transaction_id),
                Int(row.counterparty_id),
                Money(row.payment_amount),
                Int(row.currency_id),
                Int(row.payment_type_id),
                Bool(row.paid),
                Date(&row.payment_date),
                Int(row.company_ac_number),
                Int(row.counterparty_ac_number),
            ],
        }
    }
}

fn text(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Null, Value::Text)
}

fn int(value: Option<i32>) -> Value<'static> {
    value.map_or(Value::Null, Value::Int)
}
