//! What wit-bindgen makes of the contract. Generated when the crate is compiled; nothing here is written by hand.

// The lints of the workspace are for code that people write. The generated code calls the canonical ABI,
// which takes and gives raw pointers; its safety is wit-bindgen's to keep.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "module",
    pub_export_macro: true,
    export_macro_name: "export_module",
    default_bindings_module: "tidemill_sdk::bindings",
});
