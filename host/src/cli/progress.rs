//! Progress on stderr, only on a terminal: one line per table at work.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::report::Observer;
use crate::run::Stage;

/// Often enough to look alive, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(120);

const COUNTED: &str = "  {prefix:<9} {msg:<24} {bar:24} {human_pos:>11} rows  {per_sec:>14}";
const UNCOUNTED: &str = "  {prefix:<9} {msg:<24} {spinner} {human_pos:>33} rows  {per_sec:>14}";

const CHECKED: &str = "  verified  {bar:50} {human_pos:>9} of {human_len}  {eta} left";

/// The lines of the tables at work.
#[derive(Debug)]
pub(super) struct Progress {
    bars: MultiProgress,
    lines: Mutex<BTreeMap<(Stage, String), Line>>,
    /// The checks of a verification.
    checks: Mutex<Option<ProgressBar>>,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    table: String,
    bytes: u64,
}

impl Progress {
    /// Progress that is drawn where `shown`, and is silent elsewhere.
    pub(super) fn new(shown: bool) -> Self {
        let target = match shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            lines: Mutex::default(),
            checks: Mutex::default(),
        }
    }

    /// The lines as log lines have to know them, to step aside.
    pub(super) fn bars(&self) -> MultiProgress {
        self.bars.clone()
    }

    /// Takes every line away.
    pub(super) fn clear(&self) {
        for line in std::mem::take(&mut *self.lines()).into_values() {
            line.bar.finish_and_clear();
        }
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = checks.take() {
            bar.finish_and_clear();
        }
    }

    /// A map of lines is whole after any panic: every change to it is one call.
    fn lines(&self) -> MutexGuard<'_, BTreeMap<(Stage, String), Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn began(&self, stage: Stage, table: &str, rows_expected: Option<u64>) {
        let (bar, template) = match rows_expected.filter(|rows| *rows > 0) {
            Some(rows) => (ProgressBar::new(rows), COUNTED),
            None => (ProgressBar::no_length(), UNCOUNTED),
        };
        let style = ProgressStyle::with_template(template);
        let bar = self.bars.add(
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
                .with_prefix(stage.to_string())
                .with_message(table.to_owned()),
        );
        bar.enable_steady_tick(TICK);
        let line = Line {
            bar,
            table: table.to_owned(),
            bytes: 0,
        };
        if let Some(before) = self.lines().insert((stage, table.to_owned()), line) {
            before.bar.finish_and_clear();
        }
    }

    fn advanced(&self, stage: Stage, table: &str, rows: u64, bytes: u64) {
        if let Some(line) = self.lines().get_mut(&(stage, table.to_owned())) {
            line.bytes = line.bytes.saturating_add(bytes);
            line.bar.inc(rows);
            line.bar
                .set_message(format!("{} {}", line.table, super::text::size(line.bytes)));
        }
    }

    fn checked(&self, done: u64, of: u64) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = checks.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(CHECKED);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bars.insert(0, ProgressBar::new(of).with_style(style))
        });
        bar.set_position(done);
        if done >= of {
            bar.finish_and_clear();
        }
    }

    fn ended(&self, stage: Stage, table: &str, _: &str) {
        if let Some(line) = self.lines().remove(&(stage, table.to_owned())) {
            line.bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lives_from_began_to_ended() {
        let progress = Progress::new(false);
        progress.began(Stage::Extract, "staff", Some(20));
        progress.advanced(Stage::Extract, "staff", 20, 1024);
        progress.advanced(Stage::Load, "staff", 1, 1);
        {
            let lines = progress.lines();
            let line = &lines[&(Stage::Extract, "staff".to_owned())];
            assert_eq!((line.bar.position(), line.bytes), (20, 1024));
        }
        progress.ended(Stage::Extract, "staff", "20 rows");
        assert!(progress.lines().is_empty());
    }

    #[test]
    fn the_templates_are_understood() {
        assert!(ProgressStyle::with_template(COUNTED).is_ok());
        assert!(ProgressStyle::with_template(UNCOUNTED).is_ok());
    }
}
