//! When runs begin by themselves, and how much time they have at their end.

use std::str::FromStr as _;
use std::time::Duration;

use super::super::settings::{LambdaSettings, ScheduleSettings, ServeSettings};
use super::super::{ConfigError, LambdaPlan, Schedule, ServePlan, When};
use super::{Key, Resolver};
use crate::run::Stage;

/// Health is told to this machine only, unless the project says otherwise.
const LISTEN: &str = "127.0.0.1:9464";
const GRACE: Duration = Duration::from_secs(30);
/// A few requests to a store that is slow, or a transaction that is rolled back.
const MARGIN: Duration = Duration::from_secs(20);
/// Rows that a function of one core transforms and loads in a small part of its time.
const LANDING_ROWS: u64 = 2_000_000;
/// A shorter distance between runs is a mistake of units.
const SHORTEST_EVERY: Duration = Duration::from_secs(1);
const STAGES: [Stage; 3] = [Stage::Extract, Stage::Transform, Stage::Load];

impl Resolver<'_> {
    pub(super) fn schedule(
        &self,
        schedule: &ScheduleSettings,
        key: &Key,
    ) -> Result<Schedule, ConfigError> {
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

    pub(super) fn serve(&self, serve: &ServeSettings, key: &Key) -> Result<ServePlan, ConfigError> {
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

    pub(super) fn lambda(
        &self,
        lambda: &LambdaSettings,
        key: &Key,
    ) -> Result<LambdaPlan, ConfigError> {
        let margin = self.duration(lambda.margin.as_deref(), &key.of("margin"))?;
        Ok(LambdaPlan {
            margin: margin.unwrap_or(MARGIN),
            landing_rows: lambda.landing_rows.unwrap_or(LANDING_ROWS),
        })
    }
}
