//! `dim_transaction`: one row per transaction, as it is now.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_transaction);

/// One row per transaction, as it is now. It names the sales order or the purchase order that it settles;
/// when that order is deleted, the source sets the reference to NULL.
pub fn dim_transaction() -> Table {
    let transaction = Input::changes("transaction").key(integer("transaction_id"));

    Table::upsert("dim_transaction")
        .key("transaction_id", transaction.integer("transaction_id"))
        .required("transaction_type", transaction.text("transaction_type"))
        .optional("sales_order_id", transaction.integer("sales_order_id"))
        .optional(
            "purchase_order_id",
            transaction.integer("purchase_order_id"),
        )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_transaction);
    }
}
