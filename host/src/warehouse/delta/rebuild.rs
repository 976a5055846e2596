//! Rebuilding: a table made anew beside the one that is there, and put into its place in one commit.
//!
//! ```text
//! <folder>/_tidemill/rebuilds/<unique>/fact_payment/   a warehouse of its own: landing 1, 2, … n are loaded into it
//!          │ its data files are linked, or copied within the bucket, into
//! <folder>/fact_payment/                               ONE commit: all files of before go, these come, its columns too
//!                                                      ──▶ publication, as for every load
//! ```
//!
//! Landings are applied one by one by the code that applies them to every table, so numbers of versions, ended versions
//! and validity are what they would be had the table never been there. Committing them one by one to the table itself
//! was rejected: programs that read the newest version of a Delta table would see it grow from nothing.
//!
//! What is made beside belongs to the process that makes it; another that rebuilds at the same time has its own, and one
//! of both publishes. Killed, it leaves a folder that sweeping removes; the next begins again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use deltalake::kernel::Add;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tempfile::TempDir;

use super::commit::{Change, Identity, Stamp};
use super::data_file::DataFiles;
use super::delta_table::TableFolder;
use super::failure;
use super::layout::Layout;
use super::load::{Loading, identity, load_table, next};
use super::location::{Bucket, Location};
use super::publication::{Publication, Published};
use super::{Delta, Landing, check_names};
use crate::warehouse::{LandingRows, Rebuild, TableLoaded, WarehouseError};

/// The folder below the warehouse's own in which tables are made.
pub(super) const FOLDER: &str = "rebuilds";

/// A table made beside the one that is there.
struct Beside {
    delta: Delta,
    /// A folder is removed with it.
    _folder: Option<TempDir>,
    published: Published,
}

/// Puts tables that were made anew into the place of what they were.
pub(super) async fn rebuild(
    delta: &Delta,
    rebuild: Rebuild,
) -> Result<Vec<TableLoaded>, WarehouseError> {
    let before = delta.newest().await?;
    let ledger = before.as_ref().map(Publication::ledger).unwrap_or_default();
    let mut publication: Option<Publication> = None;
    let mut loaded = Vec::with_capacity(rebuild.tables.len());
    for mut table in rebuild.tables {
        let Some(last) = table.landings.pop() else {
            continue;
        };
        let name = last.load.table.clone();
        if ledger.rebuilt(&name) >= rebuild.number {
            loaded.push(TableLoaded {
                table: name,
                already: true,
                ..TableLoaded::default()
            });
            continue;
        }
        let landing = Landing {
            run: rebuild.run.clone(),
            source: table.source.clone(),
            number: table.through,
            logical_time: last.logical_time,
        };
        let publication =
            publication.get_or_insert_with(|| Publication::after(before.as_ref(), &landing));
        check_names(&publication.tables, [&last.load])?;
        let place = (publication.number, rebuild.number);
        let published = before.as_ref().and_then(|b| b.tables.get(&name));
        let landings = (table.landings, last);
        let (published, report) = replace(delta, place, published, &landing, landings).await?;
        publication.tables.insert(name, published);
        loaded.push(report);
    }
    if let Some(publication) = publication {
        delta.publish(publication).await?;
    }
    Ok(loaded)
}

/// Makes a table anew and commits it on top of what is there; what the publication says of it.
async fn replace(
    delta: &Delta,
    (publication, number): (u64, u64),
    published: Option<&Published>,
    landing: &Landing,
    (mut landings, last): (Vec<LandingRows>, LandingRows),
) -> Result<(Published, TableLoaded), WarehouseError> {
    let name = last.load.table.clone();
    let (layout, _) = Layout::of(&last.load, None)?;
    let identity = Identity {
        rebuild: Some(number),
        ..identity(&last.load, landing, publication)
    };
    let mut next = Published {
        rebuilt: Some(number),
        ..next(None, &last.load, landing)
    };
    let mut rows = Loading::open(delta, &name, published.map(|p| p.version)).await?;
    let stamp = match rows.committed(&identity).await? {
        Some(stamp) => {
            next.version = rows.settle().await?;
            stamp
        }
        None => {
            landings.push(last);
            let beside = make(delta, landing, landings).await?;
            let added = beside
                .files(&layout, Some(beside.published.version))
                .await?;
            let files = rows.published_files(&layout)?;
            let mut stamp = Stamp {
                identity,
                ended: None,
                next_record_id: beside.published.next_record_id,
                inserted: rows_of(&rows, &added).await?,
                updated: 0,
                removed: rows_of(&rows, &files).await?,
                unchanged: 0,
                notes: Vec::new(),
                files: None,
            };
            if let Some(record_id) = &next.record_id {
                let layout = Layout::ended(&name, record_id);
                let there = published.and_then(|published| published.ended);
                let mut ended = Loading::open(delta, &layout.table, there).await?;
                let added = beside.files(&layout, beside.published.ended).await?;
                let version = exchange(delta, &beside, &mut ended, &layout, added, &stamp);
                stamp.ended = Some(version.await?);
            }
            next.version = exchange(delta, &beside, &mut rows, &layout, added, &stamp).await?;
            beside.remove().await;
            stamp
        }
    };
    next.ended = stamp.ended;
    next.next_record_id = stamp.next_record_id;
    Ok((next, stamp.loaded(name)))
}

/// Loads every landing of a table into a warehouse of its own.
async fn make(
    delta: &Delta,
    newest: &Landing,
    landings: Vec<LandingRows>,
) -> Result<Beside, WarehouseError> {
    let unavailable =
        |cause: io::Error| failure::unavailable(&delta.place, "make a table anew in", cause.into());
    let (place, folder) = place_of(&delta.place, newest).map_err(unavailable)?;
    let beside = Delta {
        target: delta.target.clone(),
        // What is to last is made so when it has its place: waiting for the disk takes most of the time of a landing.
        lasting: false,
        ..Delta::at(place)
    };
    let mut published: Option<Published> = None;
    for (rows, turn) in landings.into_iter().zip(1..) {
        let landing = Landing {
            number: rows.landing,
            logical_time: rows.logical_time,
            ..newest.clone()
        };
        let loaded = load_table(&beside, &landing, turn, published.as_ref(), rows.load);
        published = Some(loaded.await?.0);
    }
    let published = published.ok_or_else(|| unavailable(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(Beside {
        delta: beside,
        _folder: folder,
        published,
    })
}

/// A place that no other rebuild has.
fn place_of(warehouse: &Location, newest: &Landing) -> io::Result<(Location, Option<TempDir>)> {
    let rebuilds = warehouse.join("_tidemill").join(FOLDER);
    match &rebuilds {
        Location::Folder(rebuilds) => {
            fs::create_dir_all(rebuilds)?;
            let folder = tempfile::Builder::new()
                .prefix(&format!("{}-", newest.run))
                .tempdir_in(rebuilds)?;
            Ok((Location::Folder(folder.path().to_owned()), Some(folder)))
        }
        Location::Bucket(_) => {
            let chance = getrandom::u64().map_err(io::Error::other)?;
            let name = format!("{}-{chance:016x}", newest.run);
            Ok((rebuilds.join(&name), None))
        }
    }
}

impl Beside {
    /// Removes what was made, now that it has its place. What of it stays is swept when it is old.
    async fn remove(self) {
        let Location::Bucket(bucket) = &self.delta.place else {
            return;
        };
        let listed = bucket.objects.list(Some(&bucket.prefix));
        let keys = listed.map_ok(|object| object.location).boxed();
        let mut removed = bucket.objects.delete_stream(keys);
        while let Some(result) = removed.next().await {
            if let Err(error) = result {
                tracing::debug!(%error, "what a rebuild made beside its table stays until it is swept");
                return;
            }
        }
    }

    /// The data files of a table at a version; none where there is no version.
    async fn files(
        &self,
        layout: &Layout,
        version: Option<u64>,
    ) -> Result<DataFiles, WarehouseError> {
        let folder = TableFolder::of(&self.delta.place, &layout.table)?;
        let table = match version {
            Some(version) => Some(folder.at(version).await?),
            None => None,
        };
        folder.files(table.as_ref(), &layout.schema)
    }
}

/// Gives files that were made beside a place in the table's own folder, and commits that all that are there go and
/// these come; the version to publish.
async fn exchange(
    delta: &Delta,
    beside: &Beside,
    loading: &mut Loading,
    layout: &Layout,
    added: DataFiles,
    stamp: &Stamp,
) -> Result<u64, WarehouseError> {
    let added: Vec<Add> = added.files.into_iter().map(|file| file.add).collect();
    let names: Vec<String> = added.iter().map(|add| add.path.clone()).collect();
    let from = beside.delta.place.join(&layout.table);
    let to = delta.place.join(&layout.table);
    match (&from, &to) {
        (Location::Folder(from), Location::Folder(to)) => link_all(from, to, names).await,
        (Location::Bucket(from), Location::Bucket(to)) => copy_all(from, to, &names).await,
        // One is below the other.
        _ => Ok(()),
    }
    .map_err(|cause| failure::of(&to, "write", cause))?;
    let files = loading.published_files(layout)?;
    let change = Change {
        added,
        dropped: (0..files.files.len()).collect(),
        is_compaction: false,
    };
    loading.commit(layout, &files, change, stamp).await
}

async fn link_all(
    from: &Path,
    to: &Path,
    names: Vec<String>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let linking = tokio::task::spawn_blocking(move || {
        let mut names = names.iter();
        names.try_for_each(|name| link(&from.join(name), &to.join(name)))
    });
    Ok(linking.await??)
}

/// The store copies them: their bytes do not come here.
async fn copy_all(
    from: &Bucket,
    to: &Bucket,
    names: &[String],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for name in names {
        let (from, to) = (from.join(name).prefix, to.join(name));
        to.objects.copy(&from, &to.prefix).await?;
    }
    Ok(())
}

/// A second name for the same bytes; where the disk knows none, or it is another disk, a copy.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(from, to).map(drop),
    }
}

async fn rows_of(loading: &Loading, files: &DataFiles) -> Result<u64, WarehouseError> {
    let mut rows = 0;
    for file in &files.files {
        let in_file = file.rows().await;
        rows += in_file.map_err(|cause| loading.folder.refused("read", cause))? as u64;
    }
    Ok(rows)
}

/// What rebuilds that died left below `warehouse`.
pub(super) fn leftovers(warehouse: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(warehouse.join("_tidemill").join(FOLDER)) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(cause),
    }
}
