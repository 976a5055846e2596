//! The embedded warehouse: Delta tables in a folder or a bucket, read with DataFusion. Nothing to install or to start.
//!
//! ```text
//! <folder>/dim_staff/                    one Delta table per table, readable by Spark, Trino, DuckDB, …
//! <folder>/fact_payment/                 every version of every row, numbered
//! <folder>/fact_payment_ended/           which of those versions were ended by a delete
//! <folder>/_tidemill/publications/       which versions of all these belong together (COMMIT 2)
//!
//! load    newest publication n ──▶ each table: ONE Delta commit on top of its published version
//!                              ──▶ publication n+1, created only if absent
//! rebuild made beside, see [`rebuild`] ──▶ ONE Delta commit ──▶ publication n+1
//! query   newest publication   ──▶ exactly the versions it names
//! ```
//!
//! **Exactly once.** A commit is stamped with the publication it is meant for, source, landing, run and module,
//! and carries Delta's application transaction (`tidemill/<source>`, landing) for other tools. After a crash the
//! next load of the same landing finds the stamp and goes on from there; any other load starts from what
//! is published and undoes the orphan in its own commit. Two hosts both build publication n+1: Delta lets
//! one commit to a table, the file system or the store lets one create the record; the other gets `Conflict`, and what
//! it committed is an orphan. Whatever was interleaved, a record names versions that were built on the record
//! before it, and versions never change. That holds without a lock, a lease or a clock.
//!
//! **Cost** follows the change: keys are looked up in the row groups whose range can hold them, compared
//! columns are read for the rows found, and only files that lose rows are written again.
//!
//! Delta has no time of day: [`columns`] says how one is stored, what else is converted, and what was rejected.
//! Rejected as well: deltalake's `merge` and `optimize` (they retry on top of other commits, see
//! [`delta_table`]), and the transaction id alone as the guard against loading twice (it survives in the log of
//! a commit that was undone). Files that no version has needed for days are swept: see [`sweep`].

mod apply;
mod chunks;
mod columns;
mod commit;
mod data_file;
mod delta_table;
mod failure;
mod file_writer;
mod input;
mod keys;
mod layout;
mod load;
mod location;
mod lookup;
mod objects;
mod publication;
mod query;
mod rebuild;
mod statistics;
mod sweep;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{DateTime, Utc};

use self::location::{Bucket, Location};
use self::objects::Objects;
use self::publication::{Publication, Publications, Published};
use super::{
    BatchStream, Ledger, Load, Rebuild, Sweep, SweptFile, TableLoad, TableLoaded, Warehouse,
    WarehouseError,
};
use crate::config::StorePlan;
use crate::connection::traffic::Traffic;
use crate::run::RunId;

/// A warehouse of Delta tables in a folder or a bucket.
#[derive(Debug, Clone)]
pub struct Delta {
    place: Location,
    publications: Publications,
    target: String,
    /// Whether what is committed must survive a power cut.
    lasting: bool,
}

/// A [`Load`] without its tables.
#[derive(Debug, Clone)]
struct Landing {
    run: RunId,
    source: String,
    number: u64,
    logical_time: DateTime<Utc>,
}

impl Delta {
    /// The warehouse in `folder`, which need not exist. A relative folder is below the working directory.
    /// Nothing is touched.
    ///
    /// # Errors
    /// `Config` when the path is empty, has a percent sign, or there is no working directory to complete it.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self, WarehouseError> {
        let folder = folder.as_ref();
        let absolute = std::path::absolute(folder).map_err(|cause| WarehouseError::Url {
            url: format!("delta://{}", folder.display()),
            reason: cause.to_string(),
        })?;
        let folder = without_dots(&absolute);
        let target = folder.display().to_string();
        if target.contains('%') {
            // deltalake decodes a percent sign in a path twice and then looks in another folder.
            return Err(WarehouseError::Url {
                url: format!("delta://{target}"),
                reason: "a percent sign cannot be in the path".into(),
            });
        }
        Ok(Self::at(Location::Folder(folder)))
    }

    /// The warehouse at `location`, `bucket/prefix`, in the store of these settings. Nothing is contacted yet.
    ///
    /// # Errors
    /// `Config` when it names no bucket.
    pub fn in_bucket(
        location: &str,
        store: StorePlan,
        traffic: Traffic,
    ) -> Result<Self, WarehouseError> {
        let (name, prefix) = location.split_once('/').unwrap_or((location, ""));
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || !name.chars().all(is_bucket) {
            return Err(WarehouseError::Url {
                url: format!("delta://s3://{location}"),
                reason: "it names no bucket".into(),
            });
        }
        let prefix = object_store::path::Path::parse(prefix);
        let prefix = prefix.map_err(|cause| WarehouseError::Url {
            url: format!("delta://s3://{location}"),
            reason: cause.to_string(),
        })?;
        let proof = prefix.clone().join("_tidemill").join("_conditional");
        Ok(Self::at(Location::Bucket(Bucket {
            objects: Arc::new(Objects::new(store, traffic, name, proof)),
            name: name.to_owned(),
            prefix,
        })))
    }

    fn at(place: Location) -> Self {
        Self {
            publications: Publications::of(&place),
            target: place.to_string(),
            place,
            lasting: true,
        }
    }

    /// The warehouse of `delta://<folder>` or `delta://s3://<bucket>/<prefix>`; a relative folder is below `base`.
    ///
    /// # Errors
    /// `Config` when there is no folder in it.
    pub(super) fn open(
        folder: &str,
        base: &Path,
        store: StorePlan,
        traffic: Traffic,
    ) -> Result<Self, WarehouseError> {
        if let Some(location) = folder.strip_prefix("s3://") {
            return Self::in_bucket(location, store, traffic);
        }
        if folder.is_empty() {
            return Err(WarehouseError::Url {
                url: "delta://".into(),
                reason: "it names no folder".into(),
            });
        }
        Self::new(base.join(folder))
    }

    async fn newest(&self) -> Result<Option<Publication>, WarehouseError> {
        self.publications.newest().await
    }

    async fn publish(&self, publication: Publication) -> Result<(), WarehouseError> {
        self.publications.publish(&publication).await
    }
}

/// The path as a URL would have it. deltalake names tables by URL, where `..` goes up by name and not through
/// a symbolic link; both must mean the same folder.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[async_trait]
impl Warehouse for Delta {
    fn target(&self) -> &str {
        &self.target
    }

    async fn ledger(&self) -> Result<Ledger, WarehouseError> {
        let newest = self.newest().await?;
        Ok(newest.map(|newest| newest.ledger()).unwrap_or_default())
    }

    async fn load(&self, load: Load) -> Result<Vec<TableLoaded>, WarehouseError> {
        let landing = Landing {
            run: load.run,
            source: load.source,
            number: load.landing,
            logical_time: load.logical_time,
        };
        let before = self.newest().await?;
        let ledger = before.as_ref().map(Publication::ledger).unwrap_or_default();
        let mut publication = Publication::after(before.as_ref(), &landing);
        check_names(&publication.tables, &load.tables)?;
        let mut loaded = Vec::with_capacity(load.tables.len());
        for table in load.tables {
            let name = table.table.clone();
            if ledger.through(&name, &landing.source) >= landing.number {
                loaded.push(TableLoaded {
                    table: name,
                    already: true,
                    ..TableLoaded::default()
                });
                continue;
            }
            let published = before.as_ref().and_then(|before| before.tables.get(&name));
            let (published, report) =
                load::load_table(self, &landing, publication.number, published, table).await?;
            publication.tables.insert(name, published);
            loaded.push(report);
        }
        if loaded.iter().any(|table| !table.already) {
            self.publish(publication).await?;
        }
        Ok(loaded)
    }

    async fn rebuild(&self, rebuild: Rebuild) -> Result<Vec<TableLoaded>, WarehouseError> {
        rebuild::rebuild(self, rebuild).await
    }

    async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream), WarehouseError> {
        let publication = self.newest().await?;
        query::run(self, publication.as_ref(), sql).await
    }

    async fn sweep(&self, age: Duration, how: Sweep) -> Result<Vec<SweptFile>, WarehouseError> {
        sweep::sweep(self, age, how).await
    }

    async fn tables(&self) -> Result<Vec<String>, WarehouseError> {
        let Some(publication) = self.newest().await? else {
            return Ok(Vec::new());
        };
        let mut names: Vec<String> = publication
            .tables
            .iter()
            .flat_map(|(name, table)| query::names(name, table))
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// A table's name is the name of its folder, and no two tables or views have the same.
fn check_names<'l>(
    published: &BTreeMap<String, Published>,
    loads: impl IntoIterator<Item = &'l TableLoad>,
) -> Result<(), WarehouseError> {
    let refused = |table: &str, problem: String| {
        Err(WarehouseError::Table {
            table: table.to_owned(),
            problem,
        })
    };
    let mut owners: HashMap<String, &str> = HashMap::new();
    for (name, table) in published {
        for made in query::names(name, table) {
            owners.insert(made, name);
        }
    }
    for load in loads {
        let name = load.table.as_str();
        let is_plain = name
            .chars()
            .all(|c| c.is_alphanumeric() || "_-$ ".contains(c));
        if name.is_empty() || name.starts_with('_') || !is_plain {
            return refused(
                name,
                "has a name that cannot be the name of a folder".into(),
            );
        }
        for made in query::planned_names(load) {
            if let Some(owner) = owners.insert(made.clone(), name)
                && owner != name
            {
                return refused(
                    name,
                    format!("would make the name {made}, which {owner} has"),
                );
            }
        }
    }
    Ok(())
}
