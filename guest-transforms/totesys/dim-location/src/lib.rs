//! `dim_location`: one row per address, as it is now.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_location);

/// One row per address, as it is now. The source calls its key `address_id`. Postal codes and phone numbers
/// are texts: they begin with zeros.
pub fn dim_location() -> Table {
    let address = Input::changes("address").key(integer("address_id"));

    Table::upsert("dim_location")
        .key("location_id", address.integer("address_id"))
        .required("address_line_1", address.text("address_line_1"))
        .optional("address_line_2", address.text("address_line_2"))
        .optional("district", address.text("district"))
        .required("city", address.text("city"))
        .required("postal_code", address.text("postal_code"))
        .required("country", address.text("country"))
        .required("phone", address.text("phone"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_location);
    }
}
