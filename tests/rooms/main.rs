//! One room of the host at a time, where it meets a real server, a real file or a shell.
//!
//! One binary for all of them: each binary of tests holds DataFusion and Delta once more.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON gives null where there is nothing"
)]

mod command_line;
#[cfg(target_os = "linux")]
mod container;
mod oci;
mod snapshots;
mod source_postgres;
mod source_sqlite;
mod warehouse_postgres;
