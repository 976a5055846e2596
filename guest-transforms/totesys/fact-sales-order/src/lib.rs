//! `fact_sales_order`: every version of every sales order.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(fact_sales_order);

/// Every version of every sales order. The agreed dates are texts in the source; a text that is no calendar
/// date refuses the order.
pub fn fact_sales_order() -> Table {
    let order = Input::changes("sales_order").key(integer("sales_order_id"));
    let created = order.timestamp("created_at");
    let updated = order.timestamp("last_updated");

    Table::append_versions("fact_sales_order")
        .record_id("sales_record_id")
        .key("sales_order_id", order.integer("sales_order_id"))
        .required("created_date", created.clone().date())
        .required("created_time", created.time())
        .required("last_updated_date", updated.clone().date())
        .required("last_updated_time", updated.time())
        .required("sales_staff_id", order.integer("staff_id"))
        .required("counterparty_id", order.integer("counterparty_id"))
        .required("units_sold", order.integer("units_sold"))
        .required("unit_price", order.decimal("unit_price", 10, 2))
        .required("currency_id", order.integer("currency_id"))
        .required("design_id", order.integer("design_id"))
        .required(
            "agreed_payment_date",
            order.text("agreed_payment_date").to_date(),
        )
        .required(
            "agreed_delivery_date",
            order.text("agreed_delivery_date").to_date(),
        )
        .required(
            "agreed_delivery_location_id",
            order.integer("agreed_delivery_location_id"),
        )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::fact_sales_order);
    }
}
