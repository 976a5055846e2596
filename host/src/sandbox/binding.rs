//! What `wit/` says, as Rust: made by the engine's own macro.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "module",
});

pub(super) use self::tidemill::transform::log::Level;
pub(super) use self::tidemill::transform::types;
pub(super) use exports::tidemill::transform::transform as wit;
