//! Survey: what a run would do, what past runs did, and whether everything is in place. Nothing is written
//! but the probe of a zone.

mod checks;
mod history;
mod plan;
mod secrets;

pub(super) use checks::{module_checks, origin, ready, source_checks, warehouse, zone};
pub(super) use history::{modules, runs};
pub(super) use plan::{failing, misfits, source, transform};
pub(super) use secrets::secrets;
