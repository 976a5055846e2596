//! The embedded warehouse in a bucket: the load modes once more, and what is different there.

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::connection::traffic::Traffic;
use crate::warehouse::delta::location::Bucket;
use crate::warehouse::delta::objects::Objects;
use crate::warehouse::{LandingRows, Rebuild, Sweep, TableRebuild};

// The same tests, with this room's warehouse.
#[allow(
    clippy::duplicate_mod,
    reason = "it is loaded a second time on purpose, for another place"
)]
#[path = "modes.rs"]
mod modes;

/// A warehouse in a bucket of its own.
fn warehouse() -> ((), Delta) {
    ((), delta(Arc::new(InMemory::new())))
}

/// The warehouse of a bucket, as a host of its own sees it.
fn delta(store: Arc<dyn ObjectStore>) -> Delta {
    let prefix = object_store::path::Path::parse("the wärehouse").expect("a key");
    let proof = prefix.clone().join("_tidemill").join("_conditional");
    Delta::at(Location::Bucket(Bucket {
        name: "lake".into(),
        objects: Arc::new(Objects::of(store, proof)),
        prefix,
    }))
}

fn staff(names: &[&str]) -> Given {
    let rows = (1..).zip(names);
    table("dim_staff", LoadMode::Upsert, &["staff_id"])
        .rows(rows.map(|(id, name)| json!({"staff_id": id, "name": name})))
}

fn table(table: &'static str, mode: LoadMode, key: &'static [&'static str]) -> Given {
    let fields = [
        Field::new("staff_id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
    ];
    given(table, mode, Schema::new(fields.to_vec()), key)
}

const NAMES: &str = "SELECT name FROM dim_staff ORDER BY staff_id";

#[tokio::test]
async fn of_two_hosts_that_load_at_once_one_wins_and_the_other_goes_on() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (one, two) = (delta(store.clone()), delta(store));
    for number in 1..=12 {
        let tables = [staff(&["Ada", &format!("of landing {number}")])];
        let (first, second) = tokio::join!(
            one.load(landing(number, &tables)),
            two.load(landing(number, &tables))
        );
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        for result in [first, second] {
            match result {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, WarehouseError::Conflict { .. }), "{error}"),
            }
        }
        for host in [&one, &two] {
            let again = host
                .load(landing(number, &tables))
                .await
                .expect("it is there");
            assert!(again.iter().all(|table| table.already));
            let names = ask(host, NAMES).await;
            assert_eq!(names, ["Ada".to_owned(), format!("of landing {number}")]);
        }
    }
}

#[tokio::test]
async fn a_load_that_died_between_its_commits_is_completed_or_undone() {
    let store = Arc::new(InMemory::new());
    // Each time another host: one that has seen a publication does not look for it again.
    let host = || delta(store.clone());
    load(&host(), 1, &[staff(&["Ada"])]).await;
    load(&host(), 2, &[staff(&["Ada", "Grace"])]).await;
    let record = "_tidemill/publications/0000000002.json";
    let Location::Bucket(record) = host().place.join(record) else {
        unreachable!("it is in a bucket");
    };
    // As if it had died before the publication.
    store.delete(&record.prefix).await.expect("it is there");
    assert_eq!(ask(&host(), NAMES).await, ["Ada"]);
    let before = commits(&host(), "dim_staff");
    let again = load_one(&host(), 2, staff(&["Ada", "Grace"])).await;
    assert_eq!(again, [1, 0, 0, 1]);
    assert_eq!(commits(&host(), "dim_staff"), before, "it was completed");
    store.delete(&record.prefix).await.expect("it is there");
    let other = load_one(&host(), 3, staff(&["Ada", "Edsger"])).await;
    assert_eq!(other, [1, 0, 0, 1]);
    assert_eq!(ask(&host(), NAMES).await, ["Ada", "Edsger"]);
}

#[tokio::test]
async fn a_rebuild_takes_the_place_of_the_table_and_leaves_nothing_beside_it() {
    let store = Arc::new(InMemory::new());
    let delta = delta(store.clone());
    load(&delta, 1, &[staff(&["Ada"])]).await;
    let landings = [(1, "Ada L"), (2, "Ada Lovelace")].map(|(landing, name)| LandingRows {
        landing,
        logical_time: DateTime::UNIX_EPOCH,
        load: staff(&[name]).load(),
    });
    let rebuild = Rebuild {
        run: RunId::from("rebuild".to_owned()),
        number: 1,
        tables: vec![TableRebuild {
            source: "totesys".into(),
            through: 2,
            gone: Default::default(),
            landings: landings.into(),
        }],
    };
    delta.rebuild(rebuild).await.expect("it is made anew");
    assert_eq!(ask(&delta, NAMES).await, ["Ada Lovelace"]);
    assert_eq!(files_in(&delta, "_tidemill/rebuilds", ""), 0);
    let all: Vec<_> = store.list(None).try_collect().await.expect("listed");
    let mut beside = all
        .iter()
        .filter(|object| object.location.as_ref().contains("rebuilds"));
    assert!(beside.next().is_none());
}

#[tokio::test]
async fn files_that_no_version_names_are_swept_by_age() {
    let (_, delta) = warehouse();
    load(&delta, 1, &[staff(&["Ada"])]).await;
    let Location::Bucket(orphan) = delta.place.join("dim_staff/part-of-nothing.zstd.parquet")
    else {
        unreachable!("it is in a bucket");
    };
    let put = orphan.objects.put(&orphan.prefix, "no rows".into()).await;
    put.expect("written");
    let day = std::time::Duration::from_secs(24 * 3600);
    let swept = delta.sweep(day, Sweep::Now).await.expect("it sweeps");
    assert!(swept.is_empty(), "it is young: {swept:?}");
    let now = std::time::Duration::ZERO;
    let swept = delta.sweep(now, Sweep::WhenDue).await.expect("it sweeps");
    assert!(swept.is_empty(), "it was done today: {swept:?}");
    for how in [Sweep::Rehearsal, Sweep::Now] {
        let swept = delta.sweep(now, how).await.expect("it sweeps");
        let names: Vec<&str> = swept.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["dim_staff/part-of-nothing.zstd.parquet"]);
    }
    let swept = delta.sweep(now, Sweep::Now).await.expect("it sweeps");
    assert!(swept.is_empty(), "{swept:?}");
    assert_eq!(ask(&delta, NAMES).await, ["Ada"]);
}

#[tokio::test]
async fn large_files_are_read_in_pieces() {
    let (_, delta) = warehouse();
    // Texts that do not compress, so that the file is larger than what comes whole.
    let text = |id: i32| Digest::of(id.to_string()).to_string();
    let rows = |changed: i32| {
        (1..=20_000).map(move |id| {
            let name = if id == changed {
                "changed".to_owned()
            } else {
                text(id)
            };
            json!({"staff_id": id, "name": name})
        })
    };
    let given = |changed| table("dim_staff", LoadMode::Upsert, &["staff_id"]).rows(rows(changed));
    assert_eq!(load_one(&delta, 1, given(0)).await, [20_000, 0, 0, 0]);
    assert_eq!(load_one(&delta, 2, given(777)).await, [0, 1, 0, 19_999]);
    let sql = "SELECT count(*), count(DISTINCT name), sum(CASE name WHEN 'changed' THEN staff_id END) FROM dim_staff";
    assert_eq!(ask(&delta, sql).await, ["20000|20000|777"]);
}

#[test]
fn a_url_names_a_bucket_and_a_prefix() {
    let open =
        |url: &str| crate::warehouse::open(url, "public", Path::new("/"), &Traffic::default());
    let target = |url: &str| open(url).expect(url).target().to_owned();
    assert_eq!(target("delta://s3://lake"), "s3://lake/");
    assert_eq!(target("delta://s3://lake/the/star/"), "s3://lake/the/star");
    for url in [
        "delta://s3://",
        "delta://s3:///x",
        "delta://s3://a b/x",
        "delta://s3://lake/x//y",
    ] {
        let error = open(url).expect_err("it is none");
        assert!(matches!(error, WarehouseError::Url { .. }), "{error}");
    }
}
