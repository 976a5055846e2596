//! Keys and signatures in minisign's format: who publishes a module vouches for it.

use std::path::Path;

use minisign::{KeyPair, PublicKey, SecretKeyBox};
use serde::Serialize;

use super::error::AuthoringError;
use crate::contract::ModuleRef;
use crate::registry::{Minisig, statement};

/// The variable with the password of a secret key; its name is not `TIDEMILL_…`, because those are settings.
pub const PASSWORD: &str = "MINISIGN_PASSWORD";

/// A new pair of keys, as it is written into files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyFiles {
    /// The number of both, by which people tell keys.
    pub id: String,
    /// The line for `keys` in a project file.
    pub public: String,
    /// The `.pub` file.
    #[serde(skip)]
    pub public_file: String,
    /// The file of the secret key.
    #[serde(skip)]
    pub secret_file: SecretFile,
}

/// The text of a secret key, which does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile(pub(super) String);

impl SecretFile {
    /// The text, for the file.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Makes a pair of keys; the secret one is encrypted where there is a password.
///
/// # Errors
/// `Bug` when the system has no randomness.
pub fn key(password: Option<&str>) -> Result<KeyFiles, AuthoringError> {
    let made = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = made.map_err(AuthoringError::Key)?;
    let secret = pair.sk.to_box(None).map_err(AuthoringError::Key)?;
    let public = pair.pk.to_box().map_err(AuthoringError::Key)?;
    Ok(KeyFiles {
        id: id_of(&pair.pk),
        public: pair.pk.to_base64(),
        public_file: public.into_string(),
        secret_file: SecretFile(secret.into_string()),
    })
}

fn id_of(key: &PublicKey) -> String {
    let number = key.keynum().try_into().map(u64::from_le_bytes);
    format!("{:016X}", number.unwrap_or_default())
}

/// Signs a module with the secret key in `file`.
///
/// # Errors
/// `Unavailable` when the file cannot be read, `Config` when it is no secret key or the password does not open it.
pub fn sign(
    module: &ModuleRef,
    component: &[u8],
    file: &Path,
    password: Option<&str>,
) -> Result<Minisig, AuthoringError> {
    let text = std::fs::read_to_string(file).map_err(|cause| AuthoringError::Read {
        file: file.to_owned(),
        cause,
    })?;
    let wrong = |cause| AuthoringError::NoKey {
        file: file.to_owned(),
        has_password: password.is_some(),
        cause,
    };
    let written = SecretKeyBox::from_string(&text).map_err(wrong)?;
    // Without one, the library would ask for it on stdout, which is data.
    let key = match password {
        Some(password) => written.into_secret_key(Some(password.to_owned())),
        None => written.into_unencrypted_secret_key(),
    };
    let key = key.map_err(wrong)?;
    let comment = format!("signature of {}@{}", module.name, module.version);
    let signed = minisign::sign(
        None,
        &key,
        component,
        Some(&statement(module)),
        Some(&comment),
    );
    let text = signed.map_err(AuthoringError::Key)?.into_string();
    Minisig::parse(&text).ok_or(AuthoringError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::error::Classify as _;
    use crate::registry::{PublicKey, Trust, Voucher};

    fn module() -> ModuleRef {
        ModuleRef {
            name: "dim-staff".into(),
            version: "1.0.0".into(),
            digest: Digest::of_parts([b"component".as_slice(), b""]),
        }
    }

    /// The file of a new secret key, and the trust in it.
    fn written(password: Option<&str>) -> (tempfile::TempDir, std::path::PathBuf, Trust) {
        let folder = tempfile::tempdir().expect("a folder");
        let made = key(password).expect("a key");
        let file = folder.path().join("shop.key");
        std::fs::write(&file, made.secret_file.expose()).expect("a file");
        let public = PublicKey::parse(&made.public).expect("a public key");
        assert_eq!(public.id(), made.id);
        assert!(made.public_file.contains(&made.public));
        assert!(!format!("{made:?}").contains(made.secret_file.expose()));
        let keys = vec![public];
        let trust = Trust {
            keys,
            ..Trust::default()
        };
        (folder, file, trust)
    }

    #[test]
    fn what_a_key_signed_is_of_that_key() {
        let (_folder, file, trust) = written(None);
        let signature = sign(&module(), b"component", &file, None).expect("a signature");
        let admitted = trust.admit(
            &module(),
            b"component",
            b"",
            std::slice::from_ref(&signature),
        );
        assert!(matches!(admitted, Ok(Voucher::Key(_))), "{admitted:?}");
    }

    #[test]
    fn a_key_with_a_password_needs_it() {
        let (_folder, file, _) = written(Some("tide"));
        let sign = |password| sign(&module(), b"component", &file, password);
        sign(Some("tide")).expect("the password opens it");
        let hint = |refused: Result<Minisig, AuthoringError>| {
            let error = refused.expect_err("it stays closed");
            error.hint().expect("a hint")
        };
        assert!(hint(sign(None)).contains(PASSWORD));
        assert!(hint(sign(Some("ebb"))).contains(PASSWORD));
    }

    #[test]
    fn what_is_no_key_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "notes").expect("a file");
        let error = sign(&module(), b"component", &file, None).expect_err("no key");
        assert!(
            error
                .to_string()
                .ends_with("is no secret key of minisign that can be used")
        );
    }
}
