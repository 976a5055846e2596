//! The service: starts what is due, one run at a time, until it is told to stop.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::status::{Last, Next, Running, Status};
use super::timetable::{Due, Timetable};
use crate::cli::answer::Exit;
use crate::cli::clock::Clock;
use crate::run::{Halt, RunId};

/// The clock may be set, and machines sleep: it is looked at this often however far the next run is.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a scheduled run ended.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Its id, where it got one.
    pub(super) run: Option<RunId>,
    pub(super) exit: Exit,
    /// What went wrong, where something did.
    pub(super) message: Option<String>,
}

/// A timetable and what makes its runs.
#[derive(Debug)]
pub(super) struct Service<M> {
    pub(super) timetable: Timetable,
    pub(super) clock: Clock,
    pub(super) status: watch::Sender<Status>,
    /// How long a run may go on after a signal.
    pub(super) grace: Duration,
    /// By what a run is told to commit what is complete.
    pub(super) halt: Halt,
    /// Whether it ends with its first run.
    pub(super) once: bool,
    /// Makes the run of the entry of that name.
    pub(super) make_run: M,
}

/// A run at work. Dropping it interrupts it: what is not committed by then was never there.
struct Work<F> {
    schedule: String,
    started: DateTime<Utc>,
    run: Pin<Box<F>>,
}

impl<M, F> Service<M>
where
    M: Fn(String) -> F,
    F: Future<Output = Outcome>,
{
    /// Serves until `stop` returns, or its first run has ended where only one was asked for.
    pub(super) async fn run<S: Future<Output = ()>>(mut self, stop: impl Fn() -> S) -> Exit {
        let stopped = stop();
        tokio::pin!(stopped);
        let mut work = None;
        loop {
            self.note_what_is_due();
            if work.is_none() {
                work = self.start();
            }
            self.tell(work.as_ref());
            tokio::select! {
                biased;
                () = &mut stopped => return self.stop(work, stop()).await,
                outcome = end_of(&mut work) => {
                    if let Some(work) = work.take() {
                        self.ended(&work.schedule, work.started, &outcome);
                    }
                    if self.once {
                        return outcome.exit;
                    }
                }
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
    }

    fn note_what_is_due(&mut self) {
        for due in self.timetable.tick((self.clock)()) {
            match due {
                Due::Ready(_) => {}
                Due::Waits(schedule) => {
                    tracing::info!(%schedule, "due while another run is at work: waits");
                }
                Due::Skipped(schedule) => {
                    tracing::warn!(%schedule, "due while it is running or waiting already: skipped");
                    self.status.send_modify(|status| status.skipped += 1);
                }
            }
        }
    }

    fn start(&mut self) -> Option<Work<F>> {
        let schedule = self.timetable.start()?;
        tracing::info!(%schedule, "run starts");
        Some(Work {
            started: (self.clock)(),
            run: Box::pin((self.make_run)(schedule.clone())),
            schedule,
        })
    }

    fn pause(&self) -> Duration {
        self.timetable
            .next_due()
            .and_then(|next| (next - (self.clock)()).to_std().ok())
            .map_or(Duration::ZERO, |pause| pause.min(LONGEST_PAUSE))
    }

    fn tell(&self, work: Option<&Work<F>>) {
        let next = self.timetable.next().map(|(schedule, at)| Next {
            schedule: schedule.to_owned(),
            at,
        });
        let running = work.map(|work| Running {
            schedule: work.schedule.clone(),
            since: work.started,
        });
        self.status.send_modify(|status| {
            status.next = next;
            status.running = running;
        });
    }

    fn ended(&mut self, schedule: &str, started: DateTime<Utc>, outcome: &Outcome) {
        self.timetable.ended();
        let last = Last {
            schedule: schedule.to_owned(),
            run: outcome.run.clone(),
            started,
            ended: (self.clock)(),
            exit: outcome.exit.code(),
            message: outcome.message.clone(),
        };
        let failed = outcome.exit == Exit::Failed;
        self.status.send_modify(|status| {
            status.running = None;
            status.last = Some(last);
            status.runs += 1;
            status.failures += u64::from(failed);
            status.failures_in_a_row = if failed {
                status.failures_in_a_row + 1
            } else {
                0
            };
        });
    }

    /// Lets the run at work end within the grace, unless `hurry` comes before. Near the end of the grace it commits what
    /// is complete, and leaves the rest to the next one.
    async fn stop(mut self, work: Option<Work<F>>, hurry: impl Future<Output = ()>) -> Exit {
        self.status.send_modify(|status| status.stopping = true);
        let Some(mut work) = work else {
            tracing::info!("stopped");
            return Exit::Done;
        };
        tracing::info!(schedule = %work.schedule, grace_s = self.grace.as_secs(), "stopping after the run at work");
        let run_out = run_out(self.grace, self.halt.clone());
        tokio::select! {
            biased;
            outcome = &mut work.run => {
                self.ended(&work.schedule, work.started, &outcome);
                tracing::info!("stopped");
                return Exit::Done;
            }
            () = hurry => {}
            () = run_out => {}
        }
        tracing::warn!(schedule = %work.schedule, "the run at work was interrupted; nothing is half committed");
        Exit::Interrupted
    }
}

/// The grace, with the word to commit what is complete when a third of it is left.
async fn run_out(grace: Duration, halt: Halt) {
    let margin = grace / 3;
    tokio::time::sleep(grace - margin).await;
    halt.call();
    tokio::time::sleep(margin).await;
}

/// The outcome of the work; never, while there is none.
async fn end_of<F: Future<Output = Outcome>>(work: &mut Option<Work<F>>) -> Outcome {
    match work {
        Some(work) => work.run.as_mut().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};
    use std::path::Path;

    use futures::future::Either;

    use super::*;
    use crate::config::{self, Environment};

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_262_400, 0).expect("a time")
    }

    fn outcome(exit: Exit) -> Outcome {
        Outcome {
            run: None,
            exit,
            message: (exit == Exit::Failed).then(|| "the source is down".into()),
        }
    }

    fn service<M>(text: &str, once: bool, make_run: M) -> (Service<M>, watch::Receiver<Status>) {
        let file = Path::new("tidemill.toml");
        let plan = config::parse(text, file, Path::new("."), &Environment::default(), &[])
            .expect("a good project");
        let (status, seen) = watch::channel(Status::new(noon()));
        let service = Service {
            timetable: Timetable::new(&plan.schedule, noon()),
            clock: noon,
            status,
            grace: Duration::ZERO,
            halt: Halt::default(),
            once,
            make_run,
        };
        (service, seen)
    }

    /// A signal that comes when `first` is over, and never again.
    fn once<F: Future<Output = ()>>(first: impl Fn() -> F) -> impl Fn() -> Signal<F> {
        let came = RefCell::new(false);
        move || match came.replace(true) {
            false => Either::Left(first()),
            true => Either::Right(pending()),
        }
    }

    type Signal<F> = Either<F, std::future::Pending<()>>;

    const HOURLY: &str = "[schedule.hourly]\nevery = \"1h\"";
    const TWO: &str = "[schedule.a]\nevery = \"1h\"\n[schedule.b]\nevery = \"1h\"";

    #[tokio::test]
    async fn once_ends_as_its_run_ended() {
        for exit in [Exit::Done, Exit::Failed, Exit::Flawed] {
            let (service, seen) = service(HOURLY, true, |_| ready(outcome(exit)));
            assert_eq!(service.run(pending).await, exit);
            let status = seen.borrow();
            assert_eq!(status.runs, 1);
            assert_eq!(status.failures, u64::from(exit == Exit::Failed));
            assert_eq!(
                status.last.as_ref().map(|last| last.exit),
                Some(exit.code())
            );
        }
    }

    #[tokio::test]
    async fn a_failed_run_does_not_keep_the_next_from_running() {
        let made = RefCell::new(Vec::new());
        let (all_made, both) = tokio::sync::oneshot::channel();
        let all_made = RefCell::new(Some(all_made));
        let (service, seen) = service(TWO, false, |name: String| {
            made.borrow_mut().push(name);
            if made.borrow().len() == 2 {
                all_made.borrow_mut().take().map(|sender| sender.send(()));
            }
            ready(outcome(Exit::Failed))
        });
        let both = RefCell::new(Some(both));
        let stop = || {
            let both = both.borrow_mut().take();
            async move {
                if let Some(both) = both {
                    let _ = both.await;
                }
            }
        };
        service.run(stop).await;
        assert_eq!(*made.borrow(), ["a", "b"]);
        let status = seen.borrow();
        assert_eq!(
            status.last.as_ref().and_then(|l| l.message.as_deref()),
            Some("the source is down")
        );
        assert!(status.stopping && status.failures >= 1);
    }

    #[tokio::test]
    async fn a_run_that_ends_within_the_grace_is_not_cut_off() {
        let (mut service, seen) = service(HOURLY, false, |_| async {
            tokio::task::yield_now().await;
            outcome(Exit::Done)
        });
        service.grace = Duration::from_secs(3600);
        assert_eq!(service.run(once(|| ready(()))).await, Exit::Done);
        assert_eq!(seen.borrow().runs, 1);
    }

    #[tokio::test]
    async fn a_run_that_does_not_end_is_interrupted_after_the_grace() {
        struct Dropped<'d>(&'d RefCell<bool>);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                *self.0.borrow_mut() = true;
            }
        }
        let dropped = RefCell::new(false);
        let (service, seen) = service(HOURLY, false, |_| async {
            let _work = Dropped(&dropped);
            pending::<Outcome>().await
        });
        let stop = once(tokio::task::yield_now);
        assert_eq!(service.run(stop).await, Exit::Interrupted);
        assert!(*dropped.borrow());
        assert_eq!(seen.borrow().runs, 0);
    }

    #[tokio::test]
    async fn near_the_end_of_the_grace_a_run_is_told_to_commit_what_is_complete() {
        let halt = Halt::default();
        let told = halt.clone();
        let (mut service, seen) = service(HOURLY, false, |_| async {
            told.called().await;
            outcome(Exit::Done)
        });
        service.grace = Duration::from_millis(600);
        service.halt = halt.clone();
        let stop = once(tokio::task::yield_now);
        assert_eq!(service.run(stop).await, Exit::Done);
        assert_eq!(seen.borrow().runs, 1);
    }

    #[tokio::test]
    async fn the_status_says_what_is_next() {
        let (service, seen) = service(HOURLY, true, |_| ready(outcome(Exit::Done)));
        service.run(pending).await;
        let next = seen.borrow().next.as_ref().map(|next| next.at);
        assert_eq!(next, Some(noon() + Duration::from_secs(3600)));
    }
}
