use std::collections::BTreeMap;

use super::*;
use crate::contract::ModuleRef;

/// The shortest component there is.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const BOUNDS: Bounds = Bounds {
    component_bytes: 8,
    parameters_bytes: 10,
};

fn artefact(parameters: &'static [u8], keys: &[&str]) -> Artefact {
    let signatures = keys.iter();
    Artefact {
        said: Some(ModuleRef {
            name: "dim-staff".into(),
            version: "1.0.0".into(),
            digest: Digest::of_parts([COMPONENT, parameters]),
        }),
        component: Bytes::from_static(COMPONENT),
        parameters: Bytes::from_static(parameters),
        signatures: signatures
            .map(|key| ((*key).to_owned(), format!("signed by {key}")))
            .collect(),
    }
}

fn folder() -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().expect("there is room");
    let store = Folder::new(folder.path().join("carried"), Some("tag".into())).expect("a tag");
    (folder, store)
}

#[tokio::test]
async fn an_artefact_survives_a_store() {
    let (_folder, store) = folder();
    let sent = artefact(b"\0\xff", &["A", "B"]);
    let exported = export(&store, &sent, false).await.expect("it is written");
    assert_eq!(exported.outcome, Outcome::New);
    let imported = import(&store, BOUNDS).await.expect("it is read");
    assert_eq!(imported.artefact, sent);
    assert_eq!(imported.manifest, exported.manifest);
}

#[tokio::test]
async fn signatures_of_both_sides_stay_and_all_else_must_be_the_same() {
    let (_folder, store) = folder();
    let outcome = async |artefact: Artefact, overwrite| {
        let exported = export(&store, &artefact, overwrite).await;
        exported.map(|exported| exported.outcome)
    };
    let signers = async || {
        let imported = import(&store, BOUNDS).await.expect("it is there");
        let signatures: BTreeMap<String, String> = imported.artefact.signatures;
        signatures.into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        outcome(artefact(b"p", &["B"]), false).await.ok(),
        Some(Outcome::New)
    );
    assert_eq!(
        outcome(artefact(b"p", &["A"]), false).await.ok(),
        Some(Outcome::SignaturesAdded)
    );
    assert_eq!(signers().await, "A B");
    assert_eq!(
        outcome(artefact(b"p", &[]), false).await.ok(),
        Some(Outcome::AlreadyThere)
    );
    assert_eq!(signers().await, "A B");
    let other = outcome(artefact(b"q", &["A", "B"]), false).await;
    let error = other.expect_err("the parameters are others");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        outcome(artefact(b"q", &[]), true).await.ok(),
        Some(Outcome::Replaced)
    );
    assert_eq!(signers().await, "");
}

#[tokio::test]
async fn what_is_larger_than_a_module_may_be_is_not_taken() {
    let (_folder, store) = folder();
    export(&store, &artefact(b"parameters", &[]), false)
        .await
        .expect("it is written");
    assert!(import(&store, BOUNDS).await.is_ok());
    for bounds in [
        Bounds {
            component_bytes: 7,
            ..BOUNDS
        },
        Bounds {
            parameters_bytes: 9,
            ..BOUNDS
        },
    ] {
        let error = import(&store, bounds).await.expect_err("it is larger");
        assert!(matches!(error, OciError::TooLarge { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_no_registry_would_take_is_not_sent() {
    let (_folder, store) = folder();
    let large: &'static [u8] = &[7; 4 << 20];
    let error = export(&store, &artefact(large, &[]), false).await;
    let error = error.expect_err("its manifest is too large");
    assert!(matches!(error, OciError::TooMuch { .. }), "{error}");
    assert!(
        store
            .manifest()
            .await
            .expect("nothing is damaged")
            .is_none()
    );
}

#[test]
fn the_same_module_is_the_same_to_the_byte() {
    let pack = || Packed::of(&artefact(b"p", &["B", "A"])).expect("it is a component");
    assert_eq!(pack().manifest, pack().manifest);
    assert_eq!(
        String::from_utf8_lossy(&pack().config),
        format!(
            "{{\"created\":\"1970-01-01T00:00:00Z\",\"architecture\":\"wasm\",\"os\":\"wasip2\",\
             \"layerDigests\":[\"sha256:{}\"],\"component\":{{\"exports\":[],\"imports\":[],\
             \"target\":\"tidemill:transform/module@1.0.0\"}}}}",
            Digest::of(COMPONENT)
        )
    );
}

/// No manifest that was cut short or changed in a byte is read as the one that was written.
#[test]
fn a_manifest_in_which_a_byte_is_another_is_another_or_none() {
    let packed = Packed::of(&artefact(b"p", &["A"])).expect("it is a component");
    let read = |bytes: &[u8]| {
        let outline = artefact::Outline::read("there", bytes, BOUNDS).ok()?;
        let said = (outline.config().clone(), outline.component().clone());
        Some((said, outline.filled(Bytes::new())))
    };
    let whole = read(&packed.manifest).expect("it is whole");
    for length in 0..packed.manifest.len() {
        assert_eq!(
            read(packed.manifest.get(..length).unwrap_or_default()),
            None,
            "{length}"
        );
    }
    let mut different = 0;
    for place in 0..packed.manifest.len() {
        for flipped in [1, 0x20, 0x80] {
            let mut bytes = packed.manifest.to_vec();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= flipped;
            }
            different += usize::from(read(&bytes).as_ref() != Some(&whole));
        }
    }
    // The name of the layer's file and the type of the manifest are the only parts that are nobody's business.
    let all = 3 * packed.manifest.len();
    assert!(
        different * 10 > all * 8,
        "{different} of {all} changes are seen"
    );
}
