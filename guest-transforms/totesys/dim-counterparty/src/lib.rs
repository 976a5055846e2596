//! `dim_counterparty`: one row per counterparty, as it is now, with its legal address.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_counterparty);

/// One row per counterparty, as it is now, with its legal address. A change of an address changes the rows of
/// those who live there, so the table is made anew by every run. A counterparty without a known address is
/// refused, not dropped.
pub fn dim_counterparty() -> Table {
    let counterparty = Input::current("counterparty").key(integer("counterparty_id"));
    let legal_address = Input::current("address")
        .key(integer("address_id"))
        .look_up(counterparty.integer("legal_address_id"));

    Table::overwrite("dim_counterparty")
        .key("counterparty_id", counterparty.integer("counterparty_id"))
        .required(
            "counterparty_legal_name",
            counterparty.text("counterparty_legal_name"),
        )
        .required(
            "counterparty_legal_address_line_1",
            legal_address.text("address_line_1"),
        )
        .optional(
            "counterparty_legal_address_line_2",
            legal_address.text("address_line_2"),
        )
        .optional(
            "counterparty_legal_district",
            legal_address.text("district"),
        )
        .required("counterparty_legal_city", legal_address.text("city"))
        .required(
            "counterparty_legal_postal_code",
            legal_address.text("postal_code"),
        )
        .required("counterparty_legal_country", legal_address.text("country"))
        .required(
            "counterparty_legal_phone_number",
            legal_address.text("phone"),
        )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_counterparty);
    }
}
