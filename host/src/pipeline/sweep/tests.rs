use super::*;
use crate::digest::Digest;
use crate::manifest::{LandedTable, LandingManifest, Object};
use crate::table::{KeyOrigin, Table, TableKind, TableName};
use crate::watermark::Position;
use crate::zone::memory::MemoryZone;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

struct Host {
    zone: Arc<MemoryZone>,
    notes: Notes<LandingManifest>,
}

impl Host {
    fn new() -> Self {
        let zone = Arc::new(MemoryZone::default());
        let notes = Notes::new(zone.clone(), "totesys");
        Self { zone, notes }
    }

    /// Begins a run that lands one object, as far as `commits` says.
    async fn run(&self, run: u32, number: u64, commits: bool) -> (RunId, Begun, Watched) {
        let run = RunId::new(DateTime::UNIX_EPOCH, run);
        let prefix = format!("totesys/staff/1970/01/01/{run}");
        let begun = self.notes.begin(&run, number, vec![prefix.clone()]).await;
        let begun = begun.expect("the zone can be written");
        let watched = Watched::new(self.zone.clone());
        let key = format!("{prefix}/part-00000.parquet");
        watched
            .create(&key, "rows".into())
            .await
            .expect("it is free");
        let spare = format!("{prefix}-compared/part-00000.parquet");
        watched
            .create(&spare, "rows".into())
            .await
            .expect("it is free");
        if commits {
            let manifest = manifest(number, &run, &key);
            self.notes.log.commit(&manifest).await.expect("it is free");
        }
        (run, begun, watched)
    }

    async fn keys(&self) -> Vec<String> {
        let entries = self.zone.list("").await.expect("the zone answers");
        entries.into_iter().map(|entry| entry.key).collect()
    }

    /// The objects that are there, by the last digits of their runs.
    async fn objects(&self) -> Vec<String> {
        let keys = self.keys().await;
        let objects = keys.iter().filter_map(|key| {
            let run = key.strip_prefix("totesys/staff/1970/01/01/19700101T000000000Z-0000000")?;
            Some(run.trim_end_matches("/part-00000.parquet").to_owned())
        });
        objects.collect()
    }
}

fn manifest(number: u64, run: &RunId, key: &str) -> LandingManifest {
    let name = TableName::new("staff");
    let table = LandedTable {
        table: Table {
            name: name.clone(),
            kind: TableKind::Plain,
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::None,
        },
        identity: None,
        dropped: Vec::new(),
        position: Position::Sqlite,
        reached: None,
        window: None,
        watermark: None,
        compared_at: DateTime::UNIX_EPOCH,
        changed: vec![Object {
            key: key.to_owned(),
            rows: 1,
            bytes: 4,
            sha256: Digest::of("rows"),
        }],
        deleted: Vec::new(),
        replaces: false,
        live_rows: 1,
        content: None,
        changed_in: number,
        changed_before: None,
        index: Vec::new(),
    };
    LandingManifest {
        format: crate::manifest::FORMAT,
        sequence: number,
        run: run.clone(),
        source: "totesys".into(),
        tidemill: "0.1.0".into(),
        writer: "parquet-1".into(),
        logical_time: DateTime::UNIX_EPOCH,
        tables: [(name, table)].into(),
        waiting: Default::default(),
    }
}

#[tokio::test]
async fn a_run_that_ends_well_leaves_what_its_manifest_names_and_no_note() {
    let host = Host::new();
    let (_, begun, written) = host.run(1, 1, true).await;
    let manifest = host.notes.log.find(1).await.unwrap();
    host.notes.settle(&begun, &written, manifest.as_ref()).await;
    assert_eq!(host.objects().await, ["1"]);
    assert_eq!(host.keys().await.len(), 2, "the object and the manifest");
}

#[tokio::test]
async fn what_a_dead_run_left_is_swept_when_it_is_old_and_can_never_be_committed() {
    let host = Host::new();
    host.run(1, 1, false).await;
    host.zone.age("totesys/_begun/", TimeDelta::days(8));
    let (_, second, written) = host.run(2, 1, false).await;
    let swept = host.notes.sweep(&second, WEEK).await;
    assert_eq!(swept.swept, [], "number 1 is free: the first may be alive");
    let manifest = host.notes.log.find(1).await.unwrap();
    host.notes
        .settle(&second, &written, manifest.as_ref())
        .await;

    let (_, third, written) = host.run(3, 1, true).await;
    let swept = host.notes.sweep(&third, WEEK).await;
    assert_eq!(swept.swept.len(), 2);
    let manifest = host.notes.log.find(1).await.unwrap();
    host.notes.settle(&third, &written, manifest.as_ref()).await;
    assert_eq!(host.objects().await, ["3"]);
    assert_eq!(host.keys().await.len(), 2, "no note is left");
}

#[tokio::test]
async fn a_run_that_loses_takes_back_what_it_wrote() {
    let host = Host::new();
    let (slow, begun, written) = host.run(1, 1, false).await;
    let (_, other, of_other) = host.run(2, 1, true).await;
    let manifest = host.notes.log.find(1).await.unwrap();
    host.notes
        .settle(&other, &of_other, manifest.as_ref())
        .await;
    let key = format!("totesys/staff/1970/01/01/{slow}/part-00000.parquet");
    let late = self::manifest(1, &slow, &key);
    let lost = host.notes.commit(&begun, &written, &late).await;
    assert_eq!(lost.unwrap_err().kind(), crate::ErrorKind::Conflict);
    assert_eq!(host.objects().await, ["2"]);
    assert_eq!(host.keys().await.len(), 2, "no note is left");
}

#[tokio::test]
async fn what_is_young_stays() {
    let host = Host::new();
    host.run(1, 1, false).await;
    host.zone.age("totesys/_begun/", TimeDelta::days(6));
    let (_, begun, _) = host.run(2, 1, true).await;
    assert_eq!(host.notes.sweep(&begun, WEEK).await.swept, []);
    assert_eq!(host.objects().await.len(), 4);
}

#[tokio::test]
async fn a_run_that_died_after_its_commit_keeps_what_was_committed() {
    let host = Host::new();
    host.run(1, 1, true).await;
    host.zone.age("totesys/", TimeDelta::days(30));
    let (_, begun, _) = host.run(2, 2, true).await;
    let swept = host.notes.sweep(&begun, WEEK).await;
    assert_eq!(
        swept.swept.len(),
        1,
        "the first attempt, which was compared again"
    );
    assert_eq!(host.objects().await, ["1", "2-compared", "2"]);
}

#[tokio::test]
async fn a_clock_that_jumps_endangers_nothing_that_may_be_committed() {
    let host = Host::new();
    let (run, ..) = host.run(1, 1, false).await;
    host.zone.age("totesys/", TimeDelta::days(10_000));
    let swept = host
        .notes
        .sweep_all(&RunId::new(DateTime::UNIX_EPOCH, 9), WEEK, false)
        .await;
    let swept = swept.unwrap();
    assert_eq!((swept.swept.len(), swept.kept), (0, 2));
    let key = format!("totesys/staff/1970/01/01/{run}/part-00000.parquet");
    host.notes
        .log
        .commit(&manifest(1, &run, &key))
        .await
        .unwrap();
    assert!(host.keys().await.contains(&key), "it commits what is there");
}

#[tokio::test]
async fn by_hand_objects_without_a_note_are_found_too_and_a_rehearsal_removes_nothing() {
    let host = Host::new();
    let (_, begun, written) = host.run(1, 1, true).await;
    let manifest = host.notes.log.find(1).await.unwrap();
    host.notes.settle(&begun, &written, manifest.as_ref()).await;
    let stray = "totesys/staff/1970/01/01/19700101T000000000Z-00000007/part-00000.parquet";
    host.zone.create(stray, "rows".into()).await.unwrap();
    host.zone.age("totesys/", TimeDelta::days(8));
    let run = RunId::new(DateTime::UNIX_EPOCH, 9);
    let before = host.keys().await;
    let rehearsed = host.notes.sweep_all(&run, WEEK, true).await.unwrap();
    assert_eq!(host.keys().await, before);
    let swept = host.notes.sweep_all(&run, WEEK, false).await.unwrap();
    assert_eq!(swept, rehearsed);
    let keys: Vec<&str> = swept
        .swept
        .iter()
        .map(|object| object.key.as_str())
        .collect();
    assert_eq!(keys, [stray]);
    assert_eq!(host.objects().await, ["1"]);
}

#[tokio::test]
async fn where_a_manifest_cannot_be_read_nothing_is_removed() {
    let host = Host::new();
    host.run(1, 1, true).await;
    host.zone.damage("totesys/_manifests/0000000001.json", "{");
    host.zone.age("totesys/", TimeDelta::days(8));
    let before = host.keys().await;
    let run = RunId::new(DateTime::UNIX_EPOCH, 9);
    host.notes.sweep_all(&run, WEEK, false).await.unwrap_err();
    assert_eq!(host.keys().await, before);
}

#[tokio::test]
async fn a_run_that_writes_nothing_makes_no_note_and_looks_for_nothing() {
    let host = Host::new();
    let run = RunId::new(DateTime::UNIX_EPOCH, 1);
    let begun = Arc::new(host.notes.announce(&run, 1, vec!["totesys/staff/".into()]));
    let watched = Watched::new(host.zone.clone());
    watched.announce(begun.clone());
    let before = host.zone.listings();
    assert_eq!(host.notes.sweep(&begun, WEEK).await.swept, []);
    host.notes.settle(&begun, &watched, None).await;
    assert_eq!(host.zone.listings(), before);
    assert_eq!(host.keys().await, Vec::<String>::new());

    drop(watched.writer("totesys/staff/part").await.expect("free"));
    assert_eq!(
        host.keys().await.len(),
        1,
        "the note is there before the object"
    );
    host.notes.settle(&begun, &watched, None).await;
    assert_eq!(host.keys().await, Vec::<String>::new());
}
