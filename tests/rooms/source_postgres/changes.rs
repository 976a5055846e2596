//! Transaction ids tell what changed, or it is known that they do not.

use super::*;

/// Follows one table as runs do: each asks for what changed since the snapshot of the one before.
struct Follower {
    url: String,
    name: &'static str,
    position: Position,
}

impl Follower {
    async fn new(url: String, name: &'static str) -> Self {
        let position = snapshot(&url).await.position().clone();
        Self {
            url,
            name,
            position,
        }
    }

    /// The ids of the rows that the next run reads, sorted.
    async fn next(&mut self) -> Vec<i32> {
        let snapshot = snapshot(&self.url).await;
        let table = table(&*snapshot, self.name).await;
        let selection = snapshot
            .changes_since(&table, &self.position)
            .expect("the ids can be compared");
        let rows = read(&*snapshot, &table, &selection)
            .await
            .expect("it reads");
        self.position = snapshot.position().clone();
        let mut ids = ids(&rows);
        ids.sort_unstable();
        ids
    }
}

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
     INSERT INTO t SELECT g, 0 FROM generate_series(1, 9) g";

#[tokio::test(flavor = "multi_thread")]
async fn inserts_and_edits_are_read_and_nothing_else() {
    let server = Server::start("");
    let client = server.database("edits").await;
    run(&client, TABLE).await;
    let mut follower = Follower::new(server.url("edits"), "t").await;
    assert_eq!(follower.next().await, [] as [i32; 0]);
    run(
        &client,
        "INSERT INTO t VALUES (10, 0); UPDATE t SET v = 1 WHERE id = 3; DELETE FROM t WHERE id = 4",
    )
    .await;
    assert_eq!(follower.next().await, [3, 10]);
    run(
        &client,
        "BEGIN; SAVEPOINT a; UPDATE t SET v = 2 WHERE id = 5; SAVEPOINT b; INSERT INTO t VALUES (11, 0);
         RELEASE a; SAVEPOINT c; UPDATE t SET v = 9 WHERE id = 6; ROLLBACK TO c; COMMIT",
    )
    .await;
    assert_eq!(follower.next().await, [5, 11]);
    run_each(&client, ["VACUUM FREEZE t", "SELECT id FROM t FOR UPDATE"]).await;
    assert_eq!(follower.next().await, [] as [i32; 0]);
    run_each(
        &client,
        [
            "UPDATE t SET v = 3 WHERE id = 7",
            "VACUUM FREEZE t",
            "VACUUM FULL t",
        ],
    )
    .await;
    assert_eq!(follower.next().await, [7]);
    run(&client, "TRUNCATE t; INSERT INTO t VALUES (1, 0), (2, 0)").await;
    assert_eq!(follower.next().await, [1, 2]);
    run(&client, "ALTER TABLE t ALTER v TYPE int8").await;
    assert_eq!(follower.next().await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_commits_are_read_once_they_are_committed() {
    let server = Server::start("");
    let client = server.database("late").await;
    run(&client, TABLE).await;
    let [late, long] = [server.client("late").await, server.client("late").await];
    run(
        &late,
        "BEGIN; INSERT INTO t VALUES (20, 0); SAVEPOINT s; UPDATE t SET v = 1 WHERE id = 1",
    )
    .await;
    let mut follower = Follower::new(server.url("late"), "t").await;
    run(&client, "UPDATE t SET v = 1 WHERE id = 2").await;
    assert_eq!(follower.next().await, [2]);
    run(&late, "COMMIT").await;
    assert_eq!(
        follower.next().await,
        [1, 2, 20],
        "2 is repeated, and dropped as equal later"
    );
    assert_eq!(follower.next().await, [] as [i32; 0]);

    run(&long, "BEGIN; INSERT INTO t VALUES (30, 0)").await;
    for id in 3..6 {
        run(&client, &format!("UPDATE t SET v = 2 WHERE id = {id}")).await;
        assert!(follower.next().await.contains(&id));
    }
    run(&long, "UPDATE t SET v = 3 WHERE id = 9; COMMIT").await;
    let last = follower.next().await;
    assert!(last.contains(&30) && last.contains(&9), "{last:?}");

    run(
        &client,
        "BEGIN; UPDATE t SET v = 4 WHERE id = 8; PREPARE TRANSACTION 'p'",
    )
    .await;
    assert!(!follower.next().await.contains(&8));
    run(&client, "INSERT INTO t VALUES (31, 0)").await;
    assert!(!follower.next().await.contains(&8));
    run(&client, "COMMIT PREPARED 'p'").await;
    assert!(follower.next().await.contains(&8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_no_transaction_id_shows_in_the_count_or_the_fingerprint() {
    let server = Server::start("");
    let client = server.database("unseen").await;
    run(
        &client,
        "CREATE TABLE t (id int NOT NULL, v int) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); INSERT INTO t VALUES (1, 0);
         CREATE TABLE t2 (id int NOT NULL, v int); INSERT INTO t2 VALUES (11, 0);",
    )
    .await;
    let mut follower = Follower::new(server.url("unseen"), "t").await;
    let before = snapshot(&server.url("unseen")).await;
    let table_before = table(&*before, "t").await;
    assert_eq!(before.count(&table_before).await.expect("it counts"), 1);
    // The snapshot holds a lock that an ALTER TABLE waits for.
    drop(before);
    run(
        &client,
        "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20); ALTER TABLE t ADD COLUMN w int DEFAULT 5",
    )
    .await;
    assert_eq!(follower.next().await, [] as [i32; 0]);
    let after = snapshot(&server.url("unseen")).await;
    let table_after = table(&*after, "t").await;
    assert_eq!(after.count(&table_after).await.expect("it counts"), 2);
    assert_ne!(table_after.fingerprint(), table_before.fingerprint());
    run(&client, "UPDATE t2 SET v = 1").await;
    assert_eq!(follower.next().await, [11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_another_server_and_ids_that_do_not_fit_ask_for_a_compare() {
    let [one, other] = [Server::shared(), std::sync::Arc::new(Server::start(""))];
    for server in [&one, &other] {
        run(&server.database("copied").await, TABLE).await;
    }
    let first = snapshot(&one.url("copied")).await;
    let second = snapshot(&other.url("copied")).await;
    let table = table(&*second, "t").await;
    assert_eq!(
        second.changes_since(&table, first.position()),
        Err(CompareReason::OtherSystem)
    );
    assert!(second.changes_since(&table, second.position()).is_ok());
    let elsewhere = snapshot(&other.url("postgres")).await;
    assert_eq!(
        second.changes_since(&table, elsewhere.position()),
        Err(CompareReason::OtherSystem)
    );
    let shifted = |by: i64| {
        let mut position = second.position().clone();
        if let Position::Postgres { xmin, xmax, .. } = &mut position {
            *xmin = xmin.saturating_add_signed(by);
            *xmax = xmax.saturating_add_signed(by);
        }
        position
    };
    assert_eq!(
        second.changes_since(&table, &shifted(1)),
        Err(CompareReason::IdsWentBack)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_compared_across_the_turn_of_the_circle() {
    let server = Server::start("");
    let client = server.database("turn").await;
    run(&client, TABLE).await;
    let early = snapshot(&server.url("turn")).await;
    let mut follower = Follower::new(server.url("turn"), "t").await;
    let before = early.position().clone();
    drop(early);
    // Nearly half a circle further: the ids of the rows are now almost as old as can be.
    let further = (1_u64 << 31) - 10_000_000;
    server.skip_to_transaction(further);
    let client = server.client("turn").await;
    run(&client, "UPDATE t SET v = 1 WHERE id = 5").await;
    assert_eq!(follower.next().await, [5]);
    let now = snapshot(&server.url("turn")).await;
    let table = table(&*now, "t").await;
    assert!(now.changes_since(&table, &before).is_ok());
    drop(now);
    run(&client, "UPDATE pg_database SET datallowconn = true").await;
    for database in ["template0", "template1", "postgres", "turn"] {
        run(&server.client(database).await, "VACUUM FREEZE").await;
    }
    server.skip_to_transaction(further + 20_000_000);
    let now = snapshot(&server.url("turn")).await;
    assert_eq!(
        now.changes_since(&table, &before),
        Err(CompareReason::TooOld)
    );
    let client = server.client("turn").await;
    run(&client, "UPDATE t SET v = 2 WHERE id = 6").await;
    let ids = follower.next().await;
    assert!(ids.contains(&6) && !ids.contains(&5), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_standby_answers_like_its_primary() {
    let server = Server::start("");
    let client = server.database("standby").await;
    run(&client, TABLE).await;
    run(&client, "CREATE UNLOGGED TABLE unlogged (id int)").await;
    let standby = server.standby();
    let primary = snapshot(&server.url("standby")).await;
    let mut follower = Follower::new(standby.url("standby"), "t").await;
    let (
        Position::Postgres {
            system_identifier: a,
            timeline: t,
            ..
        },
        Position::Postgres {
            system_identifier: b,
            timeline: u,
            ..
        },
    ) = (primary.position(), &follower.position)
    else {
        panic!("both are PostgreSQL's");
    };
    assert_eq!((a, t), (b, u));
    assert!(a.is_some() && *t == Some(1));
    let late = server.client("standby").await;
    run(&late, "BEGIN; INSERT INTO t VALUES (40, 0)").await;
    run(&client, "UPDATE t SET v = 1 WHERE id = 2").await;
    caught_up(&client, &standby).await;
    assert_eq!(follower.next().await, [2]);
    run(&late, "COMMIT").await;
    caught_up(&client, &standby).await;
    assert_eq!(follower.next().await, [2, 40]);
    let on_standby = snapshot(&standby.url("standby")).await;
    let tables = on_standby.tables().await.expect("it runs");
    assert_eq!(tables.len(), 1, "what is not logged cannot be read there");
    assert!(
        on_standby
            .changes_since(&tables[0].table, primary.position())
            .is_ok()
    );
    // A standby that lags behind what was recorded has not got those rows yet.
    run(&client, "INSERT INTO t VALUES (41, 0)").await;
    let ahead = snapshot(&server.url("standby")).await;
    assert_eq!(
        on_standby.changes_since(&tables[0].table, ahead.position()),
        Err(CompareReason::IdsWentBack)
    );
    drop(on_standby);
    run(&standby.client("postgres").await, "SELECT pg_promote()").await;
    let promoted = snapshot(&standby.url("standby")).await;
    assert_eq!(
        promoted.changes_since(&tables[0].table, primary.position()),
        Err(CompareReason::OtherSystem)
    );
}

/// Waits until the standby shows what is committed on its primary.
async fn caught_up(primary: &Client, standby: &Server) {
    let row = primary
        .query_one("SELECT pg_current_wal_lsn()::text", &[])
        .await
        .expect("it runs");
    let lsn: String = row.get(0);
    let client = standby.client("postgres").await;
    let wait = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}', pg_sleep(0.01)");
    let caught_up = async {
        while !client
            .query_one(&wait, &[])
            .await
            .expect("it runs")
            .get::<_, bool>(0)
        {}
    };
    tokio::time::timeout(Duration::from_secs(30), caught_up)
        .await
        .expect("it catches up");
}
