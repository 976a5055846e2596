use super::*;
use crate::contract::{LoadMode, ModuleRef};
use crate::digest::Digest;
use crate::manifest::{FORMAT, LastRebuild, ProcessedOutput, RebuiltLanding, Through};
use crate::zone::memory::MemoryZone;

const SOURCE: &str = "shop";

/// What a project has processed.
struct Processed {
    zone: Arc<dyn Zone>,
    newest: ProcessedManifest,
}

impl Processed {
    fn new() -> Self {
        Self {
            zone: Arc::new(MemoryZone::default()),
            newest: ProcessedManifest {
                format: FORMAT,
                sequence: 0,
                run: RunId::from("run".to_owned()),
                tidemill: "0".into(),
                writer: "w".into(),
                source: SOURCE.into(),
                landing: 0,
                landing_sha256: Digest::of(""),
                logical_time: DateTime::UNIX_EPOCH,
                tables: BTreeMap::new(),
                through: BTreeMap::new(),
                current: BTreeMap::new(),
                rebuilt: BTreeMap::new(),
                rebuilds: BTreeMap::new(),
            },
        }
    }

    async fn landing(&mut self, landing: u64, tables: &[&str]) {
        self.newest.landing = landing;
        for table in tables {
            let through = Through {
                source: SOURCE.into(),
                landing,
            };
            self.newest.through.insert((*table).into(), through);
            self.newest.tables.insert((*table).into(), made());
        }
        self.commit().await;
    }

    async fn rebuild(&mut self, table: &str) {
        let number = self.newest.sequence + 1;
        let through = self.newest.through[table].landing;
        let last = LastRebuild {
            manifest: Some(number),
            promotion: None,
        };
        self.newest.rebuilt.insert(table.into(), last);
        let landings = (1..=through).map(|landing| RebuiltLanding {
            landing,
            landing_sha256: Digest::of(""),
            logical_time: DateTime::UNIX_EPOCH,
            run: RunId::from("run".to_owned()),
            writer: "w".into(),
            made: made(),
        });
        let rebuilt = RebuiltTable {
            source: SOURCE.into(),
            through,
            gone: Default::default(),
            landings: landings.collect(),
        };
        self.newest.rebuilds.insert(table.into(), rebuilt);
        self.commit().await;
    }

    async fn commit(&mut self) {
        self.newest.sequence += 1;
        let manifest = self.newest.clone().formatted();
        let log = ManifestLog::new(self.zone.clone(), "");
        log.commit(&manifest).await.expect("the next number");
        self.newest.tables.clear();
        self.newest.rebuilds.clear();
    }

    /// What is to be loaded: "1: a b" for a landing, "rebuild 3: a".
    async fn pending(&self, ledger: &Ledger) -> Vec<String> {
        let pending = pending(&self.zone, ledger).await.expect("manifests");
        let told = pending.into_iter().map(|pending| match pending {
            Pending::Landing(landing) => {
                let tables: Vec<_> = landing.tables.into_keys().collect();
                format!("{}: {}", landing.landing, tables.join(" "))
            }
            Pending::Rebuild(rebuild) => {
                let tables: Vec<_> = rebuild.tables.into_keys().collect();
                format!("rebuild {}: {}", rebuild.number, tables.join(" "))
            }
        });
        told.collect()
    }
}

fn made() -> ProcessedTable {
    ProcessedTable {
        module: ModuleRef {
            name: "m".into(),
            version: "1.0.0".into(),
            digest: Digest::of("m"),
        },
        output: ProcessedOutput {
            columns: Vec::new(),
            primary_key: Vec::new(),
            mode: LoadMode::Overwrite,
            record_id: None,
            alias: None,
        },
        inputs_sha256: Digest::of(""),
        inputs: Vec::new(),
        rows: Vec::new(),
        retractions: Vec::new(),
        rejects: Vec::new(),
        rows_in: 0,
        fuel: 0,
    }
}

/// A ledger with the newest landing, and the rebuild, of each table.
fn ledger(tables: &[(&str, u64, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (table, through, rebuilt) in tables {
        let through = BTreeMap::from([(SOURCE.to_owned(), *through)]);
        ledger.through.insert((*table).into(), through);
        ledger.rebuilt.insert((*table).into(), *rebuilt);
    }
    ledger
}

#[tokio::test]
async fn a_rebuild_takes_the_place_of_what_was_processed_before_it() {
    let mut processed = Processed::new();
    processed.landing(1, &["a", "b"]).await;
    processed.landing(2, &["a", "b"]).await;
    processed.rebuild("a").await;
    processed.landing(3, &["a", "b"]).await;
    // Whatever of it was loaded.
    for loaded in [0, 1, 2] {
        let ledger = ledger(&[("a", loaded, 0), ("b", 2, 0)]);
        let wanted = ["rebuild 3: a", "3: a b"];
        assert_eq!(processed.pending(&ledger).await, wanted, "{loaded}");
    }
    let nothing = ledger(&[]);
    let wanted = ["1: b", "2: b", "rebuild 3: a", "3: a b"];
    assert_eq!(processed.pending(&nothing).await, wanted);
    let swapped = ledger(&[("a", 2, 3), ("b", 2, 0)]);
    assert_eq!(processed.pending(&swapped).await, ["3: a b"]);
    let all = ledger(&[("a", 3, 3), ("b", 3, 0)]);
    assert_eq!(processed.pending(&all).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_several_rebuilds_the_last_is_loaded() {
    let mut processed = Processed::new();
    processed.landing(1, &["a", "b"]).await;
    processed.rebuild("a").await;
    processed.rebuild("b").await;
    processed.rebuild("a").await;
    let loaded = ledger(&[("a", 1, 2), ("b", 1, 0)]);
    let wanted = ["rebuild 3: b", "rebuild 4: a"];
    assert_eq!(processed.pending(&loaded).await, wanted);
    // A table that was dropped is loaded with its rebuild.
    let dropped = ledger(&[("b", 1, 3)]);
    assert_eq!(processed.pending(&dropped).await, ["rebuild 4: a"]);
}
