use std::sync::Arc;

use super::*;
use crate::registry::tests::{description as described, promoter};
use crate::zone::Zone as _;
use crate::zone::memory::MemoryZone;

/// A registry in which `component` was pushed and promoted.
async fn with(component: &[u8]) -> MemoryZone {
    let zone = MemoryZone::default();
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::new(Arc::new(zone.seen_anew(folder.path())));
    let described = described("dim-staff", "1.0.0");
    registry
        .push(component, b"", &described)
        .await
        .expect("new");
    registry
        .promote("dim-staff", "1.0.0", &promoter())
        .await
        .expect("it is there");
    zone
}

/// What a run on the machine of `folder` uses, and how many requests that took.
async fn used(zone: &MemoryZone, folder: &std::path::Path) -> (Bytes, u64) {
    let zone = Arc::new(zone.seen_anew(folder));
    let registry = Registry::new(zone.clone());
    let module = registry.resolve("dim-staff@1").await.expect("promoted");
    let stored = registry.fetch_near(&module).await.expect("pushed");
    zone.memory().expect("it is far").note().await;
    (stored.component, zone.requests())
}

#[tokio::test]
async fn what_a_machine_has_seen_once_it_asks_for_the_newest_promotion_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = with(b"one").await;
    let (component, cold) = used(&zone, folder.path()).await;
    let (again, warm) = used(&zone, folder.path()).await;
    assert_eq!(
        (component.as_ref(), again.as_ref()),
        (&b"one"[..], &b"one"[..])
    );
    assert!(warm <= 3 && cold > warm, "{cold} and then {warm}");
}

#[tokio::test]
async fn a_registry_that_was_emptied_and_filled_anew_is_not_taken_for_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    for component in [b"one", b"two"] {
        let (found, _) = used(&with(component).await, folder.path()).await;
        assert_eq!(found, component.as_ref());
    }
}

#[tokio::test]
async fn a_promotion_on_another_machine_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = with(b"one").await;
    used(&zone, folder.path()).await;
    let elsewhere = Registry::new(Arc::new(zone.seen_anew(&folder.path().join("other"))));
    let described = described("dim-staff", "1.1.0");
    elsewhere.push(b"two", b"", &described).await.expect("new");
    elsewhere
        .promote("dim-staff", "1.1.0", &promoter())
        .await
        .expect("it is there");
    assert_eq!(used(&zone, folder.path()).await.0, b"two".as_ref());
}
