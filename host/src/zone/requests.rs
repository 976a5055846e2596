//! Requests to stores, counted where they are sent: each attempt by itself, for each is paid for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;

/// So many requests, by operation and by what became of them: `ok`, `refused` (as most conditional ones should be), `failed`
/// by the store, or `unanswered`.
pub type Counts = BTreeMap<(String, &'static str), u64>;

/// The requests of one process to its stores; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<Counts>>);

impl Requests {
    /// The requests since this was made.
    pub fn counted(&self) -> Counts {
        self.lock().clone()
    }

    /// The requests since it was `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        let mut counts = self.counted();
        for (key, count) in &mut counts {
            *count -= before.get(key).copied().unwrap_or(0).min(*count);
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    fn note(&self, operation: &str, status: Option<u16>) {
        let outcome = match status {
            None => "unanswered",
            Some(200..400) => "ok",
            Some(500..) => "failed",
            Some(_) => "refused",
        };
        *self
            .lock()
            .entry((operation.to_owned(), outcome))
            .or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The map is whole after every call that changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "Requests"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = settings.load::<Metadata>().map_or("", Metadata::name);
        let status = context
            .response()
            .map(|response| response.status().as_u16());
        self.note(operation, status);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_became_of_them() {
        let requests = Requests::default();
        requests.note("PutObject", Some(200));
        let before = requests.counted();
        for status in [Some(200), Some(412), Some(503), None] {
            requests.clone().note("PutObject", status);
        }
        let since = requests.since(&before);
        let outcomes: Vec<_> = since
            .iter()
            .map(|((_, outcome), n)| (*outcome, *n))
            .collect();
        let expected = [("failed", 1), ("ok", 1), ("refused", 1), ("unanswered", 1)];
        assert_eq!(outcomes, expected);
    }
}
