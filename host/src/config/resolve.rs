//! From settings to the plan: references, units, names and defaults.

mod telemetry;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use super::document::Document;
use super::settings::{
    LakeSettings, LambdaSettings, LimitsSettings, ModulesSettings, ScheduleSettings, ServeSettings,
    SourceSettings, StoreSettings, TableSettings, TransformSettings, WarehouseSettings,
};
use super::{
    ConfigError, Cursor, Environment, LambdaPlan, LimitsPlan, ModulesPlan, OnSchemaChange, Plan,
    Schedule, Secret, ServePlan, Settings, SourceColumn, SourcePlan, StorePlan, TablePlan,
    TransformPlan, VaultPlan, WarehousePlan, When, ZonesPlan, modules, store,
};
use crate::run::Stage;
use crate::source::SourceOptions;
use crate::warehouse::{self, WarehouseOptions};

const DAY: Duration = Duration::from_secs(86_400);
/// Long enough for a transaction of an application that has a time limit on its requests.
const OVERLAP: Duration = Duration::from_secs(120);
const RECONCILE: Duration = Duration::from_secs(7 * DAY.as_secs());
/// Somebody who looks after runs that died has seen this one by then.
const SWEEP: Duration = Duration::from_secs(7 * DAY.as_secs());
/// No run takes longer, and no file is written for so long.
const SHORTEST_SWEEP: Duration = DAY;
/// Health is told to this machine only, unless the project says otherwise.
const LISTEN: &str = "127.0.0.1:9464";
const GRACE: Duration = Duration::from_secs(30);
/// A few requests to a store that is slow, or a transaction that is rolled back.
const MARGIN: Duration = Duration::from_secs(20);
const SQLITE: &str = "sqlite://";
/// A shorter distance between runs is a mistake of units.
const SHORTEST_EVERY: Duration = Duration::from_secs(1);
const STAGES: [Stage; 3] = [Stage::Extract, Stage::Transform, Stage::Load];

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

    fn zones(&self, lake: &LakeSettings, key: &Key) -> Result<ZonesPlan, ConfigError> {
        let zone = |value: &Option<String>, name: &str| {
            let url = self.text(value.as_deref(), &key.of(name))?;
            Ok(url.unwrap_or_else(|| format!("file://./lake/{name}")))
        };
        Ok(ZonesPlan {
            ingestion: zone(&lake.ingestion, "ingestion")?,
            processed: zone(&lake.processed, "processed")?,
            modules: zone(&lake.modules, "modules")?,
            sweep_after: self.sweep_after(lake, &key.of("sweep_after"))?,
            store: self.store(&lake.s3, &key.of("s3"))?,
        })
    }

    fn store(&self, store: &StoreSettings, key: &Key) -> Result<StorePlan, ConfigError> {
        let word = self.text(store.encryption.as_deref(), &key.of("encryption"))?;
        let kms_key = self.text(store.kms_key.as_deref(), &key.of("kms_key"))?;
        let encryption = store::encryption(word.as_deref(), kms_key).map_err(|problem| {
            self.value(
                &key.of("encryption"),
                word.as_deref().unwrap_or_default(),
                problem,
            )
        })?;
        let plan = StorePlan {
            region: self.text(store.region.as_deref(), &key.of("region"))?,
            endpoint: self.text(store.endpoint.as_deref(), &key.of("endpoint"))?,
            encryption,
            ..StorePlan::default()
        };
        Ok(plan.or_variables(self.environment))
    }

    fn sweep_after(&self, lake: &LakeSettings, key: &Key) -> Result<Duration, ConfigError> {
        let written = lake.sweep_after.as_deref();
        match self.duration(written, key)? {
            Some(age) if age < SHORTEST_SWEEP => {
                let written = written.unwrap_or_default();
                Err(self.value(key, written, "is shorter than a day"))
            }
            age => Ok(age.unwrap_or(SWEEP)),
        }
    }

    fn source(&self, source: &SourceSettings, key: &Key) -> Result<SourcePlan, ConfigError> {
        let url = source.url.as_deref();
        let url = url.ok_or_else(|| self.missing(&key.of("url"), "url = "))?;
        let overlap = self.duration(source.overlap.as_deref(), &key.of("overlap"))?;
        let overlap = overlap.unwrap_or(OVERLAP);
        let cursor = self.cursor(source.cursor.as_deref(), overlap, &key.of("cursor"))?;
        Ok(SourcePlan {
            url: self.source_url(url, &key.of("url")),
            include: self.texts(&source.include, &key.of("include"))?,
            exclude: self.texts(&source.exclude, &key.of("exclude"))?,
            cursor: cursor.unwrap_or(Cursor::Snapshot),
            reconcile: self.reconcile(source, &key.of("reconcile"))?,
            on_schema_change: self
                .on_schema_change(source.on_schema_change.as_deref(), key)?
                .unwrap_or_default(),
            tables: entries(&source.table, &key.of("table"), |key, table| {
                self.table(table, overlap, key)
            })?,
            options: self.options(source, key)?,
        })
    }

    /// A source knows nothing of projects, so the path of a file is made absolute here.
    fn source_url(&self, url: &str, key: &Key) -> Secret {
        self.secret(url, key, |url| match url.strip_prefix(SQLITE) {
            Some(path) if !path.is_empty() => format!("{SQLITE}{}", self.below_base(path)),
            _ => url,
        })
    }

    fn below_base(&self, path: &str) -> String {
        let path = self.base.join(path.strip_prefix("./").unwrap_or(path));
        let absolute = std::path::absolute(&path).unwrap_or(path);
        absolute.to_string_lossy().into_owned()
    }

    fn options(&self, source: &SourceSettings, key: &Key) -> Result<SourceOptions, ConfigError> {
        let mut options = SourceOptions::default();
        if let Some(connections) = source.connections {
            let key = key.of("connections");
            options.connections = usize::try_from(connections)
                .ok()
                .filter(|connections| *connections > 0)
                .ok_or_else(|| self.value(&key, &connections.to_string(), "is not above zero"))?;
        }
        if let Some(split) = self.size(source.split.as_deref(), &key.of("split"))? {
            options.split_bytes = split;
        }
        let timeout = source.snapshot_timeout.as_deref();
        if let Some(timeout) = self.duration(timeout, &key.of("snapshot_timeout"))? {
            options.snapshot_timeout = timeout;
        }
        let patience = source.yield_after.as_deref();
        if let Some(patience) = self.duration(patience, &key.of("yield_after"))? {
            options.yield_after = patience;
        }
        Ok(options)
    }

    fn table(
        &self,
        table: &TableSettings,
        overlap: Duration,
        key: &Key,
    ) -> Result<TablePlan, ConfigError> {
        let own = self.duration(table.overlap.as_deref(), &key.of("overlap"))?;
        let columns = table.key.as_ref();
        let columns = columns.map(|columns| self.texts(columns, &key.of("key")));
        Ok(TablePlan {
            cursor: self.cursor(
                table.cursor.as_deref(),
                own.unwrap_or(overlap),
                &key.of("cursor"),
            )?,
            on_schema_change: self.on_schema_change(table.on_schema_change.as_deref(), key)?,
            key: columns.transpose()?,
            text: self.texts(&table.text, &key.of("text"))?,
            sensitive: self.texts(&table.sensitive, &key.of("sensitive"))?,
        })
    }

    fn on_schema_change(
        &self,
        value: Option<&str>,
        above: &Key,
    ) -> Result<Option<OnSchemaChange>, ConfigError> {
        let key = above.of("on_schema_change");
        let Some(name) = self.text(value, &key)? else {
            return Ok(None);
        };
        let policy = OnSchemaChange::parse(&name);
        let problem = "is not evolve, freeze or reject";
        policy
            .map(Some)
            .ok_or_else(|| self.value(&key, &name, problem))
    }

    fn cursor(
        &self,
        value: Option<&str>,
        overlap: Duration,
        key: &Key,
    ) -> Result<Option<Cursor>, ConfigError> {
        Ok(self.text(value, key)?.map(|name| match name.as_str() {
            "snapshot" => Cursor::Snapshot,
            _ => Cursor::Column { name, overlap },
        }))
    }

    fn reconcile(
        &self,
        source: &SourceSettings,
        key: &Key,
    ) -> Result<Option<Duration>, ConfigError> {
        if source.reconcile.as_deref() == Some("never") {
            return Ok(None);
        }
        let interval = self.duration(source.reconcile.as_deref(), key)?;
        Ok(Some(interval.unwrap_or(RECONCILE)))
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

    fn transform(
        &self,
        transform: &TransformSettings,
        sources: &BTreeMap<String, SourceSettings>,
        key: &Key,
    ) -> Result<TransformPlan, ConfigError> {
        let module = self
            .text(transform.module.as_deref(), &key.of("module"))?
            .ok_or_else(|| self.missing(&key.of("module"), "module = "))?;
        if !modules::is_module(&module) {
            let problem = "is not a module's name and version";
            return Err(self.value(&key.of("module"), &module, problem));
        }
        let source = self.text(transform.source.as_deref(), &key.of("source"))?;
        match source {
            Some(name) if !sources.contains_key(&name) => {
                let problem = "is not a source of this project";
                Err(self.value(&key.of("source"), &name, problem))
            }
            source => Ok(TransformPlan {
                module,
                source,
                grants: self.grants(&transform.grants, sources, &key.of("grants"))?,
            }),
        }
    }

    /// Grants have the form of a column; whether there is such a column, and whether it is sensitive, is the plan's to say.
    fn grants(
        &self,
        written: &[String],
        sources: &BTreeMap<String, SourceSettings>,
        key: &Key,
    ) -> Result<Vec<String>, ConfigError> {
        let grants = self.texts(written, key)?;
        let is_column = |grant: &String| {
            let below = |source: &String| grant.strip_prefix(source.as_str())?.strip_prefix('.');
            let mut below = sources.keys().filter_map(below);
            below.any(|rest| {
                let parts = rest.rsplit_once('.');
                parts.is_some_and(|(table, column)| !table.is_empty() && !column.is_empty())
            })
        };
        let mut all = written.iter().zip(&grants);
        match all.find(|(_, grant)| !is_column(grant)) {
            None => Ok(grants),
            Some((wrong, _)) => {
                let problem = "is not the SOURCE.TABLE.COLUMN of a source of this project";
                Err(self.value(key, wrong, problem))
            }
        }
    }

    fn modules(&self, modules: &ModulesSettings, key: &Key) -> Result<ModulesPlan, ConfigError> {
        let keys = self.texts(&modules.keys, &key.of("keys"))?;
        let is_key = |key: &String| minisign_verify::PublicKey::from_base64(key).is_ok();
        let mut written = modules.keys.iter().zip(&keys);
        if let Some((wrong, _)) = written.find(|(_, key)| !is_key(key)) {
            let problem = "is not a public key of minisign";
            return Err(self.value(&key.of("keys"), wrong, problem));
        }
        Ok(ModulesPlan {
            keys,
            unsigned: modules.unsigned,
        })
    }

    fn limits(&self, limits: &LimitsSettings, key: &Key) -> Result<LimitsPlan, ConfigError> {
        let default = LimitsPlan::within(self.environment.function_memory());
        let size = |value: &Option<String>, name: &str, default| {
            let size = self.size(value.as_deref(), &key.of(name))?;
            Ok(size.unwrap_or(default))
        };
        let time = self.duration(limits.time.as_deref(), &key.of("time"))?;
        Ok(LimitsPlan {
            memory_bytes: size(&limits.memory, "memory", default.memory_bytes)?,
            time: time.unwrap_or(default.time),
            output_rows: limits.output_rows.unwrap_or(default.output_rows),
            output_bytes: size(&limits.output, "output", default.output_bytes)?,
            log_lines: limits.log_lines.unwrap_or(default.log_lines),
            log_bytes: size(&limits.log, "log", default.log_bytes)?,
            process_bytes: default.process_bytes,
        })
    }

    fn schedule(&self, schedule: &ScheduleSettings, key: &Key) -> Result<Schedule, ConfigError> {
        Ok(Schedule {
            when: self.when(schedule, key)?,
            stages: self.stages(&schedule.stages, &key.of("stages"))?,
            tables: self.texts(&schedule.tables, &key.of("tables"))?,
            reconcile: schedule.reconcile,
        })
    }

    fn when(&self, schedule: &ScheduleSettings, key: &Key) -> Result<When, ConfigError> {
        let cron = self.text(schedule.cron.as_deref(), &key.of("cron"))?;
        let every = self.duration(schedule.every.as_deref(), &key.of("every"))?;
        let zone = self.zone(schedule.zone.as_deref(), &key.of("zone"))?;
        match (cron, every) {
            (Some(expression), None) => {
                let parsed = croner::Cron::from_str(&expression).map_err(|error| {
                    // The parser may quote what a reference stands for.
                    let as_written = schedule.cron.as_ref() == Some(&expression);
                    let problem = match as_written {
                        true => format!("is not a cron expression: {error}"),
                        false => "is not a cron expression".into(),
                    };
                    self.value(&key.of("cron"), &expression, &problem)
                })?;
                Ok(When::Cron {
                    expression: Box::new(parsed),
                    zone: zone.unwrap_or(chrono_tz::UTC),
                })
            }
            (None, Some(distance)) if distance >= SHORTEST_EVERY => Ok(When::Every(distance)),
            (None, Some(_)) => {
                let written = schedule.every.as_deref().unwrap_or_default();
                Err(self.value(&key.of("every"), written, "is shorter than a second"))
            }
            (Some(expression), Some(_)) => {
                let problem = "stands beside `every`: only one of the two can say when";
                Err(self.value(&key.of("cron"), &expression, problem))
            }
            (None, None) => Err(self.missing(&key.of("cron"), "cron = ")),
        }
    }

    fn zone(&self, value: Option<&str>, key: &Key) -> Result<Option<chrono_tz::Tz>, ConfigError> {
        self.text(value, key)?
            .map(|name| {
                name.parse()
                    .map_err(|_| self.value(key, &name, "is not a time zone"))
            })
            .transpose()
    }

    fn stages(&self, names: &[String], key: &Key) -> Result<Vec<Stage>, ConfigError> {
        let written = names;
        let names = self.texts(written, key)?;
        let known = |name: &String| STAGES.iter().any(|stage| stage.to_string() == *name);
        if let Some((unknown, _)) = written.iter().zip(&names).find(|(_, name)| !known(name)) {
            return Err(self.value(key, unknown, "is not a stage"));
        }
        let named = |stage: &Stage| names.is_empty() || names.contains(&stage.to_string());
        Ok(STAGES.into_iter().filter(named).collect())
    }

    fn serve(&self, serve: &ServeSettings, key: &Key) -> Result<ServePlan, ConfigError> {
        let listen = self.text(serve.listen.as_deref(), &key.of("listen"))?;
        let grace = self.duration(serve.grace.as_deref(), &key.of("grace"))?;
        let listen = match listen.as_deref().unwrap_or(LISTEN) {
            "none" => None,
            address => Some(address.parse().map_err(|_| {
                let problem = "is not an address with a port";
                self.value(&key.of("listen"), address, problem)
            })?),
        };
        Ok(ServePlan {
            listen,
            grace: grace.unwrap_or(GRACE),
        })
    }

    fn lambda(&self, lambda: &LambdaSettings, key: &Key) -> Result<LambdaPlan, ConfigError> {
        let margin = self.duration(lambda.margin.as_deref(), &key.of("margin"))?;
        Ok(LambdaPlan {
            margin: margin.unwrap_or(MARGIN),
        })
    }
}
