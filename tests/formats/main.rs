//! Old formats: what every released version wrote is read for ever, with the values that were written.
//!
//! A fixture is a whole project of a version in `tests/fixtures`; its README says how one is added.

mod fixture;
mod project;
mod v1;
mod v2;
mod v3;
mod write;
