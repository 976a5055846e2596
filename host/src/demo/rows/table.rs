//! The tables of totesys and their columns, as data.

/// A table of totesys that the model fills, in an order that foreign keys allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// 30 rows.
    Address,
    /// 8 rows.
    Department,
    /// 3 rows.
    Currency,
    /// 4 rows.
    PaymentType,
    /// Grows by nearly one row a day.
    Design,
    /// 20 rows.
    Staff,
    /// 20 rows.
    Counterparty,
    /// Grows by about 20 rows a day at scale 1.
    SalesOrder,
    /// Grows by about 9 rows a day at scale 1.
    PurchaseOrder,
    /// One per order, and one per refund.
    Transaction,
    /// One per transaction.
    Payment,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `integer`.
    Int,
    /// `text` or `varchar`.
    Text,
    /// A quoted enum type.
    Enum(&'static str),
    /// `numeric(10,2)`.
    Money,
    /// `timestamp(3) without time zone`.
    Time,
    /// `boolean`.
    Bool,
}

impl Table {
    /// Every table, parents before children.
    pub const ALL: [Self; 11] = [
        Self::Address,
        Self::Department,
        Self::Currency,
        Self::PaymentType,
        Self::Design,
        Self::Staff,
        Self::Counterparty,
        Self::SalesOrder,
        Self::PurchaseOrder,
        Self::Transaction,
        Self::Payment,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Department => "department",
            Self::Currency => "currency",
            Self::PaymentType => "payment_type",
            Self::Design => "design",
            Self::Staff => "staff",
            Self::Counterparty => "counterparty",
            Self::SalesOrder => "sales_order",
            Self::PurchaseOrder => "purchase_order",
            Self::Transaction => "transaction",
            Self::Payment => "payment",
        }
    }

    /// Its columns in physical order; the first is the key.
    pub fn columns(self) -> &'static [(&'static str, Kind)] {
        use Kind::{Bool, Enum, Int, Money, Text, Time};
        match self {
            Self::Address => &[
                ("address_id", Int),
                ("address_line_1", Text),
                ("address_line_2", Text),
                ("district", Text),
                ("city", Text),
                ("postal_code", Text),
                ("country", Text),
                ("phone", Text),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::Department => &[
                ("department_id", Int),
                ("department_name", Text),
                ("location", Text),
                ("manager", Text),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::Currency => &[
                ("currency_id", Int),
                ("currency_code", Text),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::PaymentType => &[
                ("payment_type_id", Int),
                ("payment_type_name", Enum("PaymentTypeName")),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::Design => &[
                ("design_id", Int),
                ("created_at", Time),
                ("design_name", Text),
                ("file_location", Text),
                ("file_name", Text),
                ("last_updated", Time),
            ],
            Self::Staff => &[
                ("staff_id", Int),
                ("first_name", Text),
                ("last_name", Text),
                ("department_id", Int),
                ("email_address", Text),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::Counterparty => &[
                ("counterparty_id", Int),
                ("counterparty_legal_name", Text),
                ("legal_address_id", Int),
                ("commercial_contact", Text),
                ("delivery_contact", Text),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::SalesOrder => &[
                ("sales_order_id", Int),
                ("created_at", Time),
                ("last_updated", Time),
                ("design_id", Int),
                ("staff_id", Int),
                ("counterparty_id", Int),
                ("units_sold", Int),
                ("unit_price", Money),
                ("currency_id", Int),
                ("agreed_delivery_date", Text),
                ("agreed_payment_date", Text),
                ("agreed_delivery_location_id", Int),
            ],
            Self::PurchaseOrder => &[
                ("purchase_order_id", Int),
                ("created_at", Time),
                ("last_updated", Time),
                ("staff_id", Int),
                ("counterparty_id", Int),
                ("item_code", Text),
                ("item_quantity", Int),
                ("item_unit_price", Money),
                ("currency_id", Int),
                ("agreed_delivery_date", Text),
                ("agreed_payment_date", Text),
                ("agreed_delivery_location_id", Int),
            ],
            Self::Transaction => &[
                ("transaction_id", Int),
                ("transaction_type", Enum("TransactionType")),
                ("sales_order_id", Int),
                ("purchase_order_id", Int),
                ("created_at", Time),
                ("last_updated", Time),
            ],
            Self::Payment => &[
                ("payment_id", Int),
                ("created_at", Time),
                ("last_updated", Time),
                ("transaction_id", Int),
                ("counterparty_id", Int),
                ("payment_amount", Money),
                ("currency_id", Int),
                ("payment_type_id", Int),
                ("paid", Bool),
                ("payment_date", Text),
                ("company_ac_number", Int),
                ("counterparty_ac_number", Int),
            ],
        }
    }

    /// The name of its key column.
    pub fn key(self) -> &'static str {
        self.columns().first().map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_key_first_and_both_stamps() {
        for table in Table::ALL {
            let names: Vec<&str> = table.columns().iter().map(|(name, _)| *name).collect();
            assert_eq!(names.first(), Some(&table.key()));
            assert_eq!(table.key(), format!("{}_id", table.name()));
            assert!(names.contains(&"created_at") && names.contains(&"last_updated"));
        }
    }
}
