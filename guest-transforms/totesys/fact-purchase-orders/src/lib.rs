//! `fact_purchase_orders`: every version of every purchase order.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(fact_purchase_orders);

/// Every version of every purchase order; `fact_purchase_order` to those who know the singular. The agreed
/// dates are texts in the source; a text that is no calendar date refuses the order.
pub fn fact_purchase_orders() -> Table {
    let order = Input::changes("purchase_order").key(integer("purchase_order_id"));
    let created = order.timestamp("created_at");
    let updated = order.timestamp("last_updated");

    Table::append_versions("fact_purchase_orders")
        .alias("fact_purchase_order")
        .record_id("purchase_record_id")
        .key("purchase_order_id", order.integer("purchase_order_id"))
        .required("created_date", created.clone().date())
        .required("created_time", created.time())
        .required("last_updated_date", updated.clone().date())
        .required("last_updated_time", updated.time())
        .required("staff_id", order.integer("staff_id"))
        .required("counterparty_id", order.integer("counterparty_id"))
        .required("item_code", order.text("item_code"))
        .required("item_quantity", order.integer("item_quantity"))
        .required("item_unit_price", order.decimal("item_unit_price", 10, 2))
        .required("currency_id", order.integer("currency_id"))
        .required(
            "agreed_delivery_date",
            order.text("agreed_delivery_date").to_date(),
        )
        .required(
            "agreed_payment_date",
            order.text("agreed_payment_date").to_date(),
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
        tidemill_sdk::testing::check_cases(super::fact_purchase_orders);
    }
}
