//! Whose modules are used: the keys that the project trusts, and what they signed.
//!
//! A signature is one of minisign (ed25519 over a BLAKE2b of the component), so that anybody can make and check one with
//! tools that are there. A component does not say with which parameters it is used, nor is a file's name a promise:
//! name, version and the digest of component and parameters stand in the trusted comment, which is signed as well.
//!
//! ```text
//! untrusted comment: whatever
//! RUTdEDnf/Js2t…
//! trusted comment: tidemill dim-staff@1.2.0 sha256:48509d00…
//! wLMDjy9FLAuxZ…
//! ```
//!
//! Each is an object of its own beside the module and not a part of its record, so that one can be added when keys are
//! changed. Rejected: signing a text of our own instead of the component, for then `minisign -V` on the component would
//! say nothing. A module inside the program needs no signature: whoever can change the program can change this.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::error::RegistryError;
use crate::contract::ModuleRef;
use crate::digest::Digest;

/// Where the number of a key is in what minisign writes as base 64, of keys and of signatures.
const KEY_ID: Range<usize> = 2..10;

/// What the trusted comment of a module's signature says.
pub fn statement(module: &ModuleRef) -> String {
    let ModuleRef {
        name,
        version,
        digest,
    } = module;
    format!("tidemill {name}@{version} sha256:{digest}")
}

/// A public key of minisign.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// The key that is written like that in the second line of a `.pub` file; `None` when it is no key.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self {
            id: key_id(text)?,
            key: minisign_verify::PublicKey::from_base64(text).ok()?,
        })
    }

    /// Its number, as minisign prints it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id).finish()
    }
}

fn key_id(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).ok()?;
    let id: [u8; 8] = bytes.get(KEY_ID)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

/// A file that minisign wrote; what it signs is checked by [`Trust`].
#[derive(Clone)]
pub struct Minisig {
    key_id: String,
    text: String,
    decoded: minisign_verify::Signature,
}

impl Minisig {
    /// The signature in the text of such a file; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self {
            key_id: key_id(text.lines().nth(1)?)?,
            decoded: minisign_verify::Signature::decode(text).ok()?,
            text: text.to_owned(),
        })
    }

    /// The number of the key that says to have made it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Minisig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Minisig").field(&self.key_id).finish()
    }
}

/// Who vouches for a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voucher {
    /// The key of that number signed it.
    Key(String),
    /// It is inside this program.
    Program,
    /// Nobody; the project lets such modules through.
    Nobody,
}

impl fmt::Display for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::Program => f.write_str("tidemill itself"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// Whose modules a project uses. The default trusts nobody, and asks for nobody when a module is run.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys of the project file. Where there is one, nothing runs that nobody vouches for.
    pub keys: Vec<PublicKey>,
    /// Digests of the components inside the program.
    pub program: BTreeSet<Digest>,
    /// Whether a module needs no signature: for development.
    pub unsigned: bool,
}

impl Trust {
    /// Whether a module is inside the program.
    pub(super) fn is_ours(&self, component: &[u8], parameters: &[u8]) -> bool {
        parameters.is_empty() && self.program.contains(&Digest::of(component))
    }

    /// The numbers of the keys.
    pub(super) fn key_ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    /// Sees to it that a module may be pushed with such signatures, or with none. Each that names a trusted key must
    /// be right, whatever the others are.
    ///
    /// # Errors
    /// `Config` when nobody vouches for it whom the project trusts, `Data` when a trusted key signed something else.
    pub fn admit(
        &self,
        module: &ModuleRef,
        component: &[u8],
        parameters: &[u8],
        signatures: &[Minisig],
    ) -> Result<Voucher, RegistryError> {
        let mut signer = None;
        for signature in signatures {
            signer = self.signer(module, component, signature)?.or(signer);
        }
        match signer {
            Some(key) => Ok(Voucher::Key(key)),
            None if self.is_ours(component, parameters) => Ok(Voucher::Program),
            None if self.unsigned => Ok(Voucher::Nobody),
            None => {
                let signers = signatures.iter();
                Err(self.untrusted(module, signers.map(|one| one.key_id.clone()).collect()))
            }
        }
    }

    /// Whether a signature is put beside a module: a stranger's says nothing that could be checked, and would stay.
    pub fn keeps(&self, signature: &Minisig) -> bool {
        self.unsigned || self.keys.iter().any(|key| key.id == signature.key_id)
    }

    /// The trusted key that made a signature for this module; `None` when its key is a stranger's.
    ///
    /// # Errors
    /// `Data` when it says to be of a trusted key and is not, or is for something else.
    pub(super) fn signer(
        &self,
        module: &ModuleRef,
        component: &[u8],
        signature: &Minisig,
    ) -> Result<Option<String>, RegistryError> {
        let Some(key) = self.keys.iter().find(|key| key.id == signature.key_id) else {
            return Ok(None);
        };
        let forged = |reason: &str| RegistryError::Forged {
            module: module.to_string(),
            key_id: key.id.clone(),
            reason: reason.to_owned(),
        };
        // The old kind of signatures, not over a digest, is not accepted: minisign has not made it since 2020.
        let verified = key.key.verify(component, &signature.decoded, false);
        if verified.is_err() {
            return Err(forged("it was not made by that key, or for other bytes"));
        }
        if signature.decoded.trusted_comment() != statement(module) {
            return Err(forged(
                "it was made for another name, version or parameters",
            ));
        }
        Ok(Some(key.id.clone()))
    }

    pub(super) fn untrusted(&self, module: &ModuleRef, signers: Vec<String>) -> RegistryError {
        RegistryError::Untrusted {
            module: module.to_string(),
            signers,
            trusted: self.key_ids(),
        }
    }
}

#[cfg(test)]
mod tests;
