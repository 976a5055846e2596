//! The mission's questions, and how their answers are written.

use std::borrow::Cow;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;

use super::text::{self, grouped};
use crate::pipeline::Pipeline;

/// A question and the query that answers it. Columns whose names begin with `n_` are numbers.
pub(super) struct Question {
    title: Cow<'static, str>,
    sql: Cow<'static, str>,
}

/// What the mission asks.
pub(super) const ALL: [Question; 4] = [
    Question {
        title: Cow::Borrowed("Revenue per month and currency, the last three months"),
        sql: Cow::Borrowed(
            "
SELECT d.year, d.month_name, c.currency_code AS currency, count(*) AS n_orders,
       sum(f.units_sold * f.unit_price) AS n_revenue
FROM fact_sales_order_current f
JOIN dim_date d ON d.date_id = f.created_date
JOIN dim_currency c ON c.currency_id = f.currency_id
GROUP BY d.year, d.month, d.month_name, c.currency_code
ORDER BY d.year DESC, d.month DESC, c.currency_code
LIMIT 9",
        ),
    },
    Question {
        title: Cow::Borrowed("Best-selling designs, in pounds"),
        sql: Cow::Borrowed(
            "
SELECT d.design_name AS design, count(*) AS n_orders, sum(f.units_sold) AS n_units,
       sum(f.units_sold * f.unit_price) AS n_revenue
FROM fact_sales_order_current f
JOIN dim_design d ON d.design_id = f.design_id
JOIN dim_currency c ON c.currency_id = f.currency_id
WHERE c.currency_code = 'GBP'
GROUP BY d.design_name
ORDER BY sum(f.units_sold * f.unit_price) DESC, d.design_name
LIMIT 5",
        ),
    },
    Question {
        title: Cow::Borrowed("Where it is delivered to, in pounds"),
        sql: Cow::Borrowed(
            "
SELECT l.country, count(*) AS n_orders, sum(f.units_sold * f.unit_price) AS n_revenue
FROM fact_sales_order_current f
JOIN dim_location l ON l.location_id = f.agreed_delivery_location_id
JOIN dim_currency c ON c.currency_id = f.currency_id
WHERE c.currency_code = 'GBP'
GROUP BY l.country
ORDER BY sum(f.units_sold * f.unit_price) DESC, l.country
LIMIT 5",
        ),
    },
    Question {
        title: Cow::Borrowed("Who has not paid yet, in pounds"),
        sql: Cow::Borrowed(
            "
SELECT p.counterparty_legal_name AS counterparty, p.counterparty_legal_country AS country,
       count(*) AS n_payments, sum(f.payment_amount) AS n_unpaid
FROM fact_payment_current f
JOIN dim_counterparty p ON p.counterparty_id = f.counterparty_id
JOIN dim_payment_type t ON t.payment_type_id = f.payment_type_id
JOIN dim_currency c ON c.currency_id = f.currency_id
WHERE NOT f.paid AND t.payment_type_name = 'SALES_RECEIPT' AND c.currency_code = 'GBP'
GROUP BY p.counterparty_legal_name, p.counterparty_legal_country
ORDER BY sum(f.payment_amount) DESC, p.counterparty_legal_name
LIMIT 5",
        ),
    },
];

/// The versions of a sales order that was edited silently.
pub(super) fn versions_of(sales_order_id: i32) -> Question {
    Question {
        title: format!("Every version of sales order {sales_order_id}").into(),
        sql: format!(
            "
SELECT f.last_updated_date AS last_updated, f.sales_staff_id AS n_staff, f.design_id AS n_design,
       f.units_sold AS n_units, f.agreed_delivery_date AS delivery,
       f.agreed_delivery_location_id AS n_location
FROM fact_sales_order f
WHERE f.sales_order_id = {sales_order_id}
ORDER BY f.sales_record_id"
        )
        .into(),
    }
}

/// Asks the star; gives question and answer as a paragraph.
///
/// # Errors
/// What the warehouse says.
pub(super) async fn answer(pipeline: &Pipeline, question: &Question) -> crate::Result<String> {
    let (schema, batches) = pipeline.query(&question.sql).await?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(cells(batch, row, &names));
        }
    }
    Ok(text::table(&question.title, &names, &rows))
}

/// The cells of a row; a value that cannot be written is shown as a question mark, it is only a demo.
fn cells(batch: &RecordBatch, row: usize, names: &[&str]) -> Vec<String> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().zip(names);
    columns
        .map(|(column, name)| {
            let text = ArrayFormatter::try_new(column, &options)
                .and_then(|formatter| formatter.value(row).try_to_string())
                .unwrap_or_else(|_| "?".into());
            if name.starts_with(text::NUMBER) {
                grouped(&text)
            } else {
                text
            }
        })
        .collect()
}
