//! Signatures that are made by the library that signs, and what becomes of them in wrong hands.

use minisign::{KeyPair, sign};

use super::*;
use crate::error::{Classify as _, ErrorKind};

const COMPONENT: &[u8] = b"\0asm of dim-staff";

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("there is randomness")
}

fn public(pair: &KeyPair) -> PublicKey {
    PublicKey::parse(&pair.pk.to_base64()).expect("a key")
}

fn trusting(pair: &KeyPair) -> Trust {
    Trust {
        keys: vec![public(pair)],
        ..Trust::default()
    }
}

fn text(pair: &KeyPair, component: &[u8], comment: &str) -> String {
    let signed = sign(None, &pair.sk, component, Some(comment), None).expect("a signature");
    signed.into_string()
}

fn minisig(text: &str) -> Minisig {
    Minisig::parse(text).expect("a signature")
}

fn module(parameters: &[u8]) -> ModuleRef {
    ModuleRef {
        name: "dim-staff".into(),
        version: "1.0.0".into(),
        digest: Digest::of_parts([COMPONENT, parameters]),
    }
}

#[test]
fn a_module_that_a_trusted_key_signed_is_used() {
    let pair = pair();
    let signature = minisig(&text(&pair, COMPONENT, &statement(&module(b"p"))));
    let admitted = trusting(&pair).admit(&module(b"p"), COMPONENT, b"p", &[signature]);
    let id = public(&pair).id().to_owned();
    assert_eq!(id.len(), 16);
    assert_eq!(admitted.expect("it is signed"), Voucher::Key(id));
}

/// The key that minisign's own documentation verifies with.
#[test]
fn a_key_of_minisign_itself_has_the_number_that_it_prints() {
    let written = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    assert_eq!(
        PublicKey::parse(written).expect("a key").id(),
        "E7620F1842B4E81F"
    );
    for text in ["", "RWQ", &written[1..], "not base 64 at all"] {
        assert!(PublicKey::parse(text).is_none(), "{text}");
    }
}

#[test]
fn a_module_that_nobody_signed_needs_the_switch() {
    let mut trust = trusting(&pair());
    let refused = trust.admit(&module(b""), COMPONENT, b"", &[]);
    let error = refused.expect_err("nobody signed it");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        format!("nobody has signed {}", module(b""))
    );
    trust.unsigned = true;
    let admitted = trust.admit(&module(b""), COMPONENT, b"", &[]);
    assert_eq!(admitted.expect("the switch"), Voucher::Nobody);
}

#[test]
fn what_is_inside_the_program_needs_no_signature_and_with_parameters_it_does() {
    let trust = Trust {
        program: [Digest::of(COMPONENT)].into(),
        ..Trust::default()
    };
    let admit = |component: &[u8], parameters: &[u8]| {
        trust.admit(&module(parameters), component, parameters, &[])
    };
    assert_eq!(admit(COMPONENT, b"").expect("it is ours"), Voucher::Program);
    assert!(admit(COMPONENT, b"p").is_err());
    assert!(admit(b"evil", b"").is_err());
}

#[test]
fn the_key_of_a_stranger_is_named_and_the_switch_lets_it_through() {
    let (ours, theirs) = (pair(), pair());
    let mut trust = trusting(&ours);
    let signature = minisig(&text(&theirs, COMPONENT, &statement(&module(b""))));
    let refused = trust.admit(
        &module(b""),
        COMPONENT,
        b"",
        std::slice::from_ref(&signature),
    );
    let error = refused.expect_err("a stranger");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(public(&theirs).id()), "{error}");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains(public(&ours).id()), "{hint}");
    trust.unsigned = true;
    let admitted = trust.admit(
        &module(b""),
        COMPONENT,
        b"",
        std::slice::from_ref(&signature),
    );
    assert_eq!(admitted.expect("the switch"), Voucher::Nobody);
}

/// Whatever was changed, the switch does not let it through: a wrong signature of a trusted key is not development.
#[test]
fn a_signature_that_a_trusted_key_did_not_make_for_it_is_refused_always() {
    let (ours, theirs) = (pair(), pair());
    let right = statement(&module(b""));
    let signed = text(&ours, COMPONENT, &right);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    // Their signature, with the number of our key in it.
    let disguised = {
        let mut bytes = STANDARD
            .decode(&lines(&text(&theirs, COMPONENT, &right))[1])
            .expect("base 64");
        let our_line = STANDARD.decode(&lines(&signed)[1]).expect("base 64");
        bytes[KEY_ID].copy_from_slice(&our_line[KEY_ID]);
        let mut all = lines(&signed);
        all[1] = STANDARD.encode(bytes);
        all.join("\n")
    };
    let cases = [
        (text(&ours, b"other bytes", &right), "for other bytes"),
        (
            text(&ours, COMPONENT, &right.replace("1.0.0", "1.0.1")),
            "another name, version or parameters",
        ),
        (
            text(&ours, COMPONENT, &statement(&module(b"p"))),
            "another name, version or parameters",
        ),
        (signed.replace("1.0.0", "1.0.1"), "not made by that key"),
        (disguised, "not made by that key"),
    ];
    for unsigned in [false, true] {
        let trust = Trust {
            unsigned,
            ..trusting(&ours)
        };
        for (text, reason) in &cases {
            let admitted = trust.admit(&module(b""), COMPONENT, b"", &[minisig(text)]);
            let error = admitted.expect_err(reason);
            assert_eq!(error.kind(), ErrorKind::Data, "{error}");
            let told = format!("{error}");
            assert!(told.contains(reason), "{told}");
        }
    }
}

#[test]
fn what_is_no_signature_is_none() {
    let signed = text(&pair(), COMPONENT, "x");
    let three: String = signed.lines().take(3).map(|l| format!("{l}\n")).collect();
    for text in ["", "RUQ", "a\nb\nc\nd", &three, &signed.replace('R', "Q")] {
        assert!(Minisig::parse(text).is_none(), "{text}");
    }
}

/// Of several signatures one that is right is enough; one that names a trusted key and is wrong is too much.
#[test]
fn of_several_signatures_those_of_trusted_keys_must_be_right() {
    let (ours, strange) = (pair(), pair());
    let module = module(b"");
    let by = |pair: &KeyPair| minisig(&text(pair, COMPONENT, &statement(&module)));
    let mut trust = trusting(&ours);
    let (right, stranger) = (by(&ours), by(&strange));
    for signatures in [
        [right.clone(), stranger.clone()],
        [stranger.clone(), right.clone()],
    ] {
        let admitted = trust.admit(&module, COMPONENT, b"", &signatures);
        let id = public(&ours).id().to_owned();
        assert_eq!(admitted.expect("ours is right"), Voucher::Key(id));
    }
    assert!(trust.keeps(&right) && !trust.keeps(&stranger));
    let wrong = minisig(&text(&ours, b"other", &statement(&module)));
    trust.unsigned = true;
    let refused = trust.admit(&module, COMPONENT, b"", &[stranger, wrong]);
    assert_eq!(refused.expect_err("ours is wrong").kind(), ErrorKind::Data);
}
