//! Zones: where they are, how a store is asked, and when what is nobody's is swept.

use std::time::Duration;

use super::super::settings::{LakeSettings, StoreSettings};
use super::super::{ConfigError, StorePlan, ZonesPlan, store};
use super::{DAY, Key, Resolver};

/// Somebody who looks after runs that died has seen this one by then.
const SWEEP: Duration = Duration::from_secs(7 * DAY.as_secs());
/// No run takes longer, and no file is written for so long.
const SHORTEST_SWEEP: Duration = DAY;

impl Resolver<'_> {
    pub(super) fn zones(&self, lake: &LakeSettings, key: &Key) -> Result<ZonesPlan, ConfigError> {
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
}
