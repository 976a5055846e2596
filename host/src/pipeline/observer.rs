//! Who is told how far the work is.

use crate::run::Stage;

/// Told while long steps run. Called from several tasks; must return at once.
pub trait Observer: Send + Sync {
    /// A step has begun.
    fn began(&self, stage: Stage, table: &str, rows_expected: Option<u64>);
    /// Rows and bytes since the last call for this step.
    fn advanced(&self, stage: Stage, table: &str, rows: u64, bytes: u64);
    /// The step has ended; `outcome` is a short sentence without the table's name.
    fn ended(&self, stage: Stage, table: &str, outcome: &str);
    /// So many of so many checks of a verification are made.
    fn checked(&self, _done: u64, _of: u64) {}
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn began(&self, _: Stage, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: Stage, _: &str, _: u64, _: u64) {}
    fn ended(&self, _: Stage, _: &str, _: &str) {}
}
