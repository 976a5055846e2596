//! What this machine keeps of a registry that is far: modules, who signed them, and the log of promotions.
//!
//! Every run needs all of it, and none of it ever changes. A module is kept under its digest, which a promotion names, so
//! what is kept of another registry at the same place is not taken for it. Of the log of promotions the last record that is
//! kept has to be in the registry, too, with the same bytes: it holds the digest of the one before, and so of all of them.
//! What is newest is asked of the registry each time.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::error::RegistryError;
use super::history::History;
use super::record::{self, ModuleRecord};
use super::trust::{Minisig, Trust};
use super::{PROMOTIONS, Registry, Stored};
use crate::contract::ModuleRef;
use crate::digest::Digest;
use crate::zone::kept::Kept;

impl Registry {
    /// Whether reading something of it is a request.
    pub fn is_far(&self) -> bool {
        self.zone.memory().is_some()
    }

    /// The same as [`fetch`](Self::fetch), from this machine where it has it.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_near(&self, module: &ModuleRef) -> Result<Stored, RegistryError> {
        let Some(kept) = self.zone.kept() else {
            return self.fetch(module).await;
        };
        let name = self.kept_name(module, "module");
        if let Some(stored) = kept.find(&name).await.and_then(unpacked)
            && stored.module() == *module
        {
            return Ok(stored);
        }
        let stored = self.fetch(module).await?;
        kept.keep(&name, packed(&stored)).await;
        Ok(stored)
    }

    /// A signature that this machine keeps, if it is right.
    pub(super) async fn kept_signature(
        &self,
        stored: &Stored,
        key_id: &str,
        trust: &Trust,
    ) -> Option<String> {
        let module = stored.module();
        let name = self.kept_name(&module, key_id);
        let bytes = self.zone.kept()?.find(&name).await?;
        let signature = Minisig::parse(std::str::from_utf8(&bytes).ok()?)?;
        let signer = trust.signer(&module, &stored.component, &signature);
        signer.ok().flatten()
    }

    /// Keeps a signature that was found to be right.
    pub(super) async fn keep_signature(&self, module: &ModuleRef, signature: &Minisig) {
        if let Some(kept) = self.zone.kept() {
            let name = self.kept_name(module, signature.key_id());
            let text = Bytes::copy_from_slice(signature.text().as_bytes());
            kept.keep(&name, text).await;
        }
    }

    fn kept_name(&self, module: &ModuleRef, what: &str) -> String {
        let ModuleRef {
            name,
            version,
            digest,
        } = module;
        format!("{}/{name}/{version}@{digest} {what}", self.zone.url())
    }

    /// The promotions that this machine keeps. Whether they are those of the registry has to be seen.
    pub(super) async fn kept_history(&self) -> Option<History> {
        let bytes = self.zone.kept()?.find(&self.kept_log()).await?;
        let records: Vec<String> = serde_json::from_slice(&bytes).ok()?;
        let mut history = History::default();
        for (number, record) in (1..).zip(records) {
            let record = Bytes::from(record);
            history.append(number, "", &record).ok()?;
        }
        (history.newest() > 0 && history.is_chained()).then_some(history)
    }

    /// Whether promotions that this machine keeps are the first ones of the registry, whose last is `newest`.
    pub(super) async fn begins_with(
        &self,
        history: &History,
        newest: u64,
    ) -> Result<bool, RegistryError> {
        if history.newest() > newest {
            return Ok(false);
        }
        let last = self.log.read(history.newest()).await?;
        Ok(history.newest_sha256() == Some(Digest::of(last)))
    }

    /// Keeps promotions for the next process.
    pub(super) async fn keep_history(&self, history: &History) {
        let Some(kept) = self.zone.kept().filter(|_| history.is_chained()) else {
            return;
        };
        let records = history.records();
        let records: Option<Vec<&str>> = records
            .map(|record| std::str::from_utf8(record).ok())
            .collect();
        if let Some(bytes) = records.and_then(|records| serde_json::to_vec(&records).ok()) {
            Kept::keep(kept, &self.kept_log(), bytes.into()).await;
        }
    }

    fn kept_log(&self) -> String {
        format!("{}/{PROMOTIONS}", self.zone.url())
    }
}

/// A module as one object: its parts, each behind its length.
fn packed(stored: &Stored) -> Bytes {
    let record = record::print(&stored.record);
    let mut packed = BytesMut::new();
    for part in [&record[..], &stored.component[..], &stored.parameters[..]] {
        packed.put_u64(part.len() as u64);
        packed.extend_from_slice(part);
    }
    packed.freeze()
}

/// The module in such an object, if it is the one that its record says.
fn unpacked(mut packed: Bytes) -> Option<Stored> {
    let mut part = || {
        let length = packed.try_get_u64().ok()?;
        let length = usize::try_from(length).ok()?;
        (length <= packed.len()).then(|| packed.split_to(length))
    };
    let (record, component, parameters) = (part()?, part()?, part()?);
    let record: ModuleRecord = record::parse("", &record).ok()?;
    let digest = Digest::of_parts([component.as_ref(), parameters.as_ref()]);
    (digest == record.digest).then_some(Stored {
        record,
        component,
        parameters,
    })
}

#[cfg(test)]
mod tests;
