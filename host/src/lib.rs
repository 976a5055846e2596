//! tidemill moves a company's data from its operational databases into a warehouse.
//!
//! ```text
//!  source ──extract──▶ landing zone ──transform (Wasm)──▶ processed zone ──load──▶ warehouse
//!    one snapshot        Parquet + manifest                 Parquet + manifest        rows + ledger
//!                        = COMMIT 1                                                    = COMMIT 2
//! ```
//!
//! Rooms: [`source`], [`zone`], [`manifest`], [`registry`], [`sandbox`] and [`warehouse`] never import
//! each other; only [`pipeline`] knows several. [`run`], [`table`], [`contract`], [`watermark`],
//! [`digest`], [`connection`] and [`error`] are plain data for all.
//!
//! Around the line: [`config`] turns the project file into a plan, [`cli`] is the command line, [`export`]
//! writes batches for people and programs, [`builtin`] holds the modules that come with the program, [`authoring`]
//! makes new ones and tries them, [`cases`] runs what it tries them on, [`oci`] carries them from one project to another.
//! [`lambda`] says what a function of AWS Lambda is told, [`vault`] asks for the secrets that services keep, [`policy`] says
//! which rights each stage needs.

pub mod authoring;
pub mod builtin;
pub mod cases;
pub mod cli;
pub mod config;
pub mod connection;
pub mod contract;
pub mod demo;
pub mod digest;
pub mod error;
pub mod export;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod lambda;
pub mod manifest;
pub mod numbers;
pub mod oci;
pub mod pipeline;
pub mod policy;
mod printable;
pub mod registry;
pub mod run;
pub mod sandbox;
pub mod source;
pub mod table;
mod telemetry;
pub mod vault;
pub mod warehouse;
pub mod watermark;
pub mod zone;

pub use error::{Error, ErrorKind, Result};
