//! Lineage: which columns of a source may be in which column of the warehouse, and through which code.
//!
//! ```text
//! processed manifests ──▶ which module made which landings of a table
//! registry            ──▶ what each of them declared                     ──▶ columns, views
//! project file        ──▶ what is sensitive, and what will make the next
//! ```
//!
//! No source and no warehouse is asked. What is said is certain in one direction: a column that a module did not declare
//! has not reached it, so it is in no column that the module made. What a module does with the columns that it declared
//! happens inside of it: each of them may be in each column of its output. Guessing the narrower answer from equal names
//! was rejected, because what looks exact is taken for it.

mod error;
mod openlineage;
pub mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Pipeline;
use super::modules;
use crate::contract::{ALIAS, LoadMode, ModuleRef, RECORD_ID};
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::manifest::ProcessedManifest;
use crate::registry::Descriptor;
pub(crate) use error::LineageError;
pub(super) use error::nearest;
use report::{
    ColumnLineage, InputLineage, LineageReport, Maker, Origin, SourceField, TableLineage, View,
};

/// The columns that say where a row of a table of ours comes from.
const PROVENANCE: [&str; 6] = [
    "_tidemill_run",
    "_tidemill_module",
    "_tidemill_digest",
    "_tidemill_source",
    "_tidemill_landing",
    "_tidemill_logical_time",
];
/// Those that say when a version of a row was the current one.
const VALIDITY: [&str; 3] = ["_valid_from", "_valid_to", "_is_current"];

/// A module and the landings that it made of one table, one after the other.
struct Era {
    module: ModuleRef,
    maker: Maker,
}

/// Adds a landing to the eras of its table.
fn reach(eras: &mut Vec<Era>, manifest: &ProcessedManifest, module: &ModuleRef) {
    match eras.last_mut().filter(|era| era.module == *module) {
        Some(era) => era.reach(manifest),
        None => eras.push(Era::new(module.clone(), manifest)),
    }
}

impl Pipeline {
    /// Which columns of the sources may be in the columns of the warehouse: of all tables, of one, or of one column
    /// (`dim_staff.location`). Views may be named as well.
    ///
    /// # Errors
    /// `Config` when there is no such table or column, `Data` when a manifest or a module is damaged or lost,
    /// `Unavailable`.
    pub async fn lineage(&self, wanted: Option<&str>) -> Result<LineageReport> {
        let mut eras = self.eras().await?;
        let mut known = HashMap::new();
        let tables: BTreeSet<String> = self
            .plan
            .transforms
            .keys()
            .chain(eras.keys())
            .cloned()
            .collect();
        let mut found = Vec::new();
        for table in tables {
            let eras = eras.remove(&table).unwrap_or_default();
            let is_wanted = wanted.is_some_and(|wanted| is_of(wanted, &table));
            match self.table_lineage(table, eras, &mut known).await {
                Ok(lineage) => found.push(lineage),
                // What nobody has made yet and nobody can make now is an error of whoever asks for it.
                Err(error) if error.kind() == ErrorKind::Config && !is_wanted => {}
                Err(error) => return Err(error),
            }
        }
        let tables = match wanted {
            Some(wanted) => vec![picked(found, wanted)?],
            None => found,
        };
        Ok(LineageReport {
            project: self.plan.name.clone(),
            certain: report::CERTAIN.to_owned(),
            tables,
        })
    }

    /// The same as events of OpenLineage, each one JSON value: of every table the start and the end of the newest run that
    /// made it. A table that no run has made has none.
    pub fn lineage_events(&self, report: &LineageReport) -> Vec<serde_json::Value> {
        openlineage::events(&self.plan, report)
    }

    /// By table, which module made which landings, the first first.
    async fn eras(&self) -> Result<BTreeMap<String, Vec<Era>>> {
        let mut eras: BTreeMap<String, Vec<Era>> = BTreeMap::new();
        let log = self.processed_log();
        let newest = log.newest().await?.map_or(0, |manifest| manifest.sequence);
        for sequence in 1..=newest {
            let manifest = log.read(sequence).await?;
            for table in manifest.rebuilds.keys() {
                // What is in the warehouse since is what the rebuild made, and what came after it.
                let mut anew = Vec::new();
                for (manifest, made) in manifest.rebuilt_landings(table).unwrap_or_default() {
                    reach(&mut anew, &manifest, &made.module);
                }
                eras.insert(table.clone(), anew);
            }
            for (table, made) in &manifest.tables {
                let eras = eras.entry(table.clone()).or_default();
                reach(eras, &manifest, &made.module);
            }
        }
        Ok(eras)
    }

    /// The lineage of one table.
    ///
    /// # Errors
    /// `Config` when nothing has been made of it and no module can make it.
    async fn table_lineage(
        &self,
        table: String,
        eras: Vec<Era>,
        known: &mut HashMap<Digest, Descriptor>,
    ) -> Result<TableLineage> {
        let mut makers = Vec::new();
        let mut newest = None;
        for era in eras {
            let descriptor = self.descriptor(&era.module, known).await?;
            let mut maker = era.maker;
            maker.inputs = self.inputs(&maker.source, &descriptor);
            makers.push(maker);
            newest = Some((era.module, descriptor));
        }
        let next = match self.next(&table).await {
            Ok(next) => next,
            Err(error) if makers.is_empty() => return Err(error.on(table)),
            Err(_) => None,
        };
        let is_other = |next: &ModuleRef| newest.as_ref().is_none_or(|(made, _)| made != next);
        let mut next_maker = None;
        if let Some((source, module)) = next.filter(|(_, next)| is_other(next)) {
            let descriptor = self.descriptor(&module, known).await?;
            next_maker = Some(Maker {
                inputs: self.inputs(&source, &descriptor),
                ..Maker::of(module.clone(), source)
            });
            newest.get_or_insert((module, descriptor));
        }
        // The columns are those of what has been made; before that, of what will be.
        let maker = makers.last().or(next_maker.as_ref());
        let Some(((_, descriptor), maker)) = newest.zip(maker) else {
            let known = Vec::new();
            let nearest = None;
            return Err(LineageError::NoTable {
                table,
                nearest,
                known,
            }
            .into());
        };
        Ok(TableLineage {
            columns: columns(&table, maker, &descriptor),
            views: views(&table, &descriptor),
            mode: descriptor.output.mode,
            next: next_maker.clone(),
            makers: makers.clone(),
            table,
        })
    }

    /// What the next landing would be made by; `None` where the project does not make the table any more.
    async fn next(&self, table: &str) -> Result<Option<(String, ModuleRef)>> {
        let Some(transform) = self.plan.transforms.get(table) else {
            return Ok(None);
        };
        let source = modules::source_of(&self.plan, transform.source.as_deref())?;
        let module = self.registry.resolve(&transform.module).await?;
        Ok(Some((source, module)))
    }

    /// What a module says of itself, its bytes verified.
    async fn descriptor(
        &self,
        module: &ModuleRef,
        known: &mut HashMap<Digest, Descriptor>,
    ) -> Result<Descriptor> {
        if let Some(descriptor) = known.get(&module.digest) {
            return Ok(descriptor.clone());
        }
        let descriptor = self.registry.fetch(module).await?.record.descriptor;
        known.insert(module.digest, descriptor.clone());
        Ok(descriptor)
    }

    fn inputs(&self, source: &str, descriptor: &Descriptor) -> Vec<InputLineage> {
        let marks = self.plan.sources.get(source);
        let inputs = descriptor.inputs.iter();
        let input = inputs.map(|input| InputLineage {
            table: input.table.clone(),
            role: input.role,
            delivery: input.delivery,
            key: input.key.clone(),
            columns: input
                .columns
                .iter()
                .map(|column| SourceField {
                    name: column.name.clone(),
                    data_type: column.data_type.clone(),
                    sensitive: marks
                        .is_some_and(|plan| plan.sensitive_of(&input.table).contains(&column.name)),
                })
                .collect(),
        });
        input.collect()
    }
}

impl Era {
    fn new(module: ModuleRef, manifest: &ProcessedManifest) -> Self {
        let maker = Maker {
            first_landing: Some(manifest.landing),
            ..Maker::of(module.clone(), manifest.source.clone())
        };
        let mut era = Self { module, maker };
        era.reach(manifest);
        era
    }

    fn reach(&mut self, manifest: &ProcessedManifest) {
        self.maker.last_landing = Some(manifest.landing);
        self.maker.run = Some(manifest.run.clone());
        self.maker.logical_time = Some(manifest.logical_time);
    }
}

/// Whether `wanted` is a table or one of its columns.
fn is_of(wanted: &str, table: &str) -> bool {
    let rest = wanted.strip_prefix(table);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The columns of a table, in its order.
fn columns(table: &str, maker: &Maker, descriptor: &Descriptor) -> Vec<ColumnLineage> {
    let output = &descriptor.output;
    let of_the_warehouse = |name: &str, origin| ColumnLineage {
        name: name.to_owned(),
        data_type: None,
        key: false,
        origin,
        from: Vec::new(),
    };
    let from = maker.fields();
    let record_id = (output.mode == LoadMode::AppendVersions).then(|| {
        let named = descriptor.properties.get(RECORD_ID).cloned();
        named.unwrap_or_else(|| format!("{table}_record_id"))
    });
    let record_id = record_id.iter();
    let made = output.columns.iter().map(|column| ColumnLineage {
        name: column.name.clone(),
        data_type: Some(column.data_type.clone()),
        key: output.primary_key.contains(&column.name),
        origin: Origin::Module,
        from: from.clone(),
    });
    let validity = VALIDITY.iter().filter(|_| output.mode == LoadMode::Scd2);
    record_id
        .map(|name| of_the_warehouse(name, Origin::RecordId))
        .chain(made)
        .chain(validity.map(|name| of_the_warehouse(name, Origin::Validity)))
        .chain(
            PROVENANCE
                .iter()
                .map(|name| of_the_warehouse(name, Origin::Provenance)),
        )
        .collect()
}

/// The other names that the rows of a table are queried by.
fn views(table: &str, descriptor: &Descriptor) -> Vec<View> {
    let has_current = matches!(
        descriptor.output.mode,
        LoadMode::AppendVersions | LoadMode::Scd2
    );
    let alias = descriptor.properties.get(ALIAS).map(String::as_str);
    let mut views = Vec::new();
    for name in std::iter::once(table).chain(alias) {
        if name != table {
            views.push(View {
                name: name.to_owned(),
                current: false,
            });
        }
        if has_current {
            views.push(View {
                name: format!("{name}_current"),
                current: true,
            });
        }
    }
    views
}

/// The table that is meant by its name or a view's, with one column or all.
fn picked(tables: Vec<TableLineage>, wanted: &str) -> Result<TableLineage, LineageError> {
    let names = |table: &TableLineage| -> Vec<String> {
        let views = table.views.iter().map(|view| view.name.clone());
        std::iter::once(table.table.clone()).chain(views).collect()
    };
    let known: Vec<String> = tables.iter().flat_map(names).collect();
    let (table, column) = match wanted.rsplit_once('.') {
        Some((table, column)) if !known.iter().any(|name| name == wanted) => (table, Some(column)),
        _ => (wanted, None),
    };
    let named = |lineage: &TableLineage| names(lineage).iter().any(|name| name == table);
    let mut found = tables
        .into_iter()
        .find(named)
        .ok_or_else(|| LineageError::NoTable {
            nearest: nearest(table, known.iter().map(String::as_str)),
            table: table.to_owned(),
            known: known.clone(),
        })?;
    let Some(column) = column else {
        return Ok(found);
    };
    let columns: Vec<String> = found.columns.iter().map(|c| c.name.clone()).collect();
    found.columns.retain(|known| known.name == column);
    if found.columns.is_empty() {
        return Err(LineageError::NoColumn {
            nearest: nearest(column, columns.iter().map(String::as_str)),
            table: found.table,
            column: column.to_owned(),
            known: columns,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
