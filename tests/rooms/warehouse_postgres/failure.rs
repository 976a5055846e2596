//! Loads that fail, are cut off, or meet another.

use super::*;

/// Rows that the test sends while the load waits for them.
fn slow_rows(name: &str, mode: LoadMode) -> (mpsc::Sender<RecordBatch>, TableLoad) {
    let (sender, receiver) = mpsc::channel(0);
    let load = TableLoad {
        rows: receiver.map(Ok).boxed(),
        ..table(name, mode, &[], &[])
    };
    (sender, load)
}

/// Waits in the server until a load is inside its COPY.
async fn backend_in_copy(url: &str) -> i32 {
    let client = client(url).await;
    loop {
        let row = client
            .query_opt(
                "select pid from pg_stat_activity where datname = current_database()
                    and state = 'active' and query like 'COPY %'",
                &[],
            )
            .await
            .expect("an answer");
        if let Some(row) = row {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_while_the_server_works_gives_its_lock_back() {
    let url = database().await;
    execute(
        &url,
        "create schema star; create table star.dim_order (order_id int primary key);
         create function star.wait() returns trigger language plpgsql as
             $$ begin perform pg_sleep(3600); return new; end $$;
         create trigger wait before insert on star.dim_order for each row execute function star.wait();",
    )
    .await;
    let one = || landing(1, vec![table("dim_order", Upsert, &[(1, None, None)], &[])]);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(one()).await }
    });
    let working = "datname = current_database() and query like 'INSERT INTO \"star\"%' and wait_event = 'PgSleep'";
    let watcher = client(&url).await;
    let sql = format!("select count(*) from pg_stat_activity where {working}");
    while watcher
        .query_one(&sql, &[])
        .await
        .expect("an answer")
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    first.abort();
    until_none(&url, working).await;
    execute(&url, "drop trigger wait on star.dim_order").await;
    let loaded = warehouse(&url).load(one()).await.expect("the lock is free");
    assert_eq!(counts(&loaded[0]), [1, 0, 0, 0]);
}

/// A way to the server that is cut as soon as COMMIT has been sent: its answer does not arrive.
async fn cut_at_commit(url: &str) -> String {
    let address = url
        .split(['@', '/'])
        .nth(3)
        .expect("host and port")
        .to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let detour = listener.local_addr().expect("its address").to_string();
    let url = url.replace(&address, &detour);
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("the load connects");
        let mut far = TcpStream::connect(&address).await.expect("the server");
        let (mut sent, mut answered) = (BytesMut::new(), BytesMut::new());
        loop {
            tokio::select! {
                read = near.read_buf(&mut sent) => {
                    read.expect("the load sends");
                    let commit = sent.windows(7).any(|bytes| bytes == b"COMMIT\0");
                    far.write_all(&sent.split()).await.expect("the server reads");
                    if commit {
                        // The server has answered, so it has committed. The answer goes no further.
                        far.read_buf(&mut answered).await.expect("the server commits");
                        return;
                    }
                }
                read = far.read_buf(&mut answered) => {
                    read.expect("the server answers");
                    near.write_all(&answered.split()).await.expect("the load reads");
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_found_in_the_ledger() {
    let url = database().await;
    let one = || {
        landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        )
    };
    let lossy = warehouse(&cut_at_commit(&url).await);
    let error = lossy.load(one()).await.expect_err("the answer is lost");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let to = warehouse(&url);
    assert!(to.load(one()).await.expect("it is loaded")[0].already);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn of_two_hosts_one_loads_and_the_other_is_told() {
    let url = database().await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(1, vec![slow])).await }
    });
    backend_in_copy(&url).await;
    let to = warehouse(&url);
    let again = || {
        landing(
            1,
            vec![table("fact_order", AppendVersions, &[(1, None, None)], &[])],
        )
    };
    let error = to.load(again()).await.expect_err("another loads");
    assert!(
        matches!(error, WarehouseError::Conflict { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
    sender
        .send(orders(&[(1, None, None)]))
        .await
        .expect("the load reads");
    drop(sender);
    let loaded = first.await.expect("it ends").expect("it is loaded");
    assert_eq!(counts(&loaded[0]), [1, 0, 0, 0]);
    assert!(to.load(again()).await.expect("it is free again")[0].already);
    assert_eq!(rows(&to, FACT).await, ["1|-|-"]);
}

#[tokio::test]
async fn two_warehouses_of_one_database_do_not_meet() {
    let url = database().await;
    let to = warehouse(&url);
    load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(2, vec![slow])).await }
    });
    backend_in_copy(&url).await;
    let other = PostgresWarehouse::new(&url, "Other \"star\"").expect("a schema's name");
    load(
        &other,
        1,
        table("fact_order", AppendVersions, &[(5, None, None)], &[5]),
    )
    .await;
    load(&other, 2, table("fact_order", AppendVersions, &[], &[5])).await;
    sender
        .send(orders(&[(2, None, None)]))
        .await
        .expect("the load reads");
    drop(sender);
    first.await.expect("it ends").expect("it is loaded");
    assert_eq!(rows(&to, CURRENT).await, ["1|1|-|-", "2|2|-|-"]);
    assert!(rows(&other, CURRENT).await.is_empty());
    assert_eq!(rows(&other, FACT).await, ["5|-|-"]);
}

#[tokio::test]
async fn an_error_in_the_rows_leaves_nothing() {
    let url = database().await;
    let to = warehouse(&url);
    load(&to, 1, table("dim_order", Upsert, &[(1, None, None)], &[])).await;
    let broken = WarehouseError::Query("the object is damaged".into());
    let failing = TableLoad {
        rows: stream::iter([Ok(orders(&[(3, None, None)])), Err(broken.into())]).boxed(),
        ..table("fact_order", AppendVersions, &[], &[])
    };
    let error = to
        .load(landing(
            2,
            vec![
                table("dim_order", Upsert, &[(2, None, None)], &[1]),
                failing,
            ],
        ))
        .await
        .expect_err("the rows end with an error");
    assert_eq!(
        error.to_string(),
        "the rows for fact_order could not be read"
    );
    assert!(error.source().is_some());
    assert_eq!(rows(&to, DIMENSION).await, ["1|-|-"]);
    assert_eq!(to.tables().await.expect("an answer"), ["dim_order"]);
    assert_eq!(
        to.ledger()
            .await
            .expect("an answer")
            .through("dim_order", "totesys"),
        1
    );
    let again = to
        .load(landing(
            2,
            vec![
                table("dim_order", Upsert, &[(2, None, None)], &[1]),
                table("fact_order", AppendVersions, &[(3, None, None)], &[]),
            ],
        ))
        .await
        .expect("the lock is free at once");
    assert_eq!(
        again.iter().map(counts).collect::<Vec<_>>(),
        [[1, 0, 1, 0], [1, 0, 0, 0]]
    );
}

#[tokio::test]
async fn a_load_whose_server_goes_away_leaves_nothing_and_is_completed_later() {
    let url = database().await;
    let (mut sender, slow) = slow_rows("fact_order", AppendVersions);
    let dimension = || table("dim_order", Upsert, &[(1, None, None)], &[]);
    let first = tokio::spawn({
        let to = warehouse(&url);
        let tables = vec![dimension(), slow];
        async move { to.load(landing(1, tables)).await }
    });
    sender
        .send(orders(&[(1, None, None)]))
        .await
        .expect("the load reads");
    let backend = backend_in_copy(&url).await;
    execute(&url, &format!("select pg_terminate_backend({backend})")).await;
    // The load notices when it sends; rows go on until it does.
    while sender.send(orders(&[(2, None, None)])).await.is_ok() {}
    let error = first
        .await
        .expect("it ends")
        .expect_err("its server is gone");
    assert!(
        matches!(error, WarehouseError::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let to = warehouse(&url);
    assert!(to.tables().await.expect("an answer").is_empty());
    let fact = table("fact_order", AppendVersions, &[(1, None, None)], &[]);
    let loaded = to
        .load(landing(1, vec![dimension(), fact]))
        .await
        .expect("it is completed");
    assert!(loaded.iter().all(|table| counts(table) == [1, 0, 0, 0]));
}

#[tokio::test]
async fn a_load_that_is_dropped_leaves_nothing() {
    let url = database().await;
    let (_sender, slow) = slow_rows("fact_order", AppendVersions);
    let first = tokio::spawn({
        let to = warehouse(&url);
        async move { to.load(landing(1, vec![slow])).await }
    });
    let backend = backend_in_copy(&url).await;
    first.abort();
    until_none(&url, &format!("pid = {backend}")).await;
    let to = warehouse(&url);
    assert!(to.tables().await.expect("an answer").is_empty());
    load(
        &to,
        1,
        table("fact_order", AppendVersions, &[(1, None, None)], &[]),
    )
    .await;
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_a_wrong_login_is_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    drop(listener);
    let nobody = warehouse(&format!("postgresql://postgres@127.0.0.1:{port}/x"));
    let error = nobody.ledger().await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let url = database().await;
    let stranger = url.replace("postgres@", "stranger@");
    let error = warehouse(&stranger)
        .ledger()
        .await
        .expect_err("no such user");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(chain(&error).contains("stranger"), "{}", chain(&error));
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_lacks() {
    let url = database().await;
    execute(&url, "create role clerk_a login").await;
    let clerk = warehouse(&url.replace("postgres@", "clerk_a@"));
    let error = clerk
        .load(landing(1, vec![table("dim_order", Upsert, &[], &[])]))
        .await
        .expect_err("it may not make schemas");
    assert!(
        chain(&error).contains(
            "refused to make the schema tidemill for its records: ERROR: permission denied"
        ),
        "{}",
        chain(&error)
    );
    assert_eq!(error.kind(), ErrorKind::Config);
}
