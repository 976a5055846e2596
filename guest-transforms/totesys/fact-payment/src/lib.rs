//! `fact_payment`: every version of every payment.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(fact_payment);

/// Every version of every payment; `paid` turns true on the day the payment falls due. The two account
/// numbers are not named here, so they never reach this module. The date is a text in the source; a text that
/// is no calendar date refuses the payment.
pub fn fact_payment() -> Table {
    let payment = Input::changes("payment").key(integer("payment_id"));
    let created = payment.timestamp("created_at");
    let updated = payment.timestamp("last_updated");

    Table::append_versions("fact_payment")
        .record_id("payment_record_id")
        .key("payment_id", payment.integer("payment_id"))
        .required("created_date", created.clone().date())
        .required("created_time", created.time())
        .required("last_updated_date", updated.clone().date())
        .required("last_updated_time", updated.time())
        .required("transaction_id", payment.integer("transaction_id"))
        .required("counterparty_id", payment.integer("counterparty_id"))
        .required("payment_amount", payment.decimal("payment_amount", 10, 2))
        .required("currency_id", payment.integer("currency_id"))
        .required("payment_type_id", payment.integer("payment_type_id"))
        .required("paid", payment.boolean("paid"))
        .required("payment_date", payment.text("payment_date").to_date())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::fact_payment);
    }
}
