//! What each role asks of zones, of the warehouse and of secrets: read off the code of the pipeline.

use std::collections::{BTreeMap, BTreeSet};

use super::{PolicyError, Role};
use crate::config::{Plan, Reference, Secret};
use crate::table::folder;

/// What a role asks for.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// By zone.
    pub(super) zones: BTreeMap<Zone, Access>,
    /// The object that functions read the project file from, as bucket and key.
    pub(super) project: Option<Place>,
    /// Values that its settings refer to.
    pub(super) secrets: BTreeSet<Reference>,
    /// What has to be said besides.
    pub(super) notes: Vec<String>,
}

/// A place for objects, in the order in which data goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Zone {
    Ingestion,
    Processed,
    Modules,
    Warehouse,
}

impl Zone {
    const ALL: [Self; 4] = [
        Self::Ingestion,
        Self::Processed,
        Self::Modules,
        Self::Warehouse,
    ];

    /// Its part of a statement's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingestion => "Ingestion",
            Self::Processed => "Processed",
            Self::Modules => "Modules",
            Self::Warehouse => "Warehouse",
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Ingestion => "the ingestion zone",
            Self::Processed => "the processed zone",
            Self::Modules => "the modules zone",
            Self::Warehouse => "the warehouse",
        }
    }
}

/// A bucket and a prefix in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Empty, or with a slash at its end; of a single object its key.
    pub(super) prefix: String,
}

impl Place {
    /// The object at `url`.
    pub(super) fn of_object(url: &str) -> Option<Self> {
        let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
        let is_object = !bucket.is_empty() && !key.is_empty() && !key.ends_with('/');
        is_object.then(|| Self {
            bucket: bucket.to_owned(),
            prefix: key.to_owned(),
        })
    }
}

/// What is asked of a zone. Patterns are below its prefix; `*` stands for any run of characters, slashes too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) place: Place,
    /// Objects that are read.
    pub(super) read: BTreeSet<String>,
    /// Objects that are created, and never written over.
    pub(super) create: BTreeSet<String>,
    /// Objects that are written, and may be written over: files of the warehouse.
    pub(super) write: BTreeSet<String>,
    /// Objects that are removed.
    pub(super) delete: BTreeSet<String>,
    /// Objects that nobody with this policy removes, whatever else allows it.
    pub(super) keep: BTreeSet<String>,
    /// Objects that may be so large that they are sent in parts; of its own it removes what it does not finish.
    pub(super) sent: BTreeSet<String>,
    /// Objects of which it looks for parts that others never finished, and removes them.
    pub(super) unfinished: BTreeSet<String>,
}

/// Everything below a zone.
const ALL: &str = "*";
/// Records of what was landed or made.
const MANIFESTS: &str = "_manifests/*";
/// Notes of runs that have begun.
const BEGUN: &str = "_begun/*";
/// What runs that share work say of who makes what.
const CLAIMS: &str = "_claims/*";
/// Rows, which alone are sent in parts.
const ROWS: &str = "*.parquet";
/// What tidemill itself keeps in a warehouse.
const OURS: &str = "_tidemill/";
/// What shows that a store honours conditions; see the zones.
const PROOF: &str = "_conditional";

impl Rights {
    /// What `role` asks for.
    ///
    /// # Errors
    /// `Config` when a URL names no bucket.
    pub(super) fn of(plan: &Plan, role: Role) -> Result<Self, PolicyError> {
        let mut rights = Self::default();
        let mut asked = Asked {
            plan,
            zones: BTreeMap::new(),
        };
        asked.ask(role);
        for zone in Zone::ALL {
            let Some(access) = asked.zones.remove(&zone) else {
                continue;
            };
            match place(plan, zone)? {
                Found::Place(place) => {
                    let access = access.tidied();
                    rights.zones.insert(zone, Access { place, ..access });
                }
                Found::Nowhere(note) => rights.notes.extend(note),
            }
        }
        rights.secrets = secrets(plan, role);
        Ok(rights)
    }
}

/// Where a zone is, or that it is in no bucket, with what is to be said about that.
enum Found {
    Place(Place),
    Nowhere(Option<String>),
}

fn place(plan: &Plan, zone: Zone) -> Result<Found, PolicyError> {
    let url = match zone {
        Zone::Ingestion => &plan.zones.ingestion,
        Zone::Processed => &plan.zones.processed,
        Zone::Modules => &plan.zones.modules,
        Zone::Warehouse => match plan.warehouse.url.expose() {
            Ok(url) => url.strip_prefix("delta://").unwrap_or(url),
            Err(error) => {
                return Ok(Found::Nowhere(Some(format!(
                    "the URL of the warehouse is not known here ({error}): if it is a bucket, its rights are missing"
                ))));
            }
        },
    };
    let Some(location) = url.strip_prefix("s3://") else {
        let is_database =
            zone == Zone::Warehouse && plan.warehouse.url.expose().is_ok_and(is_database);
        let note = (!is_database).then(|| format!("{} is a folder", zone.told()));
        return Ok(Found::Nowhere(note));
    };
    let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
    if bucket.is_empty() {
        let url = url.to_owned();
        return Err(PolicyError::NoBucket { url });
    }
    let prefix = prefix.trim_end_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    Ok(Found::Place(Place {
        bucket: bucket.to_owned(),
        prefix: format!("{prefix}{slash}"),
    }))
}

fn is_database(url: &str) -> bool {
    !url.starts_with("delta://")
}

/// What is asked for, before it is known where that is.
struct Asked<'p> {
    plan: &'p Plan,
    zones: BTreeMap<Zone, Access>,
}

impl Asked<'_> {
    fn of(&mut self, zone: Zone) -> &mut Access {
        self.zones.entry(zone).or_default()
    }

    fn ask(&mut self, role: Role) {
        match role {
            Role::Extract => self.extract(),
            Role::Transform => self.transform(),
            Role::Load => self.load(),
            Role::Run | Role::Serve => {
                self.extract();
                self.transform();
                self.load();
            }
            Role::Sweep => self.sweep(),
            Role::Verify => self.verify(),
            Role::Doctor => self.doctor(),
            Role::Publish => self.publish(),
        }
    }

    fn sources(&self) -> Vec<String> {
        let names = self.plan.sources.keys();
        names.map(|name| format!("{}/", escaped(name))).collect()
    }

    /// Landed rows with their indexes and manifests are created, looked up, and nothing else.
    fn extract(&mut self) {
        for source in self.sources() {
            let zone = self.of(Zone::Ingestion);
            zone.create(format!("{source}*"));
            zone.send(format!("{source}{ROWS}"));
            zone.delete.insert(format!("{source}{BEGUN}"));
            zone.delete.insert(format!("{source}{CLAIMS}"));
        }
        let zone = self.of(Zone::Ingestion);
        zone.create(PROOF.into());
    }

    fn transform(&mut self) {
        for source in self.transformed() {
            let all = format!("{source}*");
            self.of(Zone::Ingestion).read.insert(all);
        }
        self.modules();
        let zone = self.of(Zone::Processed);
        zone.create(ALL.into());
        zone.send(ROWS.into());
        zone.delete.insert(BEGUN.into());
        zone.delete.insert(CLAIMS.into());
    }

    /// The sources whose tables are transformed.
    fn transformed(&self) -> BTreeSet<String> {
        let all = self.sources();
        let named = self.plan.transforms.values().map(|made| &made.source);
        let named: Option<Vec<&String>> = named.map(Option::as_ref).collect();
        match named {
            // Where one names none, it is the only one, or an error that is not told here.
            Some(named) if !named.is_empty() => named
                .into_iter()
                .map(|name| format!("{}/", escaped(name)))
                .collect(),
            _ => all.into_iter().collect(),
        }
    }

    /// The modules that the project names, whichever version is promoted.
    fn modules(&mut self) {
        let modules = self.plan.transforms.values();
        let names = modules.filter_map(|made| Some(made.module.split_once('@')?.0.to_owned()));
        let names: BTreeSet<String> = names.collect();
        let zone = self.of(Zone::Modules);
        zone.read.insert("_promotions/*".into());
        zone.read
            .extend(names.into_iter().map(|name| format!("{name}/*")));
    }

    /// Manifests and the rows of tables are read: neither the source's rows that are kept for modules, nor what modules
    /// failed on.
    fn load(&mut self) {
        let tables = self.plan.transforms.keys();
        let tables: Vec<String> = tables.map(|table| format!("{}/*", folder(table))).collect();
        let zone = self.of(Zone::Processed);
        zone.read.insert(MANIFESTS.into());
        zone.read.extend(tables);
        let zone = self.of(Zone::Warehouse);
        zone.write.insert(ALL.into());
        zone.delete.insert(ALL.into());
        zone.sent.insert(ALL.into());
    }

    fn sweep(&mut self) {
        for source in self.sources() {
            self.of(Zone::Ingestion).sweep(&source);
        }
        self.of(Zone::Ingestion).create(PROOF.into());
        self.of(Zone::Processed).sweep("");
        self.of(Zone::Processed).create(PROOF.into());
        let zone = self.of(Zone::Modules);
        zone.create("_probe/*".into());
        zone.create(PROOF.into());
        zone.delete.insert("_probe/*".into());
        zone.keep.insert("_promotions/*".into());
        zone.unfinished.insert(ALL.into());
        // Rows that no version of a table needs, and what was built and never published; of tables neither their logs nor
        // what says which versions belong together.
        let tables: Vec<String> = self
            .plan
            .transforms
            .keys()
            .map(|table| escaped(table))
            .collect();
        let zone = self.of(Zone::Warehouse);
        zone.read.insert(ALL.into());
        for note in ["sweeping", "swept"] {
            zone.write.insert(format!("{OURS}{note}"));
        }
        zone.delete.insert(ROWS.into());
        zone.delete.insert(format!("{OURS}rebuilds/*"));
        zone.keep.insert(format!("{OURS}publications/*"));
        for table in tables {
            zone.keep.insert(format!("{table}/_delta_log/*"));
        }
    }

    fn verify(&mut self) {
        for source in self.sources() {
            let all = format!("{source}*");
            self.of(Zone::Ingestion).read.insert(all);
        }
        // A module that made something may be one that the project does not name any more.
        for zone in [Zone::Processed, Zone::Modules, Zone::Warehouse] {
            self.of(zone).read.insert(ALL.into());
        }
    }

    fn doctor(&mut self) {
        for zone in [Zone::Ingestion, Zone::Processed] {
            let zone = self.of(zone);
            zone.create("_doctor/*".into());
            zone.create(PROOF.into());
            zone.delete.insert("_doctor/*".into());
        }
        self.modules();
        self.of(Zone::Warehouse).read.insert(ALL.into());
    }

    fn publish(&mut self) {
        self.of(Zone::Modules).create(ALL.into());
    }
}

impl Access {
    /// What is created is read as well: of an answer that was lost, the object tells whose write it was.
    fn create(&mut self, pattern: String) {
        self.read.insert(pattern.clone());
        self.create.insert(pattern);
    }

    /// What is sent in parts; what dead runs left of that is removed by those that come after them.
    fn send(&mut self, pattern: String) {
        self.sent.insert(pattern.clone());
        self.unfinished.insert(pattern);
    }

    /// What the sweep asks for below `prefix`.
    fn sweep(&mut self, prefix: &str) {
        for read in [MANIFESTS, BEGUN] {
            self.read.insert(format!("{prefix}{read}"));
        }
        self.create(format!("{prefix}_probe/*"));
        self.delete.insert(format!("{prefix}*"));
        self.keep.insert(format!("{prefix}{MANIFESTS}"));
        self.unfinished.insert(format!("{prefix}*"));
    }

    /// Without patterns that others cover.
    fn tidied(mut self) -> Self {
        self.read.extend(self.write.iter().cloned());
        for patterns in [
            &mut self.read,
            &mut self.create,
            &mut self.write,
            &mut self.delete,
            &mut self.sent,
            &mut self.unfinished,
        ] {
            let all = patterns.clone();
            patterns.retain(|pattern| !all.iter().any(|other| covers(other, pattern)));
        }
        self
    }
}

/// Whether everything that fits `pattern` fits `other`, which is another one that ends with a star.
fn covers(other: &str, pattern: &str) -> bool {
    let head = other.strip_suffix('*');
    other != pattern && head.is_some_and(|head| pattern.starts_with(head))
}

/// A name in which a star is a star.
pub(super) fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '*' | '?' | '$' => escaped.extend(['$', '{', c, '}']),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The values that a role needs. The URL of a source or of the warehouse is for those alone who go there.
fn secrets(plan: &Plan, role: Role) -> BTreeSet<Reference> {
    let (sources, warehouse) = match role {
        Role::Extract => (true, false),
        Role::Load | Role::Sweep | Role::Verify => (false, true),
        Role::Run | Role::Serve | Role::Doctor => (true, true),
        Role::Transform | Role::Publish => (false, false),
    };
    let sources = plan.sources.values().filter(|_| sources);
    let warehouse = Some(&plan.warehouse.url).filter(|_| warehouse);
    let urls = sources.map(|source| &source.url).chain(warehouse);
    urls.flat_map(Secret::references).cloned().collect()
}
