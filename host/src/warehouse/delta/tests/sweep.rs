//! What is swept, and what never is.

use std::fs::File;
use std::time::Duration;

use super::*;
use crate::warehouse::Sweep;

const DAY: Duration = Duration::from_secs(86_400);

fn rows(numbers: std::ops::Range<i32>) -> Vec<Given> {
    vec![
        locations().rows(numbers.clone().map(|n| location(n, "Leeds", None))),
        payments().rows(numbers.map(|n| payment(n, "1.00", false))),
    ]
}

fn write_aged(delta: &Delta, name: &str, by: Duration) -> std::path::PathBuf {
    let path = root(delta).join(name);
    let file = File::create(&path).expect("the folder is there");
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    file.set_modified(modified.expect("it was made") - by)
        .expect("it is ours");
    path
}

async fn names(delta: &Delta, age: Duration, how: Sweep) -> Vec<String> {
    let swept = delta.sweep(age, how).await.expect("a sweep");
    let mut names: Vec<String> = swept.into_iter().map(|file| file.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_of_killed_loads_are_swept_by_age() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &rows(1..5)).await;
    let old = [
        "dim_location/_delta_log/00000000000000000007.json#1",
        "dim_location/part-00000-stray.parquet",
        "dim_location/part-00000-stray.parquet#2",
        "_tidemill/publications/.draft-abc",
    ];
    let paths = old.map(|name| write_aged(&delta, name, 8 * DAY));
    let young = write_aged(&delta, "fact_payment/part-00000-young.parquet", DAY);
    let mut expected = old.map(str::to_owned);
    expected.sort();
    assert_eq!(names(&delta, 7 * DAY, Sweep::Rehearsal).await, expected);
    assert!(paths.iter().all(|path| path.exists()));
    assert_eq!(names(&delta, 7 * DAY, Sweep::WhenDue).await, expected);
    assert!(!paths.iter().any(|path| path.exists()));
    assert!(young.exists());
    write_aged(&delta, old[1], 8 * DAY);
    let again = names(&delta, 7 * DAY, Sweep::WhenDue).await;
    assert_eq!(again, [""; 0], "it was done today");
    assert_eq!(names(&delta, 7 * DAY, Sweep::Now).await, [old[1]]);
}

#[tokio::test]
async fn what_a_dead_rebuild_left_is_swept_by_age_and_what_a_live_one_makes_is_not() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &rows(1..5)).await;
    let [dead, live] = ["dead", "live"].map(|name| format!("_tidemill/rebuilds/{name}"));
    let [old, young] = [(&dead, 8 * DAY), (&live, DAY)].map(|(rebuild, age)| {
        let table = format!("{rebuild}/dim_location");
        std::fs::create_dir_all(root(&delta).join(&table)).expect("folders");
        let file = format!("{table}/part-00000.parquet");
        write_aged(&delta, &file, age);
        for folder in [&table, rebuild] {
            let folder = File::open(root(&delta).join(folder)).expect("it is there");
            let modified = folder.metadata().and_then(|metadata| metadata.modified());
            let modified = modified.expect("it was made") - age;
            folder.set_modified(modified).expect("it is ours");
        }
        file
    });
    assert_eq!(
        names(&delta, 7 * DAY, Sweep::Rehearsal).await,
        [old.as_str()]
    );
    assert_eq!(names(&delta, 7 * DAY, Sweep::Now).await, [old]);
    assert!(!root(&delta).join(dead).exists(), "its folders go, too");
    assert!(root(&delta).join(young).exists());
}

/// A load that died after its commits has given up files in the newest version that the published one needs.
#[tokio::test]
async fn what_is_published_is_kept_though_the_newest_version_gave_it_up() {
    let (_folder, delta) = warehouse();
    load(&delta, 1, &rows(1..50)).await;
    let sql = "SELECT count(*), sum(location_id) FROM dim_location";
    let before = ask(&delta, sql).await;
    let changed = vec![locations().rows((1..50).map(|n| location(n, "York", None)))];
    load(&delta, 2, &changed).await;
    let publication = root(&delta).join("_tidemill/publications/0000000002.json");
    std::fs::remove_file(publication).expect("it was published");
    // Nobody has needed anything for longer than no time at all.
    names(&delta, Duration::ZERO, Sweep::Now).await;
    assert_eq!(ask(&delta, sql).await, before);
    load(&delta, 2, &changed).await;
    let cities = ask(&delta, "SELECT DISTINCT city FROM dim_location").await;
    assert_eq!(cities.len(), 1);
    names(&delta, Duration::ZERO, Sweep::Now).await;
    assert_eq!(ask(&delta, sql).await, before);
}
