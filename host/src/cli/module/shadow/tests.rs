use super::*;
use crate::contract::{LoadMode, ModuleRef};
use crate::digest::Digest;
use crate::pipeline::shadow::report::{
    IDENTICAL_INPUTS, RejectCode, RejectDifferences, RejectExample, RowExample, SkippedLanding,
    ValueExample,
};

fn side(version: &str, fuel: u64) -> ShadowSide {
    ShadowSide {
        module: ModuleRef {
            name: "dim-staff".into(),
            version: version.into(),
            digest: Digest::of(version),
        },
        rows_in: 1_000,
        rows_out: 998,
        fuel,
        elapsed_us: 12_345,
        peak_memory_bytes: 2_097_152,
    }
}

fn report() -> ShadowReport {
    let column = |name: &str, change, changed, examples| ColumnDifferences {
        name: name.into(),
        change,
        changed,
        examples,
    };
    let example = ValueExample {
        landing: 2,
        key: vec!["7".into()],
        active: Some("<b>Leds</b>".into()),
        candidate: None,
    };
    ShadowReport {
        table: "dim_staff".into(),
        mode: LoadMode::Upsert,
        key: vec!["staff_id".into()],
        active: side("1.0.0", 1_000),
        candidate: side("1.1.0", 1_500),
        landings: vec![1, 2],
        skipped: vec![SkippedLanding {
            landing: 3,
            module: side("1.1.0", 0).module,
            reason: "the module reads `staff.team`, which has not been landed".into(),
        }],
        inputs: IDENTICAL_INPUTS.into(),
        differs: true,
        rows: RowDifferences {
            same: 990,
            added: 1,
            dropped: 2,
            changed: 5,
            added_examples: vec![RowExample {
                landing: 1,
                values: vec![
                    ("staff_id".into(), Some("9".into())),
                    ("location".into(), None),
                ],
            }],
            dropped_examples: Vec::new(),
        },
        columns: vec![
            column("staff_id", ColumnChange::Kept, 0, Vec::new()),
            column("location", ColumnChange::Kept, 5, vec![example]),
            column("team", ColumnChange::Added, 0, Vec::new()),
        ],
        retractions: RowDifferences::default(),
        rejects: RejectDifferences {
            same: 3,
            added: 1,
            dropped: 0,
            codes: vec![RejectCode {
                code: "no-match".into(),
                active: 3,
                candidate: 4,
            }],
            examples: vec![RejectExample {
                landing: 2,
                by_candidate: true,
                table: "staff".into(),
                row: 4,
                code: "no-match".into(),
                message: "there is no department 4".into(),
            }],
        },
        hidden: Vec::new(),
    }
}

#[test]
fn a_report_reads_from_top_to_bottom() {
    insta::assert_snapshot!(told(&report(), Paint::new(false)));
}

#[test]
fn it_is_said_what_is_not_shown() {
    let mut report = report();
    report.hidden = vec!["staff_id".into(), "location".into()];
    let said = "alues of staff_id, location are not shown: they may come from columns that are marked sensitive";
    assert!(told(&report, Paint::new(false)).contains(said));
    assert!(html::page(&report).contains(said));
}

#[test]
fn the_page_holds_everything_and_no_value_becomes_part_of_it() {
    let page = html::page(&report());
    for told in [
        "<td><del>&quot;&lt;b&gt;Leds&lt;/b&gt;&quot;</del></td><td><ins>NULL</ins></td>",
        "<code>team</code> is new, with a value in 0 rows",
        "there is no department 4",
        "Landing 3 was left out",
        "the same landed objects",
    ] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    assert!(!page.contains("<b>"), "{page}");
    for strange in ["http:", "https:", "<script", "<img", "src="] {
        assert!(!page.contains(strange), "{strange} is in {page}");
    }
}

#[test]
fn a_time_is_told_from_the_number_of_a_landing() {
    assert_eq!(since("12"), Ok(Since::Landing(12)));
    let midnight = "2026-01-31T00:00:00Z".parse().map(Since::Time);
    assert_eq!(since("2026-01-31").ok(), midnight.ok());
    let nine = "2026-01-31T09:00:00Z".parse().map(Since::Time);
    assert_eq!(since("2026-01-31T10:00:00+01:00").ok(), nine.ok());
    since("yesterday").expect_err("it is no time");
}
