//! `dim_currency`: one row per currency, as it is now, with the name that ISO 4217 gives it.

mod iso_4217;

use tidemill_sdk::{Input, Table, integer};

use crate::iso_4217::ISO_4217;

tidemill_sdk::export!(dim_currency);

/// One row per currency, as it is now. The source has codes only; a code that ISO 4217 does not know refuses
/// the currency.
pub fn dim_currency() -> Table {
    let currency = Input::changes("currency").key(integer("currency_id"));
    let code = currency.text("currency_code");

    Table::upsert("dim_currency")
        .key("currency_id", currency.integer("currency_id"))
        .required("currency_code", code.clone())
        .required("currency_name", code.named_by("ISO 4217", &ISO_4217))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_currency);
    }
}
