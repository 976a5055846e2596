//! `dim_payment_type`: one row per type of payment, as it is now.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_payment_type);

/// One row per type of payment, as it is now. The name is an enum in the source and arrives as its text.
pub fn dim_payment_type() -> Table {
    let payment_type = Input::changes("payment_type").key(integer("payment_type_id"));

    Table::upsert("dim_payment_type")
        .key("payment_type_id", payment_type.integer("payment_type_id"))
        .required("payment_type_name", payment_type.text("payment_type_name"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_payment_type);
    }
}
