//! `dim_design`: one row per design, as it is now.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_design);

/// One row per design, as it is now. Names are not unique: twelve of them serve hundreds of designs.
pub fn dim_design() -> Table {
    let design = Input::changes("design").key(integer("design_id"));

    Table::upsert("dim_design")
        .key("design_id", design.integer("design_id"))
        .required("design_name", design.text("design_name"))
        .required("file_location", design.text("file_location"))
        .required("file_name", design.text("file_name"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_design);
    }
}
