//! Reads rows back from the text that a database gives for each value.

use std::str::FromStr;

use chrono::{NaiveDate, NaiveDateTime};

use super::{
    Address, Cents, Counterparty, Currency, DateText, Department, Design, Payment, PaymentType,
    PurchaseOrder, Row, SalesOrder, Staff, Stamps, Table, Transaction, TransactionType,
};

/// How databases write a timestamp: PostgreSQL leaves out the zeros at the end.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.f";

/// A row that is not one of totesys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row of {table} is not one of totesys: {column} holds {found}")]
pub struct RowError {
    table: &'static str,
    column: &'static str,
    found: String,
}

/// The values of one row as text, read from left to right.
struct Cells<'a> {
    table: Table,
    next: usize,
    values: &'a [Option<String>],
}

impl<'a> Cells<'a> {
    fn optional(&mut self) -> Option<&'a str> {
        let value = self.values.get(self.next);
        self.next += 1;
        value.and_then(Option::as_deref)
    }

    fn error(&self, found: Option<&str>) -> RowError {
        let read = self.next.saturating_sub(1);
        RowError {
            table: self.table.name(),
            column: self.table.columns().get(read).map_or("?", |(name, _)| name),
            found: found.map_or_else(|| "NULL".into(), |text| format!("`{text}`")),
        }
    }

    fn text(&mut self) -> Result<&'a str, RowError> {
        self.optional().ok_or_else(|| self.error(None))
    }

    fn string(&mut self) -> Result<String, RowError> {
        self.text().map(str::to_owned)
    }

    fn optional_string(&mut self) -> Option<String> {
        self.optional().map(str::to_owned)
    }

    fn parse<T: FromStr>(&mut self) -> Result<T, RowError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.error(Some(text)))
    }

    fn optional_int(&mut self) -> Result<Option<i32>, RowError> {
        self.optional()
            .map(|text| text.parse().map_err(|_| self.error(Some(text))))
            .transpose()
    }

    fn time(&mut self) -> Result<NaiveDateTime, RowError> {
        let text = self.text()?;
        NaiveDateTime::parse_from_str(text, TIME_FORMAT).map_err(|_| self.error(Some(text)))
    }

    fn bool(&mut self) -> Result<bool, RowError> {
        match self.text()? {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(self.error(Some(other))),
        }
    }

    fn stamps(&mut self) -> Result<Stamps, RowError> {
        Ok(Stamps {
            created_at: self.time()?,
            last_updated: self.time()?,
        })
    }
}

impl FromStr for Cents {
    type Err = std::num::ParseIntError;

    /// Reads `3`, `3.1` and `3.10`; the caller's columns never hold more digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{fraction:0<2}").parse().map(Self)
    }
}

impl FromStr for DateText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .filter(|date| date.to_string() == text);
        Ok(date.map_or_else(|| Self::Typed(text.to_owned()), Self::Date))
    }
}

impl FromStr for TransactionType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "SALE" => Ok(Self::Sale),
            "PURCHASE" => Ok(Self::Purchase),
            _ => Err(()),
        }
    }
}

impl Row {
    /// The row of `table` whose values, in the order of its columns, a database wrote as `values`.
    ///
    /// # Errors
    /// When a value is missing or cannot be read.
    pub fn parse(table: Table, values: &[Option<String>]) -> Result<Self, RowError> {
        let mut cells = Cells {
            table,
            next: 0,
            values,
        };
        let c = &mut cells;
        Ok(match table {
            Table::Address => Self::Address(address(c)?),
            Table::Department => Self::Department(department(c)?),
            Table::Currency => Self::Currency(Currency {
                currency_id: c.parse()?,
                currency_code: c.string()?,
                stamps: c.stamps()?,
            }),
            Table::PaymentType => Self::PaymentType(PaymentType {
                payment_type_id: c.parse()?,
                payment_type_name: c.string()?,
                stamps: c.stamps()?,
            }),
            Table::Design => Self::Design(design(c)?),
            Table::Staff => Self::Staff(staff(c)?),
            Table::Counterparty => Self::Counterparty(counterparty(c)?),
            Table::SalesOrder => Self::SalesOrder(sales_order(c)?),
            Table::PurchaseOrder => Self::PurchaseOrder(purchase_order(c)?),
            Table::Transaction => Self::Transaction(transaction(c)?),
            Table::Payment => Self::Payment(payment(c)?),
        })
    }
}

fn address(c: &mut Cells<'_>) -> Result<Address, RowError> {
    Ok(Address {
        address_id: c.parse()?,
        address_line_1: c.string()?,
        address_line_2: c.optional_string(),
        district: c.optional_string(),
        city: c.string()?,
        postal_code: c.string()?,
        country: c.string()?,
        phone: c.string()?,
        stamps: c.stamps()?,
    })
}

fn department(c: &mut Cells<'_>) -> Result<Department, RowError> {
    Ok(Department {
        department_id: c.parse()?,
        department_name: c.string()?,
        location: c.optional_string(),
        manager: c.optional_string(),
        stamps: c.stamps()?,
    })
}

fn design(c: &mut Cells<'_>) -> Result<Design, RowError> {
    let design_id = c.parse()?;
    let created_at = c.time()?;
    Ok(Design {
        design_id,
        design_name: c.string()?,
        file_location: c.string()?,
        file_name: c.string()?,
        stamps: Stamps {
            created_at,
            last_updated: c.time()?,
        },
    })
}

fn staff(c: &mut Cells<'_>) -> Result<Staff, RowError> {
    Ok(Staff {
        staff_id: c.parse()?,
        first_name: c.string()?,
        last_name: c.string()?,
        department_id: c.parse()?,
        email_address: c.string()?,
        stamps: c.stamps()?,
    })
}

fn counterparty(c: &mut Cells<'_>) -> Result<Counterparty, RowError> {
    Ok(Counterparty {
        counterparty_id: c.parse()?,
        counterparty_legal_name: c.string()?,
        legal_address_id: c.parse()?,
        commercial_contact: c.optional_string(),
        delivery_contact: c.optional_string(),
        stamps: c.stamps()?,
    })
}

fn sales_order(c: &mut Cells<'_>) -> Result<SalesOrder, RowError> {
    Ok(SalesOrder {
        sales_order_id: c.parse()?,
        stamps: c.stamps()?,
        design_id: c.parse()?,
        staff_id: c.parse()?,
        counterparty_id: c.parse()?,
        units_sold: c.parse()?,
        unit_price: c.parse()?,
        currency_id: c.parse()?,
        agreed_delivery_date: c.parse()?,
        agreed_payment_date: c.parse()?,
        agreed_delivery_location_id: c.parse()?,
    })
}

fn purchase_order(c: &mut Cells<'_>) -> Result<PurchaseOrder, RowError> {
    Ok(PurchaseOrder {
        purchase_order_id: c.parse()?,
        stamps: c.stamps()?,
        staff_id: c.parse()?,
        counterparty_id: c.parse()?,
        item_code: c.string()?,
        item_quantity: c.parse()?,
        item_unit_price: c.parse()?,
        currency_id: c.parse()?,
        agreed_delivery_date: c.parse()?,
        agreed_payment_date: c.parse()?,
        agreed_delivery_location_id: c.parse()?,
    })
}

fn transaction(c: &mut Cells<'_>) -> Result<Transaction, RowError> {
    Ok(Transaction {
        transaction_id: c.parse()?,
        transaction_type: c.parse()?,
        sales_order_id: c.optional_int()?,
        purchase_order_id: c.optional_int()?,
        stamps: c.stamps()?,
    })
}

fn payment(c: &mut Cells<'_>) -> Result<Payment, RowError> {
    Ok(Payment {
        payment_id: c.parse()?,
        stamps: c.stamps()?,
        transaction_id: c.parse()?,
        counterparty_id: c.parse()?,
        payment_amount: c.parse()?,
        currency_id: c.parse()?,
        payment_type_id: c.parse()?,
        paid: c.bool()?,
        payment_date: c.parse()?,
        company_ac_number: c.parse()?,
        counterparty_ac_number: c.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_not_one_says_which_column_and_why() {
        let values = ["1", "GBP", "yesterday", ""].map(|text| Some(text.to_owned()));
        let error = Row::parse(Table::Currency, &values).expect_err("yesterday is no timestamp");
        assert_eq!(
            error.to_string(),
            "a row of currency is not one of totesys: created_at holds `yesterday`"
        );
        let error = Row::parse(Table::Currency, &[None]).expect_err("a key is never NULL");
        assert_eq!(
            error.to_string(),
            "a row of currency is not one of totesys: currency_id holds NULL"
        );
    }

    #[test]
    fn money_is_read_however_short_it_is_written() {
        let read = ["3", "3.1", "3.10", "-0.05"].map(|text| text.parse::<Cents>().map(|c| c.0));
        assert_eq!(read, [Ok(300), Ok(310), Ok(310), Ok(-5)]);
    }

    #[test]
    fn times_are_read_with_and_without_the_zeros_at_the_end() {
        let read = |text: &str| {
            let values = ["1", "GBP", text, text].map(|text| Some(text.to_owned()));
            let row = Row::parse(Table::Currency, &values).expect(text);
            row.values().last().map(ToString::to_string)
        };
        assert_eq!(
            read("2022-11-03 14:20:51").as_deref(),
            Some("2022-11-03 14:20:51.000")
        );
        assert_eq!(
            read("2022-11-03 14:20:51.56").as_deref(),
            Some("2022-11-03 14:20:51.560")
        );
        assert_eq!(
            read("2022-11-03 14:20:51.560").as_deref(),
            Some("2022-11-03 14:20:51.560")
        );
    }

    #[test]
    fn only_a_real_date_is_a_date() {
        let typed = |text: &str| text.parse().map(|d| matches!(d, DateText::Typed(_)));
        assert_eq!(typed("2024-02-29"), Ok(false));
        assert_eq!(typed("2024-02-30"), Ok(true));
        assert_eq!(typed("2024-2-9"), Ok(true));
        assert_eq!(typed(""), Ok(true));
    }
}
