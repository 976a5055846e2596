//! Whether a run could begin, asked as seldom as is useful: probes come from several sides every few seconds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::pipeline::report::Check;

/// How long an answer is believed.
const KEPT: Duration = Duration::from_secs(5);
/// How long each of those that are asked may take. Together they are asked at once, so a probe waits no longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

type Probe = Box<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// Asks, and remembers for a while what was answered.
pub(super) struct Readiness {
    probe: Probe,
    known: Mutex<Option<(Instant, Arc<Vec<Check>>)>>,
}

impl Readiness {
    /// What `probe` finds.
    pub(super) fn new(
        probe: impl Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            probe: Box::new(probe),
            known: Mutex::new(None),
        }
    }

    /// What was found last, or is found now where that is too long ago. Who asks meanwhile waits for the same answer.
    pub(super) async fn checks(&self) -> Arc<Vec<Check>> {
        let mut known = self.known.lock().await;
        if let Some((at, checks)) = known.as_ref()
            && at.elapsed() < KEPT
        {
            return checks.clone();
        }
        let checks = Arc::new((self.probe)().await);
        *known = Some((Instant::now(), checks.clone()));
        checks
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        let readiness = Readiness::new(move || {
            counting.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                tokio::task::yield_now().await;
                Vec::new()
            })
        });
        let all = (0..20).map(|_| readiness.checks());
        futures::future::join_all(all).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
