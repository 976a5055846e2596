use super::*;
use crate::error::{Classify as _, ErrorKind};
use crate::zone::memory::MemoryZone;

fn empty() -> (Arc<MemoryZone>, NumberedLog) {
    let zone = Arc::new(MemoryZone::default());
    (zone.clone(), NumberedLog::new(zone, "_manifests"))
}

#[tokio::test]
async fn an_empty_log_has_no_newest_record() {
    let (_, log) = empty();
    assert_eq!(log.newest().await.expect("the zone answers"), None);
}

#[tokio::test]
async fn the_newest_record_is_found_at_every_length_without_a_listing() {
    let (zone, log) = empty();
    for number in 1..=130 {
        log.append(number, format!("{number}").into())
            .await
            .expect("the number is free");
        for known in [0, 1, number] {
            let newest = log.newest_after(known).await.expect("the zone answers");
            assert_eq!(newest, Some(number));
        }
    }
    assert_eq!(zone.listings(), 0);
    let asked = zone.questions();
    log.newest().await.expect("the zone answers");
    assert!(
        zone.questions() - asked <= 16,
        "2·log2(130) questions are enough"
    );
}

#[tokio::test]
async fn where_questions_are_requests_the_newest_of_ten_thousand_costs_a_few() {
    let zone = Arc::new(MemoryZone::far());
    let log = |zone: &Arc<MemoryZone>| NumberedLog::new(zone.clone(), "_manifests");
    for length in [0, 1, 2, 7, 999, 1_000, 1_001, 2_600, 10_000] {
        for number in zone.count() as u64 + 1..=length {
            zone.create(&log(&zone).key(number), Bytes::from_static(b"{}"))
                .await
                .expect("it is free");
        }
        zone.forget();
        let before = zone.questions() + zone.listings();
        let newest = log(&zone).newest().await.expect("the zone answers");
        assert_eq!(newest.unwrap_or(0), length);
        let asked = zone.questions() + zone.listings() - before;
        assert!(
            asked <= if length < 1_000 { 2 } else { 14 },
            "{length}: {asked}"
        );
        let before = zone.questions() + zone.listings();
        log(&zone).newest().await.expect("the zone answers");
        let asked = zone.questions() + zone.listings() - before;
        assert!(
            asked == 1 || length == 0,
            "a second time, {length}: {asked}"
        );
    }
}

#[tokio::test]
async fn a_listing_that_lags_behind_or_is_refused_hides_nothing() {
    for hidden in [1, 5, 40] {
        let zone = Arc::new(MemoryZone::far());
        let log = NumberedLog::new(zone.clone(), "_manifests");
        for number in 1..=40 {
            let record = Bytes::from_static(b"{}");
            zone.create(&log.key(number), record).await.expect("free");
        }
        zone.hide(&log.key(40 - hidden));
        let newest = log.newest().await.expect("the zone answers");
        assert_eq!(newest, Some(40));
    }
}

#[tokio::test]
async fn of_two_writers_of_a_number_one_is_told_so() {
    let (_, log) = empty();
    log.append(1, "ours".into()).await.expect("it is free");
    let error = log.append(1, "theirs".into()).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(log.read(1).await.expect("it is there"), "ours");
}

#[tokio::test]
async fn a_writer_whose_answer_was_lost_may_ask_again() {
    let (_, log) = empty();
    let first = log.append(1, "ours".into()).await.expect("it is free");
    let second = log.append(1, "ours".into()).await.expect("it is ours");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_gap_is_refused() {
    let (_, log) = empty();
    log.append(1, "a".into()).await.expect("it is free");
    for number in [0, 3] {
        let error = log.append(number, "b".into()).await.expect_err("a gap");
        assert!(matches!(error, ZoneError::Missing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_record_that_was_lost_is_not_written_anew() {
    let (zone, log) = empty();
    for number in 1..=5 {
        log.append(number, format!("{number}").into())
            .await
            .expect("the number is free");
    }
    zone.delete(&log.key(3)).await.expect("it is there");
    for error in [
        log.newest().await.expect_err("3 is lost"),
        log.append(3, "again".into()).await.expect_err("4 is there"),
    ] {
        assert!(matches!(error, ZoneError::Gap { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}

#[tokio::test]
async fn a_record_that_was_lost_shows_in_a_listing() {
    let zone = Arc::new(MemoryZone::far());
    let log = NumberedLog::new(zone.clone(), "_manifests");
    for number in [1, 2, 4, 5] {
        let record = Bytes::from_static(b"{}");
        zone.create(&log.key(number), record).await.expect("free");
    }
    let error = log.newest().await.expect_err("3 is lost");
    assert!(matches!(error, ZoneError::Gap { .. }), "{error}");
}

#[tokio::test]
async fn numbers_sort_as_text() {
    let (_, log) = empty();
    assert_eq!(log.key(12), "_manifests/0000000012.json");
}

/// The log of `zone` as the next process of a machine sees it, and its zone.
fn anew(zone: &MemoryZone, folder: &std::path::Path) -> (Arc<MemoryZone>, NumberedLog) {
    let zone = Arc::new(zone.seen_anew(folder));
    (zone.clone(), NumberedLog::new(zone, "_manifests"))
}

async fn fill(zone: &MemoryZone, numbers: std::ops::RangeInclusive<u64>) {
    let (_, log) = empty();
    for number in numbers {
        let record = Bytes::from(number.to_string());
        zone.create(&log.key(number), record).await.expect("free");
    }
}

#[tokio::test]
async fn the_next_process_of_a_machine_begins_where_the_last_one_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = MemoryZone::default();
    fill(&zone, 1..=2_600).await;
    let (first, log) = anew(&zone, folder.path());
    assert_eq!(log.newest().await.expect("it answers"), Some(2_600));
    first.memory().expect("it is far").note().await;
    let (second, log) = anew(&zone, folder.path());
    assert_eq!(log.newest().await.expect("it answers"), Some(2_600));
    assert_eq!(log.read(2_600).await.expect("there"), "2600");
    assert_eq!((second.requests(), second.listings()), (3, 0));
    // Another host goes on meanwhile.
    fill(&zone, 2_601..=2_607).await;
    let (_, log) = anew(&zone, folder.path());
    assert_eq!(log.newest().await.expect("it answers"), Some(2_607));
}

#[tokio::test]
async fn a_log_that_was_emptied_filled_anew_or_has_lost_a_record_is_seen_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = MemoryZone::default();
    fill(&zone, 1..=5).await;
    let (first, log) = anew(&zone, folder.path());
    log.newest().await.expect("it answers");
    first.memory().expect("it is far").note().await;
    for length in [0, 2, 5, 9] {
        let other = MemoryZone::default();
        fill(&other, 1..=length).await;
        let (_, log) = anew(&other, folder.path());
        let newest = log.newest().await.expect("it answers");
        assert_eq!(newest.unwrap_or(0), length);
    }
    fill(&zone, 7..=7).await;
    let (_, log) = anew(&zone, folder.path());
    let error = log.newest().await.expect_err("6 is lost");
    assert!(matches!(error, ZoneError::Gap { .. }), "{error}");
}

#[tokio::test]
async fn within_a_moment_what_was_found_is_not_asked_for_again() {
    let zone = MemoryZone::default();
    fill(&zone, 1..=3).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, log) = anew(&zone, folder.path());
    let memory = ours.memory().expect("it is far");
    let moment = memory.moment();
    assert_eq!(log.newest().await.expect("it answers"), Some(3));
    let before = ours.requests();
    log.append(4, "ours".into()).await.expect("free");
    assert_eq!(log.newest().await.expect("it answers"), Some(4));
    assert_eq!(log.read(4).await.expect("there"), "ours");
    assert_eq!(ours.requests(), before);
    fill(&zone, 5..=5).await;
    // Whoever would build on it is told, and looks again.
    let error = log.append(5, "ours".into()).await.expect_err("taken");
    assert!(matches!(error, ZoneError::Exists { .. }), "{error}");
    assert_eq!(log.newest().await.expect("it answers"), Some(5));
    fill(&zone, 6..=6).await;
    assert_eq!(log.newest().await.expect("it answers"), Some(5));
    drop(moment);
    assert_eq!(log.newest().await.expect("it answers"), Some(6));
}
