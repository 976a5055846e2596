//! A guest that talks too much.

use super::scripted::{Act, Script};
use super::*;

#[test]
fn a_flood_of_log_lines_is_cut() {
    let lines = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let script = Script {
        end: Act::Run(
            "(local i32) (loop (call $log (i32.const 1) (i32.const 1024) (i32.const 4))
               (local.set 2 (i32.add (local.get 2) (i32.const 1)))
               (br_if 0 (i32.lt_u (local.get 2) (i32.const 100000)))) {}",
        ),
        ..Script::default()
    };
    let limits = Limits {
        log_lines: 10,
        ..Limits::default()
    };
    let module = bench(limits)
        .sandbox
        .load(&script.component(), b"")
        .expect("honest");
    let mut session = module.open(CONTEXT).expect("honest");
    tracing::subscriber::with_default(CountLines(lines.clone()), || {
        session.end_of_input(0).expect("talking is no crime");
    });
    // Ten lines, and one that says that the rest is dropped.
    assert_eq!(lines.load(std::sync::atomic::Ordering::Relaxed), 11);
}

/// Counts events.
struct CountLines(Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for CountLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("tidemill")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
