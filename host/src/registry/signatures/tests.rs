//! Signatures on a zone in memory.

use std::sync::Arc;

use super::*;
use crate::error::{Classify as _, ErrorKind};
use crate::registry::tests::{empty, push};
use crate::registry::{PublicKey, statement};
use crate::zone::Zone as _;
use crate::zone::memory::MemoryZone;

/// A registry with a signed module, and the trust in its key.
async fn signed() -> (Arc<MemoryZone>, Registry, Stored, Trust, String) {
    let (zone, registry) = empty();
    push(&registry, "dim-staff", &["1.0.0"]).await;
    let stored = registry.read("dim-staff", "1.0.0").await.expect("pushed");
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("randomness");
    let module = stored.module();
    let text = minisign::sign(
        None,
        &pair.sk,
        &b"1.0.0"[..],
        Some(&statement(&module)),
        None,
    )
    .expect("a signature")
    .into_string();
    let signature = Minisig::parse(&text).expect("a signature");
    assert!(registry.sign(&module, &signature).await.expect("it is new"));
    let again = registry.sign(&module, &signature).await;
    assert!(!again.expect("it is there"));
    let key = PublicKey::parse(&pair.pk.to_base64()).expect("a key");
    let object = format!("dim-staff/1.0.0/signatures/{}.minisig", key.id());
    let trust = Trust {
        keys: vec![key],
        ..Trust::default()
    };
    (zone, registry, stored, trust, object)
}

#[tokio::test]
async fn a_stored_signature_vouches_for_a_module() {
    let (_, registry, stored, trust, _) = signed().await;
    let voucher = registry.voucher(&stored, &trust).await.expect("signed");
    assert_eq!(voucher, Voucher::Key(trust.keys[0].id().to_owned()));
    let stranger = Trust {
        keys: signed().await.3.keys,
        ..Trust::default()
    };
    let error = registry.voucher(&stored, &stranger).await;
    let told = error.expect_err("not trusted").to_string();
    assert!(told.contains(trust.keys[0].id()), "{told}");
    // Without keys nothing can be asked for.
    let voucher = registry.voucher(&stored, &Trust::default()).await;
    assert_eq!(voucher.expect("no keys"), Voucher::Nobody);
}

#[tokio::test]
async fn a_stored_signature_that_was_tampered_with_is_refused() {
    let (zone, registry, stored, trust, object) = signed().await;
    let (other_zone, _, _, other, other_object) = signed().await;
    let theirs = other_zone.read(&other_object).await.expect("it is there");
    let ours = zone.read(&object).await.expect("it is there");
    let ours = String::from_utf8(ours.to_vec()).expect("text");
    for (bytes, told) in [
        (bytes::Bytes::from("x"), "it is no signature of minisign"),
        (theirs, "it is of another key than its name says"),
        (
            ours.replace("1.0.0", "1.0.1").into(),
            "it was not made by that key, or for other bytes",
        ),
    ] {
        zone.damage(&object, bytes);
        let error = registry.voucher(&stored, &trust).await.expect_err(told);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().ends_with(told), "{error}");
    }
    assert_ne!(other.keys[0].id(), trust.keys[0].id());
}
