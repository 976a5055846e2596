//! What `cargo x fuzz` runs and a unit test replays: functions that take hostile bytes and panic where the host is wrong.
//!
//! ```text
//! tests/fuzz/targets/*.rs   libFuzzer ──▶ Target::run(bytes)      half an hour and more each, with the sanitizer
//! tests/fuzz/corpus/        regressions and a choice of what was found: replayed here, on stable Rust
//! Target::seeds             real cases, made here: where the fuzzer begins, and replayed too
//! ```
//!
//! A target asks for more than "no panic": what is read is written and read again, what is cut differently gives the
//! same rows, what our encoder writes our decoders understand. This module is not part of a program: it exists for
//! tests and behind the feature `fuzzing`. It may look into every room and nobody imports it. What is private to a room
//! is lent by a module `fuzz` in it.

mod document;
mod guest_output;
mod manifest;
mod project;
mod promotion;
mod source_copy;
#[cfg(test)]
mod tests;
mod values;
mod warehouse_decode;

/// A function that takes hostile bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the binary of `tests/fuzz`, and the folder of its corpus.
    pub name: &'static str,
    /// Takes anything; panics where the host is wrong.
    pub run: fn(&[u8]),
    /// Real cases: what the fuzzer begins with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that stand in real cases, for the fuzzer to put anywhere.
    pub words: fn() -> Vec<String>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    guest_output::TARGET,
    manifest::TARGET,
    project::TARGET,
    promotion::TARGET,
    source_copy::TARGET,
    warehouse_decode::TARGET,
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// For targets whose inputs have no words.
fn no_words() -> Vec<String> {
    Vec::new()
}
