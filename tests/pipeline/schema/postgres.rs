//! Every kind of change that PostgreSQL knows, under every policy, by the snapshot cursor and by a column.

use anyhow::Result;
use tidemill_tests::postgres::execute;

use super::{Broken, Case, Landed, LeftOut, Matrix, Stopped};
use crate::world::{At, Beginning, World};

/// A table that will take the name of another is written before the first run, so that no transaction id tells.
const BEFORE: &str = "CREATE TABLE currency_next (LIKE currency INCLUDING ALL);
INSERT INTO currency_next SELECT currency_id, CASE currency_id WHEN 2 THEN 'CHF' ELSE currency_code END,
                                 created_at, last_updated FROM currency";

const CASES: &[Case] = &[
    Case {
        table: "address",
        sql: "ALTER TABLE address ADD COLUMN geo text NOT NULL DEFAULT 'n/a';
              UPDATE address SET city = 'Leeds', last_updated = now() WHERE address_id = 1",
        told: "column geo (text) added",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["dim_location", "dim_counterparty"],
    },
    Case {
        table: "design",
        sql: "ALTER TABLE design RENAME COLUMN file_name TO file;
              UPDATE design SET design_name = 'Ebb', last_updated = now() WHERE design_id = 1",
        told: "column file (text) added, which was file_name, column file_name dropped, which is file now",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &["dim_design"],
    },
    Case {
        table: "payment",
        sql: "ALTER TABLE payment ALTER COLUMN payment_id TYPE bigint;
              UPDATE payment SET paid = NOT paid, last_updated = now() WHERE payment_id = 1;
              DELETE FROM payment WHERE payment_id = 2",
        told: "column payment_id widened from integer to bigint",
        fates: [Landed, Stopped, Stopped],
        acceptable: true,
        star: &["fact_payment"],
    },
    Case {
        table: "sales_order",
        sql: "ALTER TABLE sales_order ALTER COLUMN units_sold TYPE text;
              UPDATE sales_order SET units_sold = '7', last_updated = now() WHERE sales_order_id = 1",
        told: "column units_sold is text and was integer",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &["fact_sales_order"],
    },
    Case {
        table: "purchase_order",
        sql: "ALTER TABLE purchase_order ALTER COLUMN item_code TYPE varchar(64);
              UPDATE purchase_order SET item_quantity = 7, last_updated = now() WHERE purchase_order_id = 1",
        told: "column item_code is character varying(64) and was text, landed alike",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["fact_purchase_orders"],
    },
    Case {
        table: "staff",
        sql: "ALTER TABLE staff ALTER COLUMN email_address DROP NOT NULL;
              UPDATE staff SET first_name = 'Ada', last_updated = now() WHERE staff_id = 1",
        told: "column email_address is NULL now",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["dim_staff"],
    },
    Case {
        table: "department",
        sql: "ALTER TABLE department DROP COLUMN manager, ADD COLUMN manager text",
        told: "column manager dropped, and another of its name added, columns in another order",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &[],
    },
    Case {
        table: "counterparty",
        sql: "ALTER TABLE counterparty DROP COLUMN commercial_contact",
        told: "column commercial_contact dropped",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &[],
    },
    Case {
        table: "currency",
        sql: "ALTER TABLE currency RENAME TO currency_old; ALTER TABLE currency_next RENAME TO currency",
        told: "",
        fates: [Landed, Landed, Landed],
        acceptable: true,
        star: &["dim_currency"],
    },
    Case {
        table: "transaction",
        sql: "ALTER TYPE \"TransactionType\" RENAME VALUE 'SALE' TO 'SOLD'",
        told: "column transaction_type: the type \"TransactionType\" is made of other values",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["dim_transaction"],
    },
    Case {
        table: "payment_type",
        sql: "ALTER TABLE payment_type RENAME TO payment_kind",
        told: "table renamed to payment_kind",
        fates: [Stopped, Stopped, Stopped],
        acceptable: false,
        star: &["dim_payment_type"],
    },
    Case {
        table: "payment_kind",
        sql: "UPDATE payment_kind SET last_updated = now()",
        told: "new table",
        fates: [Landed, LeftOut, Stopped],
        acceptable: true,
        star: &[],
    },
];

const BROKEN: Broken = &[
    (
        "dim_design",
        "the module reads `design.file_name`, which the source does not have any more",
    ),
    (
        "fact_sales_order",
        "the module reads `sales_order.units_sold` as Int32, and it is landed as Utf8",
    ),
];

async fn every_change(
    policy: &'static str,
    edits: &'static [(&'static str, &'static str)],
) -> Result<()> {
    let world = World::begin(Beginning {
        warehouse: At::Folder,
        scale: 0.05,
        edits,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    execute(&world.source, BEFORE).await?;
    Matrix::run(world, policy, CASES, BROKEN, async |world, sql| {
        execute(&world.source, sql).await
    })
    .await
}

/// The list of what is left out, with more lines behind it.
macro_rules! excluded {
    ($lines:literal) => {
        &[(
            "exclude = [\"_prisma_migrations\"]",
            concat!(
                "exclude = [\"_prisma_migrations\", \"currency_*\"]\n",
                $lines
            ),
        )]
    };
}

#[tokio::test]
async fn evolve_lands_what_is_added_or_widened_and_stops_the_rest_by_snapshot() -> Result<()> {
    every_change("evolve", excluded!("")).await
}

#[tokio::test]
async fn evolve_lands_what_is_added_or_widened_and_stops_the_rest_by_column() -> Result<()> {
    every_change("evolve", excluded!("cursor = \"last_updated\"")).await
}

#[tokio::test]
async fn freeze_goes_on_with_what_it_knows_by_snapshot() -> Result<()> {
    every_change("freeze", excluded!("on_schema_change = \"freeze\"")).await
}

#[tokio::test]
async fn freeze_goes_on_with_what_it_knows_by_column() -> Result<()> {
    let edits = excluded!("on_schema_change = \"freeze\"\ncursor = \"last_updated\"");
    every_change("freeze", edits).await
}

#[tokio::test]
async fn reject_stops_every_change_by_snapshot() -> Result<()> {
    every_change("reject", excluded!("on_schema_change = \"reject\"")).await
}

#[tokio::test]
async fn reject_stops_every_change_by_column() -> Result<()> {
    let edits = excluded!("on_schema_change = \"reject\"\ncursor = \"last_updated\"");
    every_change("reject", edits).await
}
