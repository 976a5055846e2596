//! What versions that know rebuilds added to the project of version 1. Nothing here changes but the addition of what was
//! forgotten.

use anyhow::{Context, Result};
use serde_json::Value;
use tidemill::manifest::{ManifestLog, PROCESSED_FORMAT, ProcessedManifest};
use tidemill::registry::Registry;

use crate::fixture::{self, zone};

const VERSION: &str = "v2";
/// The digest of the list of digests: who changes the fixture has to change this, and must not.
const SUMS: &str = "19e6cc9ce79e13b5ecbd4ab8c1a1f3a1eb436dcf5d633706bce0e777fca0751d";

#[test]
fn nobody_has_changed_the_fixture() -> Result<()> {
    fixture::ensure_unchanged(VERSION, SUMS)
}

#[tokio::test]
async fn rebuilds_are_read_and_would_be_written_again_as_they_are() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let log = ManifestLog::<ProcessedManifest>::new(zone(&project, "processed"), "");
    for (number, tables) in [
        (4, &["dim_staff", "fact_payment"][..]),
        (5, &["fact_payment"]),
    ] {
        let manifest = log.read(number).await?;
        let file = format!("lake/processed/_manifests/{number:010}.json");
        let there: Value = serde_json::from_slice(&std::fs::read(project.path().join(&file))?)?;
        assert_eq!(serde_json::to_value(&manifest)?, there, "{file}");
        assert_eq!(manifest.format, PROCESSED_FORMAT);
        assert!(
            manifest.tables.is_empty(),
            "nothing is of one landing alone"
        );
        assert!(manifest.rebuilds.keys().eq(tables));
    }
    let (first, second) = (log.read(4).await?, log.read(5).await?);
    let (made, used) = (
        &first.rebuilds["fact_payment"],
        &second.rebuilds["fact_payment"],
    );
    assert_eq!(made.through, 3);
    assert_eq!(
        made.landings.iter().map(|l| l.landing).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(made, used, "what was computed is named again, with its run");
    assert!(used.landings.iter().all(|landing| landing.run == first.run));
    let last = second.rebuilt.get("fact_payment").context("rebuilt")?;
    assert_eq!((last.manifest, last.promotion), (Some(5), Some(2)));
    // Of a table that every landing makes whole there is the newest.
    let staff = &first.rebuilds["dim_staff"];
    assert_eq!(
        staff.landings.iter().map(|l| l.landing).collect::<Vec<_>>(),
        [2]
    );
    Ok(())
}

#[tokio::test]
async fn a_promotion_that_wishes_for_a_rebuild_is_read() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let history = Registry::new(zone(&project, "modules")).history().await?;
    let wishes: Vec<bool> = history.iter().map(|promotion| promotion.rebuild).collect();
    assert_eq!(wishes, [false, false, true]);
    assert_eq!(
        history.last().map(|last| (last.format, last.who.as_str())),
        Some((3, "ada"))
    );
    Ok(())
}
