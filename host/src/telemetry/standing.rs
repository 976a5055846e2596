//! What holds until something else is measured: moments, ages, and which modules are in use.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::metric::{Kind, Labels, Metric, Sample, Value};

/// What was measured last of everything that holds.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<BTreeMap<Key, (Labels, Value)>>);

/// A metric's name and the labels that must be alike for a sample to take the place of another.
type Key = (&'static str, Labels);

/// One figure as it is at the time of looking.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) labels: Labels,
    pub(crate) figure: f64,
}

impl Standing {
    /// Notes a sample, where its kind is one that holds.
    pub(crate) fn note(&self, sample: &Sample) {
        let key = match sample.metric.kind {
            Kind::Moment | Kind::Age => sample.labels.clone(),
            Kind::Info => sample.labels.iter().take(1).cloned().collect(),
            Kind::Count | Kind::Spread => return,
        };
        let value = (sample.labels.clone(), sample.value);
        self.lock().insert((sample.metric.name, key), value);
    }

    /// The figures of `metric` at `now`.
    pub(crate) fn readings(&self, metric: &Metric, now: DateTime<Utc>) -> Vec<Reading> {
        let noted = self.lock();
        let of_metric = noted.iter().filter(|((name, _), _)| *name == metric.name);
        let readings = of_metric.filter_map(|(_, (labels, value))| {
            Some(Reading {
                labels: labels.clone(),
                figure: value.figure(metric.kind, now)?,
            })
        });
        readings.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, (Labels, Value)>> {
        // The map is whole after every call that changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metric::{MODULE, ROWS, WATERMARK_LAG};
    use super::*;

    #[test]
    fn another_version_of_a_module_takes_the_place_of_the_first() {
        let standing = Standing::default();
        for version in ["1.0.0", "1.1.0"] {
            let labels = [
                ("table", "dim_staff".to_owned()),
                ("version", version.to_owned()),
            ];
            standing.note(&MODULE.sample(labels, Value::True));
        }
        let readings = standing.readings(&MODULE, DateTime::UNIX_EPOCH);
        assert_eq!(readings.len(), 1);
        assert_eq!(readings[0].labels[1].1, "1.1.0");
        assert_eq!(readings[0].figure, 1.0);
    }

    #[test]
    fn a_lag_is_of_the_time_of_looking() {
        let standing = Standing::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        let labels = [("source", "s".to_owned()), ("table", "t".to_owned())];
        standing.note(&WATERMARK_LAG.sample(labels, Value::At(at(100))));
        standing.note(&ROWS.sample([], Value::Count(3)));
        let lag = |now| standing.readings(&WATERMARK_LAG, at(now))[0].figure;
        assert_eq!((lag(101), lag(160)), (1.0, 60.0));
        assert!(standing.readings(&ROWS, at(0)).is_empty());
    }
}
