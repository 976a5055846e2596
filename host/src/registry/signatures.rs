//! Signatures beside a module: one object for each key.

use bytes::Bytes;

use super::error::RegistryError;
use super::trust::{Minisig, Trust, Voucher};
use super::{Registry, Stored, key};
use crate::contract::ModuleRef;
use crate::zone::ZoneError;

/// The folder of a version in which they are.
const SIGNATURES: &str = "signatures";

impl Registry {
    /// Puts a signature beside a module that is there; false when it was there already.
    ///
    /// # Errors
    /// `Unavailable` when the zone cannot be written.
    pub async fn sign(
        &self,
        module: &ModuleRef,
        signature: &Minisig,
    ) -> Result<bool, RegistryError> {
        let key = signature_key(module, signature.key_id());
        let text = Bytes::copy_from_slice(signature.text().as_bytes());
        match self.zone.create(&key, text).await {
            Ok(_) => Ok(true),
            // Signatures of one key differ by chance; the one that is there is as good if it is right.
            Err(ZoneError::Exists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Who vouches for a module whose bytes were read.
    ///
    /// # Errors
    /// `Config` when the project has keys and none of them signed it, `Data` when a signature is not what it says.
    pub async fn voucher(&self, stored: &Stored, trust: &Trust) -> Result<Voucher, RegistryError> {
        if trust.is_ours(&stored.component, &stored.parameters) {
            return Ok(Voucher::Program);
        }
        let module = stored.module();
        for key in &trust.keys {
            if let Some(key) = self.kept_signature(stored, key.id(), trust).await {
                return Ok(Voucher::Key(key));
            }
            let Some(signature) = self.signature(&module, key.id()).await? else {
                continue;
            };
            if let Some(key) = trust.signer(&module, &stored.component, &signature)? {
                self.keep_signature(&module, &signature).await;
                return Ok(Voucher::Key(key));
            }
        }
        if trust.unsigned || trust.keys.is_empty() {
            return Ok(Voucher::Nobody);
        }
        Err(trust.untrusted(&module, self.signers(&module).await?))
    }

    /// The numbers of the keys that say to have signed a module.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer.
    pub async fn signers(&self, module: &ModuleRef) -> Result<Vec<String>, RegistryError> {
        let prefix = format!("{}/{}/{SIGNATURES}/", module.name, module.version);
        let entries = self.zone.list(&prefix).await?;
        let mut signers: Vec<String> = entries
            .iter()
            .filter_map(|entry| entry.key.strip_prefix(&prefix)?.strip_suffix(".minisig"))
            .map(str::to_owned)
            .collect();
        signers.sort();
        Ok(signers)
    }

    /// The signatures beside a module, of whatever keys. That they are right is not looked at.
    ///
    /// # Errors
    /// `Unavailable` when the zone does not answer, `Data` when one is no signature.
    pub async fn signatures(&self, module: &ModuleRef) -> Result<Vec<Minisig>, RegistryError> {
        let mut signatures = Vec::new();
        for key in self.signers(module).await? {
            signatures.extend(self.signature(module, &key).await?);
        }
        Ok(signatures)
    }

    async fn signature(
        &self,
        module: &ModuleRef,
        key_id: &str,
    ) -> Result<Option<Minisig>, RegistryError> {
        let key = signature_key(module, key_id);
        let bytes = match self.zone.read(&key).await {
            Ok(bytes) => bytes,
            Err(ZoneError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |reason: &str| RegistryError::Damaged {
            object: format!("{}/{key}", self.zone.url()),
            reason: reason.to_owned(),
        };
        let signature = std::str::from_utf8(&bytes).ok().and_then(Minisig::parse);
        let signature = signature.ok_or_else(|| damaged("it is no signature of minisign"))?;
        match signature.key_id() == key_id {
            true => Ok(Some(signature)),
            false => Err(damaged("it is of another key than its name says")),
        }
    }
}

fn signature_key(module: &ModuleRef, key_id: &str) -> String {
    let file = format!("{SIGNATURES}/{key_id}.minisig");
    key(&module.name, &module.version, &file)
}

#[cfg(test)]
mod tests;
