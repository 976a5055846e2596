//! Sources and their tables: how each is reached, and how its changes are found.

use std::time::Duration;

use super::super::settings::{SourceSettings, TableSettings};
use super::super::{ConfigError, Cursor, OnSchemaChange, Secret, SourcePlan, TablePlan};
use super::{DAY, Key, Resolver, entries};
use crate::source::SourceOptions;

/// Long enough for a transaction of an application that has a time limit on its requests.
const OVERLAP: Duration = Duration::from_secs(120);
const RECONCILE: Duration = Duration::from_secs(7 * DAY.as_secs());
const SQLITE: &str = "sqlite://";

impl Resolver<'_> {
    pub(super) fn source(
        &self,
        source: &SourceSettings,
        key: &Key,
    ) -> Result<SourcePlan, ConfigError> {
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
}
