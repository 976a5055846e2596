//! What the registry writes: `module.json` beside a component, and the records of promotions.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::RegistryError;
use super::wanted;
use crate::contract::{Delivery, Description, LoadMode, ModuleRef, Role};
use crate::digest::Digest;

/// The format of `module.json` that this version writes. It reads every format up to it.
pub const FORMAT: u32 = 1;
/// The newest format of promotions: the second says which record it follows, the third that the table is to be rebuilt.
/// One that does not is written in the second, which earlier versions read as well.
pub const PROMOTION_FORMAT: u32 = 3;
/// The format of promotions that want nothing rebuilt.
pub(super) const PLAIN_PROMOTION_FORMAT: u32 = 2;

/// `module.json`: written last, so that its existence says that the module is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRecord {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// The digest of component and parameters.
    pub digest: Digest,
    /// `module.wasm`.
    pub component: Blob,
    /// `parameters.bin`; `None` when there are none.
    pub parameters: Option<Blob>,
    /// What the module says of itself, for people.
    pub descriptor: Descriptor,
    /// Nothing writes it: signatures are objects of their own, so that one can be added. The shape is fixed because
    /// hosts read records that have one.
    pub signature: Option<Signature>,
}

impl ModuleRecord {
    /// Name, version and digest.
    pub fn module(&self) -> ModuleRef {
        ModuleRef {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
        }
    }

    /// Whether what is `pushed` is what is here.
    pub(super) fn same_as(&self, pushed: &Self) -> Result<(), RegistryError> {
        if self.digest == pushed.digest {
            return Ok(());
        }
        Err(RegistryError::Immutable {
            name: pushed.name.clone(),
            version: pushed.version.clone(),
            found: Some(self.digest),
            pushed: pushed.digest,
        })
    }
}

/// The record of a module that has described itself.
///
/// # Errors
/// `Config` when its name or version cannot become a path.
pub(super) fn of(
    component: &[u8],
    parameters: &[u8],
    description: &Description,
) -> Result<ModuleRecord, RegistryError> {
    wanted::check_name(&description.name)?;
    wanted::check_version(&description.version)?;
    let blob = |bytes: &[u8]| Blob {
        sha256: Digest::of(bytes),
        bytes: bytes.len() as u64,
    };
    Ok(ModuleRecord {
        format: FORMAT,
        name: description.name.clone(),
        version: description.version.clone(),
        digest: Digest::of_parts([component, parameters]),
        component: blob(component),
        parameters: (!parameters.is_empty()).then(|| blob(parameters)),
        descriptor: description.into(),
        signature: None,
    })
}

/// An object beside the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A signature of [`ModuleRecord::digest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// How it was made.
    pub algorithm: String,
    /// Which key made it.
    pub key_id: String,
    /// The signature in base 64.
    pub value: String,
}

/// A description with its schemas in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// What it reads.
    pub inputs: Vec<DescribedInput>,
    /// What it makes.
    pub output: DescribedOutput,
    /// Everything else.
    pub properties: BTreeMap<String, String>,
}

/// An input in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedInput {
    /// The table in the landing zone.
    pub table: String,
    /// What of it arrives.
    pub delivery: Delivery,
    /// When it arrives.
    pub role: Role,
    /// Its key.
    pub key: Vec<String>,
    /// The columns that the module sees.
    pub columns: Vec<DescribedColumn>,
}

/// An output in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedOutput {
    /// The table in the warehouse.
    pub table: String,
    /// How it is loaded.
    pub mode: LoadMode,
    /// Its key.
    pub primary_key: Vec<String>,
    /// Its columns.
    pub columns: Vec<DescribedColumn>,
}

/// A column in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedColumn {
    /// Its name.
    pub name: String,
    /// Its type in Arrow's notation.
    pub data_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl From<&Description> for Descriptor {
    fn from(description: &Description) -> Self {
        let inputs = description.inputs.iter().map(|input| DescribedInput {
            table: input.table.clone(),
            delivery: input.delivery,
            role: input.role,
            key: input.key.clone(),
            columns: columns(&input.schema),
        });
        let output = &description.output;
        Self {
            inputs: inputs.collect(),
            output: DescribedOutput {
                table: output.table.clone(),
                mode: output.mode,
                primary_key: output.primary_key.clone(),
                columns: columns(&output.schema),
            },
            properties: description.properties.clone(),
        }
    }
}

fn columns(schema: &Schema) -> Vec<DescribedColumn> {
    let fields = schema.fields().iter();
    fields
        .map(|field| DescribedColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        })
        .collect()
}

/// One record of the promotion log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// [`PROMOTION_FORMAT`] when it was written.
    pub format: u32,
    /// Its number.
    pub sequence: u64,
    /// The module.
    pub name: String,
    /// The version that is active from here on.
    pub version: String,
    /// Its digest: what runs is this, whatever the zone says later.
    pub digest: Digest,
    /// Who promoted it.
    pub who: String,
    /// When, by the clock of the host that did it.
    pub when: DateTime<Utc>,
    /// Why, in their words.
    pub why: String,
    /// The version that was active before.
    pub previous: Option<String>,
    /// The digest of the shadow report that was looked at; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Digest>,
    /// The digest of the record before it, so that none can be changed, left out or put elsewhere; `None` of the first,
    /// and of records of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
    /// Whether the tables of the module are to be made anew from all of their history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuild: bool,
}

impl Promotion {
    /// The code that it makes active.
    pub fn module(&self) -> ModuleRef {
        ModuleRef {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest,
        }
    }
}

/// A record with a format of its own.
pub(crate) trait Record: DeserializeOwned {
    /// The newest that is understood.
    const KNOWN: u32;
}

impl Record for ModuleRecord {
    const KNOWN: u32 = FORMAT;
}

impl Record for Promotion {
    const KNOWN: u32 = PROMOTION_FORMAT;
}

/// Reads a record, its format first: a newer one is not "damaged".
pub(super) fn parse<T: Record>(object: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let damaged = |e: serde_json::Error| RegistryError::Damaged {
        object: object.to_owned(),
        reason: e.to_string(),
    };
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.format > u64::from(T::KNOWN) {
        return Err(RegistryError::Format {
            object: object.to_owned(),
            found: head.format,
            known: T::KNOWN,
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// A record as bytes: indented, for the person who opens the file.
pub(super) fn print<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(record)
        .expect("records have text keys and nothing that cannot be JSON");
    bytes.push(b'\n');
    bytes
}
