//! The kinds of change that SQLite knows, under every policy, by full compare and by a column.

use anyhow::{Context, Result};

use super::{Broken, Case, Landed, LeftOut, Matrix, Stopped};
use crate::world::{At, Beginning, World};

/// Types are a matter of the declaration only, so that it is enough to write that anew.
const CASES: &[Case] = &[
    Case {
        table: "address",
        sql: "ALTER TABLE address ADD COLUMN geo text NOT NULL DEFAULT 'n/a';
              UPDATE address SET city = 'Leeds', last_updated = '2026-01-01 00:00:00.000' WHERE address_id = 1",
        told: "column geo (TEXT) added",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["dim_location", "dim_counterparty"],
    },
    Case {
        table: "design",
        sql: "ALTER TABLE design RENAME COLUMN file_name TO file;
              UPDATE design SET design_name = 'Ebb' WHERE design_id = 1",
        told: "column file (TEXT) added, column file_name dropped",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &["dim_design"],
    },
    Case {
        table: "currency",
        sql: "UPDATE sqlite_schema SET sql = replace(sql, 'currency_id int4', 'currency_id bigint')
               WHERE name = 'currency';
              UPDATE currency SET currency_code = 'CHF' WHERE currency_id = 2",
        told: "column currency_id widened from int4 to bigint",
        fates: [Landed, Stopped, Stopped],
        acceptable: true,
        star: &["dim_currency"],
    },
    Case {
        table: "staff",
        sql: "UPDATE sqlite_schema SET sql = replace(sql, 'first_name text NOT NULL', 'first_name varchar(40)')
               WHERE name = 'staff';
              UPDATE staff SET first_name = 'Ada' WHERE staff_id = 1",
        told: "column first_name is varchar(40) and was TEXT, landed alike, column first_name is NULL now",
        fates: [Landed, Landed, Stopped],
        acceptable: true,
        star: &["dim_staff"],
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
        table: "payment",
        // The digests of true and 1 are the same, and a row of the one type must not stand for the other.
        sql: "UPDATE sqlite_schema SET sql = replace(sql, 'paid boolean', 'paid int4') WHERE name = 'payment'",
        told: "column paid is int4 and was boolean",
        fates: [Stopped, Stopped, Stopped],
        acceptable: true,
        star: &["fact_payment"],
    },
    Case {
        table: "payment_type",
        sql: "DROP TABLE payment_type",
        told: "table dropped",
        fates: [Stopped, Stopped, Stopped],
        acceptable: false,
        star: &["dim_payment_type"],
    },
    Case {
        table: "audit",
        sql: "CREATE TABLE audit (audit_id int4 PRIMARY KEY, last_updated timestamp(3) NOT NULL);
              INSERT INTO audit VALUES (1, '2026-01-01 00:00:00.000')",
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
        "fact_payment",
        "the module reads `payment.paid` as Boolean, and it is landed as Int32",
    ),
];

async fn every_change(
    policy: &'static str,
    edits: &'static [(&'static str, &'static str)],
) -> Result<()> {
    let world = World::begin(Beginning {
        scale: 0.05,
        edits,
        ..Beginning::at(At::Folder)
    })
    .await?;
    Matrix::run(world, policy, CASES, BROKEN, async |world, sql| {
        let path = world.source.strip_prefix("sqlite://").context("a file")?;
        let file = rusqlite::Connection::open(path)?;
        file.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; PRAGMA writable_schema = ON")?;
        file.execute_batch(&format!("{sql}; PRAGMA writable_schema = RESET"))?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn evolve_lands_what_is_added_or_widened_and_stops_the_rest() -> Result<()> {
    every_change("evolve", &[]).await
}

#[tokio::test]
async fn freeze_goes_on_with_what_it_knows() -> Result<()> {
    every_change(
        "freeze",
        &[("exclude = [", "on_schema_change = \"freeze\"\nexclude = [")],
    )
    .await
}

#[tokio::test]
async fn reject_stops_every_change_by_column() -> Result<()> {
    let edits = &[(
        "exclude = [",
        "on_schema_change = \"reject\"\ncursor = \"last_updated\"\nexclude = [",
    )];
    every_change("reject", edits).await
}
