//! From settings to the plan: references, units, names and defaults.

mod lake;
mod schedule;
mod source;
mod telemetry;
mod transform;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Document;
use super::settings::WarehouseSettings;
use super::{
    ConfigError, Environment, Plan, Settings, SourceColumn, StorePlan, VaultPlan, WarehousePlan,
};
use crate::warehouse::{self, WarehouseOptions};

const DAY: Duration = Duration::from_secs(86_400);

/// The plan that `settings`, read from `document`, mean.
pub(super) fn plan(
    settings: &Settings,
    document: &Document,
    base: &Path,
    environment: &Environment,
) -> Result<Plan, ConfigError> {
    let resolver = Resolver {
        document,
        base,
        environment,
    };
    let top = Key::default();
    let mut plan = Plan {
        name: resolver.name(settings, &top)?,
        base: base.to_path_buf(),
        zones: resolver.zones(&settings.lake, &top.of("lake"))?,
        sources: entries(&settings.source, &top.of("source"), |key, source| {
            resolver.source(source, key)
        })?,
        warehouse: resolver.warehouse(&settings.warehouse, &top.of("warehouse"))?,
        transforms: entries(
            &settings.transform,
            &top.of("transform"),
            |key, transform| resolver.transform(transform, &settings.source, key),
        )?,
        modules: resolver.modules(&settings.modules, &top.of("modules"))?,
        limits: resolver.limits(&settings.limits, &top.of("limits"))?,
        cache: resolver.cache(settings, &top)?,
        bundled_code: resolver.bundled_code(settings, &top)?,
        program: environment.program().map(Path::to_path_buf),
        schedule: entries(&settings.schedule, &top.of("schedule"), |key, schedule| {
            resolver.schedule(schedule, key)
        })?,
        serve: resolver.serve(&settings.serve, &top.of("serve"))?,
        telemetry: resolver.telemetry(&settings.telemetry, &top.of("telemetry"))?,
        lambda: resolver.lambda(&settings.lambda, &top.of("lambda"))?,
        vault: VaultPlan::default(),
    };
    plan.vault = VaultPlan::new(environment, &plan.zones.store);
    plan.warehouse.options.store = plan.zones.store.clone();
    resolver.check_names(&plan, &top)?;
    Ok(plan)
}

/// The path of a setting.
#[derive(Debug, Clone, Default)]
struct Key(Vec<String>);

impl Key {
    fn of(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        path.push(name.to_owned());
        Self(path)
    }
}

fn entries<S, P>(
    settings: &BTreeMap<String, S>,
    key: &Key,
    resolve: impl Fn(&Key, &S) -> Result<P, ConfigError>,
) -> Result<BTreeMap<String, P>, ConfigError> {
    settings
        .iter()
        .map(|(name, entry)| Ok((name.clone(), resolve(&key.of(name), entry)?)))
        .collect()
}

struct Resolver<'p> {
    document: &'p Document,
    base: &'p Path,
    environment: &'p Environment,
}

impl Resolver<'_> {
    /// Two sensitive columns must not be written alike, for a grant of one would be a grant of the other.
    fn check_names(&self, plan: &Plan, top: &Key) -> Result<(), ConfigError> {
        let mut seen: BTreeMap<String, SourceColumn> = BTreeMap::new();
        for column in plan.sensitive() {
            let key = top.of("source").of(&column.source).of("table");
            let key = key.of(&column.table).of("sensitive");
            if let Some(other) = seen.insert(column.to_string(), column.clone())
                && other != column
            {
                let problem = format!(
                    "is written like the column `{}` of the table `{}`",
                    other.column, other.table
                );
                return Err(self.value(&key, &column.column, &problem));
            }
        }
        Ok(())
    }

    fn name(&self, settings: &Settings, top: &Key) -> Result<String, ConfigError> {
        if let Some(name) = self.text(settings.name.as_deref(), &top.of("name"))? {
            return Ok(name);
        }
        let folder = std::path::absolute(self.base).unwrap_or_else(|_| self.base.to_path_buf());
        Ok(folder.file_name().map_or_else(
            || "tidemill".into(),
            |name| name.to_string_lossy().into_owned(),
        ))
    }

    fn cache(&self, settings: &Settings, top: &Key) -> Result<PathBuf, ConfigError> {
        let named = self.text(settings.cache.as_deref(), &top.of("cache"))?;
        Ok(match named {
            Some(folder) => self.base.join(folder),
            None => self
                .environment
                .cache_folder()
                .unwrap_or_else(|| self.base.join(".tidemill").join("cache")),
        })
    }

    fn bundled_code(&self, settings: &Settings, top: &Key) -> Result<PathBuf, ConfigError> {
        let key = top.of("bundled_code");
        let named = self.text(settings.bundled_code.as_deref(), &key)?;
        Ok(self.base.join(named.as_deref().unwrap_or("compiled")))
    }

    fn warehouse(
        &self,
        warehouse: &WarehouseSettings,
        key: &Key,
    ) -> Result<WarehousePlan, ConfigError> {
        let url = warehouse.url.as_deref().unwrap_or("delta://./warehouse");
        let schema = self.text(warehouse.schema.as_deref(), &key.of("schema"))?;
        let timeout = self.duration(warehouse.timeout.as_deref(), &key.of("timeout"))?;
        Ok(WarehousePlan {
            url: self.secret(url, &key.of("url"), |url| url),
            options: WarehouseOptions {
                schema: schema.unwrap_or_else(|| "public".into()),
                timeout: timeout.unwrap_or(warehouse::TIMEOUT),
                // That of the zones.
                store: StorePlan::default(),
            },
        })
    }
}
