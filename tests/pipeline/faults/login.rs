//! Nobody is let in, or not far enough: passwords, roles, databases, TLS, too many connections.

use std::sync::Arc;

use anyhow::Result;
use tidemill_tests::postgres::{Server, database_of, execute};

use super::{Story, healed};
use tidemill_tests::world::{At, Beginning, World};

/// Who comes from where, and how they say who they are.
const RULES: &str = "
local all all trust
host all postgres 127.0.0.1/32 trust
host all stranger 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
";

/// Roles beside `postgres`. They share a password, which no message may tell.
const ROLES: &str = "
CREATE ROLE reader LOGIN PASSWORD 'secret';
CREATE ROLE blind LOGIN PASSWORD 'secret';
CREATE ROLE narrow LOGIN PASSWORD 'secret' CONNECTION LIMIT 2;
CREATE ROLE loader LOGIN PASSWORD 'secret';
CREATE ROLE crowd LOGIN PASSWORD 'secret' CONNECTION LIMIT 0;
CREATE ROLE stranger LOGIN PASSWORD 'secret';
";

#[tokio::test]
async fn whoever_is_not_let_in_is_told_why_and_never_a_password() -> Result<()> {
    let server = Server::start("");
    server.write("pg_hba.conf", RULES);
    server.restart("");
    let mut world = World::begin(Beginning {
        server: Some(Arc::new(server)),
        scale: 0.3,
        ..Beginning::at(At::Postgres)
    })
    .await?;
    execute(&world.source, ROLES).await?;
    execute(&world.source, "CREATE DATABASE closed").await?;
    execute(
        &world.source,
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    )
    .await?;
    let rights = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader, narrow";
    execute(&world.source, rights).await?;
    let mut story = Story::of("login");
    let port = world.server.port();
    let url = |user: &str, database: &str, more: &str| {
        format!("postgresql://{user}@127.0.0.1:{port}/{database}?{more}")
    };
    let source = database_of(&world.source).to_owned();
    let star = database_of(&world.star).to_owned();
    let plain = "sslmode=disable";
    let good = url("reader:secret", &source, plain);
    world.project.set("TOTESYS_URL", &good);
    world.run().await?;
    world.live().await?;

    for (fault, wrong) in [
        (
            "the source's password is wrong",
            url("reader:not-secret", &source, plain),
        ),
        (
            "the source's password is missing",
            url("reader", &source, plain),
        ),
        (
            "the source's rules let this role in from nowhere",
            url("stranger:secret", &source, plain),
        ),
        (
            "the source has no such database",
            url("reader:secret", "nowhere", plain),
        ),
        (
            "the role may not connect to the source's database",
            url("reader:secret", "closed", plain),
        ),
        (
            "the role may read no table of the source",
            url("blind:secret", &source, plain),
        ),
        (
            "the source has no TLS",
            url("reader:secret", &source, "sslmode=require"),
        ),
        (
            "the certificate of the source's authority is not there",
            url(
                "reader:secret",
                &source,
                "sslmode=verify-full&sslrootcert=nowhere.pem",
            ),
        ),
    ] {
        world.project.set("TOTESYS_URL", &wrong);
        story.run(&mut world, fault, &["run"]).await?;
    }

    let fault = "the role has fewer connections than a run reads over";
    world
        .project
        .set("TOTESYS_URL", &url("narrow:secret", &source, plain));
    let said = super::failed(&world, &["run", "--reconcile"])?;
    story.tell_any_table(&world, fault, &["run", "--reconcile"], &said, "extract");
    world.project.set("TOTESYS_URL", &good);
    healed(&mut world, fault).await?;

    let fault = "the role lost its right to one table of the source";
    world.live().await?;
    execute(&world.source, "REVOKE SELECT ON design FROM reader").await?;
    story.run(&mut world, fault, &["run"]).await?;
    execute(&world.source, "GRANT SELECT ON design TO reader").await?;
    // The other tables went on, and this one catches up.
    world.evolution.run();
    healed(&mut world, fault).await?;

    let good = world.star.clone();
    world.live().await?;
    for (fault, wrong) in [
        (
            "the warehouse's password is wrong",
            url("loader:not-secret", &star, plain),
        ),
        (
            "the warehouse does not exist",
            url("loader:secret", "nowhere", plain),
        ),
        (
            "the warehouse's role may not read its ledger",
            url("loader:secret", &star, plain),
        ),
        (
            "the warehouse has no connection left",
            url("crowd:secret", &star, plain),
        ),
        (
            "the warehouse has no TLS",
            url("loader:secret", &star, "sslmode=require"),
        ),
        (
            "the warehouse is read only",
            format!("{good}&options=-c%20default_transaction_read_only%3Don"),
        ),
    ] {
        world.project.set("WAREHOUSE_URL", &wrong);
        story.run(&mut world, fault, &["run"]).await?;
    }
    world.project.set("WAREHOUSE_URL", &good);
    world.evolution.run();
    healed(&mut world, "the warehouse's logins").await?;
    story.end()
}
