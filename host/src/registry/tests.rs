//! The registry on a zone in memory.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema};
use semver::Version;

use super::*;
use crate::contract::{Delivery, Input, LoadMode, Output, Role};
use crate::error::{Classify as _, ErrorKind};
use crate::zone::memory::MemoryZone;

pub(super) fn empty() -> (Arc<MemoryZone>, Registry) {
    let zone = Arc::new(MemoryZone::default());
    (zone.clone(), Registry::new(zone))
}

pub(super) fn description(name: &str, version: &str) -> Description {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]));
    Description {
        name: name.into(),
        version: version.into(),
        inputs: vec![Input {
            table: "staff".into(),
            schema: schema.clone(),
            key: vec!["id".into()],
            delivery: Delivery::Current,
            role: Role::Streamed,
        }],
        output: Output {
            table: "dim_staff".into(),
            schema,
            primary_key: vec!["id".into()],
            mode: LoadMode::Upsert,
        },
        properties: BTreeMap::new(),
    }
}

pub(super) fn promoter() -> Promoter {
    Promoter {
        who: "ada".into(),
        when: DateTime::UNIX_EPOCH,
        why: "it is time".into(),
        shadow: None,
        rebuild: false,
    }
}

/// Pushes `name` in these versions; the component of each is its version.
pub(super) async fn push(registry: &Registry, name: &str, versions: &[&str]) {
    for version in versions {
        registry
            .push(version.as_bytes(), b"", &description(name, version))
            .await
            .expect("it is new");
    }
}

async fn promote(registry: &Registry, name: &str, version: &str) -> Promotion {
    registry
        .promote(name, version, &promoter())
        .await
        .expect("it is there")
}

async fn resolved(registry: &Registry, wanted: &str) -> String {
    registry.resolve(wanted).await.expect(wanted).version
}

#[tokio::test]
async fn what_was_pushed_is_read_with_its_parameters() {
    let (zone, registry) = empty();
    let pushed = registry
        .push(
            b"component",
            b"select 1",
            &description("dim-staff", "1.0.0"),
        )
        .await
        .expect("it is new");
    assert!(matches!(pushed, Pushed::New(_)));
    let stored = registry.fetch(pushed.module()).await.expect("it is there");
    assert_eq!(stored.component, "component");
    assert_eq!(stored.parameters, "select 1");
    assert_eq!(
        stored.module().digest,
        Digest::of_parts([b"component".as_slice(), b"select 1"])
    );
    let json = zone
        .read("dim-staff/1.0.0/module.json")
        .await
        .expect("it is there");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(json["descriptor"]["output"]["mode"], "upsert");
    assert_eq!(
        json["descriptor"]["inputs"][0]["columns"][0]["data_type"],
        "Int32"
    );
    assert_eq!(json["signature"], serde_json::Value::Null);
}

#[tokio::test]
async fn the_same_bytes_again_are_no_error_and_other_bytes_are() {
    let (_, registry) = empty();
    let description = description("dim-staff", "1.0.0");
    registry
        .push(b"a", b"", &description)
        .await
        .expect("it is new");
    let again = registry
        .push(b"a", b"", &description)
        .await
        .expect("the same");
    assert!(matches!(again, Pushed::AlreadyThere(_)));
    for (component, parameters) in [(b"b", b"".as_slice()), (b"a", b"p")] {
        let error = registry
            .push(component, parameters, &description)
            .await
            .expect_err("other bytes");
        assert_eq!(
            error.to_string(),
            "module dim-staff@1.0.0 exists already with other bytes"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_push_that_was_cut_off_is_finished_by_the_next() {
    let (zone, registry) = empty();
    zone.damage("dim-staff/1.0.0/module.wasm", "a");
    let description = description("dim-staff", "1.0.0");
    let error = registry
        .resolve("dim-staff@1.0.0")
        .await
        .expect_err("half a module is none");
    assert!(
        matches!(error, RegistryError::UnknownModule { .. }),
        "{error}"
    );
    let error = registry
        .push(b"b", b"", &description)
        .await
        .expect_err("other bytes");
    assert!(
        matches!(error, RegistryError::Immutable { found: None, .. }),
        "{error}"
    );
    let pushed = registry
        .push(b"a", b"", &description)
        .await
        .expect("the same bytes");
    assert!(matches!(pushed, Pushed::New(_)));
}

#[tokio::test]
async fn a_range_follows_promotions_and_a_pin_does_not() {
    let (_, registry) = empty();
    push(
        &registry,
        "dim-staff",
        &["1.0.0", "1.1.0", "1.2.0", "2.0.0"],
    )
    .await;
    promote(&registry, "dim-staff", "1.0.0").await;
    promote(&registry, "dim-staff", "1.1.0").await;
    promote(&registry, "dim-staff", "2.0.0").await;
    for (wanted, version) in [
        ("dim-staff", "2.0.0"),
        ("dim-staff@1", "1.1.0"),
        ("dim-staff@~1.0", "1.0.0"),
        ("dim-staff@2", "2.0.0"),
        ("dim-staff@1.2.0", "1.2.0"),
        ("dim-staff@=1.0.0", "1.0.0"),
    ] {
        assert_eq!(resolved(&registry, wanted).await, version, "{wanted}");
    }
    let digest = Digest::of_parts([b"1.2.0".as_slice(), b""]);
    assert_eq!(
        resolved(&registry, &format!("dim-staff@sha256:{digest}")).await,
        "1.2.0"
    );
}

#[tokio::test]
async fn promoting_an_older_version_rolls_back() {
    let (_, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0", "1.1.0"]).await;
    promote(&registry, "dim-staff", "1.0.0").await;
    promote(&registry, "dim-staff", "1.1.0").await;
    let back = promote(&registry, "dim-staff", "1.0.0").await;
    assert_eq!(back.previous.as_deref(), Some("1.1.0"));
    assert_eq!(back.sequence, 3);
    assert_eq!(resolved(&registry, "dim-staff@1").await, "1.0.0");
    let active = registry
        .active("dim-staff")
        .await
        .expect("the zone answers");
    assert_eq!(active, Some(back));
}

#[tokio::test]
async fn promoting_what_is_active_writes_nothing() {
    let (_, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0"]).await;
    let first = promote(&registry, "dim-staff", "1.0.0").await;
    let again = promote(&registry, "dim-staff", "1.0.0").await;
    assert_eq!(first, again);
    assert_eq!(registry.history().await.expect("the zone answers"), [first]);
}

#[tokio::test]
async fn two_hosts_that_promote_at_once_both_succeed() {
    let zone = Arc::new(MemoryZone::default());
    let (ours, theirs) = (Registry::new(zone.clone()), Registry::new(zone.clone()));
    push(&ours, "dim-a", &["1.0.0"]).await;
    push(&ours, "dim-b", &["1.0.0"]).await;
    ours.history().await.expect("the zone answers");
    promote(&theirs, "dim-b", "1.0.0").await;
    let mine = promote(&ours, "dim-a", "1.0.0").await;
    assert_eq!(mine.sequence, 2);
    assert_eq!(ours.history().await.expect("it answers").len(), 2);
    assert_eq!(
        zone.listings(),
        0,
        "promoting and resolving need no listing"
    );
}

#[tokio::test]
async fn a_wrong_name_is_met_with_the_nearest() {
    let (_, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0", "1.1.0"]).await;
    let hint = |error: RegistryError| error.hint().expect("every error has one");

    let error = registry.resolve("dim-staf@1").await.expect_err("unknown");
    assert_eq!(error.to_string(), "the registry has no module `dim-staf`");
    assert!(hint(error).starts_with("did you mean `dim-staff`?"));

    let error = registry.resolve("fact-payment").await.expect_err("unknown");
    assert!(hint(error).starts_with("push it"));

    let error = registry
        .resolve("dim-staff@1.5.0")
        .await
        .expect_err("unknown");
    assert_eq!(error.to_string(), "module dim-staff has no version 1.5.0");
    assert_eq!(hint(error), "there are 1.0.0, 1.1.0");

    let error = registry
        .resolve("dim-staff@1")
        .await
        .expect_err("not promoted");
    assert_eq!(
        error.to_string(),
        "no promoted version of dim-staff matches `dim-staff@^1`"
    );
    promote(&registry, "dim-staff", "1.1.0").await;
    let error = registry
        .resolve("dim-staff@2")
        .await
        .expect_err("not promoted");
    assert!(hint(error).starts_with("1.1.0 is active"));
}

#[tokio::test]
async fn damaged_bytes_are_never_given_out() {
    let (zone, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0"]).await;
    let module = registry
        .resolve("dim-staff@1.0.0")
        .await
        .expect("it is there");
    zone.damage("dim-staff/1.0.0/module.wasm", "evil");
    let error = registry
        .read("dim-staff", "1.0.0")
        .await
        .expect_err("other bytes");
    assert_eq!(error.kind(), ErrorKind::Data);

    // Somebody replaces record and bytes: what was promoted is known by its digest.
    let evil = record::of(b"evil", b"", &description("dim-staff", "1.0.0")).expect("a name");
    zone.damage("dim-staff/1.0.0/module.json", record::print(&evil));
    registry
        .read("dim-staff", "1.0.0")
        .await
        .expect("it agrees with itself");
    let error = registry.fetch(&module).await.expect_err("another digest");
    assert!(
        error.to_string().contains(&module.digest.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_record_of_a_newer_format_asks_for_a_newer_tidemill() {
    let (zone, registry) = empty();
    zone.damage(
        "dim-staff/1.0.0/module.json",
        r#"{"format": 2, "news": true}"#,
    );
    let error = registry
        .read("dim-staff", "1.0.0")
        .await
        .expect_err("too new");
    assert!(
        matches!(error, RegistryError::Format { found: 2, .. }),
        "{error}"
    );
    zone.damage("dim-staff/1.0.0/module.json", "{");
    let error = registry
        .read("dim-staff", "1.0.0")
        .await
        .expect_err("no JSON");
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn names_and_versions_are_listed_in_order() {
    let (_, registry) = empty();
    push(&registry, "dim-staff", &["1.10.0", "1.9.0"]).await;
    push(&registry, "dim-date", &["1.0.0"]).await;
    assert_eq!(
        registry.names().await.expect("it answers"),
        ["dim-date", "dim-staff"]
    );
    let versions = registry.versions("dim-staff").await.expect("it answers");
    assert_eq!(versions, [Version::new(1, 9, 0), Version::new(1, 10, 0)]);
}

#[tokio::test]
async fn of_two_who_promote_versions_of_one_module_one_wins() {
    let zone = Arc::new(MemoryZone::default());
    let (ours, theirs) = (Registry::new(zone.clone()), Registry::new(zone));
    push(&ours, "dim-staff", &["1.0.0", "1.1.0", "1.2.0"]).await;
    let first = promote(&ours, "dim-staff", "1.0.0").await;
    let promoter = promoter();
    let (one, other) = tokio::join!(
        ours.promote_over(Some(&first), "dim-staff", "1.1.0", &promoter),
        theirs.promote_over(Some(&first), "dim-staff", "1.2.0", &promoter),
    );
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one wins, and not {both:?}"),
    };
    assert_eq!(lost.kind(), ErrorKind::Conflict);
    let told = lost.to_string();
    assert!(
        told.ends_with(&format!("meanwhile ada promoted {}", won.version)),
        "{told}"
    );
    assert_eq!(ours.history().await.expect("it answers"), [first, won]);
}

#[tokio::test]
async fn who_promotes_what_another_promoted_meanwhile_is_content() {
    let (_, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0"]).await;
    let first = promote(&registry, "dim-staff", "1.0.0").await;
    let again = registry
        .promote_over(None, "dim-staff", "1.0.0", &promoter())
        .await;
    assert_eq!(again.expect("it is active"), first);
}

/// Whatever is done to the log by somebody who can write there: changed, put in another order, taken from the middle.
#[tokio::test]
async fn a_log_that_was_tampered_with_is_refused() {
    const KEYS: [&str; 3] = [
        "_promotions/0000000001.json",
        "_promotions/0000000002.json",
        "_promotions/0000000003.json",
    ];
    type Deed = fn(&[String; 3]) -> (&'static str, String);
    let deeds: [(Deed, &str); 5] = [
        (
            |[first, ..]| (KEYS[0], first.replace("it is time", "never mind")),
            "0000000002.json is damaged: the record before it is not the one that it follows",
        ),
        (
            |[_, second, _]| {
                (
                    KEYS[0],
                    second.replace("\"sequence\": 2", "\"sequence\": 1"),
                )
            },
            "0000000001.json is damaged: the record before it is not the one that it follows",
        ),
        (
            |[_, _, third]| (KEYS[1], third.clone()),
            "0000000002.json is damaged: it says that it is number 3",
        ),
        (
            |[_, second, _]| {
                let record: serde_json::Value = serde_json::from_str(second).expect("JSON");
                let after = format!(",\n  \"after\": {}", record["after"]);
                let forged = second.replace("\"format\": 2", "\"format\": 1");
                (KEYS[1], forged.replace(&after, ""))
            },
            "0000000002.json is damaged: the record before it is not the one that it follows",
        ),
        (
            |[_, _, third]| (KEYS[2], third.replace("\"1.1.0\"", "\"1.0.0\"")),
            "0000000003.json is damaged: another version was active before it than it says",
        ),
    ];
    for (deed, told) in deeds {
        let (zone, registry) = empty();
        push(&registry, "dim-staff", &["1.0.0", "1.1.0", "2.0.0"]).await;
        for version in ["1.0.0", "1.1.0", "2.0.0"] {
            promote(&registry, "dim-staff", version).await;
        }
        let mut texts = [const { String::new() }; 3];
        for (key, text) in KEYS.iter().zip(&mut texts) {
            let bytes = zone.read(key).await.expect("it is there");
            *text = String::from_utf8(bytes.to_vec()).expect("text");
        }
        let (key, forged) = deed(&texts);
        assert!(!texts.contains(&forged) || key == KEYS[1], "{told}");
        zone.damage(key, forged);
        let error = Registry::new(zone).history().await.expect_err(told);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().ends_with(told), "{error}");
    }
}

#[tokio::test]
async fn a_log_of_the_first_format_goes_on_in_the_second() {
    let (zone, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0", "1.1.0"]).await;
    let module = registry.resolve("dim-staff@1.0.0").await.expect("pushed");
    let old = serde_json::json!({
        "format": 1, "sequence": 1, "name": "dim-staff", "version": "1.0.0", "digest": module.digest,
        "who": "ada", "when": "2024-01-01T00:00:00Z", "why": "the first", "previous": null,
    });
    zone.damage("_promotions/0000000001.json", old.to_string());
    let next = promote(&registry, "dim-staff", "1.1.0").await;
    assert_eq!((next.format, next.sequence), (2, 2));
    assert_eq!(next.after, Some(Digest::of(old.to_string())));
    let history = Registry::new(zone).history().await;
    assert_eq!(history.expect("a good log").len(), 2);
}
