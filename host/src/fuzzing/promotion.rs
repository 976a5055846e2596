//! The promotion log, and the records of modules.

use serde::Serialize;

use super::{Target, document};
use crate::registry::fuzz::{History, Record, parse, print};
use crate::registry::{ModuleRecord, Pick, Promotion, Wanted};

pub(super) const TARGET: Target = Target {
    name: "promotion",
    run,
    seeds,
    words,
};

const PROMOTION: &str = include_str!("../../../tests/fixtures/v1/documents/promotion.json");
const MODULE: &str = include_str!("../../../tests/fixtures/v1/documents/module.json");
const ORIGINALS: &[&str] = &[PROMOTION, MODULE];

/// Between the records of a log.
const NEXT: u8 = 0x1e;
/// Before what a project file asks for.
const WANTED: u8 = 0x1f;

fn run(input: &[u8]) {
    let (log, wanted) = match input.iter().position(|byte| *byte == WANTED) {
        Some(at) => (
            input.get(..at).unwrap_or_default(),
            input.get(at + 1..).unwrap_or_default(),
        ),
        None => (input, &b"dim-staff@1"[..]),
    };
    let mut history = History::default();
    for (record, number) in log.split(|byte| *byte == NEXT).zip(1..) {
        let bytes = document::document(record, ORIGINALS);
        read::<ModuleRecord>(&bytes);
        if let Some(promotion) = read::<Promotion>(&bytes) {
            let accepted = history.append(number, "record", &bytes.into()).is_ok();
            assert!(!accepted || promotion.sequence == number);
        }
    }
    resolve(&history, &String::from_utf8_lossy(wanted));
}

/// What is read is written and read again as the same.
fn read<T: Serialize + Record + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let record: T = parse("the record", bytes).ok()?;
    let again: T = parse("the record", &print(&record)).expect("what was written can be read");
    assert_eq!(again, record);
    Some(record)
}

/// What is found is what was asked for, and nothing was promoted after it that would do.
fn resolve(history: &History, wanted: &str) {
    let Ok(wanted) = wanted.parse::<Wanted>() else {
        return;
    };
    assert_eq!(
        wanted.to_string().parse::<Wanted>().ok().as_ref(),
        Some(&wanted)
    );
    let active = history.active(&wanted.name);
    let found = history.matching(&wanted);
    match (&wanted.pick, found) {
        (Pick::Active, found) => assert_eq!(found, active),
        (Pick::Digest(digest), Some(found)) => assert_eq!(found.digest, *digest),
        (Pick::Range(range), Some(found)) => {
            let version = found.version.parse().expect("only a version is in a range");
            assert!(range.matches(&version));
        }
        _ => {}
    }
    if let Some(found) = found {
        assert_eq!(found.name, wanted.name);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let record = |sequence: u64, version: &str| {
        PROMOTION
            .replace("\"sequence\": 1", &format!("\"sequence\": {sequence}"))
            .replace("1.0.0", version)
    };
    let log = [
        record(1, "1.0.0"),
        record(2, "1.1.0"),
        record(3, "1.0.0"),
        record(4, "2.0.0-rc.1"),
    ]
    .join("\u{1e}");
    let digest = "48509d00c0fbb842849c6cdfbecc7e30a5ef113d8cdfc5148609bcf848d1e8e3";
    let mut seeds: Vec<Vec<u8>> = ORIGINALS
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    for wanted in [
        "dim-staff",
        "dim-staff@1",
        "dim-staff@=1.0.0",
        "dim-staff@^1.1",
        "dim-staff@>=2.0.0-rc",
    ] {
        seeds.push(format!("{log}\u{1f}{wanted}").into_bytes());
    }
    seeds.push(format!("{log}\u{1f}dim-staff@sha256:{digest}").into_bytes());
    seeds.extend((0..=255_u8).step_by(9).map(|seed| {
        let noise = (0..30_u8).map(move |n| n.wrapping_mul(seed).wrapping_add(seed ^ n));
        std::iter::once(document::EDITS).chain(noise).collect()
    }));
    seeds
}

fn words() -> Vec<String> {
    let mut words = document::words(ORIGINALS);
    words.extend(["@sha256:", "@^", "@>=", "@~", "@*", "-rc.1", "+build"].map(str::to_owned));
    words
}
