//! The source is never disturbed: while others write at full speed and change tables, nobody waits for a run
//! longer than the project file says, and a run keeps to its connections, its time and to reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemill_tests::host::Host;
use tidemill_tests::postgres::{Server, connect, database_of, execute};
use tidemill_tests::project::Said;
use tidemill_tests::proxy::{Line, Proxy};
use tidemill_tests::sessions;
use tokio::task::JoinHandle;

use super::faults::source::READING;
use super::faults::{Story, failed, healed};
use tidemill_tests::world::{At, Beginning, World, extracted, report_of};

/// Every wait of 20 ms is logged with who is waited for, and every statement of ours.
const SETTINGS: &str = "
log_lock_waits = on
deadlock_timeout = '20ms'
log_line_prefix = '%p|%a|%d|'
";

/// The role that the program reads as.
const READER: &str = "
CREATE ROLE reader LOGIN;
ALTER ROLE reader SET log_statement = 'all';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
";

/// Sessions that write.
const WRITERS: u32 = 4;

/// Runs while they write.
const RUNS: usize = 3;

/// What a run may send: it reads, in transactions that it says are read only.
const SENT: [&str; 8] = [
    "RELEASE SAVEPOINT",
    "BEGIN",
    "SET",
    "SELECT",
    "WITH",
    "COPY (SELECT",
    "SAVEPOINT",
    "ROLLBACK TO SAVEPOINT",
];

/// What everybody waits for in the tests that stop the line.
const AT_MOST: Duration = Duration::from_secs(4);

async fn begin() -> Result<(World, Proxy)> {
    let mut world = World::begin(Beginning {
        warehouse: At::Folder,
        server: Some(Arc::new(Server::start(SETTINGS))),
        ..Beginning::at(At::Postgres)
    })
    .await?;
    execute(&world.source, READER).await?;
    let proxy = Proxy::before(world.server.port())?;
    let url = proxy.url(&world.source).replace("postgres@", "reader@");
    world.project.set("TOTESYS_URL", &url);
    world.run().await?;
    Ok((world, proxy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_writes_waits_for_a_run() -> Result<()> {
    let (world, _proxy) = begin().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch(&world, &stop);
    let mut work: Vec<JoinHandle<Result<u64>>> = (0..WRITERS)
        .map(|number| tokio::spawn(write(world.source.clone(), number, Arc::clone(&stop))))
        .collect();
    // What takes locks that reading does not conflict with.
    for sql in [
        "CREATE INDEX ON payment (payment_date)",
        "VACUUM (ANALYZE) design",
    ] {
        let (url, stop) = (world.source.clone(), Arc::clone(&stop));
        work.push(tokio::spawn(repeat(url, sql, 15, stop)));
    }
    for number in 0..RUNS {
        let limit = "source.totesys.connections=2";
        let arguments: &[&str] = match number {
            0 => &["run", "--set", limit, "--reconcile"],
            _ => &["run", "--set", limit],
        };
        let said = tokio::task::block_in_place(|| world.call(arguments))?;
        ensure!(said.code == Some(0), "run {number}: {said:#?}");
        // So that the sessions of one run are not counted with those of the next.
        world.is_left_alone().await?;
    }
    stop.store(true, Ordering::SeqCst);
    for work in work {
        ensure!(work.await?? > 0, "somebody did not get on");
    }
    let seen = watch.await??;
    ensure!(seen.waited_for_us.is_empty(), "{seen:#?}");
    ensure!(seen.samples > 20, "{seen:#?}");
    ensure!((2..=4).contains(&seen.most_sessions), "{seen:#?}");
    ensure!(
        seen.oldest_transaction < Duration::from_secs(60),
        "{seen:#?}"
    );
    let waits = waits_by_log(&world);
    ensure!(waits.is_empty(), "{waits:#?}");
    kept_to_reading(&world)?;
    world.run_and_compare(&[]).await?;
    Ok(())
}

/// The server's own words on who waited for a session of the program's.
fn waits_by_log(world: &World) -> Vec<String> {
    let log = world.server.whole_log();
    let ours: BTreeSet<&str> = log
        .lines()
        .filter_map(|line| line.split_once("|tidemill|"))
        .map(|(pid, _)| pid)
        .collect();
    let mut waits = Vec::new();
    for line in log.lines() {
        if let Some((_, holders)) = line.split_once("holding the lock: ") {
            let holders = holders.split('.').next().unwrap_or_default();
            if holders.split(", ").any(|pid| ours.contains(pid)) {
                waits.push(line.to_owned());
            }
        }
    }
    waits
}

/// What was seen of the program's sessions while others worked.
#[derive(Debug, Default)]
struct Seen {
    samples: u32,
    most_sessions: i64,
    /// The names of those who waited for a session of ours.
    waited_for_us: Vec<String>,
    longest_wait: Duration,
    oldest_transaction: Duration,
}

const SESSIONS: &str = "
SELECT count(*), coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
  FROM pg_stat_activity WHERE application_name = 'tidemill' AND datname = $1 AND backend_type = 'client backend'";

const WAITING: &str = "
SELECT DISTINCT waiting.pid, waiting.application_name
  FROM pg_stat_activity waiting
 CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) blocking
  JOIN pg_stat_activity ours ON ours.pid = blocking AND ours.application_name = 'tidemill'
 WHERE waiting.wait_event_type = 'Lock' AND waiting.application_name <> 'tidemill'";

/// Looks as often as the server answers, until it is told to stop.
fn watch(world: &World, stop: &Arc<AtomicBool>) -> JoinHandle<Result<Seen>> {
    let (url, stop) = (world.source.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let client = connect(&url).await?;
        let database = database_of(&url).to_owned();
        let mut seen = Seen::default();
        let mut waiting: BTreeMap<i32, Instant> = BTreeMap::new();
        while !stop.load(Ordering::SeqCst) {
            let row = client.query_one(SESSIONS, &[&database]).await?;
            seen.most_sessions = seen.most_sessions.max(row.get(0));
            let oldest = Duration::from_secs_f64(row.get::<_, f64>(1).max(0.0));
            seen.oldest_transaction = seen.oldest_transaction.max(oldest);
            let now = Instant::now();
            let rows = client.query(WAITING, &[]).await?;
            let pids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            waiting.retain(|pid, _| pids.contains(pid));
            for row in rows {
                let since = *waiting.entry(row.get(0)).or_insert(now);
                seen.longest_wait = seen.longest_wait.max(now - since);
                seen.waited_for_us.push(row.get(1));
            }
            seen.samples += 1;
        }
        seen.waited_for_us.sort();
        seen.waited_for_us.dedup();
        Ok(seen)
    })
}

/// Inserts, updates and deletes rows of its own as fast as the server lets it; gives how many times.
async fn write(url: String, number: u32, stop: Arc<AtomicBool>) -> Result<u64> {
    let client = connect(&format!("{url}&application_name=write")).await?;
    let sql = format!(
        "INSERT INTO design (design_name, file_location, file_name, created_at, last_updated) \
             VALUES ('Writer {number}', '/w', 'w.json', '2022-11-03 09:00', '2022-11-03 09:00'); \
         UPDATE sales_order SET units_sold = units_sold + 1 WHERE sales_order_id % 50 = {number}; \
         UPDATE payment SET paid = NOT paid WHERE payment_id % 50 = {number}; \
         DELETE FROM design WHERE design_name = 'Writer {number}' \
             AND design_id < (SELECT max(design_id) - 20 FROM design)"
    );
    let mut done = 0;
    while !stop.load(Ordering::SeqCst) {
        client.batch_execute(&sql).await?;
        done += 4;
    }
    Ok(done)
}

/// Makes the same statements again and again, one by one, at most so many times; gives how many times.
async fn repeat(url: String, sql: &'static str, most: u64, stop: Arc<AtomicBool>) -> Result<u64> {
    let client = connect(&format!("{url}&application_name=repeat")).await?;
    let mut done = 0;
    while done < most && !stop.load(Ordering::SeqCst) {
        for statement in sql.split("; ") {
            client
                .batch_execute(statement)
                .await
                .with_context(|| statement.to_owned())?;
        }
        done += 1;
    }
    Ok(done)
}

/// Everything that the program sent, by the server's own log.
fn kept_to_reading(world: &World) -> Result<()> {
    // Further lines of a statement begin with a tab.
    let log = world.server.whole_log().replace("\n\t", " ");
    let mut statements = 0;
    for line in log.lines() {
        let ours = line.split_once("|tidemill|");
        let Some((_, said)) = ours.and_then(|(_, rest)| rest.split_once("LOG:  ")) else {
            continue;
        };
        let sent = said.strip_prefix("statement: ").or_else(|| {
            let prepared = said.strip_prefix("execute ")?.split_once(": ");
            prepared.map(|(_, sent)| sent)
        });
        let Some(sent) = sent.map(str::trim) else {
            continue;
        };
        ensure!(
            SENT.iter().any(|begin| sent.starts_with(begin)),
            "a run sent {sent}"
        );
        statements += 1;
    }
    ensure!(
        statements > 50,
        "only {statements} statements were logged:\n{log}"
    );
    for said in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL lock_timeout = '10s'",
        "SET LOCAL statement_timeout = 3600000",
        "SET LOCAL idle_in_transaction_session_timeout = 3600000",
    ] {
        ensure!(log.contains(said), "no session said {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reading_gives_way_to_who_changes_a_table() -> Result<()> {
    let (mut world, proxy) = begin().await?;
    let mut story = Story::of("disturbance");

    let fault = "a table is changed while the line to it is stuck";
    world.live().await?;
    proxy.set(Line::HangAfter(READING, 2_000));
    let run = Host::start(&world.project, ["run", "--reconcile"])?;
    sessions::until("payments are not read", async || Ok(proxy.failures() > 0)).await?;
    let begin = Instant::now();
    execute(&world.source, "ALTER TABLE payment ADD COLUMN note text").await?;
    // Whoever writes queues behind the change.
    execute(
        &world.source,
        "UPDATE payment SET paid = paid WHERE payment_id = 1",
    )
    .await?;
    ensure!(
        begin.elapsed() < AT_MOST,
        "it waited for {:?}",
        begin.elapsed()
    );
    let said = run.end()?;
    ensure!(said.code == Some(1), "{said:#?}");
    story.tell(
        &world,
        fault,
        &["run", "--reconcile"],
        &without_warnings(said),
    );
    proxy.set(Line::Whole);
    // The other tables went on, and this one catches up.
    world.evolution.run();
    let report = world.done(&["run"])?;
    ensure!(
        extracted(&report, "payment")?["window"]["reason"]["reason"] == "schema-changed",
        "{report:#}"
    );
    world.evolution.run();
    world.compare().await?;

    let fault = "a table is locked for longer than a run waits";
    world.live().await?;
    let lock = connect(&world.source).await?;
    lock.batch_execute("BEGIN; LOCK TABLE design IN ACCESS EXCLUSIVE MODE")
        .await?;
    let said = failed(&world, &["run"])?;
    story.tell(&world, fault, &["run"], &said);
    lock.batch_execute("ROLLBACK").await?;
    world.evolution.run();
    healed(&mut world, fault).await?;

    let fault = "the snapshot is open for as long as it may";
    world.live().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(&world, &stop);
    proxy.set(Line::HangAfter(READING, 2_000));
    let limit = "source.totesys.snapshot_timeout=2s";
    let arguments = ["run", "--reconcile", "--set", limit];
    let said = tokio::task::block_in_place(|| failed(&world, &arguments))?;
    story.tell_any_table(&world, fault, &arguments, &said, "extract");
    world.is_left_alone().await?;
    stop.store(true, Ordering::SeqCst);
    let seen = watching.await??;
    ensure!(seen.oldest_transaction < AT_MOST, "{seen:#?}");
    proxy.set(Line::Whole);
    healed(&mut world, fault).await?;
    story.end()
}

/// Changes of definitions at full speed under runs at full speed: everybody gets on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_tables_and_runs_do_not_hold_each_other_up() -> Result<()> {
    let (world, _proxy) = begin().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch(&world, &stop);
    let writer = tokio::spawn(write(world.source.clone(), 1, Arc::clone(&stop)));
    let changes = tokio::spawn(repeat(
        world.source.clone(),
        "ALTER TABLE payment ADD CONSTRAINT busy CHECK (payment_amount > -1); \
         ALTER TABLE payment DROP CONSTRAINT busy; \
         ALTER TABLE sales_order ADD CONSTRAINT busy CHECK (units_sold > -1); \
         ALTER TABLE sales_order DROP CONSTRAINT busy",
        500,
        Arc::clone(&stop),
    ));
    for number in 0..RUNS {
        let said = tokio::task::block_in_place(|| world.call(&["run", "--reconcile"]))?;
        match said.code {
            Some(0) => {}
            _ => ensure!(gave_way(&said)?, "run {number}: {said:#?}"),
        }
    }
    stop.store(true, Ordering::SeqCst);
    ensure!(
        writer.await?? > 0 && changes.await?? > 0,
        "they hardly got on"
    );
    let seen = watch.await??;
    ensure!(seen.longest_wait < Duration::from_millis(1500), "{seen:#?}");
    world.run_and_compare(&["--reconcile"]).await?;
    Ok(())
}

/// Whether a run failed for nothing but tables that were changed under it.
fn gave_way(said: &Said) -> Result<bool> {
    if said.stdout.is_empty() {
        return Ok(false);
    }
    let report = report_of(said)?;
    let failures = report["extract"][0]["failures"].as_array();
    let mut failures = failures.into_iter().flatten();
    Ok(failures.all(|failure| {
        let message = failure["message"].as_str().unwrap_or_default();
        [
            "gave way",
            "was changed, renamed or dropped",
            "is locked by somebody",
        ]
        .iter()
        .any(|reason| message.contains(reason))
    }))
}

/// What is said for people, without lines of the log.
fn without_warnings(said: Said) -> Said {
    let lines = said.stderr.lines().filter(|line| !line.contains(" WARN "));
    let stderr = lines.map(|line| format!("{line}\n")).collect();
    Said { stderr, ..said }
}
