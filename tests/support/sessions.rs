//! Sessions of the program, as a server sees them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::postgres::{Server, connect, database_of};

/// How long a condition may take to come true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

const WAITING: &str =
    "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND a.application_name = 'tidemill' AND a.datname = $1";

const ALL: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'tidemill' AND datname = ANY($1) AND backend_type = 'client backend'";

/// Waits until `condition` holds.
///
/// # Errors
/// With `problem`, when it does not within a minute; when it cannot be looked at.
pub async fn until(problem: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !condition().await? {
        ensure!(begin.elapsed() < PATIENCE, "{problem}");
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

/// Waits until that many sessions wait for a lock in the database at `url`.
///
/// # Errors
/// When they do not within a minute.
pub async fn waiting_for_a_lock(url: &str, sessions: i64) -> Result<()> {
    let client = connect(url).await?;
    let database = database_of(url);
    let problem = format!("{sessions} sessions did not get to the locked table");
    until(&problem, async || {
        let row = client.query_one(WAITING, &[&database]).await?;
        Ok(row.get::<_, i64>(0) >= sessions)
    })
    .await
}

/// Waits until no session is left in `databases`: until then a COMMIT of a program that was killed may still be
/// under way.
///
/// # Errors
/// When some are there after a minute.
pub async fn gone(server: &Server, databases: &[&str]) -> Result<()> {
    let client = connect(&server.url("postgres")).await?;
    let problem = "sessions of an ended run are still there";
    until(problem, async || {
        let row = client.query_one(ALL, &[&databases]).await?;
        Ok(row.get::<_, i64>(0) == 0)
    })
    .await
}
