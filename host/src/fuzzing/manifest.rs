//! Landing and processed manifests.

use super::{Target, document};
use crate::manifest::fuzz::{parse, print};
use crate::manifest::{LandingManifest, Manifest, ProcessedManifest};

pub(super) const TARGET: Target = Target {
    name: "manifest",
    run,
    seeds,
    words,
};

const LANDING: &str = include_str!("../../../tests/fixtures/v1/documents/landing.json");
const PROCESSED: &str = include_str!("../../../tests/fixtures/v1/documents/processed.json");
const ORIGINALS: &[&str] = &[LANDING, PROCESSED];

fn run(input: &[u8]) {
    let bytes = document::document(input, ORIGINALS);
    if let Some(manifest) = read::<LandingManifest>(&bytes) {
        for landed in manifest.tables.values() {
            let schema = landed.table.schema();
            assert_eq!(schema.fields().len(), landed.table.columns.len());
            assert!(landed.table.key_schema().fields().len() <= landed.table.key.len());
            landed.table.fingerprint();
            let _ = (landed.changed_rows(), landed.deleted_rows());
            let _: u64 = landed
                .index
                .iter()
                .map(|s| s.rows())
                .fold(0, u64::wrapping_add);
        }
    }
    if let Some(manifest) = read::<ProcessedManifest>(&bytes) {
        for table in manifest.tables.values() {
            let schema = table.output.schema();
            assert_eq!(schema.fields().len(), table.output.columns.len());
        }
    }
}

/// What is read is written and read again as the same.
fn read<M: Manifest + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let manifest: M = parse("the manifest", bytes).ok()?;
    let printed = print("the manifest", &manifest).expect("what was read can be written");
    let again: M = parse("the manifest", &printed).expect("what was written can be read");
    assert_eq!(again, manifest);
    Some(manifest)
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = ORIGINALS.iter().map(|text| text.as_bytes().to_vec());
    let newer = ORIGINALS
        .iter()
        .map(|text| text.replace("\"format\": 1", "\"format\": 2"));
    let edits = (0..=255_u8).step_by(5).map(|seed| {
        let noise = (0..40_u8).map(move |n| n.wrapping_mul(seed).wrapping_add(seed ^ n));
        std::iter::once(document::EDITS).chain(noise).collect()
    });
    whole
        .chain(newer.map(String::into_bytes))
        .chain(edits)
        .collect()
}

fn words() -> Vec<String> {
    let mut words = document::words(ORIGINALS);
    for notation in [
        "List(nullable Int32)",
        "LargeList(Utf8)",
        "FixedSizeList(3 x Int8)",
        "Struct(\\\"a\\\": Int32)",
        "Dictionary(Int32, Utf8)",
        "Map(\\\"entries\\\": Struct(\\\"keys\\\": Utf8))",
        "Decimal256(76, -3)",
        "Timestamp(ns, \\\"UTC\\\")",
        "Interval(MonthDayNano)",
        "RunEndEncoded(",
        "Union(Sparse, 0: (",
        "FixedSizeBinary(",
    ] {
        words.push(notation.to_owned());
    }
    words
}
