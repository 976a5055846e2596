//! Samples on their way to whoever wants them: the page of `serve`, the log, a collector.

use std::sync::Arc;

use super::Clock;
use super::collector::Collector;
use super::embedded;
use super::exposition::Exposition;
use super::metric::{Outcome, RUNS, Sample, Value};
use super::standing::Standing;
use super::traces::Traces;
use crate::config::Plan;
use crate::run::RunId;

/// Who is given every sample.
#[derive(Debug)]
pub(crate) struct Meters {
    project: String,
    clock: Clock,
    standing: Arc<Standing>,
    exposition: Exposition,
    emf: bool,
    collector: Option<Collector>,
}

impl Meters {
    /// Those that the plan names. `instance` tells this process from others of the same project.
    ///
    /// A collector that cannot be spoken to is told in the log and left out: what is measured matters less than the work.
    pub(super) fn new(plan: &Plan, instance: String, clock: Clock, traces: &Traces) -> Self {
        let standing = Arc::new(Standing::default());
        let wanted = plan.telemetry.collector.as_ref();
        let collector = wanted.and_then(|wanted| {
            let collector = Collector::new(wanted, &plan.name, instance, &standing, clock);
            collector
                .inspect_err(|error| tracing::warn!(%error, "nothing is sent to the collector"))
                .ok()
        });
        if let Some(tracer) = collector.as_ref().and_then(Collector::tracer) {
            traces.begin(tracer);
        }
        let meters = Self {
            project: plan.name.clone(),
            clock,
            exposition: Exposition::new(standing.clone(), clock),
            standing,
            emf: plan.telemetry.emf,
            collector,
        };
        // A count that is there from the beginning shows its first step.
        for outcome in Outcome::ALL {
            meters.add(&RUNS.sample([("outcome", outcome.to_string())], Value::Count(0)));
        }
        meters
    }

    /// Gives what was measured of a run to everybody.
    pub(crate) fn record(&self, run: Option<&RunId>, samples: &[Sample]) {
        for sample in samples {
            self.add(sample);
        }
        if self.emf {
            let run = run.map(|run| ("run_id", run.to_string()));
            let properties: Vec<_> = run.into_iter().collect();
            let now = (self.clock)();
            embedded::write(&embedded::lines(samples, &self.project, &properties, now));
        }
    }

    /// The figures since the program began, as Prometheus reads them.
    pub(crate) fn exposition(&self) -> String {
        self.exposition.text()
    }

    /// Sends what a collector has not got yet, for a bounded time: before a process is frozen.
    pub(crate) async fn flush(&self) {
        if let Some(collector) = &self.collector
            && !collector.flush().await
        {
            tracing::warn!("the collector did not take everything");
        }
    }

    /// Sends what a collector has not got yet, for a bounded time, and nothing after that.
    pub(crate) async fn finish(&self) {
        if let Some(collector) = &self.collector
            && !collector.finish().await
        {
            tracing::warn!("the collector did not take everything");
        }
    }

    fn add(&self, sample: &Sample) {
        self.standing.note(sample);
        self.exposition.add(sample);
        if let Some(collector) = &self.collector {
            collector.add(sample);
        }
    }
}
