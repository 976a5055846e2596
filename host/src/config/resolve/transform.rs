//! What makes the tables of the warehouse: modules, whose they are, what they are granted and limited to.

use std::collections::BTreeMap;

use super::super::settings::{LimitsSettings, ModulesSettings, SourceSettings, TransformSettings};
use super::super::{ConfigError, LimitsPlan, ModulesPlan, TransformPlan, modules};
use super::{Key, Resolver};

impl Resolver<'_> {
    pub(super) fn transform(
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

    pub(super) fn modules(
        &self,
        modules: &ModulesSettings,
        key: &Key,
    ) -> Result<ModulesPlan, ConfigError> {
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

    pub(super) fn limits(
        &self,
        limits: &LimitsSettings,
        key: &Key,
    ) -> Result<LimitsPlan, ConfigError> {
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
            temporary_bytes: self
                .size(limits.temporary.as_deref(), &key.of("temporary"))?
                .or(default.temporary_bytes),
        })
    }
}
