//! What wit-bindgen makes of the contract.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "module",
    pub_export_macro: false,
});
